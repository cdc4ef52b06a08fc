//! `wayfare.h` compiles as C and as C++ without a warning, and declares the very calls that the Rust crate imports.
#![forbid(unsafe_code)]
// Clippy does not take helper functions in here for tests.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const HEADER: &str = include_str!("../wayfare.h");

fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All sources of the crate.
fn rust() -> String {
    sources_in(&folder().join("src"))
}

fn sources_in(folder: &Path) -> String {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .map(|path| match path.is_dir() {
            true => sources_in(&path),
            false => fs::read_to_string(path).unwrap(),
        })
        .collect()
}

fn shapes<'a>(parameters: &'a str, shape: impl Fn(&'a str) -> &'static str) -> Vec<&'static str> {
    let parameters = parameters.split(',').map(str::trim);
    parameters
        .filter(|parameter| !matches!(*parameter, "" | "void"))
        .map(shape)
        .collect()
}

/// What WebAssembly makes of a parameter in C.
fn c_shape(parameter: &str) -> &'static str {
    if parameter.contains(['*', '[']) {
        return "pointer";
    }
    match parameter.split_once(' ').map(|(of, _)| of) {
        Some("size_t") => "size",
        Some("int32_t" | "uint32_t") => "i32",
        Some("int64_t" | "uint64_t") => "i64",
        _ => panic!("a type that this test does not know: {parameter}"),
    }
}

fn rust_shape(parameter: &str) -> &'static str {
    let (_, of) = parameter.split_once(": ").unwrap();
    match of {
        of if of.starts_with('*') => "pointer",
        "usize" => "size",
        "i32" | "u32" => "i32",
        "i64" | "u64" => "i64",
        _ => panic!("a type that this test does not know: {parameter}"),
    }
}

#[test]
fn the_header_declares_what_the_crate_imports() {
    let mut declared = BTreeMap::new();
    for part in HEADER.split("\nWAYFARE_CALL(").skip(1) {
        let (name, rest) = part.split_once(')').unwrap();
        let (result, rest) = rest.trim().split_once(" wayfare_").unwrap();
        let (function, rest) = rest.split_once('(').unwrap();
        let (parameters, _) = rest.split_once(");").unwrap();
        assert_eq!((function, result), (name, "int32_t"));
        declared.insert(name.to_owned(), shapes(parameters, c_shape));
    }
    let mut imported = BTreeMap::new();
    for line in rust().lines() {
        let line = line.trim();
        if let Some(rest) = line.strip_prefix("fn ")
            && let Some(rest) = rest.strip_suffix(") -> i32;")
        {
            let (name, parameters) = rest.split_once('(').unwrap();
            imported.insert(name.to_owned(), shapes(parameters, rust_shape));
        }
    }
    assert!(imported.contains_key("publish"), "the imports are not found");
    assert_eq!(declared, imported);
}

#[test]
fn the_headers_flags_are_the_crates() {
    let rust = rust();
    let (_, constants) = HEADER.split_once("enum {").unwrap();
    let (constants, _) = constants.split_once('}').unwrap();
    let mut found = 0;
    for line in constants.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (name, rest) = line.split_once(" = ").unwrap();
        let (value, _) = rest.split_once(',').unwrap();
        let name = name.strip_prefix("WAYFARE_").unwrap();
        let wanted = format!("const {name}: i32 = {value};");
        assert!(rust.contains(&wanted), "the crate has no '{wanted}'");
        found += 1;
    }
    assert!(found >= 3);
}

/// Checks a file that includes nothing but the header. False: there is no such compiler.
fn compiles(compiler: &str, file: &str, standard: &str) -> bool {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(file);
    fs::write(&path, "#include \"wayfare.h\"\n").unwrap();
    let checked = Command::new(compiler)
        .args([
            standard,
            "-Wall",
            "-Wextra",
            "-Wpedantic",
            "-Werror",
            "-fsyntax-only",
        ])
        .arg("-I")
        .arg(folder())
        .arg(&path)
        .output();
    match checked {
        Ok(checked) => {
            let said = String::from_utf8_lossy(&checked.stderr).into_owned();
            assert!(checked.status.success(), "{compiler} {standard}: {said}");
            true
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("*** SKIPPED: {compiler} is not installed ***");
            false
        }
        Err(error) => panic!("{compiler}: {error}"),
    }
}

#[test]
fn the_header_compiles_without_a_warning() {
    // Rust needs a C compiler's linker, so that one is there.
    assert!(compiles("cc", "header.c", "-std=c99"));
    compiles("c++", "header.cpp", "-std=c++11");
}
