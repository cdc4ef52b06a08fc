//! Words of a manifest: rules, times and sizes.

use wayfare_scheduler::application::ComponentId;
use wayfare_scheduler::constraint::{Apart, Domain, LabelRule, LabelTest};

/// `component`, or `component by host`; one of another application is `application/component`.
pub(super) fn apart(application: &str, rule: &str) -> Apart {
    let (of, by) = rule.split_once(" by ").unwrap_or((rule, "engine"));
    let (application, component) = of.trim().split_once('/').unwrap_or((application, of.trim()));
    Apart {
        from: ComponentId::new(application, component),
        by: domain(by),
    }
}

/// `engine`, `host`, or a label.
pub(super) fn domain(text: &str) -> Domain {
    match text.trim() {
        "engine" => Domain::Engine,
        "host" => Domain::Host,
        label => Domain::Label(label.strip_prefix("label ").unwrap_or(label).trim().to_owned()),
    }
}

/// `key=value`, `key!=value`, `key in (a, b)`, or `key`: it has the label.
pub(super) fn label_rule(text: &str) -> Result<LabelRule, String> {
    let part = |text: &str| text.trim().to_owned();
    let (key, test) = if let Some((key, value)) = text.split_once("!=") {
        (part(key), LabelTest::Differs(part(value)))
    } else if let Some((key, values)) = text.split_once(" in ") {
        let values = values.trim().strip_prefix('(').and_then(|v| v.strip_suffix(')'));
        let values = values.ok_or_else(|| format!("label rule '{text}': 'key in (a, b)' is expected"))?;
        (part(key), LabelTest::In(values.split(',').map(part).collect()))
    } else if let Some((key, value)) = text.split_once('=') {
        (part(key), LabelTest::Equals(part(value)))
    } else {
        (part(text), LabelTest::Exists)
    };
    if key.is_empty() {
        return Err(format!("label rule '{text}' names no label"));
    }
    Ok(LabelRule { key, test })
}

fn split_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    Some((number.parse().ok()?, unit.trim()))
}

/// `500ms`, `30s`, `5m` or `1h`.
pub(super) fn duration_ms(text: &str) -> Result<u64, String> {
    let ms = split_unit(text).and_then(|(number, unit)| match unit {
        "ms" => Some(number),
        "" | "s" => number.checked_mul(1_000),
        "m" => number.checked_mul(60_000),
        "h" => number.checked_mul(3_600_000),
        _ => None,
    });
    ms.filter(|ms| (1..=86_400_000).contains(ms))
        .ok_or_else(|| format!("'{text}': a time from 1ms to 24h is expected, such as 500ms, 30s or 5m"))
}

/// `65536`, `512K`, `16M` or `1G`.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let bytes = split_unit(text).and_then(|(number, unit)| {
        let shift = match unit.to_ascii_uppercase().as_str() {
            "" | "B" => 0,
            "K" | "KIB" => 10,
            "M" | "MIB" => 20,
            "G" | "GIB" => 30,
            _ => return None,
        };
        number.checked_mul(1 << shift)
    });
    bytes
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| format!("'{text}': a size is expected, such as 65536, 512K, 16M or 1G"))
}
