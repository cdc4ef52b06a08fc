//! The journal of what a program was sent since its last stored snapshot: whatever was acknowledged to the
//! broker and is not in that snapshot is in here, so that `kill -9` and a pulled plug lose none of it.
//!
//! ```text
//!  inbox/<program>/<generation>-<number of its first message>     length u32 | checksum 8 | message
//! ```
//! Appended to, synced in batches, and thrown away file by file once a snapshot that has the messages is
//! stored. A record that is cut off or damaged ends its file: it was not acknowledged, or the disk is broken.
//!
//! Always: only messages of the program's present generation count. What another branch of its life received
//! is not its own.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use wayfare_mail::{Reader, ReceivedMessage};
use wayfare_protocol::ids::{Digest, Generation, ProgramId};

use super::files;

/// A file is closed when it is larger, so that what is stored elsewhere can be thrown away.
const FILE_BYTES_MAX: u64 = 1 << 20;
const CHECKSUM_BYTES: usize = 8;
const HEAD_BYTES: usize = 4 + CHECKSUM_BYTES;
/// The largest message that is received, with its topic.
const RECORD_BYTES_MAX: usize = 2 << 20;

pub(crate) struct InboxJournal {
    folder: PathBuf,
    generation: Generation,
    /// First number and bytes of each file, oldest first; the last is being written.
    files: Vec<(u64, u64)>,
    open: Option<File>,
    /// Bytes of the last file before what was appended last.
    whole: u64,
}

/// The folder with all programs' journals.
#[derive(Debug, Clone)]
pub(crate) struct Inboxes(PathBuf);

impl Inboxes {
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        Ok(Self(folder.to_owned()))
    }

    /// Messages from number `next` on, in order. Files of other generations are thrown away.
    pub(crate) fn read(&self, program: ProgramId, generation: Generation, next: u64) -> Vec<ReceivedMessage> {
        let folder = self.folder(program);
        let mut firsts = Vec::new();
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            match parse_name(&entry.file_name().to_string_lossy()) {
                Some((of, first)) if of == generation => firsts.push(first),
                _ => files::remove_quietly(&entry.path()),
            }
        }
        firsts.sort_unstable();
        let mut messages: Vec<ReceivedMessage> = Vec::new();
        let mut expected = next;
        for first in firsts {
            let bytes = std::fs::read(folder.join(name(generation, first))).unwrap_or_default();
            for message in messages_in(&bytes) {
                if message.number == expected {
                    expected += 1;
                    messages.push(message);
                }
            }
        }
        messages
    }

    /// For a program that has a session at the broker; made before it is opened.
    pub(crate) fn journal(&self, program: ProgramId, generation: Generation) -> io::Result<InboxJournal> {
        let folder = self.folder(program);
        std::fs::create_dir_all(&folder)?;
        files::sync_folder(&self.0)?;
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&folder)?.flatten() {
            if let Some((of, first)) = parse_name(&entry.file_name().to_string_lossy())
                && of == generation
            {
                files.push((first, entry.metadata()?.len()));
            }
        }
        files.sort_unstable();
        Ok(InboxJournal {
            folder,
            generation,
            files,
            open: None,
            whole: 0,
        })
    }

    /// Whether the program had a session through this engine.
    pub(crate) fn has(&self, program: ProgramId) -> bool {
        self.folder(program).is_dir()
    }

    pub(crate) fn remove(&self, program: ProgramId) {
        let folder = self.folder(program);
        if let Err(error) = std::fs::remove_dir_all(&folder)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::debug!(path = %folder.display(), %error, "could not remove a journal");
        }
    }

    fn folder(&self, program: ProgramId) -> PathBuf {
        self.0.join(program.to_string())
    }
}

