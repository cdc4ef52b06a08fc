//! A program begins without the code that resumes it.

use super::*;

/// Prints a line, waits a little, and so on.
const TICKS: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 64) "\50\00\00\00\02\00\00\00") (data (i32.const 80) "x\n")
    (func (export "_start")
      (loop $l
        (drop (call $write (i32.const 1) (i32.const 64) (i32.const 1) (i32.const 128)))
        (i64.store (i32.const 280) (i64.const 1000000))
        (i32.store (i32.const 272) (i32.const 1))
        (drop (call $poll (i32.const 256) (i32.const 512) (i32.const 1) (i32.const 128)))
        (br $l))))"#;

#[test]
fn a_program_runs_without_it_stands_still_without_it_and_goes_on_with_it() {
    let wasm = wat::parse_str(TICKS).unwrap();
    let (loaded, _) = RUNTIME.compile(Digest::of(&wasm), &wasm).unwrap();
    let plan = Plan::new(loaded.clone());
    let run = plan.start();
    run.lines(2);
    assert!(!loaded.can_resume());
    let snapshot = run.capture(false);
    let refused = plan
        .launch(Some(through_the_wire(&snapshot)), false)
        .start_failure();
    assert!(refused.to_string().contains("not here"), "{refused}");

    run.process.unfreeze();
    // It cannot go on, and does what it is asked all the same.
    let still = run.capture(true);
    assert_eq!(still.frames, snapshot.frames);
    assert!(RUNTIME.compile_resuming(&loaded, &wasm).unwrap().is_some());
    assert!(
        RUNTIME.compile_resuming(&loaded, &wasm).unwrap().is_none(),
        "it is here"
    );
    run.lines(4);
    plan.restore(through_the_wire(&snapshot)).lines(4);
}
