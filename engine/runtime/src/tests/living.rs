//! Freezing, capturing in place, restoring, discarding; clocks.

use super::*;

/// Counts in memory for ever.
const COUNTS: &str = r#"(module
  (memory (export "memory") 1)
  (func (export "_start")
    (loop $l
      (i64.store (i32.const 1024) (i64.add (i64.load (i32.const 1024)) (i64.const 1)))
      (br $l))))"#;

/// Sleeps for the nanoseconds in its code, then exits with the seconds that its clock went on meanwhile.
fn sleeps(ns: u64) -> String {
    format!(
        r#"(module
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func $time (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (i32.store (i32.const 16) (i32.const 1)) ;; monotonic
    (i64.store (i32.const 24) (i64.const {ns}))
    (drop (call $time (i32.const 1) (i64.const 0) (i32.const 512)))
    (if (call $poll (i32.const 0) (i32.const 128) (i32.const 1) (i32.const 256)) (then unreachable))
    (drop (call $time (i32.const 1) (i64.const 0) (i32.const 520)))
    (call $exit (i32.wrap_i64 (i64.div_u
      (i64.sub (i64.load (i32.const 520)) (i64.load (i32.const 512)))
      (i64.const 1000000))))))"#
    )
}

fn count(snapshot: &Snapshot) -> u64 {
    snapshot.memories[0]
        .pages
        .get(&0)
        .map_or(0, |page| u64::from_le_bytes(page[1024..1032].try_into().unwrap()))
}

/// Captures it until it has counted further.
fn counted_beyond(run: &Run, count_before: u64) -> Snapshot {
    let asked = Instant::now();
    while asked.elapsed() < PATIENCE {
        let snapshot = run.capture(true);
        if count(&snapshot) > count_before {
            return snapshot;
        }
        std::thread::yield_now();
    }
    panic!("it does not count on");
}

#[test]
fn a_frozen_program_stands_still_and_goes_on_in_place() {
    let run = Plan::of(COUNTS).start();
    counted_beyond(&run, 0);
    run.freeze();
    let before = run.capture(true);
    assert!(!before.frames.is_empty());
    let again = run.capture(true);
    assert_eq!(count(&before), count(&again), "it stays frozen when captured");
    run.process.unfreeze();
    counted_beyond(&run, count(&before));
    assert_eq!(run.process.memory_bytes(), 65536);
}

#[test]
fn each_freeze_is_answered_and_requests_keep_their_order() {
    let run = Plan::of(COUNTS).start();
    run.process.freeze();
    run.process.unfreeze();
    run.process.freeze();
    run.process.capture(true, 1);
    run.process.freeze();
    assert!(matches!(run.next(), ProcessEvent::Frozen));
    assert!(matches!(run.next(), ProcessEvent::Frozen));
    assert!(matches!(run.next(), ProcessEvent::Captured { tag: 1, .. }));
    assert!(matches!(run.next(), ProcessEvent::Frozen));
}

#[test]
fn a_capture_without_run_on_freezes() {
    let run = Plan::of(COUNTS).start();
    assert_eq!(count(&run.capture(false)), count(&run.capture(true)));
    run.process.unfreeze();
    let before = run.capture(true);
    counted_beyond(&run, count(&before));
}

#[test]
fn a_restored_program_goes_on_where_it_was() {
    let plan = Plan::of(COUNTS);
    let snapshot = counted_beyond(&plan.start(), 1_000_000);
    let frozen = plan.launch(Some(through_the_wire(&snapshot)), true);
    frozen.expect_started();
    assert_eq!(frozen.capture(true), snapshot, "restoring loses nothing");
    frozen.process.unfreeze();
    counted_beyond(&frozen, count(&snapshot));
}

