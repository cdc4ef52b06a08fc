//! The committed benchmark programs are those that `benches/build` made from the sources beside them.
//!
//! `wasm/SOURCES.b3` lists the BLAKE3 digests of all sources and built files, in the format of `b3sum`. With
//! `RECORD=1` in the environment, as `benches/build` sets it after building, the list is written anew instead.
#![forbid(unsafe_code)]
// Clippy does not take helper functions in here for tests.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const LIST: &str = "wasm/SOURCES.b3";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches")
}

/// The files below `folder` with their digests, by their path in `benches/` with forward slashes.
fn digests(folder: &str, into: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(root().join(folder)).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{folder}/{}", entry.file_name().into_string().unwrap());
        if entry.file_type().unwrap().is_dir() {
            digests(&path, into);
        } else if path != LIST {
            into.insert(path, blake3::hash(&fs::read(entry.path()).unwrap()).to_string());
        }
    }
}

#[test]
fn benchmark_programs_come_from_these_sources() {
    let mut now = BTreeMap::new();
    digests("programs", &mut now);
    digests("wasm", &mut now);
    let list = root().join(LIST);
    if std::env::var_os("RECORD").is_some() {
        let lines: String = now
            .iter()
            .map(|(path, digest)| format!("{digest}  {path}\n"))
            .collect();
        fs::write(&list, lines).unwrap();
    }
    let text = fs::read_to_string(&list).unwrap();
    let then: BTreeMap<String, String> = text
        .lines()
        .map(|line| line.split_once("  ").expect("a digest, two spaces and a path"))
        .map(|(digest, path)| (path.to_owned(), digest.to_owned()))
        .collect();
    let changed: Vec<&String> = now
        .keys()
        .chain(then.keys())
        .filter(|path| now.get(*path) != then.get(*path))
        .collect();
    assert!(
        changed.is_empty(),
        "not what {LIST} records; run benches/build and commit: {changed:?}"
    );
}
