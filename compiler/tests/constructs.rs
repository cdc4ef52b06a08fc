//! Each construct of WebAssembly that holds a site, captured at *every* check of a run in turn and resumed in
//! a new instance, and captured at every check of all its resumptions: prints what the original prints.
#![allow(clippy::unwrap_used)]

mod support;

use support::*;
use wasmtime::Module;
use wayfare_compiler::{Entry, Form, Options, rewrite};

/// What only the optimising compiler takes.
const NOT_ON_BASELINE: &[&str] = &["return_call", "throw", "try", "exnref", "externref"];

/// `body` defines `$main`; `$print` shows an i64, `$block` may block and triples.
fn everywhere(name: &str, body: &str) {
    everywhere_as(name, body, body);
}

/// The same where no runtime has all that is in `body`: what is expected is what `equal` prints.
fn everywhere_as(name: &str, body: &str, equal: &str) {
    let wasm = |body: &str| {
        let wat = format!(
            r#"(module
                (import "test" "print" (func $print (param i64)))
                (import "test" "block" (func $block (param i32) (result i32)))
                (memory (export "memory") 1)
                {body}
                (export "_start" (func $main)))"#
        );
        wat::parse_str(&wat).unwrap_or_else(|error| panic!("{name}: {error}"))
    };
    let (wasm, equal) = (wasm(body), wasm(equal));
    with_stack(|| {
        let engine = engine();
        let expected = outcome(run_raw(
            &engine,
            &Module::new(&engine, &equal).unwrap(),
            World::default(),
        ));
        // What one form or tier saves, the next resumes.
        let mut forms = vec![Program::split(&engine, &wasm), Program::joined(&engine, &wasm)];
        if HAS_BASELINE {
            match Program::try_split(&baseline_engine(STACK_BYTES / 2), &wasm) {
                Ok(program) => forms.push(program),
                Err(refusal) => assert!(
                    NOT_ON_BASELINE.iter().any(|sign| body.contains(sign)),
                    "{name}: {refusal:?}"
                ),
            }
        }
        let unmoved = run(&forms[0], Err(World::default()), None);
        let (End::Finished(World { checks, .. }) | End::Trapped(_, World { checks, .. })) = &unmoved else {
            panic!()
        };
        let checks = *checks;
        assert_eq!(outcome(unmoved), expected, "{name}, unmoved");
        let mut captured = 0;
        for first in 1..=checks {
            for step in [None, Some(1), Some(2), Some(5)] {
                let mut left = 200;
                let begun = forms.iter().cycle().skip(first as usize);
                let programs: Vec<_> = begun.take(forms.len()).collect();
                let (end, captures, _) = run_captured(&programs, World::default(), first, |_| {
                    left -= 1;
                    step.filter(|_| left > 0)
                });
                captured += captures;
                assert_eq!(
                    outcome(end),
                    expected,
                    "{name}: first capture at {first} of {checks}, then every {step:?}"
                );
            }
        }
        assert!(captured > 0, "{name}: never captured in {checks} checks");
    });
}

#[test]
fn nested_loops_with_locals_of_every_type() {
    everywhere(
        "nested loops",
        r#"(func $main (local $i i32) (local $j i64) (local $f f32) (local $d f64) (local $sum i64)
            (local.set $f (f32.const 0.5)) (local.set $d (f64.const 3.25))
            (loop $outer
              (local.set $j (i64.const 0))
              (loop $inner
                (local.set $sum (i64.add (local.get $sum) (i64.mul (local.get $j) (i64.extend_i32_u (local.get $i)))))
                (local.set $f (f32.mul (local.get $f) (f32.const 1.0625)))
                (local.set $d (f64.add (local.get $d) (f64.promote_f32 (local.get $f))))
                (local.set $j (i64.add (local.get $j) (i64.const 1)))
                (br_if $inner (i64.lt_u (local.get $j) (i64.const 4))))
              (local.set $i (i32.add (local.get $i) (i32.const 1)))
              (br_if $outer (i32.lt_u (local.get $i) (i32.const 4))))
            (call $print (local.get $sum))
            (call $print (i64.reinterpret_f64 (local.get $d))))"#,
    );
}

