//! A blob on its way here, chunk by chunk, hashed as it comes.

use std::io;
use std::time::Instant;

use wayfare_protocol::ids::Blob;

use super::folder::{BlobFolder, Unsynced};

/// A blob longer than this goes to its file while it arrives.
const IN_MEMORY_BYTES_MAX: u64 = 4 << 20;

pub(super) struct Arriving {
    pub(super) blob: Blob,
    pub(super) received: u64,
    pub(super) touched: Instant,
    hasher: blake3::Hasher,
    content: Content,
}

pub(super) enum Content {
    /// Grows with what arrives, not with what was announced.
    Memory(Vec<u8>),
    File(Unsynced),
}

impl Arriving {
    pub(super) fn begin(blob: Blob, folder: &BlobFolder) -> io::Result<Self> {
        let content = if blob.bytes <= IN_MEMORY_BYTES_MAX {
            Content::Memory(Vec::new())
        } else {
            Content::File(folder.begin(blob.digest)?)
        };
        Ok(Self {
            blob,
            received: 0,
            touched: Instant::now(),
            hasher: blake3::Hasher::new(),
            content,
        })
    }

    pub(super) fn append(&mut self, chunk: &[u8]) -> io::Result<()> {
        match &mut self.content {
            Content::Memory(bytes) => bytes.extend_from_slice(chunk),
            Content::File(file) => file.append(chunk)?,
        }
        self.hasher.update(chunk);
        self.received += chunk.len() as u64;
        self.touched = Instant::now();
        Ok(())
    }

    /// The content, if it is the blob.
    pub(super) fn finish(self) -> Option<Content> {
        if self.received == self.blob.bytes && self.hasher.finalize().as_bytes() == &self.blob.digest.0 {
            return Some(self.content);
        }
        self.give_up();
        None
    }

    pub(super) fn give_up(self) {
        if let Content::File(file) = self.content {
            file.remove();
        }
    }
}
