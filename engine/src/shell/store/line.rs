//! One line of the journal.
//!
//! ```text
//!  kind ' ' id ' ' check of both, 8 ' ' check of the line, 16 ' ' JSON of the record, or '-' if erased '\n'
//! ```
//! Checks are the first hexadecimal digits of a BLAKE3. The key has one of its own, so that a line whose
//! content is damaged still says which record it was about: an older line of that record must not pass for
//! the newest.

use wayfare_core::types::{Record, RecordKey};
use wayfare_protocol::ids::Digest;

const KEY_CHECK_DIGITS: usize = 8;
const LINE_CHECK_DIGITS: usize = 16;
const ERASED: &str = "-";

/// What a line says.
#[expect(clippy::large_enum_variant, reason = "one at a time, and taken apart at once")]
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    Stored(Record),
    Erased(RecordKey),
    /// Unreadable; the key where that much is sound.
    Damaged(Option<RecordKey>),
}

pub(super) fn stored(record: &Record) -> Vec<u8> {
    let json = serde_json::to_string(record).expect("plain data serialises");
    encode(record.key(), &json)
}

pub(super) fn erased(key: RecordKey) -> Vec<u8> {
    encode(key, ERASED)
}

fn encode(key: RecordKey, body: &str) -> Vec<u8> {
    let key = key_text(key);
    let key_check = check(&key, KEY_CHECK_DIGITS);
    let line_check = check(&format!("{key} {body}"), LINE_CHECK_DIGITS);
    format!("{key} {key_check} {line_check} {body}\n").into_bytes()
}

/// `line` is without its newline.
pub(super) fn decode(line: &[u8]) -> Line {
    let Some((key, rest)) = decode_key(line) else {
        return Line::Damaged(None);
    };
    decode_body(key, rest).unwrap_or(Line::Damaged(Some(key)))
}

fn decode_key(line: &[u8]) -> Option<(RecordKey, &[u8])> {
    let mut parts = line.splitn(4, |byte| *byte == b' ');
    let kind = std::str::from_utf8(parts.next()?).ok()?;
    let id = std::str::from_utf8(parts.next()?).ok()?;
    let key_check = parts.next()?;
    if check(&format!("{kind} {id}"), KEY_CHECK_DIGITS).as_bytes() != key_check {
        return None;
    }
    let key = match kind {
        "operation" => RecordKey::Operation(id.parse().ok()?),
        "program" => RecordKey::Program(id.parse().ok()?),
        "arrival" => RecordKey::Arrival(id.parse().ok()?),
        _ => return None,
    };
    Some((key, parts.next().unwrap_or_default()))
}

fn decode_body(key: RecordKey, rest: &[u8]) -> Option<Line> {
    let (line_check, body) = std::str::from_utf8(rest).ok()?.split_once(' ')?;
    if check(&format!("{} {body}", key_text(key)), LINE_CHECK_DIGITS) != line_check {
        return None;
    }
    if body == ERASED {
        return Some(Line::Erased(key));
    }
    let record: Record = serde_json::from_str(body).ok()?;
    (record.key() == key).then_some(Line::Stored(record))
}

fn key_text(key: RecordKey) -> String {
    match key {
        RecordKey::Operation(id) => format!("operation {id}"),
        RecordKey::Program(id) => format!("program {id}"),
        RecordKey::Arrival(id) => format!("arrival {id}"),
    }
}

fn check(text: &str, digits: usize) -> String {
    let mut check = Digest::of(text.as_bytes()).to_string();
    check.truncate(digits);
    check
}

#[cfg(test)]
mod tests {
    use super::*;
    use wayfare_core::types::{ArrivalRecord, Verdict};
    use wayfare_protocol::ids::{Generation, OperationId};

    fn record() -> Record {
        Record::Arrival(ArrivalRecord {
            operation: OperationId::random(),
            sequence: 3,
            verdict: Verdict::Adopted {
                generation: Generation(7),
            },
        })
    }

    #[test]
    fn lines_come_back_and_every_flipped_bit_is_noticed() {
        let record = record();
        let line = stored(&record);
        let line = line.strip_suffix(b"\n").unwrap();
        assert_eq!(decode(line), Line::Stored(record.clone()));
        for at in 0..line.len() {
            for bit in 0..8 {
                let mut bad = line.to_vec();
                bad[at] ^= 1 << bit;
                match decode(&bad) {
                    Line::Damaged(key) => assert!(key.is_none_or(|key| key == record.key()), "{at}.{bit}"),
                    // The ids' digits are read in either case.
                    Line::Stored(same) => assert_eq!(same, record, "{at}.{bit}"),
                    Line::Erased(_) => panic!("byte {at} bit {bit}"),
                }
            }
        }
        for cut in 0..line.len() {
            assert!(matches!(decode(&line[..cut]), Line::Damaged(_)), "{cut}");
        }
    }

    #[test]
    fn a_damaged_content_still_names_its_record() {
        let record = record();
        let mut line = stored(&record);
        line.pop();
        *line.last_mut().unwrap() ^= 1;
        assert_eq!(decode(&line), Line::Damaged(Some(record.key())));
    }

    #[test]
    fn erasures_come_back() {
        let key = record().key();
        let line = erased(key);
        assert_eq!(decode(line.strip_suffix(b"\n").unwrap()), Line::Erased(key));
    }
}
