//! What cannot be rewritten is refused with the reason, and nothing from outside makes the compiler panic.
#![allow(clippy::unwrap_used)]

use wayfare_compiler::{CompileError, Entry, Form, Options, features, rewrite};

fn refuse(wasm: &[u8]) -> CompileError {
    rewrite(
        wasm,
        &Options {
            blocking: &|_, name| name == "block",
            entry: Entry::Command,
            form: Form::Joined,
        },
    )
    .expect_err("should be refused")
}

fn refuse_wat(body: &str) -> String {
    refuse(&wat::parse_str(format!("(module {body})")).unwrap()).to_string()
}

#[test]
fn what_is_not_a_module_is_named() {
    assert!(matches!(refuse(b""), CompileError::NotWasm(_)));
    assert!(matches!(refuse(b"#!/bin/sh\n"), CompileError::NotWasm(_)));
    assert!(matches!(refuse(b"\0asm\x0d\0\x01\0"), CompileError::Component));
}

#[test]
fn every_truncation_of_a_module_is_refused() {
    let whole = wayfare_samples::find("sort").unwrap().wasm;
    let step = whole.len() / 300;
    for cut in (0..whole.len()).step_by(step) {
        let options = Options {
            blocking: &|_, _| false,
            entry: Entry::Command,
            form: Form::Joined,
        };
        // Cut between two custom sections at the end, a module is still whole.
        if let Ok(rewritten) = rewrite(&whole[..cut], &options) {
            assert!(rewritten.report.functions > 0 && cut > whole.len() / 2);
        }
    }
    assert!(matches!(
        refuse(&whole[..whole.len() / 2]),
        CompileError::Invalid(_)
    ));
}

#[test]
fn flipped_bytes_never_make_it_panic() {
    let whole = wayfare_samples::find("sort").unwrap().wasm;
    for at in (8..whole.len()).step_by(whole.len() / 400) {
        let mut damaged = whole.to_vec();
        damaged[at] ^= 1 << (at % 8);
        if let Err(error) = rewrite(
            &damaged,
            &Options {
                blocking: &|_, _| false,
                entry: Entry::Command,
                form: Form::Joined,
            },
        ) {
            assert!(!matches!(error, CompileError::Thread(_)), "at {at}: {error}");
        }
    }
}

