//! Programs that use what the compiler takes, run and moved by a runtime with an engine's settings.

use super::*;

const EXIT: &str = r#"(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))"#;

/// As this processor runs it, and interpreted.
fn plans(text: &str) -> Vec<Plan> {
    let plans = vec![Plan::of(text)];
    #[cfg(feature = "compiler")]
    let plans = {
        static INTERPRETING: LazyLock<Arc<Runtime>> =
            LazyLock::new(|| Arc::new(interpreting(RuntimeOptions::default())));
        let wasm = wat::parse_str(text).unwrap();
        let mut plan = Plan::new(INTERPRETING.load(Digest::of(&wasm), &wasm).unwrap());
        plan.runtime = Some(INTERPRETING.clone());
        [plans, vec![plan]].concat()
    };
    plans
}

fn all_exit(text: &str, code: i32) {
    for plan in plans(text) {
        exits(&plan, code);
    }
}

/// Runs to its end unmoved, and again through captures wherever a move catches it.
fn exits(plan: &Plan, code: i32) {
    let ends = |run: &Run| match run.next_but_lines() {
        ProcessEvent::Ended(state) => assert_eq!(state, ProgramState::Exited { code }),
        event => panic!("{event:?}"),
    };
    ends(&plan.start());
    for moves in 1..20 {
        let mut run = plan.start();
        let mut ended = false;
        for _ in 0..moves {
            // A copy that it survives, then the move.
            let copied = run.try_capture(true).and_then(|_| run.try_capture(false));
            match copied {
                Ok((snapshot, _)) => run = plan.restore(through_the_wire(&snapshot)),
                Err(state) => {
                    assert_eq!(state, ProgramState::Exited { code });
                    ended = true;
                    break;
                }
            }
        }
        if !ended {
            ends(&run);
        }
    }
}

/// Loops long enough to be caught there: some milliseconds.
const LINGER: &str = "(func $linger (local i32)
    (loop $l (br_if $l (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const 200000)))))";

#[test]
fn a_caught_exception_leads_on() {
    let text = format!(
        r#"(module {EXIT} (memory (export "memory") 1) (tag $t) {LINGER}
          (func $thrower (call $linger) (throw $t))
          (func (export "_start")
            (block $h (try_table (catch_all $h) (call $thrower)) (return))
            (call $linger)
            (call $exit (i32.const 7))))"#
    );
    all_exit(&text, 7);
}

/// As a destructor does: catches, cleans up, throws on. What is held meanwhile is in the snapshot, with its
/// values.
#[test]
fn an_exception_that_is_held_is_captured_with_what_it_carries() {
    let text = format!(
        r#"(module {EXIT} (memory (export "memory") 1) {LINGER}
          (tag $other (param f32)) (tag $t (param i32 i64 f64 v128))
          (func $thrower
            (throw $t (i32.const 1) (i64.const 20) (f64.const 300) (v128.const i64x2 4000 50000)))
          (func $cleaning (local $e exnref) (local $none exnref)
            (block $h (result exnref) (try_table (catch_all_ref $h) (call $thrower)) (return))
            (local.set $e)
            (call $linger)
            (if (i32.eqz (ref.is_null (local.get $none))) (then unreachable))
            (throw_ref (local.get $e)))
          (func $nested (local $first exnref) (local $second exnref)
            (block $h (result exnref) (try_table (catch_all_ref $h) (call $cleaning)) (return))
            (local.set $first)
            (block $h (result exnref) (try_table (catch_all_ref $h) (throw $other (f32.const 6))) (return))
            (local.set $second)
            (call $linger)
            (block $h (result f32) (try_table (catch $other $h) (throw_ref (local.get $second))) (return))
            (if (f32.ne (f32.const 6)) (then unreachable))
            (throw_ref (local.get $first)))
          (func (export "_start") (local i32 i64 f64 v128)
            (block $h (result i32 i64 f64 v128) (try_table (catch $t $h) (call $nested)) (return))
            (local.set 3) (local.set 2) (local.set 1) (local.set 0)
            (call $exit (i32.wrap_i64 (i64.add
              (i64.add (i64.extend_i32_u (local.get 0)) (i64.add (local.get 1) (i64.trunc_f64_u (local.get 2))))
              (i64.add (i64x2.extract_lane 0 (local.get 3)) (i64x2.extract_lane 1 (local.get 3))))))))"#
    );
    all_exit(&text, 54321);
}

