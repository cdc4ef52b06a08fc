//! How these tests get at compiled code: they compile it or, where there is no compiler, take it from a
//! folder that a run with the compiler has left: the folder that `WAYFARE_TEST_CODE` names. So the same tests
//! run on processors that Cranelift does not know.
//!
//! Code in the folder is as a registry gives it out to boards of 32 bits, signed, and loaded as they load it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use wayfare_protocol::code::SecretKey;
use wayfare_protocol::error::Failure;
use wayfare_protocol::ids::Digest;

use super::{Loaded, RUNTIME};

pub(super) fn load(text: &str) -> Arc<Loaded> {
    try_load(text).unwrap()
}

pub(super) fn try_load(text: &str) -> Result<Arc<Loaded>, Failure> {
    load_wasm(&wat::parse_str(text).unwrap())
}

/// Loaded once for all tests.
pub(super) fn load_sample(name: &str) -> Arc<Loaded> {
    static LOADED: Mutex<BTreeMap<String, Arc<Loaded>>> = Mutex::new(BTreeMap::new());
    let mut loaded = LOADED.lock().unwrap();
    let entry = loaded
        .entry(name.to_owned())
        .or_insert_with(|| load_wasm(wayfare_samples::find(name).unwrap().wasm).unwrap());
    entry.clone()
}

fn code_folder() -> Option<PathBuf> {
    std::env::var_os("WAYFARE_TEST_CODE").map(PathBuf::from)
}

fn key() -> SecretKey {
    SecretKey::from_random([7; 32])
}

#[cfg(feature = "compiler")]
pub(super) fn load_wasm(wasm: &[u8]) -> Result<Arc<Loaded>, Failure> {
    let module = Digest::of(wasm);
    if let Some(code_folder) = code_folder() {
        put(&code_folder, module, wasm);
    }
    RUNTIME.load(module, wasm)
}

/// Loads what an engine's cache would have: written, read back and checked, both pieces.
#[cfg(feature = "compiler")]
pub(super) fn load_as_cached(wasm: &[u8]) -> Result<Arc<Loaded>, Failure> {
    use super::super::{Compiled, Piece};

    let (module, provenance) = (Digest::of(wasm), RUNTIME.provenance());
    let cached = |compiled: Compiled, piece: Piece| {
        let mut bytes = Vec::new();
        compiled.write_to(&provenance, &mut bytes).unwrap();
        Compiled::verify(bytes, module, piece, &provenance).unwrap()
    };
    let (fresh, program) = RUNTIME.compile(module, wasm)?;
    let resuming = RUNTIME
        .compile_resuming(&fresh, wasm)?
        .expect("nobody else makes it");
    let loaded = RUNTIME.revive(&cached(program, Piece::Program)).unwrap();
    RUNTIME
        .revive_resuming(&loaded, &cached(resuming, Piece::Resuming))
        .unwrap();
    Ok(loaded)
}

#[cfg(feature = "compiler")]
fn put(code_folder: &std::path::Path, module: Digest, wasm: &[u8]) {
    use super::super::ahead;

    let path = code_folder.join(module.to_string());
    let target = wayfare_protocol::code::CodeTarget {
        architecture: "pulley32".into(),
        ..ahead::here()
    };
    // What does not compile is refused before it comes to a board.
    if let Ok(code) = ahead::compile(module, wasm, &target) {
        let signed = wayfare_protocol::code::sign(module, &target, "test", &code, &key()).unwrap();
        std::fs::create_dir_all(code_folder).unwrap();
        // Two tests may load the same module.
        let mut whole = tempfile::NamedTempFile::new_in(code_folder).unwrap();
        std::io::Write::write_all(&mut whole, &signed).unwrap();
        whole.persist(path).unwrap();
    }
}

#[cfg(not(feature = "compiler"))]
pub(super) fn load_wasm(wasm: &[u8]) -> Result<Arc<Loaded>, Failure> {
    use super::super::{Compiled, Piece, Provenance, ReviveError};

    let module = Digest::of(wasm);
    let hint = "there is no compiler here: run these tests in a build that has it, with WAYFARE_TEST_CODE naming a folder, then these with the same";
    let path = code_folder().expect(hint).join(module.to_string());
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}: {hint}", path.display()));
    let compiled = Compiled::verify(
        bytes,
        module,
        Piece::Program,
        &Provenance::Signed(RUNTIME.trust(vec![key().public()])),
    )
    .unwrap();
    RUNTIME.revive(&compiled).map_err(|error| match error {
        ReviveError::Module(failure) => failure,
        ReviveError::Code(reason) => panic!("{reason}"),
    })
}
