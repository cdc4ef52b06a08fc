//! Modules that cannot run, programs that trap, limits, and snapshots that do not fit.

use wayfare_protocol::snapshot::GlobalValue;

use super::*;

fn reason_of_end(text: &str) -> String {
    match Plan::of(text).start().next() {
        ProcessEvent::Ended(ProgramState::Failed { reason }) => reason,
        event => panic!("{event:?}"),
    }
}

#[cfg(feature = "compiler")]
fn reason_of_refusal(text: &str) -> String {
    match try_load(text) {
        Err(Failure::Module { reason, .. }) => reason,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("it loads"),
    }
}

#[cfg(feature = "compiler")]
#[test]
fn what_is_no_module_is_refused() {
    let whole = wayfare_samples::find("fib").unwrap().wasm;
    for bytes in [
        &b""[..],
        b"\0asm",
        b"#!/bin/sh\n",
        &whole[..whole.len() / 2],
        &whole[..whole.len() - 1],
    ] {
        match RUNTIME.load(Digest::of(bytes), bytes) {
            Err(Failure::Module { module, reason }) => {
                assert_eq!(module, Digest::of(bytes));
                assert!(!reason.is_empty());
            }
            Err(other) => panic!("{other:?}"),
            Ok(_) => panic!("{} bytes load", bytes.len()),
        }
    }
}

#[cfg(feature = "compiler")]
#[test]
fn an_import_that_nobody_offers_is_named() {
    let missing = r#"(module (import "env" "launch_rocket" (func)) (func (export "_start")))"#;
    let reason = reason_of_refusal(missing);
    assert!(
        reason.contains("launch_rocket") && reason.contains("env"),
        "{reason}"
    );
    let wrong = r#"(module (import "wasi_snapshot_preview1" "fd_write" (func (param i32))) (func (export "_start")))"#;
    assert!(
        reason_of_refusal(wrong).contains("fd_write"),
        "{}",
        reason_of_refusal(wrong)
    );
    let memory = r#"(module (import "env" "memory" (memory 1)) (func (export "_start")))"#;
    assert!(
        reason_of_refusal(memory).contains("memory"),
        "{}",
        reason_of_refusal(memory)
    );
    let no_command = r#"(module (func (export "main")))"#;
    assert!(
        reason_of_refusal(no_command).contains("_start"),
        "{}",
        reason_of_refusal(no_command)
    );
}

#[test]
fn traps_say_what_and_where() {
    let trap = |body: &str| {
        format!(
            r#"(module (memory (export "memory") 1) (table 1 funcref) (type $t (func))
              (func $deeper {body}) (func (export "_start") (call $deeper)))"#
        )
    };
    for (body, what) in [
        ("unreachable", "unreachable"),
        (
            "(drop (i32.load (i32.const 65536)))",
            "out of bounds memory access",
        ),
        (
            "(drop (i32.div_u (i32.const 1) (i32.const 0)))",
            "integer divide by zero",
        ),
        ("(call_indirect (type $t) (i32.const 0))", "uninitialized element"),
        ("(call_indirect (type $t) (i32.const 9))", "undefined element"),
        ("(drop (i32.trunc_f32_s (f32.const nan)))", "invalid conversion"),
    ] {
        let reason = reason_of_end(&trap(body));
        assert!(reason.contains(what), "{reason}");
        assert!(reason.contains("deeper"), "{reason}");
    }
}

#[test]
fn a_stack_that_overflows_is_the_programs_failure_only() {
    let reason = reason_of_end(
        r#"(module (func $endless (param i32) (result i32)
            (i32.add (i32.const 1) (call $endless (i32.add (local.get 0) (i32.const 1)))))
          (func (export "_start") (drop (call $endless (i32.const 0)))))"#,
    );
    assert!(reason.contains("stack"), "{reason}");
    assert!(reason.len() < 1000, "{reason}");
}

#[test]
fn exit_codes_pass() {
    for code in [0, 1, 42, 255, -1] {
        let run = Plan::of(&format!(
            r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
              (func (export "_start") (call $exit (i32.const {code})) unreachable))"#
        ))
        .start();
        let event = run.next();
        assert!(
            matches!(event, ProcessEvent::Ended(ProgramState::Exited { code: c }) if c == code),
            "{event:?}"
        );
    }
}

