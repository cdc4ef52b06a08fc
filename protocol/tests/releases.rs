//! What each release wrote, and this one must read: `releases/<version>/<type>.jsonl`, a message a line, and
//! snapshots, code and stamps.
//!
//! Before a release, `WAYFARE_RECORD_RELEASE=1 cargo test -p wayfare-protocol --test releases` writes down
//! what it writes. From then on these files never change. A kind that is new has to stand in `samples`: a
//! test names the ones that are missing.
#![allow(clippy::unwrap_used)]

mod samples;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wayfare_protocol::address::Announcement;
use wayfare_protocol::code::{self, CodeTarget, SecretKey, SignedCode};
use wayfare_protocol::command::{Action, Command, ReportRequest};
use wayfare_protocol::device::{DeviceAsk, Reading, Setting};
use wayfare_protocol::dispatcher::{Lease, Reads, Request};
use wayfare_protocol::error::Failure;
use wayfare_protocol::event::{Event, EventBody, Outcome};
use wayfare_protocol::files::{FileAnswer, FileAsk, FileRequest};
use wayfare_protocol::ids::{Digest, ProgramId};
use wayfare_protocol::log::LogBatch;
use wayfare_protocol::peer::{Envelope, PeerMessage};
use wayfare_protocol::reply::Reply;
use wayfare_protocol::snapshot::{GlobalValue, HostState, MemoryImage, PAGE_BYTES, Snapshot};
use wayfare_protocol::stamp::{Purpose, Stamp};
use wayfare_protocol::status::{EngineStatus, ProgramState, ProgramStatus};
use wayfare_protocol::values::{Changed, ValueAnswer, ValueAsk, ValueRequest};
use wayfare_protocol::wire;

const RECORD: &str = "WAYFARE_RECORD_RELEASE";

fn releases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/releases")
}

/// Reads as this release reads, and writes as it writes.
fn again(kind: &str, payload: &[u8]) -> Result<Vec<u8>, String> {
    fn message<T: wire::Message>(payload: &[u8]) -> Result<Vec<u8>, String> {
        let read: T = wire::decode(payload).map_err(|error| error.to_string())?;
        Ok(wire::encode(&read))
    }
    fn part<T: Serialize + DeserializeOwned>(payload: &[u8]) -> Result<Vec<u8>, String> {
        let read: T = wire::from_json(payload).map_err(|error| error.to_string())?;
        Ok(wire::to_json(&read))
    }
    match kind {
        "Command" => message::<Command>(payload),
        "ReportRequest" => message::<ReportRequest>(payload),
        "Event" => message::<Event>(payload),
        "EngineStatus" => message::<EngineStatus>(payload),
        "ProgramStatus" => message::<ProgramStatus>(payload),
        "Announcement" => message::<Announcement>(payload),
        "LogBatch" => message::<LogBatch>(payload),
        "ValueChanged" => message::<Changed>(payload),
        "Lease" => message::<Lease>(payload),
        "Request" => message::<Request>(payload),
        "Answer" => match Reply::decode(payload) {
            Ok(Reply::Answer(answer)) => Ok(answer.encode(Reads::TAGGED)),
            other => Err(format!("{other:?}")),
        },
        "Envelope" => {
            let framed = [&(payload.len() as u32).to_le_bytes()[..], payload].concat();
            let (envelope, _) = Envelope::decode(&framed).map_err(|error| error.to_string())?;
            Ok(envelope.encode(&[])[4..].to_vec())
        }
        "ValueRequest" => part::<ValueRequest>(payload),
        "ValueAnswer" => part::<ValueAnswer>(payload),
        "FileRequest" => part::<FileRequest>(payload),
        "FileAnswer" => part::<FileAnswer>(payload),
        "DeviceAsk" => part::<DeviceAsk>(payload),
        "Reading" => part::<Reading>(payload),
        other => panic!("messages of {other} are not known: say here how they are read"),
    }
}

/// Whether `now` says all that `then` said. It may say more.
fn says_as_much(then: &Value, now: &Value) -> bool {
    match (then, now) {
        (Value::Object(then), Value::Object(now)) => then
            .iter()
            .all(|(key, then)| now.get(key).is_some_and(|now| says_as_much(then, now))),
        (Value::Array(then), Value::Array(now)) => {
            then.len() == now.len() && then.iter().zip(now).all(|(then, now)| says_as_much(then, now))
        }
        _ => then == now,
    }
}

