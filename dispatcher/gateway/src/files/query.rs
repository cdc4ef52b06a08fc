//! The parameters of a file's address.

use wayfare_client::problem::Problem;

use crate::answers::bad_usage;

pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn of(query: Option<String>) -> Self {
        let query = query.unwrap_or_default();
        let pairs = form_urlencoded::parse(query.as_bytes());
        Self(
            pairs
                .map(|(name, value)| (name.into_owned(), value.into_owned()))
                .collect(),
        )
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(found, _)| found == name)
            .map(|(_, value)| value.as_str())
    }

    /// `?name` or `?name=true`.
    pub(super) fn flag(&self, name: &str) -> Result<bool, Problem> {
        match self.get(name) {
            None | Some("false") => Ok(false),
            Some("" | "true") => Ok(true),
            Some(_) => Err(bad_usage(format!("'{name}': true or false is expected"))),
        }
    }

    pub(super) fn number(&self, name: &str) -> Result<Option<u64>, Problem> {
        let number = |text: &str| {
            text.parse()
                .map_err(|_| bad_usage(format!("'{name}': a number is expected")))
        };
        self.get(name).map(number).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_that_is_false_is_not_set() {
        for (query, expected) in [
            ("", Some(false)),
            ("recursive", Some(true)),
            ("recursive=true", Some(true)),
            ("recursive=false", Some(false)),
            ("recursive=no", None),
        ] {
            let found = Query::of(Some(query.into())).flag("recursive").ok();
            assert_eq!(found, expected, "{query}");
        }
    }
}
