//! Compiled modules, so that the second run of one need not wait for a compiler. An optimisation and nothing
//! else: whatever is wrong here costs time and one warning, never a program.
//!
//! ```text
//!          keep                       find, whole and ours
//!  (miss) ------> <module's digest> -----------------------> loaded        and a second file for its resuming code
//!                    |    |
//!                    |    `-- damaged, of another version, refused by wasmtime: removed, a miss
//!                    `------- least recently used when the limit is reached: removed
//! ```
//! wasmtime believes compiled code whatever it is, so that this folder is as sensitive as the engine's
//! executable. What always holds: the folder and each file in it belong to the user that the engine runs as,
//! and nobody else can write to them; a file is read into memory as a whole and its checksum, module and
//! [`Provenance`] are compared before anything looks at the code; and the code is loaded from that memory,
//! not from a file that could still change. A file is written under another name, synced and then renamed, so
//! that a crash leaves all of it or nothing.
//!
//! Which entry was used last is a count, not a time: clocks of boards are wrong. It is kept in memory, and as
//! the files' time of modification in seconds: written with a file, and at its first use after a start. So a
//! card is not worn by reading, and what a crash forgets is only an order.

mod folder;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use wayfare_protocol::ids::Digest;

use self::folder::{CacheFolder, lock, remove_all};
use wayfare_runtime::{Compiled, Piece, Provenance};

/// Each method can be called from any thread. Dropping it waits for a file that is being written.
pub struct Cache {
    folder: Arc<CacheFolder>,
    /// Writes in the background: a program that was just compiled need not wait for a card. One at a time.
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Cache {
    /// Makes the folder if it is not there, and removes what another version or a crash left in it. The
    /// caller sees to it that no other engine uses the folder. `None`, after a warning: it cannot be used.
    pub fn open(folder: &Path, bytes_max: u64, provenance: Provenance) -> Option<Self> {
        match CacheFolder::open(folder, bytes_max, provenance) {
            Ok(folder) => Some(Self {
                folder: Arc::new(folder),
                writer: Mutex::default(),
            }),
            Err(error) => {
                tracing::warn!(folder = %folder.display(), %error,
                    "no cache of compiled modules: every start of the engine compiles anew");
                None
            }
        }
    }

    /// For an engine that is told to keep nothing.
    pub fn remove(folder: &Path) {
        if remove_all(folder).is_ok() {
            // It stays if there is anything in it that is not ours.
            let _ = std::fs::remove_dir(folder);
        }
    }

    /// This piece of the module's compiled code, if it is here, whole, and of this very engine.
    pub fn find(&self, module: Digest, piece: Piece) -> Option<Compiled> {
        match self.folder.read((module, piece))? {
            Ok(compiled) => {
                let piece = piece.name();
                tracing::debug!(module = module.short(), piece, "compiled code found in the cache");
                Some(compiled)
            }
            Err(reason) => {
                self.refuse(module, piece, &reason);
                None
            }
        }
    }

    /// Removes what was found, because it is no good.
    pub fn refuse(&self, module: Digest, piece: Piece, reason: &str) {
        let piece_name = piece.name();
        tracing::warn!(
            module = module.short(),
            piece = piece_name,
            reason,
            "cached code removed"
        );
        self.folder.remove((module, piece));
    }

    /// Writes it in the background, removing what was not used for longest if there is no room.
    pub fn keep(&self, compiled: Compiled) {
        let mut writer = lock(&self.writer);
        finish(writer.take());
        let folder = Arc::clone(&self.folder);
        let write = move || {
            if let Err(error) = folder.write(&compiled) {
                let module = compiled.module().short();
                tracing::warn!(module, %error, "could not keep compiled code: it is compiled again next time");
            }
        };
        match std::thread::Builder::new().name("cache".into()).spawn(write) {
            Ok(thread) => *writer = Some(thread),
            Err(error) => tracing::warn!(%error, "no thread to keep compiled code"),
        }
    }

    /// The same, before it returns.
    pub fn keep_now(&self, compiled: &Compiled) {
        if let Err(error) = self.folder.write(compiled) {
            let module = compiled.module().short();
            tracing::warn!(module, %error, "could not keep compiled code: it is fetched again after the next start");
        }
    }

    /// Waits for a file that is being written.
    pub fn flush(&self) {
        finish(lock(&self.writer).take());
    }

    /// Whether there is this piece of the module, not looked at yet.
    pub fn holds(&self, module: Digest, piece: Piece) -> bool {
        self.folder.holds((module, piece))
    }

    /// Gives all room back, for something that is needed. How much there was, in bytes.
    pub fn give_way(&self) -> u64 {
        self.folder.clear()
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        self.flush();
    }
}

fn finish(writer: Option<JoinHandle<()>>) {
    if writer.is_some_and(|thread| thread.join().is_err()) {
        tracing::error!("keeping compiled code panicked");
    }
}

#[cfg(test)]
#[cfg(feature = "compiler")]
mod tests;