#[test]
fn messages_of_each_release_are_read_and_lose_nothing() {
    let mut read = 0;
    for folder in std::fs::read_dir(releases()).unwrap() {
        for file in std::fs::read_dir(folder.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            let kind = path.file_stem().unwrap().to_str().unwrap();
            if path.extension().is_none_or(|ending| ending != "jsonl") {
                continue;
            }
            for line in std::fs::read_to_string(&path).unwrap().lines() {
                let mut then: Value = serde_json::from_str(line).unwrap();
                let written = again(kind, line.as_bytes());
                let written = written.unwrap_or_else(|error| panic!("{}: {error}: {line}", path.display()));
                let now = serde_json::from_slice(&written).unwrap();
                assert!(
                    says_as_much(&then, &now),
                    "{}: {line} became {now}",
                    path.display()
                );
                // As a release before tags wrote it, and as a later one may write it.
                then.as_object_mut().unwrap().remove("type");
                again(kind, then.to_string().as_bytes()).unwrap();
                then["of a later release"] = json!({ "a": [1, null] });
                again(kind, then.to_string().as_bytes()).unwrap();
                read += 1;
            }
        }
    }
    assert!(read > 100, "the releases' messages are gone");
}

#[test]
fn binary_forms_of_each_release_are_read() {
    for folder in std::fs::read_dir(releases()).unwrap() {
        let folder = folder.unwrap().path();
        let found = |name: &str| std::fs::read(folder.join(name)).unwrap();
        assert_eq!(Snapshot::decode(&found("snapshot.bin")).unwrap(), snapshot());
        let (module, target, key) = code_parts();
        let code = SignedCode::verify(found("code.bin"), module, &target, &[key.public()]).unwrap();
        assert_eq!(code.code(), b"code");
        for (name, purpose) in stamps() {
            let bytes = found(name);
            let (stamp, payload) = Stamp::take_off(&bytes);
            assert_eq!(
                (stamp, payload),
                (Some(stamp_of(purpose)), &b"hello"[..]),
                "{name}"
            );
        }
    }
}

/// The kinds that a type has, by its own word.
fn kinds<'de, T: Deserialize<'de>>(tag: &str) -> BTreeSet<String> {
    let unknown = serde::de::value::MapDeserializer::<_, serde_json::Error>::new(
        [(tag.to_owned(), Value::from("?"))].into_iter(),
    );
    kinds_in(&T::deserialize(unknown).err().unwrap().to_string())
}

fn kinds_in(error: &str) -> BTreeSet<String> {
    let named = error
        .split_once("expected")
        .unwrap_or_else(|| panic!("{error}"))
        .1;
    let words = named.split('`').skip(1).step_by(2);
    words.map(str::to_owned).collect()
}