#[test]
fn operands_below_calls_loops_and_ifs() {
    everywhere(
        "operands",
        r#"(func $twice (param i32) (result i32) (local $n i32)
            (local.set $n (local.get 0))
            (loop $l (local.set $n (i32.add (local.get $n) (i32.const 1)))
              (br_if $l (i32.lt_u (local.get $n) (i32.mul (local.get 0) (i32.const 2)))))
            (local.get $n))
          (func $main (local $k i64)
            i64.const 1000
            i32.const 3 call $twice i32.const 4 call $twice i32.mul
            (if (result i32) (i32.eq (call $twice (i32.const 2)) (i32.const 4))
              (then i32.const 5 call $twice) (else i32.const 77 call $block))
            i32.add
            i64.extend_i32_u i64.add
            f64.const 2.5
            (loop (result i64) (local.set $k (i64.add (local.get $k) (i64.const 7)))
              (br_if 0 (i64.lt_u (local.get $k) (i64.const 30))) local.get $k)
            f64.convert_i64_u f64.mul i64.trunc_f64_u i64.add
            call $print)"#,
    );
}

#[test]
fn blocks_with_parameters_and_several_results() {
    everywhere(
        "multi-value",
        r#"(func $spin (param i32) (local $n i32)
            (loop $l (local.set $n (i32.add (local.get $n) (i32.const 1)))
              (br_if $l (i32.lt_u (local.get $n) (local.get 0)))))
          (func $pair (param i64) (result i64 i32) (call $spin (i32.const 2)) (local.get 0) (i32.const 6))
          (func $main (local $count i32)
            i64.const 9
            i64.const 2 i32.const 1
            (loop $l (param i64 i32) (result i64 i32)
              (local.set $count (i32.add (local.get $count) (i32.const 1)))
              call $block
              (block $b (param i64 i32) (result i64 i32)
                (br_if $b (i32.eq (local.get $count) (i32.const 2)))
                call $block
                (call $spin (i32.const 3)))
              (if (param i64 i32) (result i64 i32) (i32.and (local.get $count) (i32.const 1))
                (then i64.extend_i32_u i64.add call $pair)
                (else call $block (call $spin (local.get $count))))
              (if (param i64 i32) (result i64 i32) (i32.lt_u (local.get $count) (i32.const 3))
                (then (call $spin (i32.const 2)) br $l))
              (br_if $l (i32.lt_u (local.get $count) (i32.const 5))))
            i64.extend_i32_u i64.add i64.add call $print)"#,
    );
}

#[test]
fn recursion_direct_and_through_a_table() {
    everywhere(
        "recursion",
        r#"(type $step (func (param i64) (result i64)))
          (table funcref (elem $even $odd))
          (func $even (type $step) (if (result i64) (i64.eqz (local.get 0)) (then (i64.const 1))
            (else (i64.add (i64.mul (local.get 0) (i64.const 3))
              (call_indirect (type $step) (i64.sub (local.get 0) (i64.const 1)) (i32.const 1))))))
          (func $odd (type $step) (if (i64.eqz (local.get 0)) (then (return (i64.const 0))))
            (i64.xor (call $even (i64.sub (local.get 0) (i64.const 1))) (i64.shl (local.get 0) (i64.const 4))))
          (func $fib (param i32) (result i32)
            (if (i32.lt_u (local.get 0) (i32.const 2)) (then (return (local.get 0))))
            (i32.add (call $fib (i32.sub (local.get 0) (i32.const 1))) (call $fib (i32.sub (local.get 0) (i32.const 2)))))
          (func $main
            (call $print (call_indirect (type $step) (i64.const 9) (i32.const 0)))
            (call $print (i64.extend_i32_u (call $fib (i32.const 6)))))"#,
    );
}

#[test]
fn br_table_that_leaves_and_repeats_loops() {
    everywhere(
        "br_table",
        r#"(func $main (local $pc i32) (local $acc i64)
            (loop $again
              (block $c (block $b (block $a
                (br_table $a $b $c $again $c (i32.rem_u (local.get $pc) (i32.const 3))))
                (local.set $acc (i64.add (local.get $acc) (i64.const 1))) (local.set $pc (i32.add (local.get $pc) (i32.const 1)))
                (br $again))
                (local.set $acc (i64.mul (local.get $acc) (i64.extend_i32_u (call $block (i32.const 1)))))
                (local.set $pc (i32.add (local.get $pc) (i32.const 1)))
                (call $print (local.get $acc))
                (br $again))
              (local.set $pc (i32.add (local.get $pc) (i32.const 1)))
              (br_if $again (i32.lt_u (local.get $pc) (i32.const 12))))
            (call $print (local.get $acc)))"#,
    );
}

