//! Output becomes lines; back pressure; what a restored program says again.

use super::*;

/// Prints lines of a growing number for ever, or `count` of them.
fn prints(count: u32) -> String {
    format!(
        r#"(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start") (local $n i32)
    (i32.store (i32.const 0) (i32.const 64))
    (i32.store (i32.const 4) (i32.const 9))
    (loop $l
      (i64.store (i32.const 64) (i64.const 0x3030303030303030))
      (i32.store8 (i32.const 72) (i32.const 10))
      (i32.store8 (i32.const 71) (i32.add (i32.const 48) (i32.rem_u (local.get $n) (i32.const 10))))
      (i32.store8 (i32.const 70) (i32.add (i32.const 48) (i32.rem_u (i32.div_u (local.get $n) (i32.const 10)) (i32.const 10))))
      (i32.store8 (i32.const 69) (i32.add (i32.const 48) (i32.rem_u (i32.div_u (local.get $n) (i32.const 100)) (i32.const 10))))
      (i32.store8 (i32.const 68) (i32.add (i32.const 48) (i32.rem_u (i32.div_u (local.get $n) (i32.const 1000)) (i32.const 10))))
      (if (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)) (then unreachable))
      (if (i32.ne (i32.load (i32.const 16)) (i32.const 9)) (then unreachable))
      (local.set $n (i32.add (local.get $n) (i32.const 1)))
      (br_if $l (i32.ne (local.get $n) (i32.const {count}))))))"#
    )
}

fn expect_in_order(lines: &[LogLine], first: u64) {
    for (line, number) in lines.iter().zip(first..) {
        assert_eq!(line.line, number);
        assert_eq!(line.text.as_bytes(), format!("{:08}", number % 10_000).as_bytes());
    }
}

#[test]
fn both_streams_are_numbered_together_and_open_ends_are_lines() {
    let run = Plan::of(
        r#"(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 64) "out\nerr\nrest")
  (func $say (param $fd i32) (param $at i32) (param $bytes i32)
    (i32.store (i32.const 0) (local.get $at))
    (i32.store (i32.const 4) (local.get $bytes))
    (drop (call $write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 16))))
  (func (export "_start")
    (call $say (i32.const 1) (i32.const 64) (i32.const 4))
    (call $say (i32.const 2) (i32.const 68) (i32.const 8))
    (call $say (i32.const 1) (i32.const 72) (i32.const 2))))"#,
    )
    .start();
    let (lines, state) = run.end();
    assert_eq!(state, ProgramState::Exited { code: 0 });
    let seen: Vec<_> = lines
        .iter()
        .map(|l| (l.line, l.stream, l.text.as_bytes(), l.open))
        .collect();
    assert_eq!(
        seen,
        [
            (0, Stream::Stdout, &b"out"[..], false),
            (1, Stream::Stderr, b"err", false),
            (2, Stream::Stdout, b"re", true),
            (3, Stream::Stderr, b"rest", true),
        ]
    );
    assert!(lines[0].at_ms > 1_700_000_000_000);
    assert_eq!(
        run.process.log_tail(2).0.len(),
        2,
        "the tail stays when it has ended"
    );
}

#[test]
fn a_program_that_prints_too_fast_waits_and_can_be_captured_there() {
    let plan = Plan::of(&prints(9000));
    let run = plan.start();
    run.wait_for_lines();
    // Nobody takes lines: it fills its log and waits.
    while run.process.log_tail(u64::MAX).1 < 4096 {
        std::thread::yield_now();
    }
    run.expect_quiet(Duration::from_millis(20));
    let snapshot = run.capture(false);
    assert_eq!(
        (snapshot.host.log_next, snapshot.host.log_unacknowledged_from),
        (4096, 0)
    );
    run.process.unfreeze();
    let moved = plan.restore(through_the_wire(&snapshot));
    for run in [run, moved] {
        let (lines, state) = run.end();
        assert_eq!(state, ProgramState::Exited { code: 0 });
        assert_eq!(lines.len(), 9000);
        expect_in_order(&lines, 0);
    }
}

#[test]
fn without_a_broker_a_program_goes_on_and_loses_the_oldest_lines() {
    let run = Plan::of(&prints(9000)).launch(None, true);
    run.expect_started();
    run.process.set_connected(false);
    run.process.unfreeze();
    assert!(matches!(
        run.next_but_lines(),
        ProcessEvent::Ended(ProgramState::Exited { code: 0 })
    ));
    let lines = run.process.take_lines(usize::MAX);
    assert_eq!(lines.len(), 4096);
    expect_in_order(&lines, 9000 - 4096);
}

#[test]
fn losing_the_broker_lets_a_waiting_program_go_on() {
    let run = Plan::of(&prints(9000)).start();
    run.wait_for_lines();
    run.expect_quiet(Duration::from_millis(20));
    run.process.set_connected(false);
    assert!(matches!(
        run.next(),
        ProcessEvent::Ended(ProgramState::Exited { code: 0 })
    ));
}

#[test]
fn lines_gather_while_nobody_takes_them() {
    let run = Plan::of(&prints(3000)).start();
    run.wait_for_lines();
    assert!(
        matches!(run.next(), ProcessEvent::Ended(_)),
        "one announcement for all lines"
    );
    let mut lines = Vec::new();
    loop {
        let batch = run.process.take_lines(100_000);
        if batch.is_empty() {
            break;
        }
        assert!(serde_json::to_vec(&batch).unwrap().len() <= 100_000);
        lines.extend(batch);
    }
    assert_eq!(lines.len(), 3000);
    expect_in_order(&lines, 0);
}

#[test]
fn a_restored_program_says_again_what_was_not_acknowledged() {
    let plan = Plan::of(&prints(0));
    let run = plan.start();
    let lines = run.lines(2000);
    run.process.acknowledge_log(1500);
    let snapshot = run.capture(false);
    assert_eq!(snapshot.host.log_unacknowledged_from, 1500);
    let moved = plan.launch(Some(through_the_wire(&snapshot)), true);
    moved.expect_started();
    moved.wait_for_lines();
    let again = moved.process.take_lines(usize::MAX);
    expect_in_order(&again, 1500);
    assert_eq!(again[0], lines[1500], "as it was, with its time");
    assert_eq!(again.len() as u64, snapshot.host.log_next - 1500);
}
