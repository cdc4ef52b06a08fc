//! Labels: what people say of an engine, such as `zone=attic`, and what applications ask for.

use std::collections::BTreeMap;

use crate::ids::is_name;

/// Of one engine.
pub const LABELS_MAX: usize = 32;

/// By key. Keys and values are names ([`is_name`]).
pub type Labels = BTreeMap<String, String>;

/// `key=value`.
pub fn parse(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    if is_name(key) && is_name(value) {
        return Ok((key.to_owned(), value.to_owned()));
    }
    let shown: String = text.chars().take(80).collect();
    Err(format!(
        "'{shown}' is not a label: key=value is expected, each of a-z A-Z 0-9 . _ -, beginning with a letter or digit"
    ))
}

/// All of them together; the same key twice is a mistake.
pub fn collect(labels: impl IntoIterator<Item = (String, String)>) -> Result<Labels, String> {
    let mut all = Labels::new();
    for (key, value) in labels {
        if let Some(before) = all.insert(key.clone(), value.clone()) {
            return Err(format!("label '{key}' is both '{before}' and '{value}'"));
        }
    }
    if all.len() > LABELS_MAX {
        return Err(format!("{} labels are over {LABELS_MAX}", all.len()));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_names_on_both_sides() {
        assert_eq!(parse("zone=attic-2").unwrap(), ("zone".into(), "attic-2".into()));
        for bad in [
            "",
            "zone",
            "=a",
            "zone=",
            "zone=a b",
            "zone=a=b",
            "zo,ne=a",
            "zone=\u{e9}",
        ] {
            assert!(parse(bad).unwrap_err().contains("is not a label"), "{bad}");
        }
    }

    #[test]
    fn a_label_has_one_value_and_an_engine_not_too_many() {
        let label = |number: usize| (format!("k{}", number % 33), "v".to_owned());
        assert_eq!(collect((0..32).map(label)).unwrap().len(), 32);
        assert!(collect((0..33).map(label)).unwrap_err().contains("33 labels"));
        assert!(collect([label(0), label(33)]).unwrap_err().contains("is both"));
    }
}
