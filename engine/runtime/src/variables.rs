//! Which of its variables an engine gives to programs that are granted them. A grant is an operator's word;
//! what a process was started with may be its owner's, who has not been asked.

/// What the names of secrets have in them, AWS_SECRET_ACCESS_KEY first, with which a process reaches a store
/// of objects.
const SECRET: [&str; 6] = ["AWS_", "SECRET", "TOKEN", "PASSWORD", "PASSWD", "_KEY"];

/// The variables of an engine that programs can be granted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Variables {
    /// All but those whose names are like those of secrets.
    #[default]
    Usual,
    /// These alone: names, or beginnings of names with a `*` behind.
    Only(Vec<String>),
}

impl Variables {
    pub(crate) fn offers(&self, name: &str) -> bool {
        match self {
            Self::Usual => !SECRET.iter().any(|part| name.to_ascii_uppercase().contains(part)),
            Self::Only(offered) => offered.iter().any(|offered| match offered.strip_suffix('*') {
                Some(beginning) => name.starts_with(beginning),
                None => name == offered,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_gives_only_variables_that_it_offers() {
        let only = |offered: &[&str]| Variables::Only(offered.iter().map(|&name| name.into()).collect());
        for (variables, name, expected) in [
            (Variables::Usual, "PLACE", true),
            (Variables::Usual, "KEYBOARD", true),
            (Variables::Usual, "AWS_REGION", false),
            (Variables::Usual, "github_token", false),
            (Variables::Usual, "API_KEY", false),
            (only(&[]), "PLACE", false),
            (only(&["PLACE", "SITE_*"]), "PLACE", true),
            (only(&["PLACE", "SITE_*"]), "PLACE_NAME", false),
            (only(&["PLACE", "SITE_*"]), "SITE_NAME", true),
            (only(&["PLACE", "SITE_*"]), "AWS_REGION", false),
            (only(&["AWS_REGION"]), "AWS_REGION", true),
        ] {
            assert_eq!(variables.offers(name), expected, "{variables:?} {name}");
        }
    }
}
