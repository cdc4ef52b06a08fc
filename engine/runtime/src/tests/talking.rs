//! Calls that wait for messages, left for a capture and issued again elsewhere.

use wayfare_mail::{Accepted, INBOX_MESSAGES_MAX, ReceivedMessage};
use wayfare_protocol::qos::Qos;

use super::*;

/// Subscribes, then prints the payloads of two messages.
const LISTENER: &str = r#"
(module
  (import "wayfare_v1" "subscribe" (func $subscribe (param i32 i32 i32) (result i32)))
  (import "wayfare_v1" "receive" (func $receive (param i64 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "in/a")
  (func $print_next (local $errno i32)
    (local.set $errno (call $receive (i64.const -1) (i32.const 1000) (i32.const 4000) (i32.const 500)))
    (if (local.get $errno) (then (call $exit (local.get $errno))))
    (i32.store (i32.const 100) (i32.const 1044))
    (i32.store (i32.const 104) (i32.load (i32.const 1008)))
    (drop (call $fd_write (i32.const 1) (i32.const 100) (i32.const 1) (i32.const 108))))
  (func (export "_start") (local $errno i32)
    (local.set $errno (call $subscribe (i32.const 0) (i32.const 4) (i32.const 1)))
    (if (local.get $errno) (then (call $exit (local.get $errno))))
    (call $print_next)
    (call $print_next)))
"#;

fn listener(granted: &str) -> Plan {
    let mut plan = Plan::of(LISTENER);
    plan.spec.grants.subscribe = vec![granted.into()];
    plan
}

/// As the session does it: when the program has asked for it.
fn grant(run: &Run) {
    let mailbox = run.process.mailbox();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        while mailbox.with(|mail| mail.is_granted("in/a")).is_none() {
            mailbox.changed().await;
        }
    });
    mailbox.granted("in/a", Qos::AtLeastOnce);
}

#[test]
fn a_program_waits_for_its_subscription_and_its_messages_wherever_it_is() {
    let run = listener("in/#").start();
    let blocked_in_subscribe = run.capture(false);
    let run = listener("in/#").restore(through_the_wire(&blocked_in_subscribe));
    grant(&run);
    assert!(matches!(
        run.process.mailbox().accept("in/a", b"one\n", false),
        Accepted::Taken(_)
    ));
    assert_eq!(stdout(&run.lines(1)), "one\n");
    run.process.acknowledge_log(1);
    let blocked_in_receive = run.capture(false);
    let run = listener("in/#").restore(through_the_wire(&blocked_in_receive));
    run.process.mailbox().accept("in/a", b"two\n", false);
    assert_eq!(run.end_well(), "two\n");
}

#[test]
fn messages_that_were_not_taken_travel() {
    let run = listener("in/#").start();
    // It waits for its subscription, and takes nothing.
    for text in [b"one\n", b"two\n"] {
        run.process.mailbox().accept("in/a", text, false);
    }
    let snapshot = run.capture(false);
    assert_eq!(snapshot.host.mail_arrived, 2);
    let run = listener("in/#").restore(through_the_wire(&snapshot));
    grant(&run);
    assert_eq!(run.end_well(), "one\ntwo\n");
}

/// The session may be quicker than the program's thread.
#[test]
fn what_was_journaled_is_there_before_anything_new_comes() {
    let run = listener("in/#").start();
    run.process.mailbox().accept("in/a", b"", false);
    let snapshot = run.capture(false);
    let mut plan = listener("in/#");
    plan.journaled = (1..3)
        .map(|number| ReceivedMessage {
            number,
            topic: "in/a".into(),
            payload: format!("{number}\n").into_bytes(),
            retained: false,
            stamp: None,
        })
        .collect();
    let run = plan.launch(Some(snapshot), false);
    let accepted = run.process.mailbox().accept("in/a", b"3\n", false);
    assert!(
        matches!(&accepted, Accepted::Taken(message) if message.number == 3),
        "{accepted:?}"
    );
    run.expect_started();
    grant(&run);
    assert_eq!(run.end_well(), "1\n");
}

#[test]
fn a_full_inbox_takes_no_more_and_what_is_not_granted_is_refused() {
    let run = listener("in/#").start();
    let mailbox = run.process.mailbox();
    for _ in 0..INBOX_MESSAGES_MAX {
        assert!(matches!(mailbox.accept("in/a", b"x", false), Accepted::Taken(_)));
    }
    assert_eq!(mailbox.accept("in/a", b"x", false), Accepted::Full);

    let (lines, state) = listener("other").start().end();
    assert_eq!(state, ProgramState::Exited { code: 76 });
    let said = String::from_utf8_lossy(lines[0].text.as_bytes()).into_owned();
    assert!(said.contains("not granted: subscribe 'in/a'"), "{said}");
}