#[test]
fn memory_beyond_the_limit_is_refused_to_the_program() {
    let grows = r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
      (memory (export "memory") 1)
      (func (export "_start") (call $exit (memory.grow (i32.const 31)))))"#;
    let mut plan = Plan::of(grows);
    for (pages, expected) in [(32, 1), (31, -1)] {
        plan.spec.memory_bytes_max = Some(pages * 65536);
        let event = plan.start().next();
        let ProcessEvent::Ended(ProgramState::Exited { code }) = event else {
            panic!("{event:?}")
        };
        assert_eq!(code, expected, "with {pages} pages allowed");
    }
    plan.spec.memory_bytes_max = Some(65535);
    assert!(matches!(
        plan.launch(None, false).start_failure(),
        Failure::TooLarge { bytes: 65536, .. }
    ));
    plan.spec.memory_bytes_max = Some(u64::MAX);
    assert!(matches!(
        plan.launch(None, false).start_failure(),
        Failure::TooLarge { .. }
    ));
    let huge = try_load(r#"(module (memory (export "memory") 20000) (func (export "_start")))"#);
    assert!(matches!(huge, Err(Failure::TooLarge { .. })));
}

#[test]
fn tables_beyond_the_limit_are_refused_to_the_program() {
    let grows = r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
      (table 1 funcref)
      (func (export "_start") (call $exit (table.grow (ref.null func) (i32.const 2000000000)))))"#;
    let event = match try_load(grows) {
        Ok(loaded) => Plan::new(loaded).start().next(),
        // Tables that change may not be captured: then the compiler says so.
        Err(Failure::Module { reason, .. }) => {
            assert!(reason.contains("table"), "{reason}");
            return;
        }
        Err(other) => panic!("{other:?}"),
    };
    assert!(
        matches!(event, ProcessEvent::Ended(ProgramState::Exited { code: -1 })),
        "{event:?}"
    );
}

#[test]
fn a_snapshot_that_does_not_fit_is_refused() {
    let plan = Plan::of(
        r#"(module (memory (export "memory") 1) (global $g (mut i32) (i32.const 0))
          (func (export "_start") (loop $l (global.set $g (i32.const 1)) (br $l))))"#,
    );
    let good = plan.start().capture(false);
    let refusal = |spoil: &dyn Fn(&mut Snapshot)| {
        let mut snapshot = good.clone();
        spoil(&mut snapshot);
        plan.launch(Some(snapshot), true).start_failure()
    };
    let spoilers: [&dyn Fn(&mut Snapshot); 11] = [
        &|s| s.module = Digest::of(b"another"),
        &|s| s.abi += 1,
        &|s| s.base = Some(Digest::of(b"base")),
        &|s| s.globals.clear(),
        &|s| s.globals.push(GlobalValue::I32(0)),
        &|s| s.globals[0] = GlobalValue::F64(0),
        &|s| s.memories.clear(),
        &|s| s.memories[0].bytes = 0,
        &|s| s.memories[0].bytes += 4096,
        &|s| s.frames = vec![0; 33 << 20],
        &|s| s.host.log_unacknowledged_from = 5,
    ];
    for (number, spoil) in spoilers.iter().enumerate() {
        let failure = refusal(spoil);
        assert!(
            matches!(failure, Failure::Snapshot { .. }),
            "{number}: {failure:?}"
        );
    }
    let failure = refusal(&|s| s.memories[0].bytes = 65 << 20);
    assert!(matches!(failure, Failure::TooLarge { .. }), "{failure:?}");
    let failure = refusal(&|s| {
        s.memories[0].pages.insert(16, Box::new([1; 4096]));
    });
    assert!(matches!(failure, Failure::Snapshot { .. }), "{failure:?}");
}

#[test]
fn frames_made_up_by_somebody_end_the_program_at_worst() {
    let mut plan = Plan::sample("fib");
    plan.spec.args[0] = "90".into(); // no machine comes to the end of it
    let run = plan.start();
    let mut good = run.capture(true);
    while good.frames.len() < 100 {
        good = run.capture(true);
    }
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..40 {
        let mut snapshot = good.clone();
        for _ in 0..=random.below(3) {
            let at = random.below(snapshot.frames.len() as u64) as usize;
            snapshot.frames[at] ^= 1 << random.below(8);
        }
        let run = plan.restore(snapshot);
        // Ends, traps, or computes nonsense for ever: all the same to us.
        while let Ok(event) = run.events.recv_timeout(Duration::from_millis(20)) {
            if matches!(event, ProcessEvent::Ended(_)) {
                break;
            }
        }
    }
}
