//! What cannot be rewritten is refused with the reason, and nothing from outside makes the compiler panic.
#![allow(clippy::unwrap_used)]

use wayfare_compiler::{CompileError, Entry, Options, rewrite};

fn refuse(wasm: &[u8]) -> CompileError {
    rewrite(
        wasm,
        &Options {
            blocking: &|_, name| name == "block",
            entry: Entry::Command,
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
    };
    assert!(rewrite(&nested(15_000), &options).is_ok());
    assert!(refuse(&nested(30_000)).to_string().contains("nested"));
}
