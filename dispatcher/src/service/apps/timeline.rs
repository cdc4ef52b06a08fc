//! What was decided, on disk: one file for each term, JSON a line, the oldest thrown away.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use wayfare_protocol::dispatcher::Term;

use crate::app::ask::Decision;

/// Files of so many bytes are followed by another,
const FILE_BYTES_MAX: u64 = 4 << 20;
/// and so many are kept.
const FILES_MAX: usize = 8;
/// Bytes of decisions in one answer.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

#[derive(Debug)]
pub(super) struct Timeline {
    folder: PathBuf,
    term: Term,
    number: u32,
    file: File,
    bytes: u64,
    sequence: u64,
}

impl Timeline {
    pub(super) fn open(folder: &Path, term: Term) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let file = begin(folder, term, 0)?;
        Ok(Self {
            folder: folder.to_owned(),
            term,
            number: 0,
            file,
            bytes: 0,
            sequence: 0,
        })
    }

    /// Numbers it and writes it down. What is not on the disk at a power cut is lost: nothing depends on it.
    pub(super) fn add(&mut self, decision: &mut Decision) -> io::Result<()> {
        decision.sequence = self.sequence;
        self.sequence += 1;
        let mut line = serde_json::to_vec(decision).expect("plain data serialises");
        line.push(b'\n');
        if self.bytes + line.len() as u64 > FILE_BYTES_MAX {
            self.number += 1;
            self.file = begin(&self.folder, self.term, self.number)?;
            self.bytes = 0;
        }
        self.bytes += line.len() as u64;
        self.file.write_all(&line)
    }

    /// From `since_ms` on and after `after`, as many as a message holds; the rest is had by asking again.
    pub(super) fn read(&self, since_ms: u64, after: Option<(Term, u64)>) -> io::Result<Vec<Decision>> {
        let mut found = Vec::new();
        let mut room = ANSWER_BYTES_MAX;
        for path in files(&self.folder)? {
            for line in BufReader::new(File::open(path)?).lines() {
                let line = line?;
                // A torn line is the last of its file.
                let Ok(decision) = serde_json::from_str::<Decision>(&line) else {
                    continue;
                };
                let place = (decision.term, decision.sequence);
                if decision.at_ms < since_ms || after.is_some_and(|after| place <= after) {
                    continue;
                }
                let Some(left) = room.checked_sub(line.len()) else {
                    return Ok(found);
                };
                room = left;
                found.push(decision);
            }
        }
        Ok(found)
    }
}

fn begin(folder: &Path, term: Term, number: u32) -> io::Result<File> {
    let name = format!("events-{:020}-{number:06}", term.0);
    let file = File::options()
        .create(true)
        .append(true)
        .open(folder.join(name))?;
    let files = files(folder)?;
    for old in files.iter().take(files.len().saturating_sub(FILES_MAX)) {
        std::fs::remove_file(old)?;
    }
    Ok(file)
}

/// The oldest first.
fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("events-"))
        {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decision(at_ms: u64, text: &str) -> Decision {
        Decision {
            at_ms,
            term: Term(1),
            sequence: 0,
            kind: "test".into(),
            application: None,
            instance: None,
            engine: None,
            program: None,
            text: text.into(),
        }
    }

    #[test]
    fn decisions_are_read_in_order_and_in_parts() {
        let folder = tempfile::tempdir().unwrap();
        let mut timeline = Timeline::open(folder.path(), Term(1)).unwrap();
        let long = "x".repeat(1_000);
        for at in 0..200 {
            timeline.add(&mut decision(at, &long)).unwrap();
        }
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let part = timeline.read(10, after).unwrap();
            let Some(last) = part.last() else { break };
            after = Some((last.term, last.sequence));
            all.extend(part);
        }
        let times: Vec<u64> = all.iter().map(|decision| decision.at_ms).collect();
        assert_eq!(times, (10..200).collect::<Vec<_>>());
    }

    #[test]
    fn old_files_go() {
        let folder = tempfile::tempdir().unwrap();
        for term in 0..2 * FILES_MAX as u64 {
            Timeline::open(folder.path(), Term(term)).unwrap();
        }
        assert_eq!(files(folder.path()).unwrap().len(), FILES_MAX);
    }
}