#[test]
fn libraries_are_refused_with_what_to_do() {
    let error = refuse_wat(r#"(func (export "on_message") (param i32))"#);
    assert!(
        error.contains("_start") && error.contains("on_message"),
        "{error}"
    );
}

#[test]
fn features_that_cannot_be_captured_name_the_function() {
    for (body, expected) in [
        (r#"(memory 1 2 shared) (func (export "_start"))"#, "threads"),
        (
            r#"(func $holder (export "_start") (local externref) (loop (br_if 0 (ref.is_null (local.get 0)))))"#,
            "(holder)",
        ),
        (
            r#"(table 1 externref) (func $changer (export "_start") (table.set (i32.const 0) (ref.null extern)))"#,
            "(changer)",
        ),
        (
            r#"(import "env" "callback" (global funcref)) (func (export "_start"))"#,
            "env.callback",
        ),
        (
            r#"(import "env" "pick" (func (result funcref))) (func (export "_start"))"#,
            "env.pick",
        ),
        (
            r#"(import "env" "memory" (memory 1)) (func (export "_start"))"#,
            "env.memory",
        ),
        (
            r#"(import "a" "block" (func $b)) (table funcref (elem $b)) (func (export "_start"))"#,
            "called through a table",
        ),
    ] {
        let error = refuse_wat(body);
        assert!(error.contains(expected), "{error:?} should name {expected:?}");
    }
}

#[test]
fn deep_nesting_is_refused_not_overflown() {
    let nested = |depth: usize| {
        let body = format!(
            r#"(func (export "_start") (loop {} {} ))"#,
            "block ".repeat(depth),
            "end ".repeat(depth)
        );
        wat::parse_str(format!(
            "(module {})",
            body.replace("(loop ", "loop ").replace(" ))", " end)")
        ))
        .unwrap()
    };
    let options = Options {
        blocking: &|_, _| false,
        entry: Entry::Command,
        form: Form::Joined,
    };
    assert!(rewrite(&nested(15_000), &options).is_ok());
    assert!(refuse(&nested(30_000)).to_string().contains("nested"));
}

/// One module for each entry of the list that the documentation is made from.
#[test]
fn whatever_is_listed_as_refused_is_refused_with_its_sign() {
    let many = "(i32.const 0)".repeat(1_001);
    let drops = "(drop)".repeat(1_001);
    let modules = [
        ("component", "\0asm\x0d\0\x01\0".to_owned()),
        ("_start", r#"(func (export "main"))"#.to_owned()),
        (
            "shared memory (threads)",
            r#"(memory 1 1 shared) (func (export "_start"))"#.to_owned(),
        ),
        (
            "the imported",
            r#"(import "env" "tag" (tag)) (func (export "_start"))"#.to_owned(),
        ),
        (
            "a host's reference",
            r#"(func (export "_start") (local externref) (loop (br_if 0 (ref.is_null (local.get 0)))))"#
                .to_owned(),
        ),
        (
            "a host's references or exceptions",
            r#"(table 1 exnref) (func (export "_start") (table.set (i32.const 0) (ref.null exn)))"#
                .to_owned(),
        ),
        (
            "of the host's",
            r#"(import "env" "pick" (func (result funcref))) (func (export "_start"))"#.to_owned(),
        ),
        (
            "called through a table",
            r#"(import "a" "block" (func $b)) (table funcref (elem $b)) (func (export "_start"))"#.to_owned(),
        ),
        (
            "split the function",
            format!(r#"(func (export "_start") {many} (loop) {drops})"#),
        ),
        (
            "the export 'wayfare:",
            r#"(func (export "_start")) (func (export "wayfare:save"))"#.to_owned(),
        ),
    ];
    let listed: Vec<&str> = features::REFUSALS.iter().map(|refusal| refusal.sign).collect();
    assert_eq!(modules.each_ref().map(|(sign, _)| *sign).as_slice(), listed);
    for (sign, body) in modules {
        let error = match body.strip_prefix("\0asm") {
            Some(_) => refuse(body.as_bytes()).to_string(),
            None => refuse_wat(&body),
        };
        assert!(error.contains(sign), "{error:?} should contain {sign:?}");
    }
}

#[test]
fn a_refused_proposal_is_named_with_the_reason_and_what_to_do() {
    for (body, name) in [
        (
            r#"(func (export "_start") (drop (i32x4.relaxed_trunc_f32x4_s (v128.const i64x2 0 0))))"#,
            "relaxed SIMD",
        ),
        (
            r#"(type $s (struct)) (func (export "_start") (drop (struct.new $s)))"#,
            "garbage-collected references",
        ),
        (
            r#"(type $f (func)) (func (export "_start") (local (ref null $f)))"#,
            "typed function references",
        ),
        (
            r#"(func (export "_start") (i64.const 1) (i64.const 1) (i64.mul_wide_s (i64.const 1) (i64.const 1)) i64.add128 (drop) (drop))"#,
            "wide arithmetic",
        ),
        (
            r#"(memory 1 (pagesize 1)) (func (export "_start"))"#,
            "custom page sizes",
        ),
    ] {
        let error = refuse_wat(body);
        let feature = features::FEATURES
            .iter()
            .find(|feature| feature.name == name)
            .unwrap();
        let features::Support::Refused { why, instead } = feature.support else {
            panic!("{name} is taken")
        };
        for part in [name, why, instead] {
            assert!(error.contains(part), "{error:?} should contain {part:?}");
        }
    }
}

/// A state out of proportion: 800 operands at each of 800 calls would be 640,000 stores.
#[test]
fn a_function_whose_state_is_out_of_proportion_is_refused_with_its_name() {
    let results = "i32 ".repeat(800);
    let consts = "(i32.const 1)".repeat(800);
    let calls = "(call $use)".repeat(800);
    let error = refuse_wat(&format!(
        r#"(func $many (result {results}) {consts})
          (func $use (param i32) (loop (br_if 0 (i32.const 0))))
          (func $wide (export "_start") (call $many) {calls})"#
    ));
    assert!(
        error.contains("wide") && error.contains("split the function"),
        "{error}"
    );
}

/// Found out before the program starts, although only moving it needs so much code.
#[test]
fn a_function_that_becomes_larger_than_a_module_may_have_is_refused_with_its_name() {
    let calls = "(call $use)".repeat(300_000);
    let wasm = wat::parse_str(format!(
        r#"(module (func $use (loop (br_if 0 (i32.const 0))))
          (func $long (export "_start") {calls}))"#
    ));
    for form in [Form::Program, Form::Resuming, Form::Joined] {
        let options = Options {
            blocking: &|_, _| false,
            entry: Entry::Command,
            form,
        };
        let refused = rewrite(wasm.as_ref().unwrap(), &options).expect_err("should be refused");
        let error = refused.to_string();
        assert!(
            error.contains("long") && error.contains("split the function"),
            "{form:?}: {error}"
        );
    }
}