#[test]
fn an_exception_that_nothing_catches_is_the_reason_of_the_end() {
    let run = Plan::of(r#"(module (tag $t) (func (export "_start") (throw $t)))"#).start();
    let event = run.next();
    let ProcessEvent::Ended(ProgramState::Failed { reason }) = event else {
        panic!("{event:?}")
    };
    assert!(reason.contains("exception"), "{reason}");
}

#[test]
fn exceptions_are_freed() {
    let text = r#"(module (memory (export "memory") 1) (tag $t (param v128 v128 v128 v128))
          (func $thrower (throw $t (v128.const i64x2 1 1) (v128.const i64x2 1 1) (v128.const i64x2 1 1) (v128.const i64x2 1 1)))
          (func (export "_start") (local i32)
            (loop $again
              (block $h (try_table (catch_all $h) (call $thrower)))
              (br_if $again (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const 40000))))))"#;
    // 40,000 of them would take 2.5 MiB and more.
    for mut plan in plans(text) {
        plan.spec.memory_bytes_max = Some(2 << 20);
        assert_eq!(plan.start().end_well(), "");
    }
}

/// As `wasm32-wasip1` programs have them that were built with `-matomics` for one thread.
#[test]
fn atomics_on_an_unshared_memory_are_what_they_are_elsewhere() {
    let check = |what: &str, expected: &str| {
        format!("(if (i32.ne {what} (i32.const {expected})) (then unreachable))")
    };
    let checks = [
        check("(i32.atomic.rmw.add (i32.const 16) (i32.const 7))", "0"),
        check("(i32.atomic.rmw.sub (i32.const 16) (i32.const 2))", "7"),
        check("(i32.atomic.load offset=4 (i32.const 12))", "5"),
        check(
            "(i32.atomic.rmw.cmpxchg (i32.const 16) (i32.const 4) (i32.const 9))",
            "5",
        ),
        check(
            "(i32.atomic.rmw.cmpxchg (i32.const 16) (i32.const 5) (i32.const 9))",
            "5",
        ),
        check("(i32.atomic.rmw.xchg (i32.const 16) (i32.const 0x1ff))", "9"),
        check("(i32.atomic.rmw8.add_u (i32.const 16) (i32.const 2))", "0xff"),
        check("(i32.atomic.load (i32.const 16))", "0x101"),
        check(
            "(i32.atomic.rmw8.cmpxchg_u (i32.const 16) (i32.const 0x501) (i32.const 3))",
            "1",
        ),
        check("(i32.atomic.rmw16.or_u (i32.const 16) (i32.const 4))", "0x103"),
        check(
            "(i32.atomic.rmw16.xor_u (i32.const 16) (i32.const 0x107))",
            "0x107",
        ),
        check("(i32.atomic.load16_u (i32.const 16))", "0"),
        check(
            "(i32.wrap_i64 (i64.atomic.rmw.add (i32.const 24) (i64.const -1)))",
            "0",
        ),
        check(
            "(i32.wrap_i64 (i64.atomic.rmw32.and_u (i32.const 24) (i64.const 0xff)))",
            "-1",
        ),
        check(
            "(i64.eq (i64.atomic.load (i32.const 24)) (i64.const 0xffffffff000000ff))",
            "1",
        ),
        check(
            "(i32.wrap_i64 (i64.atomic.rmw8.cmpxchg_u (i32.const 24) (i64.const 0xff) (i64.const 1)))",
            "0xff",
        ),
        check("(memory.atomic.notify (i32.const 16) (i32.const 1))", "0"),
    ]
    .concat();
    let text = format!(
        r#"(module {EXIT} (memory (export "memory") 1) {LINGER}
          (func (export "_start")
            {checks} (atomic.fence) (call $linger)
            (i64.atomic.store8 (i32.const 31) (i64.const 0x7f))
            (i32.atomic.store (i32.const 16) (i32.const 7))
            (call $linger)
            (call $exit (i32.atomic.load (i32.const 16)))))"#
    );
    all_exit(&text, 7);
    for body in [
        "(drop (i32.atomic.load (i32.const 18)))",
        "(drop (i32.atomic.load offset=2 (i32.const 16)))",
        "(i64.atomic.store (i32.const 20) (i64.const 0))",
        "(drop (memory.atomic.wait32 (i32.const 16) (i32.const 0) (i64.const -1)))",
        "(drop (i32.atomic.load (i32.const 65536)))",
    ] {
        let run = Plan::of(&format!(r#"(module (memory 1) (func (export "_start") {body}))"#)).start();
        let event = run.next();
        assert!(
            matches!(event, ProcessEvent::Ended(ProgramState::Failed { .. })),
            "{body}: {event:?}"
        );
    }
}
