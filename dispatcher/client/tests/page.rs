//! Holds the examples of `book/src/protocol.md` whose types are this crate's to those types.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use wayfare_client::operations::{OperationAsk, OperationRecord};
use wayfare_client::stored_logs::{LinesPage, LogAsk};

fn check<T: Serialize + DeserializeOwned>(kind: &str, text: &str) -> bool {
    let read: T = serde_json::from_str(text).unwrap_or_else(|error| panic!("{kind}: {error} in {text}"));
    let expected: Value = serde_json::from_str(text).unwrap();
    assert_eq!(
        serde_json::to_value(read).unwrap(),
        expected,
        "{kind} is written otherwise"
    );
    true
}

#[test]
fn every_example_of_a_services_question_is_read_and_written_by_its_type() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../book/src/protocol.md");
    let page = std::fs::read_to_string(path).unwrap();
    let mut count = 0;
    for block in page.split("```json,").skip(1) {
        let (kind, rest) = block.split_once('\n').unwrap();
        let (text, _) = rest.split_once("```").unwrap();
        count += u32::from(match kind {
            "LogAsk" => check::<LogAsk>(kind, text),
            "LinesPage" => check::<LinesPage>(kind, text),
            "OperationAsk" => check::<OperationAsk>(kind, text),
            "OperationRecord" => check::<OperationRecord>(kind, text),
            _ => false,
        });
    }
    assert!(count >= 7, "the page has lost its examples");
}
