//! Modules, standard inputs and snapshots, by digest.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use wayfare_client::Content;
use wayfare_client::app::ask::PUT_BYTES_MAX;
use wayfare_protocol::command::check_bytes;
use wayfare_protocol::error::Failure;
use wayfare_protocol::ids::{Blob, Digest};
use wayfare_protocol::limits::MODULE_BYTES_MAX;

use crate::durable::{FileError, KeptBlobs, Place, cannot_store};

/// How long a blob that was sent may wait for the application that needs it.
const FRESH: Duration = Duration::from_secs(600);
/// Blobs that arrive at the same time.
const ARRIVING_MAX: usize = 8;

#[derive(Debug)]
pub(super) struct Blobs {
    kept: KeptBlobs,
    arriving: BTreeMap<Digest, Vec<u8>>,
    /// When blobs came whose use is about to be said.
    fresh: BTreeMap<Digest, Instant>,
    /// Those that somebody still has: many instances are started from one module.
    lent: BTreeMap<Digest, Weak<Vec<u8>>>,
}

impl Blobs {
    pub(super) fn open(place: &Place) -> Result<Self, FileError> {
        Ok(Self {
            kept: KeptBlobs::open(place)?,
            arriving: BTreeMap::new(),
            fresh: BTreeMap::new(),
            lent: BTreeMap::new(),
        })
    }

    pub(super) fn has(&self, digest: Digest) -> bool {
        self.kept.has(digest)
    }

    /// Those that are not here. None of them is thrown away soon: somebody is about to say what they are for.
    pub(super) fn lacking(&mut self, mut blobs: Vec<Blob>) -> Vec<Blob> {
        for blob in &blobs {
            self.spare(blob.digest);
        }
        blobs.retain(|blob| !self.has(blob.digest));
        blobs
    }

    /// Takes the next part of a blob; answers with how much is there.
    pub(super) fn put(&mut self, blob: Blob, offset: u64, hex: &str) -> Result<u64, Failure> {
        check_bytes("blob", blob.bytes, MODULE_BYTES_MAX)?;
        if self.has(blob.digest) {
            self.spare(blob.digest);
            return Ok(blob.bytes);
        }
        let bytes = unhex(hex)?;
        if !self.arriving.contains_key(&blob.digest) && self.arriving.len() >= ARRIVING_MAX {
            // The one that somebody may have given up.
            self.arriving.pop_first();
        }
        let there = self.arriving.entry(blob.digest).or_default();
        let fits = offset.saturating_add(bytes.len() as u64) <= blob.bytes;
        if there.len() as u64 == offset && fits {
            there.extend_from_slice(&bytes);
        }
        if (there.len() as u64) < blob.bytes {
            return Ok(there.len() as u64);
        }
        let whole = self.arriving.remove(&blob.digest).unwrap_or_default();
        if Digest::of(&whole) != blob.digest {
            return Err(Failure::Damaged {
                what: format!("blob {}", blob.digest.short()),
                reason: "it does not match its digest".into(),
            });
        }
        self.keep(blob.digest, &whole)
            .map_err(|error| cannot_store(&error))?;
        self.spare(blob.digest);
        Ok(blob.bytes)
    }

    /// Somebody is about to say what it is for: it is not thrown away meanwhile.
    pub(super) fn spare(&mut self, digest: Digest) {
        self.fresh.insert(digest, Instant::now());
    }

    /// Durable when it returns.
    pub(super) fn keep(&mut self, digest: Digest, bytes: &[u8]) -> Result<(), FileError> {
        self.kept.keep(digest, bytes)
    }

    /// The bytes, if they are here and sound.
    pub(super) fn read(&mut self, digest: Digest) -> Option<Content> {
        if let Some(content) = self.lent.get(&digest).and_then(Weak::upgrade) {
            return Some(content);
        }
        let content = self.kept.read(digest).map(Arc::new)?;
        self.lent.retain(|_, lent| lent.strong_count() > 0);
        self.lent.insert(digest, Arc::downgrade(&content));
        Some(content)
    }

