//! The page `book/src/protocol.md` against the types that it describes: every topic stands there, and every
//! example in JSON is read by the type that its block names, and written by it the same.
#![allow(clippy::unwrap_used)]

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use wayfare_protocol::address::Announcement;
use wayfare_protocol::command::{GivenCommand, ReportRequest};
use wayfare_protocol::device::{DeviceAsk, Reading};
use wayfare_protocol::dispatcher::{Lease, Reads, Request};
use wayfare_protocol::event::Event;
use wayfare_protocol::files::{FileAnswer, FileRequest};
use wayfare_protocol::ids::{OperationId, PeerName, ProgramId};
use wayfare_protocol::limits::{CHUNK_BYTES, PAYLOAD_BYTES_MAX};
use wayfare_protocol::log::LogBatch;
use wayfare_protocol::peer::Envelope;
use wayfare_protocol::reply::Reply;
use wayfare_protocol::status::{EngineStatus, ProgramStatus};
use wayfare_protocol::topics::{Topic, Topics};
use wayfare_protocol::trust::card::Card;
use wayfare_protocol::trust::roster::Roster;
use wayfare_protocol::values::{Changed, ValueAnswer, ValueRequest};
use wayfare_protocol::wire::{self, Message};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../book/src/protocol.md");

fn page() -> String {
    std::fs::read_to_string(PAGE).unwrap()
}

/// The topic after this one, so that a new variant is missed here by the compiler. Add it to the page as
/// well.
fn next(topic: &Topic, engine: &PeerName, program: ProgramId, operation: OperationId) -> Option<Topic> {
    let engine = engine.clone();
    Some(match topic {
        Topic::EngineCommand(_) => Topic::EngineEvent(engine),
        Topic::EngineEvent(_) => Topic::EngineStatus(engine),
        Topic::EngineStatus(_) => Topic::EngineDevice(engine),
        Topic::EngineDevice(_) => Topic::Report,
        Topic::Report => Topic::ProgramStatus(program),
        Topic::ProgramStatus(_) => Topic::ProgramLog(program),
        Topic::ProgramLog(_) => Topic::ProgramReply(program),
        Topic::ProgramReply(_) => Topic::ProgramInbox(program),
        Topic::ProgramInbox(_) => Topic::Address("service/address".parse().unwrap(), program),
        Topic::Address(..) => Topic::Peer(operation, "peer".parse().unwrap()),
        Topic::Peer(..) => Topic::Reply("client".parse().unwrap()),
        Topic::Reply(_) => Topic::DispatcherLease,
        Topic::DispatcherLease => Topic::DispatcherRequest("service".parse().unwrap()),
        Topic::DispatcherRequest(_) => Topic::DispatcherEvent,
        Topic::DispatcherEvent => Topic::Roster,
        Topic::Roster => Topic::Card("engine".parse().unwrap()),
        Topic::Card(_) => return None,
    })
}

#[test]
fn every_topic_stands_on_the_page() {
    let page = page();
    let topics: Topics = "root".parse().unwrap();
    let engine: PeerName = "engine".parse().unwrap();
    let (program, operation) = (ProgramId::from_bytes([1; 16]), OperationId::from_bytes([2; 16]));
    let mut topic = Some(Topic::EngineCommand(engine.clone()));
    while let Some(known) = topic {
        let levels = topics.topic(&known);
        let levels = levels.split('/').enumerate().map(|(at, level)| {
            // Behind root, version and kind, whatever is not a fixed word of this topic is a name or an id.
            let is_named = (at > 2 && matches!(level, "engine" | "peer" | "client" | "service")) || at == 0;
            match level {
                _ if level == program.to_string() => "{program}".to_owned(),
                _ if level == operation.to_string() => "{operation}".to_owned(),
                "service:address" => "{address}".to_owned(),
                _ if is_named => format!("{{{level}}}"),
                _ => level.to_owned(),
            }
        });
        let shown = levels.collect::<Vec<_>>().join("/");
        assert!(
            page.contains(&format!("| `{shown}` |")),
            "the table of topics lacks `{shown}`"
        );
        topic = next(&known, &engine, program, operation);
    }
}

