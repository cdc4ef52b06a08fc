//! The committed `.wasm` files are those that `samples/build` made from the sources beside them.
//!
//! `wasm/SOURCES.b3` lists the BLAKE3 digests of all sources and built files, in the format of `b3sum`. With
//! `RECORD=1` in the environment, as `samples/build` sets it after building, the list is written anew instead.
#![forbid(unsafe_code)]
// Clippy does not take helper functions in here for tests.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const LIST: &str = "wasm/SOURCES.b3";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files below `folder` with their digests, by their path in `samples/` with forward slashes.
fn digests(folder: &str, into: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(root().join(folder)).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let path = format!("{folder}/{name}");
        if entry.file_type().unwrap().is_dir() {
            // Cargo's output is no source.
            if name != "target" {
                digests(&path, into);
            }
        } else if path != LIST {
            digest(&path, into);
        }
    }
}

fn digest(path: &str, into: &mut BTreeMap<String, String>) {
    let bytes = fs::read(root().join(path)).unwrap();
    into.insert(path.to_owned(), blake3::hash(&bytes).to_string());
}

fn current() -> BTreeMap<String, String> {
    let mut digests_by_path = BTreeMap::new();
    digests("programs", &mut digests_by_path);
    digests("wasm", &mut digests_by_path);
    // The talkers are built with these.
    digests("../guest/src", &mut digests_by_path);
    digest("../guest/wayfare.h", &mut digests_by_path);
    digests_by_path
}

fn recorded(list: &Path) -> BTreeMap<String, String> {
    let text = fs::read_to_string(list).unwrap();
    text.lines()
        .map(|line| line.split_once("  ").expect("a digest, two spaces and a path"))
        .map(|(digest, path)| (path.to_owned(), digest.to_owned()))
        .collect()
}

#[test]
fn built_files_come_from_these_sources() {
    let list: PathBuf = root().join(LIST);
    let now = current();
    if std::env::var_os("RECORD").is_some() {
        let lines: String = now
            .iter()
            .map(|(path, digest)| format!("{digest}  {path}\n"))
            .collect();
        fs::write(&list, lines).unwrap();
    }
    let then = recorded(&list);
    let changed: BTreeSet<&String> = now
        .keys()
        .chain(then.keys())
        .filter(|path| now.get(*path) != then.get(*path))
        .collect();
    assert!(
        changed.is_empty(),
        "not what {LIST} records; run samples/build and commit: {changed:?}"
    );
}

#[test]
fn every_program_is_built_and_offered() {
    let mut sources = BTreeSet::new();
    for entry in fs::read_dir(root().join("programs")).unwrap() {
        let path = entry.unwrap().path();
        if path.join("main.rs").exists() || path.join("main.c").exists() {
            sources.insert(path.file_name().unwrap().to_str().unwrap().to_owned());
        }
    }
    let offered: BTreeSet<String> = wayfare_samples::ALL
        .iter()
        .map(|sample| sample.name.to_owned())
        .chain(
            wayfare_samples::TALKERS
                .iter()
                .map(|talker| talker.name.to_owned()),
        )
        // For tests.
        .chain(["posix", "talk"].map(str::to_owned))
        .collect();
    assert_eq!(sources, offered);
}

#[test]
fn programs_are_plain_wasi_commands() {
    use wasmparser::{Parser, Payload};

    let samples = wayfare_samples::ALL.iter().map(|s| (s.name, s.wasm, false));
    let talkers = wayfare_samples::TALKERS.iter().map(|t| (t.name, t.wasm, true));
    for (name, wasm, talks) in samples.chain(talkers) {
        let mut exports = BTreeSet::new();
        for payload in Parser::new(0).parse_all(wasm) {
            match payload.unwrap() {
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        let import = import.unwrap();
                        let is_wasi = import.module == "wasi_snapshot_preview1";
                        let is_ours = talks && import.module == "wayfare_v1";
                        assert!(is_wasi || is_ours, "{name}: {}", import.name);
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
            "{name}: {exports:?}"
        );
    }
}
