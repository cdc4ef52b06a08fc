//! A folder of files in one blob: what a program is given to read, as a program's source is to its language's
//! interpreter.
//!
//! ```text
//!  magic 8 | header length u32 | header JSON [[path, bytes], ...] | contents in the header's order
//! ```
//! Paths are relative, sorted, and without `.`, `..` and empty names. What was packed is checked as if it
//! came from anywhere.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::files::{DEPTH_MAX, PATH_BYTES_MAX, is_name};

const MAGIC: &[u8; 8] = b"WAYFFOLD";
/// Largest packed folder.
pub const FOLDER_BYTES_MAX: u64 = 64 << 20;
/// Files in one folder and in those below it.
pub const FOLDER_FILES_MAX: usize = 16 * 1024;

/// Which of a program's folders: each is mounted, to be read, at its own path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FolderName {
    /// What somebody has written.
    Program,
    /// What belongs to the language that it is written in.
    Library,
}

impl FolderName {
    pub fn mount(self) -> &'static str {
        match self {
            Self::Program => "/program",
            Self::Library => "/library",
        }
    }
}

#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum FolderError {
    #[error("not a packed folder")]
    NotAFolder,
    #[error("a packed folder is damaged: {0}")]
    Damaged(&'static str),
    #[error("'{0}' is not a path of a file in a folder")]
    Path(String),
    #[error("{files} files, the limit is {FOLDER_FILES_MAX}")]
    TooMany { files: usize },
}

/// Packs files by their paths, with forward slashes.
pub fn pack(files: &BTreeMap<String, Vec<u8>>) -> Result<Vec<u8>, FolderError> {
    let header: Vec<(&String, usize)> = files
        .iter()
        .map(|(path, content)| (path, content.len()))
        .collect();
    check(header.iter().map(|(path, _)| path.as_str()))?;
    let json = serde_json::to_vec(&header).expect("plain data serialises");
    let mut out = MAGIC.to_vec();
    out.extend((json.len() as u32).to_le_bytes());
    out.extend(json);
    files.values().for_each(|content| out.extend_from_slice(content));
    Ok(out)
}

/// The files of a packed folder in the order of their paths, each with where its content is.
pub fn index(bytes: &[u8]) -> Result<Vec<(String, Range<usize>)>, FolderError> {
    let rest = bytes.strip_prefix(MAGIC).ok_or(FolderError::NotAFolder)?;
    let short = || FolderError::Damaged("it ends too early");
    let (length, rest) = rest.split_first_chunk::<4>().ok_or_else(short)?;
    let (json, contents) = rest
        .split_at_checked(u32::from_le_bytes(*length) as usize)
        .ok_or_else(short)?;
    let header: Vec<(String, u64)> =
        serde_json::from_slice(json).map_err(|_| FolderError::Damaged("its list of files"))?;
    check(header.iter().map(|(path, _)| path.as_str()))?;
    let (mut at, end) = (bytes.len() - contents.len(), bytes.len());
    let mut files = Vec::with_capacity(header.len());
    for (path, length) in header {
        let behind = usize::try_from(length)
            .ok()
            .and_then(|length| at.checked_add(length));
        let behind = behind.filter(|behind| *behind <= end).ok_or_else(short)?;
        files.push((path, at..behind));
        at = behind;
    }
    match at == end {
        true => Ok(files),
        false => Err(FolderError::Damaged("bytes behind the end")),
    }
}

/// Every path is a file's, in order, and none is a folder's too.
fn check<'a>(paths: impl Iterator<Item = &'a str>) -> Result<(), FolderError> {
    let paths: Vec<&str> = paths.collect();
    if paths.len() > FOLDER_FILES_MAX {
        return Err(FolderError::TooMany { files: paths.len() });
    }
    let bad = paths.iter().find(|path| {
        let depth = path.split('/').count();
        path.len() > PATH_BYTES_MAX || depth > DEPTH_MAX || !path.split('/').all(is_name)
    });
    if let Some(bad) = bad {
        return Err(FolderError::Path(bad.chars().take(200).collect()));
    }
    if !paths.is_sorted_by(|one, next| one < next) {
        return Err(FolderError::Damaged("its paths are not in order"));
    }
    let is_there = |folder: &str| paths.binary_search(&folder).is_ok();
    let is_inside_a_file = |path: &&str| path.match_indices('/').any(|(at, _)| is_there(&path[..at]));
    match paths.iter().find(|path| is_inside_a_file(path)) {
        Some(path) => Err(FolderError::Path((*path).to_owned())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(paths: &[(&str, &[u8])]) -> BTreeMap<String, Vec<u8>> {
        let files = paths.iter();
        files
            .map(|(path, content)| ((*path).to_owned(), content.to_vec()))
            .collect()
    }

    #[test]
    fn what_is_packed_is_found_again_byte_for_byte() {
        let all = files(&[
            ("main.py", b"import a.b\n"),
            ("a/b.py", b"\xff\0"),
            ("a/__init__.py", b""),
        ]);
        let packed = pack(&all).unwrap();
        let found = index(&packed).unwrap();
        let found = found
            .into_iter()
            .map(|(path, range)| (path, packed[range].to_vec()));
        assert_eq!(found.collect::<BTreeMap<_, _>>(), all);
        assert_eq!(index(&pack(&BTreeMap::new()).unwrap()), Ok(Vec::new()));
    }

    #[test]
    fn what_is_no_folder_is_refused() {
        for bad in ["", "/a", "a/", "a//b", "../a", "a/./b", "a\0"] {
            assert!(
                matches!(pack(&files(&[(bad, b"")])), Err(FolderError::Path(_))),
                "{bad}"
            );
        }
        assert!(
            pack(&files(&[("a", b""), ("a/b", b"")])).is_err(),
            "a file and a folder"
        );
        let many = (0..=FOLDER_FILES_MAX).map(|number| (number.to_string(), Vec::new()));
        assert!(matches!(pack(&many.collect()), Err(FolderError::TooMany { .. })));
        let good = pack(&files(&[("a", b"1"), ("b", b"2")])).unwrap();
        for cut in 0..good.len() {
            assert!(index(&good[..cut]).is_err(), "{cut}");
        }
        assert!(index(&[&good[..], b"3"].concat()).is_err());
        let text = String::from_utf8_lossy(&good).into_owned();
        for (from, to) in [("[\"a\"", "[\"c\""), ("[\"a\"", "[\"/\""), (",1]", ",9]")] {
            assert!(
                index(text.replacen(from, to, 1).as_bytes()).is_err(),
                "{from} {to}"
            );
        }
    }
}
