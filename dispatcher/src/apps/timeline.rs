//! Keeps what was decided: files of JSON lines for each term, of which the oldest are removed; or segments in
//! a store of objects.
//!
//! Nothing depends on an event: one that could not be written is lost, and so is a line that was damaged, and
//! no other.

use std::path::{Path, PathBuf};

use wayfare_client::app::ask::{Decision, EventsWanted};
use wayfare_protocol::ids::Term;
use wayfare_protocol::limits::PAGE_BYTES_MAX;

use super::object_events::ObjectEvents;
use crate::durable::{FileError, Line, Place, WriteAheadLog, is_unfinished, read_lines};

/// Files of so many bytes are followed by another,
const FILE_BYTES_MAX: u64 = 4 << 20;
/// and so many are kept.
const FILES_MAX: usize = 8;

#[derive(Debug)]
pub(super) struct Timeline {
    kept: Kept,
    sequence: u64,
}

#[derive(Debug)]
enum Kept {
    Files(EventFiles),
    Objects(ObjectEvents),
}

impl Timeline {
    pub(super) fn open(place: &Place, term: Term) -> Result<Self, FileError> {
        let kept = match place {
            Place::Folder(folder) => Kept::Files(EventFiles::open(folder, term)?),
            Place::Objects(objects) => Kept::Objects(ObjectEvents::open(objects, term)?),
        };
        Ok(Self { kept, sequence: 0 })
    }

    /// Numbers it and writes it down. What is not on the disk at a power cut is lost: nothing depends on it.
    pub(super) fn add(&mut self, decision: &mut Decision) -> Result<(), FileError> {
        decision.sequence = self.sequence;
        self.sequence += 1;
        let json = serde_json::to_string(decision).expect("plain data serialises");
        match &mut self.kept {
            Kept::Files(files) => files.add(&json),
            Kept::Objects(objects) => {
                objects.add(decision, &json);
                Ok(())
            }
        }
    }

    /// Hands over what was added, so that it is there if this process is killed.
    pub(super) fn flush(&mut self) {
        if let Kept::Objects(objects) = &mut self.kept {
            objects.flush();
        }
    }

    /// What follows, and nobody waits for.
    pub(super) fn tidy(&mut self) {
        if let Kept::Objects(objects) = &mut self.kept {
            objects.flush();
            objects.tidy();
        }
    }

    /// From `since_ms` on and after `after`, as many as a message holds; the rest is had by asking again.
    pub(super) fn read(
        &self,
        since_ms: u64,
        after: Option<(Term, u64)>,
        wanted: &EventsWanted,
    ) -> Result<Vec<Decision>, FileError> {
        let mut page = Page {
            wanted,
            since_ms,
            after,
            room: PAGE_BYTES_MAX,
            found: Vec::new(),
        };
        match &self.kept {
            Kept::Files(files) => files.read(&mut page)?,
            Kept::Objects(objects) => {
                for (bytes, decision) in objects.all() {
                    if page.take(*bytes, decision.clone()).is_full() {
                        break;
                    }
                }
            }
        }
        Ok(page.found)
    }
}

/// As many decisions as a message holds.
struct Page<'a> {
    wanted: &'a EventsWanted,
    since_ms: u64,
    after: Option<(Term, u64)>,
    room: usize,
    found: Vec<Decision>,
}

/// Whether a page takes another decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Room {
    More,
    Full,
}

impl Room {
    fn is_full(self) -> bool {
        self == Self::Full
    }
}

impl Page<'_> {
    fn take(&mut self, bytes: usize, decision: Decision) -> Room {
        let place = (decision.term, decision.sequence);
        if bytes > PAGE_BYTES_MAX
            || decision.at_ms < self.since_ms
            || self.after.is_some_and(|after| place <= after)
            || !self.wanted.takes(&decision)
        {
            return Room::More;
        }
        let Some(left) = self.room.checked_sub(bytes) else {
            return Room::Full;
        };
        self.room = left;
        self.found.push(decision);
        Room::More
    }
}

#[derive(Debug)]
struct EventFiles {
    folder: PathBuf,
    term: Term,
    /// Of the last file.
    number: u32,
    log: Option<WriteAheadLog>,
}

impl EventFiles {
    fn open(folder: &Path, term: Term) -> Result<Self, FileError> {
        std::fs::create_dir_all(folder).map_err(|error| FileError::new(folder, &error))?;
        Ok(Self {
            folder: folder.to_owned(),
            term,
            number: 0,
            log: None,
        })
    }

    fn add(&mut self, json: &str) -> Result<(), FileError> {
        let has_room = |log: &WriteAheadLog| log.bytes() + json.len() as u64 <= FILE_BYTES_MAX;
        let log = match self.log.take().filter(|log| log.is_sound() && has_room(log)) {
            Some(log) => log,
            None => self.begin()?,
        };
        let log = self.log.insert(log);
        log.push(json);
        log.write()
    }

    fn begin(&mut self) -> Result<WriteAheadLog, FileError> {
        let files = files(&self.folder)?;
        for old in files.iter().take((files.len() + 1).saturating_sub(FILES_MAX)) {
            std::fs::remove_file(old).map_err(|error| FileError::new(old, &error))?;
        }
        let path = |number| {
            self.folder
                .join(format!("events-{:020}-{number:06}", self.term.0))
        };
        while path(self.number).exists() {
            self.number += 1;
        }
        WriteAheadLog::begin(&path(self.number), std::iter::empty())
    }

