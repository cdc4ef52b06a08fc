//! Calls that wait for the fleet's dispatcher, left for a capture and issued again elsewhere.

use super::*;
use crate::{Reply, ServiceAsk, ServiceRequest};
use wayfare_protocol::files::{FileAnswer, FileAsk, FileGrant, FileKind, FileRefusal, FileStat, Place};
use wayfare_protocol::values::{ValueAnswer, ValueAsk};

/// Sets a value, and ends with the error's number, or with 0 if its version was 7.
const SETTER: &str = r#"
(module
  (import "wayfare_v1" "state_set" (func $set (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "key")
  (data (i32.const 16) "value")
  (func (export "_start") (local $errno i32)
    (local.set $errno (call $set (i32.const 0) (i32.const 3) (i32.const 16) (i32.const 5) (i32.const 32)))
    (if (local.get $errno) (then (call $exit (local.get $errno))))
    (call $exit (i64.ne (i64.load (i32.const 32)) (i64.const 7)))))
"#;

impl Run {
    pub(super) fn asks(&self) -> ServiceRequest {
        match self.next_but_lines() {
            ProcessEvent::Asks(asked) => asked,
            event => panic!("{event:?}"),
        }
    }
}

fn ends_with(answer: Result<ValueAnswer, Failure>) -> ProgramState {
    let run = Plan::of(SETTER).start();
    run.process
        .service_answered(run.asks().request, answer.map(Reply::Value));
    run.end().1
}

#[test]
fn what_was_asked_is_asked_again_under_its_number_wherever_the_program_goes_on() {
    let plan = Plan::of(SETTER);
    let run = plan.start();
    let first = run.asks();
    assert!(
        matches!(&first.what, ServiceAsk::Value(ValueAsk::Set { key, value })
        if key.as_str() == "test/key" && value.as_bytes() == b"value")
    );
    // A copy in place: it goes on waiting, and asks nothing new.
    run.capture(true);
    assert!(run.process.is_waiting_for(first.request));
    let snapshot = run.capture(false);
    let moved = plan.restore(through_the_wire(&snapshot));
    let again = moved.asks();
    assert_eq!((again.number, &again.what), (first.number, &first.what));
    assert_ne!(again.request, first.request);
    let set = || Ok(Reply::Value(ValueAnswer::Set { version: 7 }));
    moved.process.service_answered(first.request, set());
    assert!(
        moved.process.is_waiting_for(again.request),
        "the other engine's answer"
    );
    moved.process.service_answered(again.request, set());
    assert_eq!(moved.end().1, ProgramState::Exited { code: 0 });
}

/// Sets a value twice.
const TWICE: &str = r#"
(module
  (import "wayfare_v1" "state_set" (func $set (param i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "key")
  (func $once
    (drop (call $set (i32.const 0) (i32.const 3) (i32.const 16) (i32.const 5) (i32.const 32))))
  (func (export "_start") (call $once) (call $once)))
"#;

#[test]
fn a_life_asks_under_numbers_of_its_own_but_for_what_was_asked_before_it() {
    let plan = Plan::of(TWICE);
    let set = || Ok(Reply::Value(ValueAnswer::Set { version: 7 }));
    let answered = |run: &Run| {
        let asked = run.asks();
        run.process.service_answered(asked.request, set());
        asked.number
    };
    let begun = Generation(1001);
    let first = 1000 << 32;
    let run = plan.begin_life(begun, None);
    run.asks();
    let waits = run.capture(false);
    let moved = plan.restore(through_the_wire(&waits));
    assert_eq!(
        (answered(&moved), answered(&moved)),
        (first, first + 1),
        "it goes on with its life"
    );
    moved.end_well();
    // Under its id, from a snapshot that was made while it waited for an answer in the life before.
    let other = plan.begin_life(Generation(2001), Some(through_the_wire(&waits)));
    assert_eq!((answered(&other), answered(&other)), (first, 2000 << 32));
    // It has asked so much since, that nobody knows whether this was done.
    let late = plan.begin_life(Generation(3001), Some(through_the_wire(&waits)));
    let stale = late.asks();
    assert_eq!(stale.number, first);
    let answer = Ok(Reply::Value(ValueAnswer::Stale));
    late.process.service_answered(stale.request, answer);
    assert_eq!((answered(&late), answered(&late)), (3000 << 32, (3000 << 32) + 1));
    // Set back by a crash, its record says again when its life began.
    let again = plan.begin_life(Generation(2001), Some(through_the_wire(&waits)));
    assert_eq!((answered(&again), answered(&again)), (first, 2000 << 32));
}

#[test]
fn refusals_are_errors_to_the_program() {
    let failure = Failure::Internal {
        reason: "no disk".into(),
    };
    for (answer, code) in [
        (Ok(ValueAnswer::Conflict { version: 2 }), 10),
        (Ok(ValueAnswer::Full), 42),
        (Ok(ValueAnswer::Stale), 29),
        (Err(failure), 29),
    ] {
        assert_eq!(
            ends_with(answer.clone()),
            ProgramState::Exited { code },
            "{answer:?}"
        );
    }
}

/// Captured while it waits, and restored when its time is over.
#[test]
fn where_no_dispatcher_answers_the_call_fails_in_time_and_says_so() {
    let plan = Plan::of(SETTER);
    let run = plan.start();
    run.asks();
    let mut snapshot = run.capture(false);
    let until_ns = snapshot.host.blocked_until_ns.expect("it waits for an answer");
    let left_ns = until_ns - snapshot.host.monotonic_ns;
    assert!((1..=30_000_000_000).contains(&left_ns), "{left_ns}");
    snapshot.host.blocked_until_ns = Some(snapshot.host.monotonic_ns);
    let late = plan.restore(through_the_wire(&snapshot));
    let (lines, state) = late.end();
    assert_eq!(state, ProgramState::Exited { code: 29 });
    let said = String::from_utf8_lossy(lines[0].text.as_bytes()).into_owned();
    assert!(
        said.contains("set 'test/key': no dispatcher answered for 30 s; start one with 'wayfare dispatcher'"),
        "{said}"
    );
}

#[test]
fn keys_and_values_are_checked() {
    let call = "(call $set (i32.const 0) (i32.const 3) (i32.const 16) (i32.const 5) (i32.const 32))";
    for (arguments, code) in [
        (
            "(i32.const 0) (i32.const 0) (i32.const 16) (i32.const 5) (i32.const 32)",
            28,
        ),
        (
            "(i32.const 0) (i32.const 4) (i32.const 16) (i32.const 5) (i32.const 32)",
            28,
        ),
        (
            "(i32.const 0) (i32.const 257) (i32.const 16) (i32.const 5) (i32.const 32)",
            28,
        ),
        (
            "(i32.const 65535) (i32.const 2) (i32.const 16) (i32.const 5) (i32.const 32)",
            21,
        ),
        (
            "(i32.const 0) (i32.const 3) (i32.const 0) (i32.const 65537) (i32.const 32)",
            21,
        ),
        (
            "(i32.const 0) (i32.const 3) (i32.const 16) (i32.const 5) (i32.const 65529)",
            21,
        ),
    ] {
        let text = SETTER.replace(call, &format!("(call $set {arguments})"));
        assert_eq!(
            Plan::of(&text).start().end().1,
            ProgramState::Exited { code },
            "{arguments}"
        );
    }
    let large = SETTER
        .replace(
            call,
            "(call $set (i32.const 0) (i32.const 3) (i32.const 16) (i32.const 65537) (i32.const 32))",
        )
        .replace("\"memory\") 1)", "\"memory\") 2)");
    assert_eq!(
        Plan::of(&large).start().end().1,
        ProgramState::Exited { code: 35 }
    );
}

/// Opens `/fleet/f` for writing, writes 5 bytes at its offset twice, and ends with the first error's number.
const WRITER: &str = r#"
(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "f")
  (data (i32.const 16) "value")
  (func $must (param $errno i32)
    (if (local.get $errno) (then (call $exit (local.get $errno)))))
  (func (export "_start")
    (i32.store (i32.const 32) (i32.const 16))
    (i32.store (i32.const 36) (i32.const 5))
    (call $must (call $open (i32.const 4) (i32.const 0) (i32.const 0) (i32.const 1)
      (i32.const 1) (i64.const 66) (i64.const 0) (i32.const 0) (i32.const 64)))
    (call $must (call $write (i32.load (i32.const 64)) (i32.const 32) (i32.const 1) (i32.const 68)))
    (call $must (call $write (i32.load (i32.const 64)) (i32.const 32) (i32.const 1) (i32.const 68)))
    (call $exit (i32.const 0))))
"#;

fn writer(grant: &str) -> Plan {
    let mut plan = Plan::of(WRITER);
    let grant = FileGrant::try_from(grant.to_owned()).unwrap();
    plan.spec.grants = Box::new(wayfare_protocol::grants::Grants {
        fs: vec![grant],
        ..Default::default()
    });
    plan
}

fn opened() -> Result<Reply, Failure> {
    Ok(Reply::File(FileAnswer::Opened {
        stat: FileStat {
            node: 7,
            kind: FileKind::File,
            bytes: 0,
            modified_ms: 1,
            version: 1,
            removed: false,
        },
        basis: 20,
        writer: 3,
    }))
}

fn place_of(asked: &ServiceRequest) -> Place {
    match &asked.what {
        ServiceAsk::File {
            ask:
                FileAsk::Write {
                    node: 7,
                    writer: 3,
                    place,
                    data,
                },
            ..
        } if data.as_bytes() == b"value" => *place,
        other => panic!("{other:?}"),
    }
}

#[test]
fn files_of_the_fleet_are_written_on_where_the_program_goes_on() {
    let plan = writer("/fleet:rw");
    let run = plan.start();
    let first = run.asks();
    assert!(
        matches!(&first.what, ServiceAsk::File { ask: FileAsk::Open { path, .. }, .. } if path.as_str() == "/fleet/f")
    );
    run.process.service_answered(first.request, opened());
    let write = run.asks();
    let at = |offset, basis| Place::At {
        offset,
        basis: Some(basis),
    };
    assert_eq!((write.number, place_of(&write)), (1, at(0, 20)));
    let snapshot = run.capture(false);
    let moved = plan.restore(through_the_wire(&snapshot));
    let again = moved.asks();
    assert_eq!((again.number, &again.what), (write.number, &write.what));
    let written = |end, basis| Ok(Reply::File(FileAnswer::Written { end, basis }));
    moved.process.service_answered(again.request, written(5, 21));
    let next = moved.asks();
    assert_eq!((next.number, place_of(&next)), (2, at(5, 21)));
    moved.process.service_answered(next.request, written(10, 22));
    assert_eq!(moved.end().1, ProgramState::Exited { code: 0 });
}

/// Renames `/fleet/d/` to `/fleet/e`, and ends with the error's number.
const RENAMER: &str = r#"
(module
  (import "wasi_snapshot_preview1" "path_rename" (func $rename (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "d/e")
  (func (export "_start")
    (call $exit (call $rename
      (i32.const 4) (i32.const 0) (i32.const 2) (i32.const 4) (i32.const 2) (i32.const 1)))))
"#;

/// When the rename is asked for again it may be done, and the folder not be found any more.
#[test]
fn what_a_path_says_is_asked_before_a_change_and_not_again_with_it() {
    let mut plan = writer("/fleet:rw");
    plan.loaded = load(RENAMER);
    let kind = |kind| {
        let stat = FileStat {
            node: 7,
            kind,
            bytes: 0,
            modified_ms: 1,
            version: 0,
            removed: false,
        };
        Ok(Reply::File(FileAnswer::Stat { stat }))
    };
    let run = plan.start();
    run.process
        .service_answered(run.asks().request, kind(FileKind::File));
    assert_eq!(run.end().1, ProgramState::Exited { code: 54 });
    let run = plan.start();
    let is_asked = |asked: &ServiceRequest| matches!(&asked.what, ServiceAsk::File { ask: FileAsk::Stat { path }, .. } if path.as_str() == "/fleet/d");
    assert!(is_asked(&run.asks()));
    let run = plan.restore(through_the_wire(&run.capture(false)));
    let first = run.asks();
    assert!(is_asked(&first));
    run.process
        .service_answered(first.request, kind(FileKind::Folder));
    let rename = run.asks();
    let moved = plan.restore(through_the_wire(&run.capture(false)));
    let again = moved.asks();
    assert_eq!((again.number, &again.what), (rename.number, &rename.what));
    assert!(matches!(
        &again.what,
        ServiceAsk::File {
            ask: FileAsk::Rename { .. },
            ..
        }
    ));
    moved
        .process
        .service_answered(again.request, Ok(Reply::File(FileAnswer::Done)));
    assert_eq!(moved.end().1, ProgramState::Exited { code: 0 });
}

#[test]
fn what_is_not_granted_or_cannot_be_is_an_error_to_the_program() {
    for grant in ["/fleet/other:rw", "/fleet:ro"] {
        let (lines, state) = writer(grant).start().end();
        assert_eq!(state, ProgramState::Exited { code: 76 }, "{grant}");
        let said = format!("{lines:?}");
        assert!(
            said.contains("not granted: write '/fleet/f'; --allow-fs /fleet/f:rw"),
            "{said}"
        );
    }
    for (why, code) in [
        (FileRefusal::Changed, 10),
        (FileRefusal::Full, 51),
        (FileRefusal::Gone, 72),
        (FileRefusal::Stale, 29),
    ] {
        let run = writer("/fleet/f:rw").start();
        run.process.service_answered(run.asks().request, opened());
        let refused = Ok(Reply::File(FileAnswer::Refused { why }));
        run.process.service_answered(run.asks().request, refused);
        assert_eq!(run.end().1, ProgramState::Exited { code }, "{why:?}");
    }
}