    /// Throws away what `is_needed` does not name, and what writes left that did not finish, if `may_remove`
    /// then.
    pub(super) fn sweep(
        &mut self,
        is_needed: impl Fn(Digest) -> bool,
        may_remove: impl FnOnce() -> Result<(), FileError>,
    ) -> Result<(), FileError> {
        self.fresh.retain(|_, came| came.elapsed() < FRESH);
        let fresh = &self.fresh;
        let needless = self
            .kept
            .needless(|digest| !is_needed(digest) && !fresh.contains_key(&digest))?;
        if needless.is_empty() {
            return Ok(());
        }
        may_remove()?;
        needless.iter().try_for_each(|name| self.kept.remove(name))
    }
}

fn unhex(text: &str) -> Result<Vec<u8>, Failure> {
    let bad = || Failure::BadRequest {
        reason: format!("a part of a blob is up to {PUT_BYTES_MAX} bytes as hexadecimal digits"),
    };
    if !text.len().is_multiple_of(2) || text.len() > 2 * PUT_BYTES_MAX || !text.is_ascii() {
        return Err(bad());
    }
    let digit = |byte: u8| (byte as char).to_digit(16).map(|digit| digit as u8);
    let byte = |pair: &[u8]| Some(digit(pair[0])? << 4 | digit(pair[1])?);
    text.as_bytes()
        .chunks_exact(2)
        .map(byte)
        .collect::<Option<_>>()
        .ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::durable::faults::{self, Faults};

    fn place(folder: &tempfile::TempDir) -> Place {
        Place::Folder(folder.path().to_owned())
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn blobs_arrive_in_parts_and_repeats_do_no_harm() {
        let folder = tempfile::tempdir().unwrap();
        let mut blobs = Blobs::open(&place(&folder)).unwrap();
        let bytes = b"a module";
        let blob = Blob::of(bytes);
        for _ in 0..2 {
            assert_eq!(blobs.put(blob, 0, &hex(&bytes[..3])).unwrap(), 3);
        }
        assert_eq!(blobs.put(blob, 5, &hex(&bytes[5..])).unwrap(), 3, "a gap");
        assert!(!blobs.has(blob.digest));
        for _ in 0..2 {
            assert_eq!(blobs.put(blob, 3, &hex(&bytes[3..])).unwrap(), 8);
        }
        assert_eq!(blobs.read(blob.digest).unwrap().as_slice(), bytes);
        blobs.sweep(|_| false, || Ok(())).unwrap();
        assert!(blobs.has(blob.digest), "it has only just come");
        blobs.fresh.clear();
        blobs.sweep(|digest| digest == blob.digest, || Ok(())).unwrap();
        assert!(blobs.has(blob.digest), "it is needed");
        blobs.sweep(|_| false, || Ok(())).unwrap();
        assert!(!blobs.has(blob.digest));
    }

    #[test]
    fn a_blob_that_a_full_disk_refuses_is_not_there_and_can_be_sent_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut blobs = Blobs::open(&place(&folder)).unwrap();
        let blob = Blob::of(b"a module");
        for room in [0, 3] {
            faults::set(Faults {
                room: Some(room),
                ..Faults::default()
            });
            let refused = blobs.put(blob, 0, &hex(b"a module")).unwrap_err().to_string();
            faults::set(Faults::default());
            assert!(refused.contains("the disk is full"), "{refused}");
            assert!(!blobs.has(blob.digest));
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        }
        assert_eq!(blobs.put(blob, 0, &hex(b"a module")).unwrap(), 8);
        // Killed in the middle of another.
        std::fs::write(folder.path().join("x.new"), "torn").unwrap();
        blobs.sweep(|_| true, || Ok(())).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn nonsense_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut blobs = Blobs::open(&place(&folder)).unwrap();
        let blob = Blob::of(b"abc");
        for bad in ["0", "zz", "éé", &"0".repeat(2 * PUT_BYTES_MAX + 2)] {
            assert!(blobs.put(blob, 0, bad).is_err());
        }
        assert!(matches!(
            blobs.put(blob, 0, &hex(b"xyz")),
            Err(Failure::Damaged { .. })
        ));
        let huge = Blob {
            bytes: u64::MAX,
            ..blob
        };
        assert!(blobs.put(huge, 0, "00").is_err());
    }
}
