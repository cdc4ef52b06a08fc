//! What must survive a restart, on disk: records by key, appended and made durable together.
//!
//! ```text
//!  check of the rest, 16 hexadecimal digits ' ' key ' ' JSON of the record, or '-' if erased '\n'
//! ```
//! Each term has a file of its own, which begins with everything that the one before held. So a dispatcher that was
//! succeeded without knowing it writes to a file that nobody reads any more. A line that is torn or damaged is skipped:
//! nothing that follows from it has been said to anybody.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use wayfare_protocol::dispatcher::Term;
use wayfare_protocol::ids::Digest;

const PREFIX: &str = "state-";
const CHECK_DIGITS: usize = 16;
const ERASED: &str = "-";
/// The file is written anew when it has so many times the lines that it needs, and at least so many.
const WASTE_FACTOR: usize = 4;
const WASTE_LINES_MIN: usize = 1_000;

#[derive(Debug)]
pub(in crate::service) struct Journal {
    path: PathBuf,
    file: File,
    live: BTreeMap<String, String>,
    lines: usize,
    unwritten: Vec<u8>,
}

impl Journal {
    /// Takes over what the last term left, and begins this term's file. Only the file before this is kept beside it.
    pub(in crate::service) fn open(folder: &Path, term: Term) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let mut earlier = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if let Some(found) = term_of(&path) {
                earlier.push((found, path));
            }
        }
        earlier.sort();
        let live = match earlier.last() {
            Some((_, path)) => read(path)?,
            None => BTreeMap::new(),
        };
        let path = folder.join(format!("{PREFIX}{term:020}", term = term.0));
        let file = write_whole(&path, &live)?;
        earlier.retain(|(_, old)| *old != path);
        earlier.pop();
        for (_, old) in earlier {
            std::fs::remove_file(old)?;
        }
        Ok(Self {
            path,
            file,
            lines: live.len(),
            live,
            unwritten: Vec::new(),
        })
    }

    pub(in crate::service) fn records(&self) -> &BTreeMap<String, String> {
        &self.live
    }

    /// `None` erases. Keys have no spaces. Durable after [`Journal::commit`].
    pub(in crate::service) fn put(&mut self, key: &str, json: Option<String>) {
        self.unwritten
            .extend(line(key, json.as_deref().unwrap_or(ERASED)).into_bytes());
        self.lines += 1;
        match json {
            Some(json) => self.live.insert(key.to_owned(), json),
            None => self.live.remove(key),
        };
    }

    pub(in crate::service) fn commit(&mut self) -> io::Result<()> {
        if self.unwritten.is_empty() {
            return Ok(());
        }
        if self.lines > WASTE_LINES_MIN.max(self.live.len() * WASTE_FACTOR) {
            self.file = write_whole(&self.path, &self.live)?;
            self.lines = self.live.len();
        } else {
            self.file.write_all(&self.unwritten)?;
            self.file.sync_data()?;
        }
        self.unwritten.clear();
        Ok(())
    }
}

fn term_of(path: &Path) -> Option<Term> {
    let name = path.file_name()?.to_str()?.strip_prefix(PREFIX)?;
    name.parse().ok().map(Term)
}

/// Whole or not at all, and open for more.
fn write_whole(path: &Path, live: &BTreeMap<String, String>) -> io::Result<File> {
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    let text: String = live.iter().map(|(key, json)| line(key, json)).collect();
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok(file)
}

fn read(path: &Path) -> io::Result<BTreeMap<String, String>> {
    let mut live = BTreeMap::new();
    for line in std::fs::read(path)?.split(|byte| *byte == b'\n') {
        match parse(line) {
            Some((key, ERASED)) => drop(live.remove(key)),
            Some((key, json)) => drop(live.insert(key.to_owned(), json.to_owned())),
            None if line.is_empty() => {}
            None => tracing::warn!(path = %path.display(), "skipped a damaged line"),
        }
    }
    Ok(live)
}

fn line(key: &str, body: &str) -> String {
    let rest = format!("{key} {body}");
    format!("{} {rest}\n", check(&rest))
}

fn parse(line: &[u8]) -> Option<(&str, &str)> {
    let (found, rest) = std::str::from_utf8(line).ok()?.split_once(' ')?;
    (check(rest) == found).then(|| rest.split_once(' '))?
}

fn check(text: &str) -> String {
    Digest::of(text.as_bytes()).to_string()[..CHECK_DIGITS].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reopened(folder: &Path, term: u64) -> BTreeMap<String, String> {
        Journal::open(folder, Term(term)).unwrap().records().clone()
    }

    #[test]
    fn what_was_committed_survives_torn_and_damaged_writes() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(folder.path(), Term(1)).unwrap();
        for (key, json) in [("a", Some("1")), ("b", Some("2")), ("a", Some("3")), ("b", None)] {
            journal.put(key, json.map(str::to_owned));
        }
        journal.commit().unwrap();
        let path = folder.path().join("state-00000000000000000001");
        let whole = std::fs::read(&path).unwrap();
        let expected = BTreeMap::from([("a".to_owned(), "3".to_owned())]);
        for torn in [&b"0123456789abcdef a 9"[..], b"\n", b"xyz", b"\xff\xfe"] {
            std::fs::write(&path, [whole.as_slice(), torn].concat()).unwrap();
            assert_eq!(reopened(folder.path(), 1), expected);
        }
        for cut in 0..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            reopened(folder.path(), 1);
        }
    }

    #[test]
    fn an_earlier_terms_late_writes_are_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let mut first = Journal::open(folder.path(), Term(1)).unwrap();
        first.put("a", Some("1".into()));
        first.commit().unwrap();
        let mut second = Journal::open(folder.path(), Term(2)).unwrap();
        first.put("a", Some("stale".into()));
        first.commit().unwrap();
        second.put("b", Some("2".into()));
        second.commit().unwrap();
        let expected = [("a", "1"), ("b", "2")].map(|(key, json)| (key.to_owned(), json.to_owned()));
        assert_eq!(reopened(folder.path(), 3), BTreeMap::from(expected));
    }

    #[test]
    fn the_file_does_not_grow_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(folder.path(), Term(1)).unwrap();
        for number in 0..3 * WASTE_LINES_MIN {
            journal.put("a", Some(number.to_string()));
            journal.commit().unwrap();
        }
        assert!(journal.lines <= WASTE_LINES_MIN + 1);
        assert_eq!(
            reopened(folder.path(), 2)["a"],
            (3 * WASTE_LINES_MIN - 1).to_string()
        );
    }
}
