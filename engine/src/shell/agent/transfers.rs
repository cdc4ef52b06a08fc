//! Blobs in chunks, from the wire into the store.

use std::fs::File;
use std::io;

use bytes::Bytes;
use wayfare_core::types::Input;
use wayfare_protocol::error::Failure;
use wayfare_protocol::ids::Blob;

use super::Agent;
use crate::shell::store::Reception;
use crate::shell::work::Done;

/// The loop waits for blobs up to this to be synced, if a record names them before another thread is done
/// with it.
const SYNC_IN_LOOP_BYTES_MAX: u64 = 4 << 20;
/// Snapshots that arrive and are longer than this are decoded at once, before anybody asks.
const DECODE_EARLY_BYTES_MIN: u64 = 64 * 1024;

impl Agent {
    pub(super) fn keep_chunk(&mut self, blob: Blob, offset: u64, chunk: &Bytes) {
        match self.store.blobs.keep_chunk(blob, offset, chunk) {
            Ok(Reception::More) => {}
            Ok(Reception::OutOfOrder) => {
                tracing::debug!(blob = blob.digest.short(), offset, "a chunk that is not the next");
            }
            Ok(Reception::Complete { intact: false }) => {
                tracing::warn!(blob = blob.digest.short(), "a blob arrived damaged");
                self.inputs.push_back(Input::BlobComplete { blob, intact: false });
            }
            Ok(Reception::Complete { intact: true }) => self.keep_blob(blob),
            Err(error) => self.blob_kept(blob, Err(error)),
        }
    }

    /// A blob has arrived. A short one is on its way to the disk, and the next record that names it waits for
    /// that; a long one is said to be here only once it is durable, so that the loop need not wait.
    fn keep_blob(&mut self, blob: Blob) {
        let unsynced = match self.store.blobs.write_out(blob.digest) {
            Ok(unsynced) => unsynced,
            Err(error) => return self.blob_kept(blob, Err(error)),
        };
        let is_awaited = unsynced.is_some() && blob.bytes > SYNC_IN_LOOP_BYTES_MAX;
        if let Some(file) = unsynced {
            self.sync(blob, file, is_awaited);
        }
        if !is_awaited {
            self.blob_kept(blob, Ok(()));
        }
        if blob.bytes >= DECODE_EARLY_BYTES_MIN
            && self.snapshots.get(blob.digest).is_none()
            && let Some(source) = self.store.blobs.source(blob.digest)
        {
            let workshop = self.workshop.clone();
            self.work.spawn_blocking(move || Done::Decoded {
                digest: blob.digest,
                snapshot: workshop.decode_early(&source),
            });
        }
    }

    /// Begins to write a file to the disk on another thread.
    pub(super) fn sync(&mut self, blob: Blob, file: File, is_awaited: bool) {
        self.work.spawn_blocking(move || Done::Synced {
            blob,
            result: file.sync_data(),
            is_awaited,
        });
    }

    pub(super) fn blob_kept(&mut self, blob: Blob, result: io::Result<()>) {
        self.inputs.push_back(match result {
            Ok(()) => Input::BlobComplete { blob, intact: true },
            Err(error) => {
                tracing::error!(blob = blob.digest.short(), bytes = blob.bytes, %error, "could not keep a blob");
                let failure = Failure::Storage {
                    engine: self.out.engine.clone(),
                    reason: format!("blob of {} bytes: {error}", blob.bytes),
                };
                Input::BlobFailed { blob, failure }
            }
        });
    }
}
