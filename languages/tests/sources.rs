//! The committed module is the one that `languages/build` made from the sources in `js/`.
#![forbid(unsafe_code)]
// Clippy does not take helper functions in here for tests.
#![allow(clippy::unwrap_used)]

#[path = "../../samples/tests/recorded/mod.rs"]
mod recorded;

use std::collections::BTreeSet;
use std::path::Path;

#[test]
fn the_built_module_comes_from_these_sources() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut now = recorded::Digests::new();
    // `package-lock.json` has the digests of what is fetched.
    recorded::of_folder(root, "js", &["target", "node_modules"], &mut now);
    recorded::of_folder(root, "wasm", &[], &mut now);
    recorded::must_be(root, &now, "languages/build");
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