    fn read(&self, page: &mut Page<'_>) -> Result<(), FileError> {
        for path in files(&self.folder)? {
            let read = read_lines(&path, |line| {
                let (Line::Whole(json) | Line::Unchecked(json)) = line;
                Some((json.len(), serde_json::from_str::<Decision>(json).ok()?))
            });
            let decisions = match read {
                Ok((decisions, skipped)) => {
                    // Once, not for each part of a long answer.
                    if skipped > 0 && page.after.is_none() {
                        tracing::warn!(path = %path.display(), skipped, "skipped lines that are not events");
                    }
                    decisions
                }
                Err(error) => {
                    tracing::warn!(%error, "skipped a file of events");
                    continue;
                }
            };
            for (bytes, decision) in decisions {
                if page.take(bytes, decision).is_full() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

/// The oldest first.
fn files(folder: &Path) -> Result<Vec<PathBuf>, FileError> {
    let failed = |error: std::io::Error| FileError::new(folder, &error);
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().map(|name| name.to_string_lossy());
        if name.is_some_and(|name| name.starts_with("events-")) && !is_unfinished(&path) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::durable::faults::{self, Faults};
    use crate::fixtures::old_folder;

    fn opened(folder: &Path, term: Term) -> Result<Timeline, FileError> {
        Timeline::open(&Place::Folder(folder.to_owned()), term)
    }

    fn decision(at_ms: u64, text: &str) -> Decision {
        Decision {
            at_ms,
            term: Term(1),
            sequence: 0,
            kind: "test".into(),
            text: text.into(),
            ..Decision::default()
        }
    }

    #[test]
    fn decisions_are_read_in_order_and_in_parts() {
        let folder = tempfile::tempdir().unwrap();
        let mut timeline = opened(folder.path(), Term(1)).unwrap();
        let long = "x".repeat(1_000);
        for at in 0..200 {
            timeline.add(&mut decision(at, &long)).unwrap();
        }
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let part = timeline.read(10, after, &EventsWanted::default()).unwrap();
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
            let mut timeline = opened(folder.path(), Term(term)).unwrap();
            timeline.add(&mut decision(term, "x")).unwrap();
        }
        assert_eq!(files(folder.path()).unwrap().len(), FILES_MAX);
    }

    fn texts(timeline: &Timeline) -> Vec<String> {
        let read = timeline.read(0, None, &EventsWanted::default()).unwrap();
        read.into_iter().map(|decision| decision.text).collect()
    }

    #[test]
    fn a_damaged_line_is_skipped_and_takes_no_other() {
        let half = r#"{"at_ms":3,"term":1,"seq"#;
        let later = r#"{"when":"today","what":{"no":"event"}}"#;
        let long = "y".repeat(2 * PAGE_BYTES_MAX);
        let damages: [&[u8]; 7] = [
            b"\xff\xfe\n",
            &[0; 5000],
            b"\n\n\n",
            half.as_bytes(),
            later.as_bytes(),
            b"0123456789abcdef {}\n",
            long.as_bytes(),
        ];
        for damage in damages {
            let folder = tempfile::tempdir().unwrap();
            // As the release before wrote it, with damage before, between and behind.
            let lines: Vec<u8> = [decision(1, "one"), decision(2, "two")]
                .iter()
                .flat_map(|decision| {
                    [
                        damage,
                        b"\n",
                        &serde_json::to_vec(decision).unwrap(),
                        b"\n",
                        damage,
                    ]
                    .concat()
                })
                .chain(*b"\n")
                .collect();
            std::fs::write(folder.path().join("events-00000000000000000001-000000"), lines).unwrap();
            let mut timeline = opened(folder.path(), Term(2)).unwrap();
            let mut next = Decision {
                term: Term(2),
                ..decision(3, "three")
            };
            timeline.add(&mut next).unwrap();
            let name = "events-00000000000000000002-000000";
            let whole = std::fs::read(folder.path().join(name)).unwrap();
            std::fs::write(folder.path().join(name), [&whole, damage].concat()).unwrap();
            let expected: &[&str] = &["one", "two", "three"];
            assert_eq!(
                texts(&timeline),
                expected,
                "{:?}",
                String::from_utf8_lossy(&damage[..damage.len().min(40)])
            );
        }
    }

    #[test]
    fn events_of_the_release_before_are_read() {
        let folder = old_folder("apps");
        let timeline = opened(&folder.path().join("events"), Term(3)).unwrap();
        assert_eq!(texts(&timeline).len(), 5);
        assert!(texts(&timeline)[3].starts_with("kept/c/0 runs on a"));
    }

    #[test]
    fn an_event_that_a_full_disk_refuses_takes_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let mut timeline = opened(folder.path(), Term(1)).unwrap();
        timeline.add(&mut decision(1, "before")).unwrap();
        for room in [0, 1, 30] {
            faults::set(Faults {
                room: Some(room),
                ..Faults::default()
            });
            timeline.add(&mut decision(2, "refused")).unwrap_err();
            faults::set(Faults::default());
        }
        timeline.add(&mut decision(3, "after")).unwrap();
        assert_eq!(texts(&timeline), ["before", "after"]);
    }
}