/// Blocks of the page as (type, text).
fn examples(page: &str) -> Vec<(&str, &str)> {
    let blocks = page.split("```json,").skip(1);
    blocks
        .map(|block| {
            let (kind, rest) = block.split_once('\n').unwrap();
            let (text, _) = rest.split_once("```").unwrap();
            (kind, text)
        })
        .collect()
}

fn check<T: Serialize + DeserializeOwned>(kind: &str, text: &str) {
    let read: T = serde_json::from_str(text).unwrap_or_else(|error| panic!("{kind}: {error} in {text}"));
    check_written(kind, text, &wire::to_json(&read));
}

fn check_message<T: Message>(kind: &str, text: &str) {
    let read: T = wire::decode(text.as_bytes()).unwrap_or_else(|error| panic!("{kind}: {error} in {text}"));
    check_written(kind, text, &wire::encode(&read));
}

fn check_envelope(text: &str) {
    let framed = [&(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat();
    let (envelope, _) = Envelope::decode(&framed).unwrap();
    check_written("Envelope", text, &envelope.encode(&[])[4..]);
}

fn check_answer(text: &str) {
    let Ok(Reply::Answer(answer)) = Reply::decode(text.as_bytes()) else {
        panic!("{text}")
    };
    check_written("Answer", text, &answer.encode(Reads::TAGGED));
}

fn check_written(kind: &str, text: &str, written: &[u8]) {
    let written: Value = serde_json::from_slice(written).unwrap();
    let expected: Value = serde_json::from_str(text).unwrap();
    assert_eq!(written, expected, "{kind} is written otherwise");
}

#[test]
fn every_example_is_read_and_written_by_its_type() {
    let page = page();
    let examples = examples(&page);
    assert!(examples.len() > 15, "the page has lost its examples");
    for (kind, text) in examples {
        match kind {
            "Command" => check_message::<GivenCommand>(kind, text),
            "ReportRequest" => check_message::<ReportRequest>(kind, text),
            "Event" => check_message::<Event>(kind, text),
            "EngineStatus" => check_message::<EngineStatus>(kind, text),
            "ProgramStatus" => check_message::<ProgramStatus>(kind, text),
            "Announcement" => check_message::<Announcement>(kind, text),
            "LogBatch" => check_message::<LogBatch>(kind, text),
            "ValueChanged" => check_message::<Changed>(kind, text),
            "Lease" => check_message::<Lease>(kind, text),
            "Roster" => check_message::<Roster>(kind, text),
            "Card" => check_message::<Card>(kind, text),
            "Request" => check_message::<Request>(kind, text),
            "Envelope" => check_envelope(text),
            "Answer" => check_answer(text),
            "ValueRequest" => check::<ValueRequest>(kind, text),
            "ValueAnswer" => check::<ValueAnswer>(kind, text),
            "FileRequest" => check::<FileRequest>(kind, text),
            "FileAnswer" => check::<FileAnswer>(kind, text),
            "DeviceAsk" => check::<DeviceAsk>(kind, text),
            "Reading" => check::<Reading>(kind, text),
            // Types of `wayfare-client`, which holds the page to them.
            "LogAsk" | "LinesPage" | "OperationAsk" | "OperationRecord" => {}
            other => panic!("the page has an example of '{other}', which this test does not know"),
        }
    }
}

#[test]
fn the_limits_on_the_page_are_those_of_the_code() {
    let page = page();
    for row in [
        format!("| a payload | {} KiB |", PAYLOAD_BYTES_MAX / 1024),
        format!(
            "| a chunk | {} KiB, 16 of a blob outstanding |",
            CHUNK_BYTES / 1024
        ),
    ] {
        assert!(page.contains(&row), "{row}");
    }
}
