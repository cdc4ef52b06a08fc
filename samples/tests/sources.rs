//! The committed `.wasm` files are those that `samples/build` made from the sources beside them.
#![forbid(unsafe_code)]
// Clippy does not take helper functions in here for tests.
#![allow(clippy::unwrap_used)]

mod recorded;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn built_files_come_from_these_sources() {
    let mut now = recorded::Digests::new();
    recorded::of_folder(root(), "programs", &["target"], &mut now);
    recorded::of_folder(root(), "wasm", &[], &mut now);
    // The talkers are built with these.
    recorded::of_folder(root(), "../guest/src", &[], &mut now);
    recorded::of_file(root(), "../guest/wayfare.h", &mut now);
    recorded::must_be(root(), &now, "samples/build");
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
