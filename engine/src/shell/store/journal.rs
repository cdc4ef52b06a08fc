//! The records, as one file that is only appended to: one write and one sync make any number of them durable,
//! which on an SD card is the least wear and the least waiting there is.
//!
//! What always holds:
//! - [`Journal::put`] and [`Journal::erase`] cannot fail; [`Journal::commit`] makes all of them durable, in
//!   order, or fails and can be tried again. Nothing is forgotten by a failure.
//! - A line that a crash cut off was never committed. A line that is damaged otherwise is moved aside,
//!   together with what the same record said earlier: better a record is missing than an outdated one
//!   believed.
//! - When most of the file is outdated, it is written anew.
//! - Behind its end the file has room on the disk that nobody else can take, as far as the file system gives
//!   it: records can be stored when others have filled the disk.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use wayfare_core::types::{Record, RecordKey};

use super::files;
use super::line::{self, Line};

const NAME: &str = "journal";
/// Written anew when it is longer than this and four times what is in force.
const REWRITE_BYTES_MIN: u64 = 256 * 1024;
/// Room behind the end: hundreds of records.
const ROOM_BYTES: u64 = 256 * 1024;
/// Longest journal that is read at a start; a longer one is not ours.
const JOURNAL_BYTES_MAX: u64 = 1 << 30;

pub(super) struct Journal {
    folder: PathBuf,
    file: File,
    file_bytes: u64,
    /// Up to where the file has room on the disk.
    room_end: u64,
    /// The newest line of each record.
    live: BTreeMap<RecordKey, Vec<u8>>,
    live_bytes: u64,
    /// Lines put and not yet committed.
    pending: Vec<u8>,
    /// What the file holds is uncertain since a write or sync failed: it must be written anew.
    uncertain: bool,
}

/// What was found at a start.
pub(super) struct Recovered {
    pub(super) records: Vec<Record>,
    /// Lines that could not be read, and the keys where those could.
    pub(super) damaged: Vec<(Option<RecordKey>, Vec<u8>)>,
    /// A crash cut the last line off: harmless, it was never committed.
    pub(super) torn_bytes: usize,
}

impl Journal {
    pub(super) fn open(folder: &Path) -> io::Result<(Self, Recovered)> {
        let path = folder.join(NAME);
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(&path)?;
        let length = file.metadata()?.len();
        if length > JOURNAL_BYTES_MAX {
            return Err(io::Error::other(format!("{} has {length} bytes", path.display())));
        }
        if length == 0 {
            files::sync_folder(folder)?;
        }
        let content = std::fs::read(&path)?;
        let mut journal = Self {
            folder: folder.to_owned(),
            file,
            file_bytes: length,
            room_end: 0,
            live: BTreeMap::new(),
            live_bytes: 0,
            pending: Vec::new(),
            uncertain: false,
        };
        let recovered = journal.replay(&content);
        // The torn end must go before anything is appended to it.
        journal.uncertain = recovered.torn_bytes > 0 || !recovered.damaged.is_empty();
        journal.keep_room();
        Ok((journal, recovered))
    }

    fn replay(&mut self, content: &[u8]) -> Recovered {
        let whole = content
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        let mut records = BTreeMap::new();
        let mut damaged = Vec::new();
        for text in content[..whole].split_inclusive(|byte| *byte == b'\n') {
            match line::decode(&text[..text.len() - 1]) {
                Line::Stored(record) => {
                    self.set(record.key(), Some(text.to_vec()));
                    records.insert(record.key(), record);
                }
                Line::Erased(key) => {
                    self.set(key, None);
                    records.remove(&key);
                }
                Line::Damaged(key) => {
                    if let Some(key) = key {
                        self.set(key, None);
                        records.remove(&key);
                    }
                    damaged.push((key, text.to_vec()));
                }
            }
        }
        Recovered {
            records: records.into_values().collect(),
            damaged,
            torn_bytes: content.len() - whole,
        }
    }

    fn set(&mut self, key: RecordKey, line: Option<Vec<u8>>) {
        let added = line.as_ref().map_or(0, Vec::len) as u64;
        let removed = match line {
            Some(line) => self.live.insert(key, line),
            None => self.live.remove(&key),
        };
        self.live_bytes = self.live_bytes + added - removed.map_or(0, |line| line.len() as u64);
    }

