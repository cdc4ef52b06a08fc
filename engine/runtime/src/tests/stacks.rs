//! Calls whose rebuilt frames are many times as large: whoever had room to run has room to go on, here and
//! elsewhere.

use super::*;

/// Small, so that the deepest calls are few.
const STACK_BYTES: usize = 128 << 10;
/// Values of each call of the recursive function, every one of which is a site of its own.
const VALUES: usize = 96;

fn runtime(make: fn(RuntimeOptions) -> Runtime) -> Arc<Runtime> {
    Arc::new(make(RuntimeOptions {
        stack_bytes_max: STACK_BYTES,
        ..RuntimeOptions::default()
    }))
}

/// Descends as deep as it has arguments, says so, sleeps a little there, and comes back with a sum; twice.
/// Exits with a number made of the sums.
fn descending() -> String {
    let locals = " f64".repeat(VALUES);
    let body: String = (0..VALUES)
        .map(|value| {
            let local = value + 2;
            format!(
                "(local.set {local} (call $op (i32.add (i32.const {value}) (local.get 0)))) (call $touch)
                 (local.set 1 (f64.add (local.get 1) (local.get {local})))\n"
            )
        })
        .collect();
    format!(
        r#"(module
          (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
          (import "wasi_snapshot_preview1" "args_sizes_get" (func $args (param i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
          (memory (export "memory") 1)
          (data (i32.const 64) "\50\00\00\00\02\00\00\00") (data (i32.const 80) "x\n")
          (func $op (param i32) (result f64) (local i32)
            (loop $l (br_if $l (i32.lt_u (local.tee 1 (i32.add (local.get 1) (i32.const 1))) (i32.const 2))))
            (f64.convert_i32_u (local.get 0)))
          (func $touch (local i32)
            (loop $l (br_if $l (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const 2)))))
          (func $hold
            (drop (call $write (i32.const 1) (i32.const 64) (i32.const 1) (i32.const 128)))
            (i64.store (i32.const 280) (i64.const 10000000))
            (i32.store (i32.const 272) (i32.const 1))
            (drop (call $poll (i32.const 256) (i32.const 512) (i32.const 1) (i32.const 128))))
          (func $deep (param i32) (result f64) (local f64 {locals})
            (if (i32.eqz (local.get 0)) (then (call $hold) (return (f64.const 0))))
            (local.set 1 (call $deep (i32.sub (local.get 0) (i32.const 1))))
            {body} (local.get 1))
          (func (export "_start") (local f64 i32)
            (drop (call $args (i32.const 0) (i32.const 4)))
            (local.set 1 (i32.load (i32.const 0)))
            (call $hold)
            (local.set 0 (call $deep (local.get 1)))
            (local.set 0 (f64.add (local.get 0) (call $deep (local.get 1))))
            (call $exit (i32.and (i32.trunc_f64_u (local.get 0)) (i32.const 0x3ff)))))"#
    )
}

/// What it comes to without being captured, or after a copy and a move whenever it says something.
fn outcome(plan: &Plan, captured: bool) -> (ProgramState, usize) {
    let mut run = plan.start();
    let mut deepest = 0;
    if captured {
        for _ in 0..3 {
            run.process.acknowledge_log(u64::MAX);
            let copy = match run.try_capture(true) {
                Ok((copy, _)) => copy,
                // On a busy machine it may have slept to its end.
                Err(state) => return (state, deepest),
            };
            deepest = deepest.max(copy.frames.len());
            // Both of the copy, and of the one that ran on.
            let snapshot = match run.try_capture(false) {
                Ok((snapshot, _)) => snapshot,
                Err(state) => return (state, deepest),
            };
            deepest = deepest.max(snapshot.frames.len());
            run = plan.restore(through_the_wire(&snapshot));
            while run.process.take_lines(usize::MAX).is_empty() {
                match run.next() {
                    ProcessEvent::LinesReady => {}
                    ProcessEvent::Ended(state) => return (state, deepest),
                    event => panic!("{event:?}"),
                }
            }
        }
    }
    (run.end().1, deepest)
}

/// Every depth up to the one at which an unmoved run has no stack any more.
fn every_depth(runtime: Arc<Runtime>) {
    let wasm = wat::parse_str(descending()).unwrap();
    let loaded = runtime.load(Digest::of(&wasm), &wasm).unwrap();
    let mut plan = Plan::new(loaded);
    plan.runtime = Some(runtime);
    let mut deepest = 0;
    for depth in 1.. {
        plan.spec.args = vec!["x".into(); depth];
        let (unmoved, _) = outcome(&plan, false);
        if let ProgramState::Failed { reason } = unmoved {
            assert!(reason.contains("stack"), "{reason}");
            assert!(depth > 8, "only {depth} calls fit");
            break;
        }
        let (moved, frames) = outcome(&plan, true);
        assert_eq!(moved, unmoved, "at depth {depth}");
        deepest = deepest.max(frames);
    }
    assert!(deepest > 8 * 24, "captured at the top only: {deepest}");
}

#[test]
fn what_runs_at_any_depth_survives_captures_and_moves() {
    every_depth(runtime(|options| Runtime::new(options).unwrap()));
}

#[test]
fn so_it_does_where_code_is_interpreted() {
    every_depth(runtime(interpreting));
}