/// As compilers make them: a block for each case around all those before it, and `behind`, each case's code,
/// behind its block's end.
fn switch(cases: usize, on: &str, behind: impl Fn(usize) -> String) -> String {
    let opened = "(block ".repeat(cases + 1);
    let targets: String = (0..=cases).map(|case| format!("{case} ")).collect();
    let code: String = (0..cases).map(|case| format!(") {}", behind(case))).collect();
    format!("{opened} (br_table {targets} {on}) {code})")
}

#[test]
fn a_switch_of_many_cases_is_entered_at_each_of_them() {
    // Some go on with the next one, and some of their blocks hold two sites more.
    let case = |case: usize| {
        let more = [
            "",
            "(call $print (i64.extend_i32_u (call $block (local.get $n))))",
        ][case % 3 / 2];
        let last = ["", "(br $again)"][case % 2];
        format!("(call $print (i64.const {case})) {more} {last}")
    };
    let body = switch(40, "(local.get $n)", case);
    everywhere(
        "switch",
        &format!(
            r#"(func $main (local $n i32)
                (loop $again
                  (local.set $n (i32.add (local.get $n) (i32.const 1)))
                  (if (i32.gt_u (local.get $n) (i32.const 42)) (then (return)))
                  {body}))"#
        ),
    );
}

#[test]
fn a_switch_of_thousands_of_cases_is_taken_and_its_twin_grows_with_them() {
    let bytes = |cases: usize| {
        let body = switch(cases, "(local.get $n)", |case| {
            format!("(return (call $block (i32.const {case})))")
        });
        let wasm = wat::parse_str(format!(
            r#"(module
                (import "test" "block" (func $block (param i32) (result i32)))
                (func $switch (param $n i32) (result i32) {body} (i32.const 0))
                (func (export "_start") (drop (call $switch (i32.const 1)))))"#
        ));
        let options = Options {
            blocking: &blocking,
            entry: Entry::Command,
            form: Form::Resuming,
        };
        let resuming = rewrite(&wasm.unwrap(), &options).unwrap().wasm;
        Module::validate(&engine(), &resuming).unwrap();
        resuming.len()
    };
    let (few, many) = (bytes(1000), bytes(5000));
    assert!(many < 6 * few, "{few} bytes, {many} for five times as many cases");
}

#[test]
fn blocked_calls_are_issued_again_with_their_arguments() {
    everywhere(
        "blocking",
        r#"(func $main (local $n i32)
            (loop $l
              (call $print (i64.add (i64.const 100) (i64.extend_i32_u
                (i32.add (call $block (i32.add (local.get $n) (i32.const 5))) (call $block (local.get $n))))))
              (local.set $n (i32.add (local.get $n) (i32.const 1)))
              (br_if $l (i32.lt_u (local.get $n) (i32.const 5)))))"#,
    );
}

#[test]
fn vectors_globals_and_memory_that_grew() {
    everywhere(
        "state",
        r#"(global $g (mut i64) (i64.const 5)) (global $h (mut f64) (f64.const 0.5)) (global $i (mut f32) (f32.const 2))
          (func $main (local $v v128) (local $n i32)
            (local.set $v (i32x4.splat (i32.const 3)))
            (drop (memory.grow (i32.const 2)))
            (loop $l
              (local.set $v (i32x4.add (local.get $v) (i32x4.splat (local.get $n))))
              (global.set $g (i64.mul (global.get $g) (i64.const 3)))
              (global.set $h (f64.mul (global.get $h) (f64.const 1.5)))
              (global.set $i (f32.add (global.get $i) (f32.const 0.25)))
              (i64.store (i32.add (i32.const 131072) (i32.mul (local.get $n) (i32.const 8))) (global.get $g))
              (local.set $n (i32.add (local.get $n) (i32.const 1)))
              (br_if $l (i32.lt_u (local.get $n) (i32.const 6))))
            (call $print (i64.load (i32.const 131104)))
            (call $print (i64x2.extract_lane 1 (local.get $v)))
            (call $print (i64.extend_i32_u (memory.size)))
            (call $print (i64.reinterpret_f64 (f64.add (global.get $h) (f64.promote_f32 (global.get $i))))))"#,
    );
}

