//! The committed benchmark programs are those that `benches/build` made from the sources beside them.
#![forbid(unsafe_code)]
// Clippy does not take helper functions in here for tests.
#![allow(clippy::unwrap_used)]

#[path = "../../samples/tests/recorded/mod.rs"]
mod recorded;

use std::path::Path;

#[test]
fn benchmark_programs_come_from_these_sources() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches");
    let mut now = recorded::Digests::new();
    recorded::of_folder(&root, "programs", &[], &mut now);
    recorded::of_folder(&root, "wasm", &[], &mut now);
    recorded::must_be(&root, &now, "benches/build");
}
