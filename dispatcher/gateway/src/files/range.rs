//! Which part of a file a reader asks for, as `Range: bytes=...` says it.

use axum::http::header::{HeaderMap, HeaderValue, IF_RANGE, RANGE};

/// The part that is asked for, unless the reader has parts of another version: then it gets all of this one.
pub(super) fn wanted_part(head: &HeaderMap, etag: &HeaderValue, bytes: u64) -> Option<Option<(u64, u64)>> {
    if head.get(IF_RANGE).is_some_and(|known| known != etag) {
        return None;
    }
    range_of(head.get(RANGE)?.to_str().ok()?, bytes)
}

/// A part that is wanted: from here to before there. `None`: what is asked for is no range that is
/// understood, so all is; `Some(None)`: nothing is there.
fn range_of(range: &str, bytes: u64) -> Option<Option<(u64, u64)>> {
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
    fn a_reader_with_parts_of_another_version_gets_all_of_this_one() {
        let etag = HeaderValue::from_static("\"7-2\"");
        for (known, expected) in [
            (None, Some(Some((3, 10)))),
            (Some("\"7-2\""), Some(Some((3, 10)))),
            (Some("\"7-1\""), None),
            (Some("Sun, 29 Nov 2026 17:00:00 GMT"), None),
        ] {
            let mut head = HeaderMap::new();
            head.insert(RANGE, HeaderValue::from_static("bytes=3-"));
            if let Some(known) = known {
                head.insert(IF_RANGE, HeaderValue::from_static(known));
            }
            assert_eq!(wanted_part(&head, &etag, 10), expected, "{known:?}");
        }
    }

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
