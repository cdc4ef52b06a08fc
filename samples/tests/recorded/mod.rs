//! Holds built files to the sources that they were built from: `wasm/SOURCES.b3` lists the BLAKE3 digests of both, in the
//! format of `b3sum`. With `RECORD=1` in the environment, as the scripts that build set it afterwards, the list is
//! written anew instead. Every crate with built files tests them by this.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

const LIST: &str = "wasm/SOURCES.b3";

/// Digests by path below `root`, with forward slashes.
pub(crate) type Digests = BTreeMap<String, String>;

/// Those of all files below a folder, but for folders of the names in `without`: what is fetched or made there when it is built
/// is no source.
pub(crate) fn of_folder(root: &Path, folder: &str, without: &[&str], into: &mut Digests) {
    for entry in fs::read_dir(root.join(folder)).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let path = format!("{folder}/{name}");
        if entry.file_type().unwrap().is_dir() {
            if !without.contains(&&*name) {
                of_folder(root, &path, without, into);
            }
        } else if path != LIST {
            of_file(root, &path, into);
        }
    }
}

pub(crate) fn of_file(root: &Path, path: &str, into: &mut Digests) {
    let bytes = fs::read(root.join(path)).unwrap();
    into.insert(path.to_owned(), blake3::hash(&bytes).to_string());
}

/// Fails where these are not the digests in the list; `script` makes them so.
pub(crate) fn must_be(root: &Path, now: &Digests, script: &str) {
    let list = root.join(LIST);
    if std::env::var_os("RECORD").is_some() {
        let line = |(path, digest)| format!("{digest}  {path}\n");
        let lines: String = now.iter().map(line).collect();
        fs::write(&list, lines).unwrap();
    }
    let text = fs::read_to_string(&list).unwrap();
    let then: Digests = text
        .lines()
        .map(|line| line.split_once("  ").expect("a digest, two spaces and a path"))
        .map(|(digest, path)| (path.to_owned(), digest.to_owned()))
        .collect();
    let paths = now.keys().chain(then.keys());
    let changed: Vec<&String> = paths.filter(|path| now.get(*path) != then.get(*path)).collect();
    assert!(
        changed.is_empty(),
        "not what {LIST} records; run {script} and commit: {changed:?}"
    );
}