    pub(super) fn put(&mut self, record: &Record) {
        let line = line::stored(record);
        self.pending.extend_from_slice(&line);
        self.set(record.key(), Some(line));
    }

    pub(super) fn erase(&mut self, key: RecordKey) {
        if self.live.contains_key(&key) {
            self.pending.extend_from_slice(&line::erased(key));
            self.set(key, None);
        }
    }

    /// Makes durable all that was put and erased. After an error, nothing of it counts as durable; try again.
    pub(super) fn commit(&mut self) -> io::Result<()> {
        if self.uncertain {
            return self.rewrite();
        }
        if self.pending.is_empty() {
            return Ok(());
        }
        let outdated = self.file_bytes > REWRITE_BYTES_MIN && self.file_bytes > 4 * self.live_bytes;
        if !outdated {
            return self.append();
        }
        match self.rewrite() {
            // There is no room for a second file: the first one grows on.
            Err(_) if !self.uncertain => self.append(),
            rewritten => rewritten,
        }
    }

    fn append(&mut self) -> io::Result<()> {
        if let Err(error) = self.file.write_all(&self.pending) {
            self.uncertain = self.file.set_len(self.file_bytes).is_err();
            return Err(error);
        }
        if let Err(error) = self.file.sync_data() {
            // The kernel may have dropped the pages it could not write: what the file holds is unknown now.
            self.uncertain = true;
            return Err(error);
        }
        self.file_bytes += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }

    fn rewrite(&mut self) -> io::Result<()> {
        let content: Vec<u8> = self.live.values().flatten().copied().collect();
        let unfinished = files::write_unfinished(&self.folder, NAME, &content)?;
        // From here on the name may belong to the new file: what were appended to the old one would be lost.
        self.uncertain = true;
        files::publish(&self.folder, &unfinished, NAME)?;
        self.file = OpenOptions::new().append(true).open(self.folder.join(NAME))?;
        self.file_bytes = content.len() as u64;
        self.room_end = 0;
        self.pending.clear();
        self.uncertain = false;
        self.keep_room();
        Ok(())
    }

    /// Takes room again when half of it is used, if there is some.
    pub(super) fn keep_room(&mut self) {
        if self.room_end >= self.file_bytes + ROOM_BYTES / 2 {
            return;
        }
        match take_room(&self.file, self.file_bytes) {
            Ok(()) => self.room_end = self.file_bytes + ROOM_BYTES,
            // Tried again with the next sweep; some file systems cannot.
            Err(error) => tracing::debug!(%error, "no room taken behind the journal's end"),
        }
    }
}

#[cfg(target_os = "linux")]
fn take_room(file: &File, end: u64) -> io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};
    Ok(fallocate(file, FallocateFlags::KEEP_SIZE, end, ROOM_BYTES)?)
}