impl InboxJournal {
    /// Writes them behind the others. Durable after the returned file was synced.
    pub(crate) fn append(&mut self, messages: &[ReceivedMessage]) -> io::Result<Option<File>> {
        let Some(first) = messages.first() else {
            return Ok(None);
        };
        if self
            .files
            .last()
            .is_none_or(|(_, bytes)| *bytes >= FILE_BYTES_MAX)
            || self.open.is_none()
        {
            self.begin_file(first.number)?;
        }
        let mut bytes = Vec::new();
        for message in messages {
            let mut record = Vec::new();
            message.encode(&mut record);
            let length = u32::try_from(record.len()).map_err(io::Error::other)?;
            bytes.extend(length.to_le_bytes());
            bytes.extend_from_slice(&Digest::of(&record).0[..CHECKSUM_BYTES]);
            bytes.extend_from_slice(&record);
        }
        let Some(file) = &mut self.open else {
            return Ok(None);
        };
        self.whole = self.files.last().map_or(0, |(_, written)| *written);
        if let Err(error) = file.write_all(&bytes) {
            self.take_back();
            return Err(error);
        }
        if let Some((_, written)) = self.files.last_mut() {
            *written += bytes.len() as u64;
        }
        file.try_clone().map(Some)
    }

    /// Cuts off what was appended last, because it could not be written or synced: it comes again, and what
    /// is appended behind a torn record is never read. It goes to another file.
    pub(crate) fn take_back(&mut self) {
        if let (Some(file), Some((_, bytes))) = (self.open.take(), self.files.last_mut()) {
            *bytes = self.whole;
            if let Err(error) = file.set_len(self.whole) {
                tracing::debug!(%error, "a torn record stays at the end of its file");
            }
        }
    }

    fn begin_file(&mut self, first: u64) -> io::Result<()> {
        let path = self.folder.join(name(self.generation, first));
        let file = File::create(path)?;
        files::sync_folder(&self.folder)?;
        self.open = Some(file);
        self.files.retain(|(number, _)| *number != first);
        self.files.push((first, 0));
        Ok(())
    }

    /// A snapshot is stored that has all messages below `next`.
    pub(crate) fn forget_below(&mut self, next: u64) {
        while let [(first, _), (second, _), ..] = *self.files
            && second <= next
        {
            files::remove_quietly(&self.folder.join(name(self.generation, first)));
            self.files.remove(0);
        }
        // The last file too, if it can be begun anew.
        if self
            .files
            .last()
            .is_some_and(|(_, bytes)| *bytes >= FILE_BYTES_MAX / 4)
        {
            self.open = None;
        }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.files.iter().map(|(_, bytes)| bytes).sum()
    }
}

fn messages_in(mut bytes: &[u8]) -> Vec<ReceivedMessage> {
    let mut messages = Vec::new();
    while let Some((head, rest)) = bytes.split_first_chunk::<HEAD_BYTES>() {
        let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let record = rest.get(..length).filter(|_| length <= RECORD_BYTES_MAX);
        let Some(record) = record.filter(|record| Digest::of(record).0[..CHECKSUM_BYTES] == head[4..]) else {
            break;
        };
        let Some(message) = ReceivedMessage::decode(&mut Reader(record)) else {
            break;
        };
        messages.push(message);
        bytes = &rest[length..];
    }
    messages
}

fn name(generation: Generation, first: u64) -> String {
    format!("{}-{first}", generation.0)
}

