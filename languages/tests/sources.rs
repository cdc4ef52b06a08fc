//! The committed module is the one that `languages/build` made from the sources in `js/`.
//!
//! `wasm/SOURCES.b3` lists the BLAKE3 digests of all sources and of what was built, in the format of `b3sum`. With
//! `RECORD=1` in the environment, as `languages/build` sets it after building, the list is written anew instead.
#![forbid(unsafe_code)]
// Clippy does not take helper functions in here for tests.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

const LIST: &str = "wasm/SOURCES.b3";
/// What is fetched or made when it is built. `package-lock.json` has the digests of what is fetched.
const NO_SOURCES: [&str; 2] = ["target", "node_modules"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files below `folder` with their digests, by their path in `languages/` with forward slashes.
fn digests(folder: &str, into: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(root().join(folder)).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let path = format!("{folder}/{name}");
        if entry.file_type().unwrap().is_dir() {
            if !NO_SOURCES.contains(&&*name) {
                digests(&path, into);
            }
        } else if path != LIST {
            let bytes = fs::read(root().join(&path)).unwrap();
            into.insert(path, blake3::hash(&bytes).to_string());
        }
    }
}

#[test]
fn the_built_module_comes_from_these_sources() {
    let mut now = BTreeMap::new();
    digests("js", &mut now);
    digests("wasm", &mut now);
    if std::env::var_os("RECORD").is_some() {
        let lines: String = now
            .iter()
            .map(|(path, digest)| format!("{digest}  {path}\n"))
            .collect();
        fs::write(root().join(LIST), lines).unwrap();
    }
    let text = fs::read_to_string(root().join(LIST)).unwrap();
    let then: BTreeMap<String, String> = text
        .lines()
        .map(|line| line.split_once("  ").expect("a digest, two spaces and a path"))
        .map(|(digest, path)| (path.to_owned(), digest.to_owned()))
        .collect();
    let changed: BTreeSet<&String> = now
        .keys()
        .chain(then.keys())
        .filter(|path| now.get(*path) != then.get(*path))
        .collect();
    assert!(
        changed.is_empty(),
        "not what {LIST} records; run languages/build and commit: {changed:?}"
    );
}

#[test]
fn the_module_is_a_plain_wasi_command() {
    use wasmparser::{Parser, Payload};

    let mut exports = BTreeSet::new();
    for payload in Parser::new(0).parse_all(wayfare_languages::JAVASCRIPT) {
        match payload.unwrap() {
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import.unwrap();
                    assert_eq!(import.module, "wasi_snapshot_preview1", "{}", import.name);
                }
            }
            Payload::ExportSection(section) => {
                exports.extend(section.into_iter().map(|export| export.unwrap().name));
            }
            _ => {}
        }
    }
    assert!(
        exports.is_superset(&BTreeSet::from(["_start", "memory"])),
        "{exports:?}"
    );
}