#[cfg(not(target_os = "linux"))]
fn take_room(_: &File, _: u64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use wayfare_core::types::{ArrivalRecord, Verdict};
    use wayfare_protocol::ids::{Generation, OperationId};

    fn record(operation: OperationId, generation: u64) -> Record {
        Record::Arrival(ArrivalRecord {
            operation,
            sequence: 0,
            verdict: Verdict::Adopted {
                generation: Generation(generation),
            },
        })
    }

    fn open(folder: &Path) -> (Journal, Recovered) {
        Journal::open(folder).unwrap()
    }

    fn ids() -> [OperationId; 3] {
        let mut ids = [(); 3].map(|()| OperationId::random());
        ids.sort();
        ids
    }

    #[test]
    fn committed_records_come_back_and_others_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let [a, b, c] = ids();
        let (mut journal, _) = open(folder.path());
        journal.put(&record(a, 1));
        journal.put(&record(b, 1));
        journal.commit().unwrap();
        journal.put(&record(a, 2));
        journal.erase(RecordKey::Arrival(b));
        journal.commit().unwrap();
        journal.put(&record(c, 1));
        drop(journal);
        assert_eq!(open(folder.path()).1.records, [record(a, 2)]);
    }

    #[test]
    fn killed_at_any_byte_of_a_commit_the_earlier_records_are_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        let [a, b, _] = ids();
        let (mut journal, _) = open(folder.path());
        journal.put(&record(a, 1));
        journal.commit().unwrap();
        let before = std::fs::read(&path).unwrap().len();
        journal.put(&record(a, 2));
        journal.put(&record(b, 1));
        journal.commit().unwrap();
        let content = std::fs::read(&path).unwrap();
        let middle = before + line::stored(&record(a, 2)).len();
        for cut in before..=content.len() {
            std::fs::write(&path, &content[..cut]).unwrap();
            let (mut journal, recovered) = open(folder.path());
            let expected = match cut {
                cut if cut < middle => vec![record(a, 1)],
                cut if cut < content.len() => vec![record(a, 2)],
                _ => vec![record(a, 2), record(b, 1)],
            };
            assert_eq!(recovered.records, expected, "cut at {cut}");
            assert!(recovered.damaged.is_empty());
            // What is appended next does not run into the torn line.
            journal.put(&record(b, 9));
            journal.commit().unwrap();
            let records = open(folder.path()).1.records;
            assert_eq!(records.last(), Some(&record(b, 9)), "cut at {cut}");
            assert_eq!(records.len(), 2);
        }
    }

    #[test]
    fn a_damaged_line_takes_its_own_record_with_it_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        let [a, b, c] = ids();
        let (mut journal, _) = open(folder.path());
        for record in [record(a, 1), record(b, 1), record(b, 2), record(c, 1)] {
            journal.put(&record);
        }
        journal.commit().unwrap();
        let mut content = std::fs::read(&path).unwrap();
        let third = content.len() - 2 - line::stored(&record(c, 1)).len();
        content[third] ^= 4;
        std::fs::write(&path, &content).unwrap();
        let (mut journal, recovered) = open(folder.path());
        assert_eq!(recovered.records, [record(a, 1), record(c, 1)]);
        assert_eq!(recovered.damaged.len(), 1);
        assert_eq!(recovered.damaged[0].0, Some(RecordKey::Arrival(b)));
        journal.commit().unwrap();
        let (_, recovered) = open(folder.path());
        assert_eq!((recovered.records.len(), recovered.damaged.len()), (2, 0));
    }

    #[test]
    fn garbage_of_any_kind_is_survived() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        for garbage in [
            &b"\n\n\n"[..],
            &[0; 5000],
            b"{}\n",
            b"program x y z\n",
            &[0xff, b'\n', 0, b'\n'],
        ] {
            std::fs::write(&path, garbage).unwrap();
            let (mut journal, recovered) = open(folder.path());
            assert!(recovered.records.is_empty());
            let id = OperationId::random();
            journal.put(&record(id, 1));
            journal.commit().unwrap();
            assert_eq!(open(folder.path()).1.records, [record(id, 1)]);
        }
    }

    #[test]
    fn a_full_disk_loses_nothing_and_the_commit_can_be_repeated() {
        let folder = tempfile::tempdir().unwrap();
        let (mut journal, _) = open(folder.path());
        let [a, b, _] = ids();
        journal.put(&record(a, 1));
        journal.commit().unwrap();
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let good = std::mem::replace(&mut journal.file, full);
        journal.put(&record(b, 1));
        let error = journal.commit().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        journal.file = good;
        journal.commit().unwrap();
        assert_eq!(open(folder.path()).1.records, [record(a, 1), record(b, 1)]);
    }

    #[test]
    fn what_is_committed_after_a_rewrite_that_failed_half_way_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let (mut journal, _) = open(folder.path());
        let [a, b, _] = ids();
        for generation in 0..4000 {
            journal.put(&record(a, generation));
        }
        journal.commit().unwrap();
        // The new file has its name, and nobody knows for how long.
        files::FAILS_SYNC_FOLDER.set(true);
        journal.put(&record(b, 1));
        journal.commit().unwrap_err();
        files::FAILS_SYNC_FOLDER.set(false);
        journal.commit().unwrap();
        journal.put(&record(b, 2));
        journal.commit().unwrap();
        assert_eq!(open(folder.path()).1.records, [record(a, 3999), record(b, 2)]);
    }

    #[test]
    fn the_file_does_not_grow_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let (mut journal, _) = open(folder.path());
        let id = OperationId::random();
        for generation in 0..4000 {
            journal.put(&record(id, generation));
            // Without the sync of each: only the bytes count here.
            if generation % 100 == 99 {
                journal.commit().unwrap();
            }
        }
        let bytes = std::fs::metadata(folder.path().join(NAME)).unwrap().len();
        assert!(bytes < 2 * REWRITE_BYTES_MIN, "{bytes}");
        assert_eq!(open(folder.path()).1.records, [record(id, 3999)]);
    }
}
