//! Which part of a file a reader asks for, as `Range: bytes=...` says it.

/// A part that is wanted: from here to before there. `None`: what is asked for is no range that is
/// understood, so all is; `Some(None)`: nothing is there.
pub(super) fn range_of(range: &str, bytes: u64) -> Option<Option<(u64, u64)>> {
    let (from, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let found = match (from.parse::<u64>(), last.parse::<u64>()) {
        (Ok(from), Ok(last)) if last >= from => (from, last.saturating_add(1).min(bytes)),
        (Ok(from), Err(_)) if last.is_empty() => (from, bytes),
        (Err(_), Ok(count)) if from.is_empty() => (bytes.saturating_sub(count), bytes),
        _ => return None,
    };
    Some(Some(found).filter(|(from, end)| from < end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_within_the_file_or_nothing() {
        for (range, expected) in [
            ("bytes=0-3", Some(Some((0, 4)))),
            ("bytes=2-", Some(Some((2, 10)))),
            ("bytes=-3", Some(Some((7, 10)))),
            ("bytes=-30", Some(Some((0, 10)))),
            ("bytes=8-99", Some(Some((8, 10)))),
            ("bytes=10-", Some(None)),
            ("bytes=-0", Some(None)),
            ("bytes=3-2", None),
            ("bytes=0-1,3-4", None),
            ("items=0-1", None),
            ("bytes=18446744073709551615-", Some(None)),
        ] {
            assert_eq!(range_of(range, 10), expected, "{range}");
        }
    }
}