fn parse_name(name: &str) -> Option<(Generation, u64)> {
    let (generation, first) = name.split_once('-')?;
    Some((Generation(generation.parse().ok()?), first.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(numbers: std::ops::Range<u64>) -> Vec<ReceivedMessage> {
        numbers
            .map(|number| ReceivedMessage {
                number,
                topic: "a".into(),
                payload: vec![number as u8; 1000],
                retained: number % 2 == 0,
                stamp: None,
            })
            .collect()
    }

    #[test]
    fn what_was_appended_is_read_from_any_number_on_and_only_for_its_generation() {
        let folder = tempfile::tempdir().unwrap();
        let inboxes = Inboxes::open(folder.path()).unwrap();
        let (program, generation) = (ProgramId::random(), Generation(3));
        assert!(!inboxes.has(program));
        let mut journal = inboxes.journal(program, generation).unwrap();
        journal.append(&messages(0..10)).unwrap();
        let mut journal = inboxes.journal(program, generation).unwrap();
        journal.append(&messages(10..20)).unwrap();
        assert_eq!(inboxes.read(program, generation, 0), messages(0..20));
        assert_eq!(inboxes.read(program, generation, 15), messages(15..20));
        assert_eq!(inboxes.read(program, generation, 20), []);
        assert_eq!(
            inboxes.read(program, Generation(4), 0),
            [],
            "another branch of its life"
        );
        assert_eq!(inboxes.read(program, generation, 0), [], "thrown away with it");
        inboxes.remove(program);
        assert!(!inboxes.has(program));
    }

    #[test]
    fn what_is_appended_after_a_write_that_failed_half_way_is_read_back() {
        let torn: Vec<u8> = {
            let folder = tempfile::tempdir().unwrap();
            let inboxes = Inboxes::open(folder.path()).unwrap();
            let program = ProgramId::random();
            inboxes
                .journal(program, Generation(1))
                .unwrap()
                .append(&messages(3..5))
                .unwrap();
            std::fs::read(folder.path().join(program.to_string()).join("1-3")).unwrap()
        };
        for cut in (0..=torn.len()).step_by(7) {
            let folder = tempfile::tempdir().unwrap();
            let inboxes = Inboxes::open(folder.path()).unwrap();
            let (program, generation) = (ProgramId::random(), Generation(1));
            let mut journal = inboxes.journal(program, generation).unwrap();
            journal.append(&messages(0..3)).unwrap();
            // As far as the disk took it, before it was full or failed.
            journal.whole = journal.bytes();
            journal.open.as_mut().unwrap().write_all(&torn[..cut]).unwrap();
            journal.take_back();
            assert_eq!(inboxes.read(program, generation, 0), messages(0..3), "{cut}");
            journal.append(&messages(3..6)).unwrap();
            let full = File::options().write(true).open("/dev/full").unwrap();
            let _ = journal.open.replace(full);
            journal.append(&messages(6..7)).unwrap_err();
            journal.append(&messages(6..9)).unwrap();
            assert_eq!(inboxes.read(program, generation, 0), messages(0..9), "{cut}");
        }
    }

    #[test]
    fn a_torn_or_damaged_record_ends_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let inboxes = Inboxes::open(folder.path()).unwrap();
        let (program, generation) = (ProgramId::random(), Generation(1));
        inboxes
            .journal(program, generation)
            .unwrap()
            .append(&messages(0..3))
            .unwrap();
        let path = folder.path().join(program.to_string()).join("1-0");
        let whole = std::fs::read(&path).unwrap();
        for end in 0..whole.len() {
            let read = messages_in(&whole[..end]);
            assert_eq!(read, messages(0..read.len() as u64));
            assert!(read.len() < 3);
        }
        let mut bad = whole.clone();
        let middle = whole.len() / 2;
        bad[middle] ^= 1;
        std::fs::write(&path, bad).unwrap();
        assert_eq!(inboxes.read(program, generation, 0), messages(0..1));
    }

    #[test]
    fn files_go_when_a_snapshot_has_what_they_hold() {
        let folder = tempfile::tempdir().unwrap();
        let inboxes = Inboxes::open(folder.path()).unwrap();
        let (program, generation) = (ProgramId::random(), Generation(1));
        let mut journal = inboxes.journal(program, generation).unwrap();
        for batch in 0..30 {
            journal.append(&messages(batch * 100..batch * 100 + 100)).unwrap();
        }
        let before = journal.bytes();
        journal.forget_below(2500);
        assert!(journal.bytes() < before);
        assert_eq!(inboxes.read(program, generation, 2500), messages(2500..3000));
        journal.append(&messages(3000..3001)).unwrap();
        assert_eq!(inboxes.read(program, generation, 2999), messages(2999..3001));
    }
}