fn check_kinds(known: &BTreeSet<String>, tag: &str, samples: impl IntoIterator<Item = Value>) {
    let shown: BTreeSet<String> = samples
        .into_iter()
        .map(|sample| sample[tag].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(&shown, known, "samples/mod.rs has not each '{tag}'");
}

#[test]
fn there_is_a_sample_of_every_kind() {
    let all: std::collections::BTreeMap<_, _> = samples::all().into_iter().collect();
    let within = |kind: &str, field: &str| -> Vec<Value> {
        all[kind].iter().map(|sample| sample[field].clone()).collect()
    };
    check_kinds(&kinds::<Action>("do"), "do", within("Command", "action"));
    check_kinds(&kinds::<EventBody>("event"), "event", all["Event"].clone());
    check_kinds(&kinds::<Outcome>("result"), "result", samples::outcomes());
    check_kinds(
        &kinds::<ProgramState>("state"),
        "state",
        samples::program_states(),
    );
    check_kinds(&kinds::<PeerMessage>("peer"), "peer", samples::peer_messages());
    check_kinds(&kinds::<ValueAsk>("do"), "do", samples::value_asks());
    check_kinds(&kinds::<ValueAnswer>("is"), "is", samples::value_answers());
    check_kinds(&kinds::<FileAsk>("do"), "do", samples::file_asks());
    check_kinds(&kinds::<FileAnswer>("is"), "is", samples::file_answers());
    check_kinds(&kinds::<DeviceAsk>("ask"), "ask", samples::device_asks());
    check_kinds(&kinds::<Reading>("is"), "is", samples::readings());
    let settings = samples::device_asks()
        .into_iter()
        .map(|ask| ask["setting"].clone());
    check_kinds(&kinds::<Setting>("to"), "to", settings.filter(Value::is_object));
    // The derived reading, which knows no unknown kind.
    let failures = Failure::deserialize(&json!({ "error": "?" })).unwrap_err();
    check_kinds(&kinds_in(&failures.to_string()), "error", samples::failures());
}

/// Otherwise a slip of the pen would be a field that nobody reads.
#[test]
fn every_sample_is_written_whole() {
    for (kind, samples) in samples::all() {
        for sample in samples {
            let written = again(kind, sample.to_string().as_bytes()).unwrap();
            let written: Value = serde_json::from_slice(&written).unwrap();
            assert!(
                says_as_much(&sample, &written),
                "{kind}: {sample} became {written}"
            );
        }
    }
}

#[test]
fn this_release_has_written_down_what_it_writes() {
    let folder = releases().join(env!("CARGO_PKG_VERSION"));
    if std::env::var_os(RECORD).is_some() {
        record(&folder);
    }
    assert!(
        folder.join("snapshot.bin").exists(),
        "{} is not there: {RECORD}=1 makes it",
        folder.display()
    );
}

fn record(folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    for (kind, samples) in samples::all() {
        let mut lines = String::new();
        for sample in samples {
            let written = again(kind, sample.to_string().as_bytes());
            let written = written.unwrap_or_else(|error| panic!("{kind}: {error}: {sample}"));
            lines += &String::from_utf8(written).unwrap();
            lines.push('\n');
        }
        std::fs::write(folder.join(format!("{kind}.jsonl")), lines).unwrap();
    }
    std::fs::write(folder.join("snapshot.bin"), snapshot().encode()).unwrap();
    let (module, target, key) = code_parts();
    let code = code::sign(module, &target, "wayfare", b"code", &key).unwrap();
    std::fs::write(folder.join("code.bin"), code).unwrap();
    for (name, purpose) in stamps() {
        std::fs::write(folder.join(name), stamp_of(purpose).put_on(b"hello")).unwrap();
    }
}

fn code_parts() -> (Digest, CodeTarget, SecretKey) {
    let target = CodeTarget {
        architecture: "pulley32".into(),
        wasmtime: "48.0.8".into(),
        abi: "2 blocking".into(),
    };
    (Digest::of(b"module"), target, SecretKey::from_random([1; 32]))
}

fn stamps() -> [(&'static str, Purpose); 3] {
    let reply_to = "wayfare/v1/program/4d913814b0f24e0c8a52b6a1d3c1f9aa/reply".into();
    [
        ("stamp-message.bin", Purpose::Message),
        ("stamp-request.bin", Purpose::Request { reply_to }),
        ("stamp-reply.bin", Purpose::Reply { answers: 3 }),
    ]
}

fn stamp_of(purpose: Purpose) -> Stamp {
    Stamp {
        sender: ProgramId::from_bytes([7; 16]),
        number: (1 << 32) + 5,
        purpose,
    }
}

fn snapshot() -> Snapshot {
    let host: HostState = serde_json::from_value(json!({
        "monotonic_ns": 5, "blocked_until_ns": 9, "stdin_offset": 3, "environment": ["TZ=UTC"],
        "stdout_open": [104], "stderr_open": [], "log_next": 8, "log_unacknowledged_from": 7,
        "log_tail": [{ "line": 7, "stream": "stdout", "text": "x", "at_ms": 1 }],
        "mail_arrived": 2, "errand_next": 4, "outputs": { "led": true },
    }))
    .unwrap();
    Snapshot {
        module: Digest::of(b"module"),
        abi: 2,
        base: Some(Digest::of(b"base")),
        frames: vec![1, 2, 3],
        globals: vec![
            GlobalValue::I32(1),
            GlobalValue::I64(2),
            GlobalValue::F32(3),
            GlobalValue::F64(4),
            GlobalValue::V128(5),
            GlobalValue::Function(Some(6)),
        ],
        memories: vec![MemoryImage {
            bytes: 131_072,
            pages: [(3, Box::new([9; PAGE_BYTES]))].into(),
        }],
        tables: vec![vec![None, Some(1)]],
        references: vec![Some(2)],
        host: HostState {
            mail: b"mail".to_vec(),
            files: b"files".to_vec(),
            ..host
        },
    }
}
