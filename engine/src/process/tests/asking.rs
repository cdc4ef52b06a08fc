//! Calls that wait for the fleet's dispatcher, left for a capture and issued again elsewhere.

use super::*;
use crate::process::Errand;
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
    fn asks(&self) -> Errand {
        match self.next_but_lines() {
            ProcessEvent::Asks(errand) => errand,
            event => panic!("{event:?}"),
        }
    }
}

fn ends_with(answer: Result<ValueAnswer, Failure>) -> ProgramState {
    let run = Plan::of(SETTER).start();
    run.process.errand_answered(run.asks().request, answer);
    run.end().1
}

#[test]
fn what_was_asked_is_asked_again_under_its_number_wherever_the_program_goes_on() {
    let plan = Plan::of(SETTER);
    let run = plan.start();
    let first = run.asks();
    assert!(matches!(&first.what, ValueAsk::Set { key, value }
        if key.as_str() == "test/key" && value.as_bytes() == b"value"));
    // A copy in place: it goes on waiting, and asks nothing new.
    run.capture(true);
    assert!(run.process.is_waiting_for(first.request));
    let snapshot = run.capture(false);
    let moved = plan.restore(through_the_wire(&snapshot));
    let again = moved.asks();
    assert_eq!((again.number, &again.what), (first.number, &first.what));
    assert_ne!(again.request, first.request);
    let set = || Ok(ValueAnswer::Set { version: 7 });
    moved.process.errand_answered(first.request, set());
    assert!(
        moved.process.is_waiting_for(again.request),
        "the other engine's answer"
    );
    moved.process.errand_answered(again.request, set());
    assert_eq!(moved.end().1, ProgramState::Exited { code: 0 });
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
