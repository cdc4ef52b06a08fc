//! Filters of topics, and of what is made of levels as topics are: `+` is any level, and `#` at the end any
//! number of them.

/// Whether `filter` matches everything that `other`, a topic or a filter itself, can match.
pub(crate) fn covers(filter: &str, other: &str) -> bool {
    let mut others = other.split('/');
    let mut levels = filter.split('/');
    loop {
        match (levels.next(), others.next()) {
            (Some("#"), _) => return true,
            (Some("+"), Some(level)) if level != "#" => {}
            (Some(wanted), Some(level)) if wanted == level => {}
            (None, None) => return true,
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_cover_topics_and_narrower_filters() {
        for (filter, other, expected) in [
            ("a/b", "a/b", true),
            ("a/b", "a/c", false),
            ("a/+", "a/b", true),
            ("a/+", "a/+", true),
            ("a/+", "a/b/c", false),
            ("a/+", "a", false),
            ("a/+", "a/#", false),
            ("a/#", "a/b/c", true),
            ("a/#", "a", true),
            ("a/#", "a/+/c", true),
            ("a/#", "ab", false),
            ("#", "a/b", true),
            ("#", "#", true),
            ("+", "#", false),
            ("a/b", "a/+", false),
        ] {
            assert_eq!(covers(filter, other), expected, "{filter} {other}");
        }
    }
}