#[test]
fn a_program_launched_frozen_has_not_begun_and_moves_so() {
    let plan = Plan::sample("primes");
    let run = plan.launch(None, true);
    run.expect_started();
    run.expect_quiet(Duration::from_millis(20));
    let snapshot = run.capture(true);
    assert!(snapshot.frames.is_empty() && snapshot.memories[0].pages.is_empty());
    let moved = plan.restore(through_the_wire(&snapshot));
    assert_eq!(
        moved.end_well(),
        wayfare_samples::find("primes").unwrap().quick_stdout
    );
}

const HOUR_NS: u64 = 3_600_000_000_000;

/// A snapshot of it asleep.
fn asleep(run: &Run) -> Snapshot {
    loop {
        let snapshot = run.capture(true);
        if snapshot.host.blocked_until_ns.is_some() {
            return snapshot;
        }
    }
}

/// The program wakes in a moment, by its own clock after an hour.
fn nearly_over(mut snapshot: Snapshot) -> Snapshot {
    let until_ns = snapshot.host.blocked_until_ns.unwrap();
    snapshot.host.monotonic_ns = until_ns - 50_000_000;
    snapshot
}

/// Far less than an hour after its restoration (`PATIENCE` sees to that), and not before it has slept an
/// hour.
fn wakes_after_an_hour(run: &Run) {
    let ProcessEvent::Ended(ProgramState::Exited { code }) = run.next() else {
        panic!("it exits");
    };
    assert!(code >= 3_600_000, "its clock saw {code} ms");
}

#[test]
fn a_sleeping_program_freezes_at_once_and_sleeps_its_rest() {
    let plan = Plan::of(&sleeps(HOUR_NS));
    let run = plan.start();
    asleep(&run);
    run.freeze();
    let frozen = run.capture(true);
    run.expect_quiet(Duration::from_millis(20));
    assert_eq!(run.capture(true), frozen, "its clock stands");
    run.process.unfreeze();
    let unfrozen_at = Instant::now();
    while asleep(&run).host.monotonic_ns == frozen.host.monotonic_ns {
        assert!(unfrozen_at.elapsed() < PATIENCE, "its clock goes on");
    }
    wakes_after_an_hour(&plan.restore(through_the_wire(&nearly_over(frozen))));
}

#[test]
fn a_sleep_captured_many_times_is_as_long_as_one() {
    let plan = Plan::of(&sleeps(HOUR_NS));
    let mut run = plan.start();
    let first = asleep(&run);
    for hop in 0..8 {
        let snapshot = run.capture(hop % 2 == 0);
        assert_eq!(snapshot.host.blocked_until_ns, first.host.blocked_until_ns);
        assert!(snapshot.host.monotonic_ns >= first.host.monotonic_ns);
        if hop % 2 == 1 {
            run = plan.restore(snapshot);
        }
    }
    wakes_after_an_hour(&plan.restore(nearly_over(run.capture(false))));
}

#[test]
fn a_discarded_program_ends_without_a_word() {
    let forever = sleeps(1 << 60);
    for text in [COUNTS, &forever] {
        let run = Plan::of(text).start();
        run.expect_quiet(Duration::from_millis(5));
        run.process.discard();
        // The sink is dropped with the thread, without a further event.
        assert!(matches!(
            run.events.recv_timeout(PATIENCE),
            Err(RecvTimeoutError::Disconnected)
        ));
    }
    let run = Plan::of(COUNTS).launch(None, true);
    drop(run.process);
    assert!(!matches!(
        run.events.recv_timeout(PATIENCE),
        Err(RecvTimeoutError::Timeout)
    ));
    assert!(matches!(
        run.events.recv_timeout(PATIENCE),
        Err(RecvTimeoutError::Disconnected)
    ));
}

