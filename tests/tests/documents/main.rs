//! What is written for people, held against the repository: links lead somewhere, the tests that promises
//! name exist, README stays short, crates name only what `deny.toml` lets them, and comments are as wide as
//! code.
//!
//! Only text is read: these tests start nothing.

use std::path::{Path, PathBuf};

mod comments;
mod dependencies;
mod licences;
mod links;
mod markdown;
mod names;
mod readme;

/// The repository.
fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests
        .parent()
        .expect("this crate is in the repository")
        .to_owned()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Files with this ending in a folder of the repository and below it, in order; what is built is left out.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = entries
        .map(|entry| entry.expect("a folder can be read").path())
        .collect();
    paths.sort();
    let is_hidden = |path: &Path| {
        path.file_name().is_some_and(|name| {
            name == "target" || name == "node_modules" || name.as_encoded_bytes()[0] == b'.'
        })
    };
    paths
        .into_iter()
        .filter(|path| !is_hidden(path))
        .flat_map(|path| match path.is_dir() {
            true => files(&path, ending),
            false if path.extension().is_some_and(|extension| extension == ending) => vec![path],
            false => Vec::new(),
        })
        .collect()
}
