//! Compiled code that the engines of all tests share, so that each module is compiled once and not once for
//! each engine of each test.
//!
//! ```text
//!   lend: before an engine begins in a new folder    all of it, as links
//!   keep: when it has ended                          what it has compiled since
//! ```
//! What always holds: each engine has a folder of its own, and looks at what it finds there as at anything
//! that another version may have left. What is wanted of an engine that has compiled nothing is tested with
//! one that is not lent anything.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Where an engine has it, below its folder.
const FOLDER: &str = "compiled";

/// For an engine whose folder is not there yet.
pub fn lend(data: &Path) {
    let (own, shared) = (data.join(FOLDER), shared());
    if own.exists() {
        return;
    }
    let made = DirBuilder::new().mode(0o700).recursive(true).create(&own);
    made.expect("a test's folder can be written");
    for name in names(&shared) {
        // On another disk it is done without.
        let _ = fs::hard_link(shared.join(&name), own.join(&name));
    }
}

/// Of an engine that has ended.
pub fn keep(data: &Path) {
    let (own, shared) = (data.join(FOLDER), shared());
    if fs::create_dir_all(&shared).is_err() {
        return;
    }
    let node = |path: &Path| fs::metadata(path).ok().map(|about| about.ino());
    for name in names(&own) {
        let (from, to) = (own.join(&name), shared.join(&name));
        if node(&from) == node(&to) {
            continue;
        }
        // Whoever is lent it meanwhile gets what was there or what is there now.
        let mut unfinished = name.clone();
        unfinished.push(format!("-{}", std::process::id()));
        let unfinished = shared.join(unfinished);
        if fs::hard_link(&from, &unfinished).is_ok() {
            let _ = fs::rename(&unfinished, &to);
        }
        // Of two links to one file, renaming leaves both.
        let _ = fs::remove_file(&unfinished);
    }
}

/// Beside what cargo builds.
fn shared() -> PathBuf {
    let test = std::env::current_exe().expect("a process knows what it runs");
    let target = test
        .ancestors()
        .nth(3)
        .expect("cargo builds tests in its target folder");
    target.join("tmp").join(FOLDER)
}

/// Whole files, by the module's digest.
fn names(folder: &Path) -> Vec<std::ffi::OsString> {
    let is_whole = |name: &OsStr| {
        let stem = Path::new(name)
            .file_stem()
            .and_then(OsStr::to_str)
            .unwrap_or_default();
        stem.len() == 64 && stem.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    let there = fs::read_dir(folder).into_iter().flatten().flatten();
    there
        .map(|entry| entry.file_name())
        .filter(|name| is_whole(name))
        .collect()
}
