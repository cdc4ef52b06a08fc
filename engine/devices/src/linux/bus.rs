//! I2C and SPI, through the kernel's character devices.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::{at, raw};
use crate::port::Bus;

/// A device file, opened when it is first used.
struct Lazy {
    path: PathBuf,
    file: Mutex<Option<File>>,
}

impl Lazy {
    fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            file: Mutex::new(None),
        }
    }

    /// One transfer at a time: `set_up` prepares a file that was just opened.
    fn with(
        &self,
        set_up: impl FnOnce(&File) -> io::Result<()>,
        transfer: impl FnOnce(&File) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut held = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let file = match held.take() {
            Some(file) => Ok(file),
            None => File::options()
                .read(true)
                .write(true)
                .open(&self.path)
                .and_then(|file| set_up(&file).map(|()| file)),
        };
        file.and_then(|file| transfer(held.insert(file)))
            .map_err(|error| at(&self.path, &error))
    }
}

pub(super) struct I2c {
    bus: Lazy,
    address: u16,
}

impl I2c {
    pub(super) fn new(path: &Path, address: u16) -> Self {
        let bus = Lazy::new(path);
        Self { bus, address }
    }
}

impl Bus for I2c {
    fn transfer(&self, write: &[u8], read: &mut [u8]) -> io::Result<()> {
        let address = self.address;
        let failed =
            |error: io::Error| io::Error::new(error.kind(), format!("address {address:#x}: {error}"));
        self.bus.with(
            |_| Ok(()),
            |file| raw::i2c_transfer(file, address, write, read).map_err(failed),
        )
    }
}

pub(super) struct Spi {
    device: Lazy,
    speed_hz: u32,
    mode: u8,
}

impl Spi {
    pub(super) fn new(path: &Path, speed_hz: u32, mode: u8) -> Self {
        Self {
            device: Lazy::new(path),
            speed_hz,
            mode,
        }
    }
}

impl Bus for Spi {
    fn transfer(&self, write: &[u8], read: &mut [u8]) -> io::Result<()> {
        self.device.with(
            |file| raw::spi_set_up(file, self.mode, self.speed_hz),
            |file| raw::spi_transfer(file, write, read),
        )
    }
}
