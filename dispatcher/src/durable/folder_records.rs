//! Records in a folder.
//!
//! ```text
//!  state-<term>      key ' ' JSON of the record, or '-' if it was erased; a line each
//! ```
//! Each term has a file of its own, which begins with everything that the one before held. So a dispatcher
//! that was succeeded without knowing it writes to a file that nobody reads any more. The highest term that
//! is there is read, whatever term it is opened in, and what is written goes to a file above it: nothing ever
//! goes back to what an older file holds.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use wayfare_protocol::ids::Term;

use super::append::{Line, WriteAheadLog, read_lines};
use super::backend::{Backend, Change, Live};
use super::{FileError, is_unfinished};

pub(super) const PREFIX: &str = "state-";
const ERASED: &str = "-";
/// The file is written anew when it has so many times the lines that it needs, and at least so many.
const WASTE_FACTOR: usize = 4;
pub(super) const WASTE_LINES_MIN: usize = 1_000;

#[derive(Debug)]
pub(super) struct FolderRecords {
    path: PathBuf,
    /// `None`: it could not be begun yet.
    log: Option<WriteAheadLog>,
    lines: usize,
    /// When it is written anew.
    lines_max: usize,
    /// Files of earlier terms but the last, and what writes that did not finish left: removed when this
    /// term's is there.
    outdated: Vec<PathBuf>,
}

impl FolderRecords {
    pub(super) fn open(folder: &Path, term: Term) -> Result<(Self, Live), FileError> {
        std::fs::create_dir_all(folder).map_err(|error| FileError::new(folder, &error))?;
        let mut earlier = files(folder).map_err(|error| FileError::new(folder, &error))?;
        let highest = earlier.last().map_or(Term::default(), |(term, _)| *term);
        let live = match earlier.last() {
            Some((_, path)) => read(path)?,
            None => BTreeMap::new(),
        };
        let term = if highest > term { highest.next() } else { term };
        let unfinished = std::fs::read_dir(folder).map_err(|error| FileError::new(folder, &error))?;
        let unfinished = unfinished.filter_map(|entry| Some(entry.ok()?.path()));
        let unfinished = unfinished.filter(|path| is_unfinished(path));
        let path = folder.join(format!("{PREFIX}{term:020}", term = term.0));
        earlier.retain(|(_, old)| *old != path);
        earlier.pop();
        let records = Self {
            path,
            log: None,
            lines: live.len(),
            lines_max: 0,
            outdated: earlier
                .into_iter()
                .map(|(_, path)| path)
                .chain(unfinished)
                .collect(),
        };
        Ok((records, live))
    }

    fn begin(&mut self, live: &Live) -> Result<(), FileError> {
        let mut begun = WriteAheadLog::begin(&self.path, texts(live));
        for old in std::mem::take(&mut self.outdated) {
            // One that stays is removed in a later term.
            let _ = std::fs::remove_file(old);
        }
        if begun.is_err() {
            // There may be room now.
            begun = WriteAheadLog::begin(&self.path, texts(live));
        }
        self.log = Some(begun?);
        self.counted(live);
        Ok(())
    }

    fn counted(&mut self, live: &Live) {
        self.lines = live.len();
        self.lines_max = WASTE_LINES_MIN.max(self.lines * WASTE_FACTOR);
    }
}

impl Backend for FolderRecords {
    fn store(&mut self, changes: &[Change], live: &Live) -> Result<(), FileError> {
        let Some(log) = self.log.as_mut().filter(|log| log.is_sound()) else {
            return self.begin(live);
        };
        let lines = self.lines + changes.len();
        if lines > self.lines_max {
            match log.rewrite(texts(live)) {
                Ok(()) => {
                    self.counted(live);
                    return Ok(());
                }
                // There is no room for a second file: the first one grows on.
                Err(_) if log.is_sound() => self.lines_max = lines + WASTE_LINES_MIN,
                Err(error) => return Err(error),
            }
        }
        for (key, json) in changes {
            log.push(&line(key, json.as_deref().unwrap_or(ERASED)));
        }
        log.commit()?;
        self.lines = lines;
        Ok(())
    }
}

/// The highest term of which any of these folders has a file.
pub(super) fn highest_term<'a>(folders: impl Iterator<Item = &'a Path>) -> Term {
    let found = folders.filter_map(|folder| files(folder).ok()?.pop());
    found.map(|(term, _)| term).max().unwrap_or_default()
}

/// The earliest term first.
pub(super) fn files(folder: &Path) -> std::io::Result<Vec<(Term, PathBuf)>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if let Some(term) = term_of(&path) {
            files.push((term, path));
        }
    }
    files.sort();
    Ok(files)
}

fn term_of(path: &Path) -> Option<Term> {
    let name = path.file_name()?.to_str()?.strip_prefix(PREFIX)?;
    name.parse().ok().map(Term)
}

fn read(path: &Path) -> Result<BTreeMap<String, String>, FileError> {
    let (lines, skipped) = read_lines(path, |line| match line {
        Line::Whole(text) => {
            let (key, body) = text.split_once(' ')?;
            Some((key.to_owned(), body.to_owned()))
        }
        // Torn: nothing that follows from it was said to anybody.
        Line::Unchecked(_) => None,
    })?;
    if skipped > 0 {
        tracing::warn!(path = %path.display(), skipped, "skipped damaged lines");
    }
    let mut live = BTreeMap::new();
    for (key, body) in lines {
        match body.as_str() {
            ERASED => live.remove(&key),
            _ => live.insert(key, body),
        };
    }
    Ok(live)
}

fn texts(live: &BTreeMap<String, String>) -> impl Iterator<Item = Cow<'_, str>> {
    live.iter().map(|(key, json)| line(key, json).into())
}

fn line(key: &str, body: &str) -> String {
    format!("{key} {body}")
}
