//! The calls that can find a disk full or failing, in one place, so that tests can make each of them fail.

use std::fs::File;
use std::io::{self, Write};

pub(super) fn write_all(file: &mut File, bytes: &[u8]) -> io::Result<()> {
    #[cfg(test)]
    if let Some(room) = faults::take_room(bytes.len()) {
        file.write_all(&bytes[..room])?;
        return Err(io::ErrorKind::StorageFull.into());
    }
    file.write_all(bytes)
}

pub(super) fn sync(file: &File) -> io::Result<()> {
    #[cfg(test)]
    if faults::fails_sync() {
        return Err(io::Error::other("input/output error"));
    }
    file.sync_all()
}

pub(super) fn set_len(file: &File, bytes: u64) -> io::Result<()> {
    #[cfg(test)]
    if faults::fails_cut() {
        return Err(io::Error::other("input/output error"));
    }
    file.set_len(bytes)
}

/// A disk of the test's own thread that fails when it is told to.
#[cfg(test)]
pub(crate) mod faults {
    use std::cell::Cell;

    #[derive(Debug, Clone, Copy, Default)]
    pub(crate) struct Faults {
        /// Bytes that can still be written.
        pub(crate) room: Option<usize>,
        pub(crate) fails_sync: bool,
        /// Whether files cannot be made shorter.
        pub(crate) fails_cut: bool,
    }

    thread_local! {
        static FAULTS: Cell<Faults> = Cell::default();
    }

    pub(crate) fn set(faults: Faults) {
        FAULTS.set(faults);
    }

    /// As many bytes of a write as there is room for, if that is not all.
    pub(super) fn take_room(bytes: usize) -> Option<usize> {
        let faults = FAULTS.get();
        let room = faults.room?;
        FAULTS.set(Faults {
            room: Some(room.saturating_sub(bytes)),
            ..faults
        });
        (bytes > room).then_some(room)
    }

    pub(super) fn fails_sync() -> bool {
        FAULTS.get().fails_sync
    }

    pub(super) fn fails_cut() -> bool {
        FAULTS.get().fails_cut
    }
}