#[test]
fn requests_to_a_program_that_ended_are_harmless() {
    let run = Plan::of(r#"(module (func (export "_start")))"#).start();
    assert!(matches!(
        run.next(),
        ProcessEvent::Ended(ProgramState::Exited { code: 0 })
    ));
    run.process.freeze();
    run.process.capture(true, 1);
    run.process.unfreeze();
    run.process.acknowledge_log(5);
    assert_eq!(run.process.memory_bytes(), 0);
    assert!(run.events.recv_timeout(PATIENCE).is_err());
    run.process.discard();
}

#[test]
fn freezing_is_prompt() {
    let run = Plan::of(COUNTS).start();
    let mut times: Vec<Duration> = (0..200)
        .map(|_| {
            run.process.unfreeze();
            run.freeze()
        })
        .collect();
    times.sort();
    // Far above the usual, which is some microseconds: other tests run beside this one.
    assert!(times[times.len() / 2] < Duration::from_millis(20), "{times:?}");
}

#[test]
fn references_to_functions_move() {
    let plan = Plan::of(
        r#"(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (type $number (func (result i32)))
  (table $table 1 4 funcref)
  (global $kept (mut funcref) (ref.null func))
  (func $one (result i32) (i32.const 1))
  (func $two (result i32) (i32.const 2))
  (func $four (result i32) (i32.const 4))
  (elem declare func $one $two $four)
  (func (export "_start") (local $held funcref) (local $i i32)
    (drop (table.grow $table (ref.null func) (i32.const 3)))
    (table.set $table (i32.const 3) (ref.func $one))
    (global.set $kept (ref.func $two))
    (local.set $held (ref.func $four))
    (loop $l
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $l (i32.lt_u (local.get $i) (i32.const 300000000))))
    (table.set $table (i32.const 0) (global.get $kept))
    (table.set $table (i32.const 1) (local.get $held))
    (call $exit (i32.add (i32.add
      (call_indirect (type $number) (i32.const 3))
      (call_indirect (type $number) (i32.const 0)))
      (call_indirect (type $number) (i32.const 1))))))"#,
    );
    let run = plan.start();
    let asked = Instant::now();
    let mut snapshot = run.capture(true);
    while snapshot.frames.is_empty() && asked.elapsed() < PATIENCE {
        snapshot = run.capture(true);
    }
    assert_eq!(snapshot.tables.len(), 1);
    assert!(matches!(snapshot.tables[0][..], [None, None, None, Some(_)]));
    assert!(matches!(snapshot.references[..], [Some(_)]));
    let moved = plan.restore(through_the_wire(&snapshot));
    let again = plan.restore(moved.capture(false));
    for run in [run, again] {
        let event = run.next();
        assert!(
            matches!(event, ProcessEvent::Ended(ProgramState::Exited { code: 7 })),
            "{event:?}"
        );
    }
    for spoil in [
        |s: &mut Snapshot| s.tables.clear(),
        |s: &mut Snapshot| s.references = vec![Some(99)],
        |s: &mut Snapshot| s.tables[0] = vec![None; 200_000],
    ] {
        let mut snapshot = snapshot.clone();
        spoil(&mut snapshot);
        let failure = plan.launch(Some(snapshot), true).start_failure();
        assert!(matches!(failure, Failure::Snapshot { .. }), "{failure:?}");
    }
}

/// An optimiser may take one poll's value for the next, if nothing was stored between.
#[test]
fn loops_that_store_nothing_are_captured() {
    let spin = "(loop (local.set $i (i32.add (local.get $i) (i32.const 1)))
                  (br_if 0 (i64.lt_u (i64.extend_i32_u (local.get $i)) (local.get $n))))";
    let forever = "(local.set $n (i64.const 0x1_0000_0000))";
    for body in [
        // One loop after another.
        format!("(local.set $n (i64.const 9)) {spin} {forever} {spin}"),
        // A loop in a loop.
        format!("(loop {spin} {forever} (br 0))"),
        // A loop in a function that is polled at its entry.
        format!("(if (i32.eqz (local.get $i)) (then {forever} {spin}) (else (call $f (i32.const 0))))"),
    ] {
        let plan = Plan::of(&format!(
            r#"(module (func $f (param $i i32) (local $n i64) {body})
              (func (export "_start") (call $f (i32.const 5))))"#
        ));
        let run = plan.start();
        let asked = Instant::now();
        let mut snapshot = run.capture(true);
        while snapshot.frames.is_empty() && asked.elapsed() < PATIENCE {
            snapshot = run.capture(true);
        }
        for _ in 0..5 {
            run.expect_quiet(Duration::from_millis(2));
            assert!(run.freeze() < Duration::from_secs(2), "{body}");
            run.process.unfreeze();
        }
        let moved = plan.restore(through_the_wire(&snapshot));
        moved.expect_quiet(Duration::from_millis(2));
        assert!(moved.freeze() < Duration::from_secs(2), "{body}");
    }
}

