//! Serial ports: the kernel's terminals, raw, eight bits, no parity, no flow control.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::at;
use super::raw::{self, Ready};
use crate::feed::Feed;
use crate::port::Serial;

/// Kept for a program that does not read: the oldest make room.
const RECEIVED_BYTES_MAX: usize = 64 << 10;
const READ_BYTES: usize = 1024;
/// Of the thread that reads.
const READER_STACK_BYTES: usize = 128 << 10;

pub(super) struct Tty {
    path: PathBuf,
    baud: u32,
    received: Arc<Feed<u8>>,
    /// Open since it was first used. The thread that reads has the other reference, and ends when reading
    /// fails.
    file: Mutex<Option<Arc<File>>>,
}

impl Tty {
    pub(super) fn new(path: &Path, baud: u32) -> Self {
        Self {
            path: path.to_owned(),
            baud,
            received: Arc::new(Feed::new(RECEIVED_BYTES_MAX)),
            file: Mutex::new(None),
        }
    }

    fn file(&self) -> io::Result<Arc<File>> {
        let mut held = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = held.as_ref().filter(|file| Arc::strong_count(file) > 1) {
            return Ok(file.clone());
        }
        // What is left of an earlier one would be in the way of the new one.
        *held = None;
        let file = Arc::new(self.open().map_err(|error| at(&self.path, &error))?);
        self.received.begin();
        let (read, received, path) = (file.clone(), self.received.clone(), self.path.clone());
        std::thread::Builder::new()
            .name("serial-reader".into())
            .stack_size(READER_STACK_BYTES)
            .spawn(move || {
                let error = hear(&read, &received);
                received.fail(at(&path, &error).to_string());
            })?;
        Ok(held.insert(file).clone())
    }

    fn open(&self) -> io::Result<File> {
        // Not to wait for a carrier, nor in a write, and not to become our controlling terminal.
        let file = File::options()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NOCTTY | libc::O_NONBLOCK)
            .open(&self.path)?;
        raw::serial_set_up(&file, self.baud)?;
        Ok(file)
    }
}

/// Until it fails.
fn hear(mut file: &File, received: &Feed<u8>) -> io::Error {
    let mut buffer = [0; READ_BYTES];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return io::ErrorKind::UnexpectedEof.into(),
            Ok(count) => received.push(&buffer[..count]),
            Err(error) if is_passing(&error) => {
                if let Err(error) = raw::wait(file, Ready::ToRead, None) {
                    return error;
                }
            }
            Err(error) => return error,
        }
    }
}

/// Nothing is wrong: there is nothing to read, or no room to write, for now.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

impl Serial for Tty {
    fn send(&self, bytes: &[u8], limit: Duration) -> io::Result<usize> {
        let file = self.file()?;
        let write = || (&*file).write(bytes);
        let mut sent = write();
        if sent.as_ref().is_err_and(is_passing) {
            raw::wait(&file, Ready::ToWrite, Some(limit))?;
            sent = write();
        }
        match sent {
            Ok(count) => Ok(count),
            Err(error) if is_passing(&error) => Ok(0),
            Err(error) => Err(at(&self.path, &error)),
        }
    }

    fn received(&self) -> io::Result<&Feed<u8>> {
        self.file()?;
        Ok(&self.received)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::super::raw::pseudo_terminal;
    use super::*;
    use crate::Holder;

    /// Everything that has come when there are `count` bytes.
    fn receive(tty: &Tty, count: usize) -> Vec<u8> {
        let (woken, wakes) = mpsc::channel();
        loop {
            let woken = woken.clone();
            let waker = || -> crate::Waker { Box::new(move || woken.send(()).unwrap_or_default()) };
            let feed = tty.received().unwrap();
            let (_, there) = feed.after(0, Holder(1), waker).unwrap();
            if there.len() >= count {
                return there;
            }
            if there.is_empty() {
                wakes.recv().unwrap();
            }
        }
    }

    #[test]
    fn bytes_go_through_as_they_are() {
        let (mut other, path) = pseudo_terminal();
        let tty = Tty::new(&path, 9600);
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(tty.send(&all, Duration::ZERO).unwrap(), 256);
        let mut heard = [0; 256];
        other.read_exact(&mut heard).unwrap();
        assert_eq!(heard[..], all, "no echo, no translation of line ends");
        other.write_all(&all).unwrap();
        assert_eq!(receive(&tty, 256), all);
    }

    #[test]
    fn a_port_that_goes_away_is_said_to_whoever_waits() {
        let (other, path) = pseudo_terminal();
        let tty = Tty::new(&path, 9600);
        let feed = tty.received().unwrap();
        let (woken, wakes) = mpsc::channel();
        let waker = || -> crate::Waker { Box::new(move || woken.send(()).unwrap_or_default()) };
        assert_eq!(feed.after(0, Holder(1), waker), Ok((0, vec![])));
        drop(other);
        wakes.recv().unwrap();
        let error = feed.after(0, Holder(1), || Box::new(|| ())).unwrap_err();
        assert!(error.contains(path.to_str().unwrap()), "{error}");
    }

    #[test]
    fn what_is_no_serial_port_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = Tty::new(file.path(), 9600).received().err().unwrap().to_string();
        assert!(error.contains(file.path().to_str().unwrap()), "{error}");
    }
}