#[test]
fn dropped_segments_stay_dropped() {
    everywhere(
        "segments",
        r#"(data $d "12345678") (func $main (local $n i32)
            (memory.init $d (i32.const 16) (i32.const 0) (i32.const 8))
            (loop $l (local.set $n (i32.add (local.get $n) (i32.const 1)))
              (if (i32.eq (local.get $n) (i32.const 3)) (then (data.drop $d)))
              (br_if $l (i32.lt_u (local.get $n) (i32.const 5))))
            (call $print (i64.load (i32.const 16)))
            (memory.init $d (i32.const 0) (i32.const 0) (i32.const 1)))"#,
    );
}

#[test]
fn segments_dropped_by_a_function_that_needs_no_rewriting_stay_dropped() {
    everywhere(
        "segments dropped elsewhere",
        r#"(data $d "12345678") (elem $e func $drop) (table $t 1 funcref)
          (func $drop (data.drop $d) (elem.drop $e))
          (func $main (local $n i32)
            (call $drop)
            (loop $l (local.set $n (i32.add (local.get $n) (i32.const 1))) (br_if $l (i32.lt_u (local.get $n) (i32.const 3))))
            (table.init $t $e (i32.const 0) (i32.const 0) (i32.const 0))
            (call $print (i64.extend_i32_u (local.get $n)))
            (memory.init $d (i32.const 0) (i32.const 0) (i32.const 1)))"#,
    );
}

#[test]
fn code_that_cannot_be_reached_and_traps() {
    everywhere(
        "dead code",
        r#"(func $f (param i32) (result i64)
            (block $out (result i64)
              (loop $l (br_if $l (i32.eqz (local.tee 0 (i32.sub (i32.const 1) (local.get 0)))))
                (br $out (i64.const 4)) (drop) (block (loop (br 0))) (br_if 0 (i32.const 1)))
              unreachable (i64.add)))
          (func $main (call $print (call $f (i32.const 1))) (call $print (call $f (i32.const 0)))
            (loop $l (br_if $l (i32.eqz (call $block (i32.const 7))))) unreachable)"#,
    );
}

#[test]
fn a_start_section_runs_once_and_can_be_captured() {
    everywhere(
        "start section",
        r#"(global $g (mut i64) (i64.const 1))
          (func $init (local $n i32) (loop $l (global.set $g (i64.mul (global.get $g) (i64.const 3)))
            (local.set $n (i32.add (local.get $n) (i32.const 1))) (br_if $l (i32.lt_u (local.get $n) (i32.const 5))))
            (call $print (i64.const 1)))
          (start $init)
          (func $main (loop $l (global.set $g (i64.add (global.get $g) (i64.const 1)))
            (br_if $l (i64.lt_u (global.get $g) (i64.const 250)))) (call $print (global.get $g)))"#,
    );
}

#[test]
fn tail_calls_direct_indirect_and_to_what_blocks() {
    everywhere(
        "tail calls",
        r#"(type $step (func (param i64 i64) (result i64)))
          (table funcref (elem $a $b))
          (func $a (type $step) (if (i64.eqz (local.get 0)) (then (return (local.get 1))))
            (return_call $b (i64.sub (local.get 0) (i64.const 1)) (i64.add (local.get 1) (local.get 0))))
          (func $b (type $step)
            (return_call_indirect (type $step) (local.get 0) (i64.mul (local.get 1) (i64.const 3)) (i32.const 0)))
          (func $blocked (param i32) (result i32) (return_call $block (i32.add (local.get 0) (i32.const 1))))
          (func $main (call $print (i64.add (i64.const 5) (call $a (i64.const 6) (i64.const 1))))
            (call $print (i64.extend_i32_u (i32.add (call $blocked (i32.const 4)) (call $blocked (i32.const 9))))))"#,
    );
}