/// Deeper than fits the frames that are resumed in place: the program goes on in an instance with more room.
#[test]
fn ten_thousand_calls_deep_it_freezes_resumes_and_moves() {
    let plan = Plan::of(
        r#"(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (func $f (param $n i64) (result i64) (local $a i64) (local $b i64) (local $c i64) (local $i i64)
    (if (i64.eqz (local.get $n)) (then
      (loop $spin
        (local.set $i (i64.add (local.get $i) (i64.const 1)))
        (br_if $spin (i64.lt_u (local.get $i) (i64.const 300000000))))
      (return (i64.const 7))))
    (local.set $a (i64.mul (local.get $n) (i64.const 3)))
    (local.set $b (i64.xor (local.get $n) (i64.const 0x5555)))
    (local.set $c (i64.rotl (local.get $n) (i64.const 9)))
    (call $f (i64.sub (local.get $n) (i64.const 1)))
    (i64.mul (i64.const 31))
    (i64.add (local.get $a)) (i64.add (local.get $b)) (i64.add (local.get $c)))
  (func (export "_start")
    (call $exit (i32.wrap_i64 (i64.and (call $f (i64.const 10000)) (i64.const 0xffff))))))"#,
    );
    let expected = (1..=10_000u64).fold(7u64, |below, n| {
        below
            .wrapping_mul(31)
            .wrapping_add(n * 3)
            .wrapping_add(n ^ 0x5555)
            .wrapping_add(n.rotate_left(9))
    }) & 0xffff;
    let run = plan.start();
    let asked = Instant::now();
    while run.capture(true).frames.len() < 300_000 && asked.elapsed() < PATIENCE {}
    run.freeze();
    let snapshot = run.capture(true);
    assert!(
        snapshot.frames.len() >= 300_000,
        "{} bytes of frames",
        snapshot.frames.len()
    );
    run.process.unfreeze();
    let moved = plan.restore(through_the_wire(&snapshot));
    moved.freeze();
    moved.process.unfreeze();
    let again = plan.restore(moved.capture(false));
    for run in [run, again] {
        let ProcessEvent::Ended(ProgramState::Exited { code }) = run.next() else {
            panic!("it exits");
        };
        assert_eq!(code as u64, expected);
    }
}

#[test]
fn granted_variables_are_the_engines_where_the_program_began_and_travel() {
    let endless = "(module (memory (export \"memory\") 1) (func (export \"_start\") (loop $on (br $on))))";
    let mut plan = Plan::of(endless);
    let run = plan.start();
    let without = run.capture(false).host.environment.expect("always there");
    assert_eq!(without, ["COLOUR=green"], "nothing is given that was not granted");
    // Every test has this one.
    plan.spec.grants.env = vec!["PATH".into(), "COLOUR".into(), "NOT_SET_ANYWHERE".into()];
    let run = plan.start();
    let mut snapshot = run.capture(false);
    let path = format!("PATH={}", std::env::var("PATH").expect("set"));
    let expected = vec!["COLOUR=green".to_owned(), path];
    assert_eq!(snapshot.host.environment.as_ref(), Some(&expected));
    snapshot.host.environment = Some(vec!["PATH=/elsewhere".into()]);
    let moved = plan.restore(through_the_wire(&snapshot)).capture(false);
    assert_eq!(moved.host.environment, snapshot.host.environment, "not read anew");
}
