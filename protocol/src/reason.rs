//! Free text that says why something failed: bounded where it arises and again wherever it leaves the
//! process, so that no message grows with the names in a backtrace.

use serde::Serializer;

use crate::limits::REASON_BYTES_MAX;

/// Cuts a text to [`REASON_BYTES_MAX`] bytes, at a character's end, with a note of how long it was. What is
/// short enough, or was cut before, stays as it is.
pub fn cut(mut text: String) -> String {
    if text.len() > REASON_BYTES_MAX {
        let note = format!(" ... (cut: it has {} bytes)", text.len());
        text = shortened(text, REASON_BYTES_MAX - note.len());
        text += &note;
    }
    text
}

/// The beginning of a text: at most so many bytes, up to a character's end.
pub fn shortened(mut text: String, bytes_max: usize) -> String {
    text.truncate(text.floor_char_boundary(bytes_max));
    text
}

/// For `#[serde(serialize_with)]`: a field of a message that is bounded.
pub fn serialize<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    if text.len() > REASON_BYTES_MAX {
        serializer.serialize_str(&cut(text.to_owned()))
    } else {
        serializer.serialize_str(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Failure;
    use crate::status::ProgramState;
    use crate::wire;

    #[test]
    fn a_long_reason_is_cut_at_a_character_and_says_so() {
        assert_eq!(cut("short".into()), "short");
        for long in [
            "x".repeat(160_000),
            "é".repeat(90_001),
            "\u{1F980}".repeat(REASON_BYTES_MAX),
        ] {
            let bytes = long.len();
            let once = cut(long);
            assert!(once.len() <= REASON_BYTES_MAX, "{}", once.len());
            assert!(once.ends_with(&format!("(cut: it has {bytes} bytes)")), "{once}");
            assert_eq!(cut(once.clone()), once);
        }
    }

    #[test]
    fn no_failure_or_state_is_written_longer_than_that() {
        // Each control character takes six bytes of JSON.
        let long = "\u{1}".repeat(200_000);
        let engine = "e".parse().unwrap();
        let failures = [
            Failure::BadRequest { reason: long.clone() },
            Failure::TooLarge {
                what: long.clone(),
                bytes: 1,
                bytes_max: 0,
            },
            Failure::Refused {
                engine,
                failure: Box::new(Failure::Internal { reason: long.clone() }),
            },
            Failure::Silent {
                peer: long.clone(),
                waited_ms: 1,
            },
        ];
        for failure in failures {
            assert!(
                wire::to_json(&failure).len() < 7 * REASON_BYTES_MAX,
                "{failure:?}"
            );
        }
        let state = ProgramState::Failed { reason: long };
        assert!(wire::to_json(&state).len() < 7 * REASON_BYTES_MAX);
    }
}