#[test]
fn tables_changed_at_run_time_and_references_in_frames() {
    everywhere(
        "references",
        r#"(type $f (func (param i64) (result i64)))
          (table $t 2 10 funcref) (elem (table $t) (i32.const 0) func $inc) (elem $late func $dec $inc)
          (global $g (mut funcref) (ref.null func))
          (func $inc (type $f) (i64.add (local.get 0) (i64.const 1)))
          (func $dec (type $f) (local $n i32)
            (loop $l (local.set $n (i32.add (local.get $n) (i32.const 1))) (br_if $l (i32.lt_u (local.get $n) (i32.const 3))))
            (i64.sub (local.get 0) (i64.const 5)))
          (func $pick (param $r funcref) (param $n i32) (result funcref) (local $k i32)
            (loop $l (local.set $k (i32.add (local.get $k) (i32.const 1))) (br_if $l (i32.lt_u (local.get $k) (local.get $n))))
            (local.get $r))
          (func $main (local $a funcref) (local $b funcref)
            (local.set $a (table.get $t (i32.const 0)))
            (local.set $b (ref.func $dec))
            (table.set $t (i32.const 1) (call $pick (local.get $b) (i32.const 3)))
            (drop (table.grow $t (call $pick (local.get $a) (i32.const 2)) (i32.const 2)))
            (global.set $g (call $pick (local.get $b) (i32.const 2)))
            (table.init $t $late (i32.const 2) (i32.const 0) (i32.const 1))
            (elem.drop $late)
            (call $print (call_indirect $t (type $f) (i64.const 100) (i32.const 1)))
            (call $print (call_indirect $t (type $f) (i64.const 100) (i32.const 2)))
            (call $print (call_indirect $t (type $f) (i64.const 100) (i32.const 3)))
            (table.set $t (i32.const 0) (global.get $g))
            (call $print (call_indirect $t (type $f) (i64.const 100) (i32.const 0)))
            (call $print (i64.extend_i32_u (table.size $t)))
            (call $print (i64.extend_i32_u (ref.is_null (call $pick (ref.null func) (i32.const 2)))))
            (table.init $t $late (i32.const 0) (i32.const 0) (i32.const 1)))"#,
    );
}

/// What prints these.
fn prints(values: &[i64]) -> String {
    let calls = values
        .iter()
        .map(|value| format!("(call $print (i64.const {value}))"));
    format!("(func $main {})", calls.collect::<String>())
}

const SPIN: &str = r#"(func $spin (local $n i32)
    (loop $l (local.set $n (i32.add (local.get $n) (i32.const 1)))
      (br_if $l (i32.lt_u (local.get $n) (i32.const 3)))))"#;

#[test]
fn legacy_exceptions_caught_by_tag_and_thrown_again() {
    everywhere_as(
        "legacy exceptions",
        &format!(
            r#"(tag $e (param i64)) (tag $other) {SPIN}
              (func $throws (param $n i64) (result i64)
                (call $spin)
                (if (i64.eq (local.get $n) (i64.const 0)) (then (throw $e (i64.const 10))))
                (if (i64.eq (local.get $n) (i64.const 1)) (then (throw $other)))
                (i64.const 7))
              (func $inner (param $n i64) (result i64)
                (i64.const 100)
                try (param i64) (result i64)
                  (i64.add (call $throws (local.get $n)))
                catch $e
                  call $spin
                  call $print
                  rethrow 0
                catch_all
                  call $spin
                  (i64.const 55)
                end)
              (func $main (local $n i64)
                (loop $again
                  (block $done
                    try
                      (call $print (call $inner (local.get $n)))
                      (br_if $done (i64.eq (local.get $n) (i64.const 2)))
                    catch $e
                      (call $print (i64.add (i64.const 1000)))
                      (call $spin)
                    end
                    (call $print (i64.const -1)))
                  (local.set $n (i64.add (local.get $n) (i64.const 1)))
                  (br_if $again (i64.le_u (local.get $n) (i64.const 2)))))"#
        ),
        &prints(&[10, 1010, -1, 55, -1, 107]),
    );
}

