//! Patterns of keys, and the topics that changes of values come under.

use serde::{Deserialize, Serialize};

use crate::filter::covers;
use crate::key::{KEY_BYTES_MAX, Key};
use crate::limits::NAME_BYTES_MAX;

/// Levels of a key that the topic of its changes has; the rest of a longer one is in none.
const TOPIC_LEVELS_MAX: usize = 3;

/// Keys by their levels, as filters are for topics: `+` is any one, `#` at the end any number of them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern(String);

impl Pattern {
    pub fn matches(&self, key: &Key) -> bool {
        covers(&self.0, key.as_str())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What a program of this name means by `pattern`, if it matches no shared key, or only such as begin
    /// with one of these.
    pub fn of_program(name: &str, pattern: &str, shared: &[String]) -> Option<Self> {
        match pattern.starts_with('/') {
            true => Self::try_from(pattern.to_owned())
                .ok()
                .filter(|pattern| shared.iter().any(|prefix| pattern.is_below(prefix))),
            false => Self::try_from(format!("{name}/{pattern}")).ok(),
        }
    }

    /// Whether all that it matches begins like this.
    fn is_below(&self, prefix: &str) -> bool {
        let plain: String = self
            .0
            .split_inclusive('/')
            .take_while(|level| !matches!(level.trim_end_matches('/'), "+" | "#"))
            .collect();
        plain.starts_with(prefix)
    }

    /// The levels of a filter that matches the topics of all changes of what it matches.
    pub(crate) fn topic_levels(&self) -> String {
        let levels: Vec<&str> = self.0.split('/').collect();
        let levels = levels.iter().take(TOPIC_LEVELS_MAX).map(|level| match *level {
            wildcard @ ("+" | "#") => wildcard.to_owned(),
            level => escaped(level),
        });
        levels.collect::<Vec<_>>().join("/")
    }
}

impl TryFrom<String> for Pattern {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        let levels = text.split('/').rev().enumerate();
        let are_good = levels.into_iter().all(|(from_end, level)| match level {
            "#" => from_end == 0,
            "+" => true,
            level => !level.contains(['+', '#']),
        });
        let is_good = are_good && !text.is_empty() && text.len() <= KEY_BYTES_MAX + NAME_BYTES_MAX + 1;
        is_good
            .then_some(Self(text))
            .ok_or("no pattern of keys: '+' stands for a level, and '#' at the end for any number of them")
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.0
    }
}

impl Key {
    /// The levels of the topic of its changes.
    pub(crate) fn topic_levels(&self) -> String {
        let levels = self.as_str().split('/').take(TOPIC_LEVELS_MAX).map(escaped);
        levels.collect::<Vec<_>>().join("/")
    }
}

/// As a level of a topic: not empty, and without what topics have a meaning for.
fn escaped(level: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let mut out = String::new();
    for byte in level.bytes() {
        match plain(byte) {
            true => out.push(char::from(byte)),
            false => out.push_str(&format!("%{byte:02x}")),
        }
    }
    if out.is_empty() { "%".into() } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_keys_by_their_levels_and_changes_come_under_topics_that_the_filter_matches() {
        let key = |text: &str| Key::try_from(text.to_owned()).unwrap();
        let pattern = |text: &str| Pattern::try_from(text.to_owned()).unwrap();
        for (filter, text, expected) in [
            ("/a/b", "/a/b", true),
            ("/a/+", "/a/b", true),
            ("/a/+", "/a/b/c", false),
            ("/a/#", "/a/b/c/d/e", true),
            ("/a/b/c/+", "/a/b/c/d", true),
            ("/a/b/c/#", "/a/b/c", true),
            ("p/+", "p/k x#", true),
            ("#", "p/k", true),
            ("/+", "p/k", false),
            ("p//k", "p//k", true),
        ] {
            assert_eq!(pattern(filter).matches(&key(text)), expected, "{filter} {text}");
            let covered = covers(&pattern(filter).topic_levels(), &key(text).topic_levels());
            assert!(covered || !expected, "{filter} {text}");
        }
        assert_eq!(key("/a b/#/c/d").topic_levels(), "%/a%20b/%23");
        assert_ne!(key("/%23/x").topic_levels(), key("/#/x").topic_levels());
        for bad in ["", "a#", "#/a", "a/+b"] {
            assert!(Pattern::try_from(bad.to_owned()).is_err(), "{bad}");
        }
        let shared = ["/in/".to_owned()];
        for (text, expected) in [
            ("k/#", Some("p/k/#")),
            ("/in/+/x", Some("/in/+/x")),
            ("/in/#", Some("/in/#")),
            ("/+/x", None),
            ("/#", None),
            ("/inside", None),
        ] {
            let found = Pattern::of_program("p", text, &shared);
            assert_eq!(found.as_ref().map(Pattern::as_str), expected, "{text}");
        }
    }
}
