//! Which rewriting this is: for whoever keeps rewritten or compiled modules and must not use those of another
//! one.
//!
//! It is computed from the sources themselves, because a number that people must remember to raise is
//! forgotten, and rewriting a module again to compare takes two to four times as long as loading it compiled.
//! A test holds the lists to what is in the folder and in the lock file.

/// This crate's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Another one for every change to this crate's sources or to the libraries that read and write WebAssembly
/// for it. FNV-1a over 64-bit words: it tells versions apart, and withstands nobody who looks for a
/// collision.
#[allow(long_running_const_eval, reason = "the sources grow")]
pub const REVISION: u64 = {
    let mut digest = absorb(0xcbf2_9ce4_8422_2325, LIBRARIES.as_bytes());
    let mut number = 0;
    while number < SOURCES.len() {
        digest = absorb(digest, SOURCES[number].1.as_bytes());
        number += 1;
    }
    digest
};

const LIBRARIES: &str = "wasm-encoder 0.254.2, wasmparser 0.254.2";

macro_rules! sources {
    ($($name:literal),* $(,)?) => { &[$(($name, include_str!($name))),*] };
}

/// Only their digest gets into the binary.
const SOURCES: &[(&str, &str)] = sources![
    "../../engine/abi/src/rewritten.rs",
    "assemble.rs",
    "atomics.rs",
    "body.rs",
    "borrowed.rs",
    "calls.rs",
    "code.rs",
    "draft.rs",
    "error.rs",
    "exceptions.rs",
    "features.rs",
    "frames.rs",
    "homes.rs",
    "legacy.rs",
    "lib.rs",
    "liveness.rs",
    "module.rs",
    "polls.rs",
    "reading.rs",
    "report.rs",
    "resumers.rs",
    "revision.rs",
    "saving.rs",
    "sections.rs",
    "twin.rs",
    "unrolling.rs",
];

const fn absorb(mut digest: u64, mut bytes: &[u8]) -> u64 {
    const PRIME: u64 = 0x0100_0000_01b3;
    digest = (digest ^ bytes.len() as u64).wrapping_mul(PRIME);
    while let Some((word, rest)) = bytes.split_first_chunk() {
        digest = (digest ^ u64::from_le_bytes(*word)).wrapping_mul(PRIME);
        bytes = rest;
    }
    while let Some((byte, rest)) = bytes.split_first() {
        digest = (digest ^ *byte as u64).wrapping_mul(PRIME);
        bytes = rest;
    }
    digest
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn every_source_file_counts() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut names: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.push("../../engine/abi/src/rewritten.rs".to_owned());
        names.sort();
        let listed: Vec<&str> = SOURCES.iter().map(|(name, _)| *name).collect();
        assert_eq!(listed, names, "SOURCES must list what is in src/, and the ABI");
    }

    #[test]
    fn the_libraries_are_those_of_the_lock_file() {
        let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.lock");
        let lock = std::fs::read_to_string(lock).unwrap();
        let versions = |name: &str| -> Vec<String> {
            let head = format!("name = \"{name}\"\nversion = \"");
            lock.split(&head)
                .skip(1)
                .filter_map(|rest| Some(rest.split_once('"')?.0.to_owned()))
                .collect()
        };
        for library in LIBRARIES.split(", ") {
            let (name, version) = library.split_once(' ').unwrap();
            let locked = versions(name);
            assert!(
                locked.iter().any(|locked| locked == version),
                "LIBRARIES says {library}, Cargo.lock has {locked:?}"
            );
        }
    }

    #[test]
    fn a_changed_byte_changes_the_digest() {
        let text = b"any source file, longer than a word";
        let digest = absorb(7, text);
        for place in 0..text.len() {
            let mut changed = text.to_vec();
            changed[place] ^= 1;
            assert_ne!(absorb(7, &changed), digest, "byte {place}");
        }
        assert_ne!(absorb(7, &text[..text.len() - 1]), digest);
    }
}