#[test]
fn legacy_exceptions_delegated_past_tries_and_to_callers() {
    everywhere_as(
        "delegated",
        &format!(
            r#"(tag $e (param i64)) {SPIN}
              (func $throws (param i64) (call $spin) (throw $e (local.get 0)))
              (func $past (param $n i64) (result i64)
                try $outer (result i64)
                  try
                    try $delegating
                      (call $throws (local.get $n))
                    delegate $outer
                    unreachable
                  catch_all
                    (call $print (i64.const -1))
                  end
                  (i64.const 0)
                catch $e
                  call $spin
                end)
              (func $to_caller (param $n i64) (result i64)
                try
                  (block $b
                    try
                      (br_if $b (i64.eqz (local.get $n)))
                      (call $throws (local.get $n))
                    delegate 2)
                catch_all
                  (call $print (i64.const -2))
                end
                (call $spin)
                (i64.const 77))
              (func $nearest (param $n i64) (result i64)
                try (result i64)
                  try (result i64)
                    (call $throws (local.get $n))
                    (i64.const 1)
                  delegate 0
                catch $e
                  (i64.const 1)
                  i64.add
                end)
              (func $main
                (call $print (call $past (i64.const 5)))
                (call $print (call $nearest (i64.const 8)))
                (call $print (call $to_caller (i64.const 0)))
                try (result i64)
                  (call $to_caller (i64.const 6))
                catch $e
                  call $spin
                end
                call $print)"#
        ),
        &prints(&[5, 9, 77, 6]),
    );
}

#[test]
fn legacy_exceptions_in_handlers_of_others() {
    everywhere_as(
        "handlers in handlers",
        &format!(
            r#"(tag $e (param i64)) (tag $f (param i64 i64)) {SPIN}
              (func $main (local $n i64)
                try
                  try $a
                    (throw $e (i64.const 1))
                  catch $e
                    call $print
                    call $spin
                    try $b
                      (throw $f (i64.const 2) (i64.const 3))
                    catch $f
                      i64.add
                      call $print
                      (loop $l
                        (local.set $n (i64.add (local.get $n) (i64.const 1)))
                        (br_if $l (i64.lt_u (local.get $n) (i64.const 4))))
                      (br_table 0 1 2 (i32.const 0))
                    catch_all
                      rethrow $b
                    end
                    try
                      rethrow $a
                    catch_all
                      call $spin
                      (call $print (i64.const 6))
                      rethrow 0
                    end
                  end
                catch $e
                  (call $print (i64.add (i64.const 6)))
                end)"#
        ),
        &prints(&[1, 5, 6, 7]),
    );
}

#[test]
fn exceptions_thrown_through_frames_and_caught_after_a_capture() {
    everywhere(
        "exceptions",
        r#"(tag $e (param i64)) (tag $other)
          (func $spin (param i32) (local $n i32)
            (loop $l (local.set $n (i32.add (local.get $n) (i32.const 1)))
              (br_if $l (i32.lt_u (local.get $n) (local.get 0)))))
          (func $thrower (param i64) (call $spin (i32.const 2))
            (if (i64.eq (i64.rem_u (local.get 0) (i64.const 3)) (i64.const 0)) (then (throw $e (i64.mul (local.get 0) (i64.const 10)))))
            (if (i64.eq (i64.rem_u (local.get 0) (i64.const 3)) (i64.const 1)) (then (throw $other)))
            (call $spin (i32.const 2)))
          (func $catcher (param i64) (result i64) (local $kept i64)
            (local.set $kept (i64.const 7))
            (block $others
              (block $caught (result i64)
                (try_table (catch $e $caught) (catch_all $others)
                  (local.set $kept (i64.add (local.get $kept) (local.get 0)))
                  (call $thrower (local.get 0))
                  (local.set $kept (i64.const 1000)))
                (return (i64.add (local.get $kept) (local.get 0))))
              (call $spin (i32.const 2))
              (return (i64.add (local.get $kept))))
            (i64.sub (local.get $kept) (i64.const 1)))
          (func $main (local $n i64)
            (loop $l (call $print (i64.add (i64.const 50000) (call $catcher (local.get $n))))
              (local.set $n (i64.add (local.get $n) (i64.const 1)))
              (br_if $l (i64.lt_u (local.get $n) (i64.const 6)))))"#,
    );
}
