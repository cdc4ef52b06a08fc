//! Devices of the board that a program runs on, by alias: `led` may be line 21 of one chip here and line 4 of another there, and a
//! program that is moved finds the one that is there.
//!
//! ```no_run
//! use std::time::Duration;
//! use wayfare_guest::device;
//!
//! fn main() -> Result<(), wayfare_guest::Error> {
//!     let mut lit = false;
//!     loop {
//!         lit = !lit;
//!         device::gpio_write("led", lit)?;
//!         std::thread::sleep(Duration::from_millis(500));
//!     }
//! }
//! ```
//! Each is granted when the program is run (`--allow-device led`), and the engine's configuration says what it is. The program runs only
//! on engines that have all of them.
//!
//! A level that was set is set again wherever the program goes on. While it stands still, as on its way or on a pause, its outputs are
//! released; what an input or a serial port says meanwhile is not heard.
//!
//! # Errors
//! All calls: [`Error::Malformed`] for what is no alias, [`Error::NotGranted`], [`Error::NoDevice`], [`Error::WrongKind`],
//! [`Error::DeviceTaken`], [`Error::DeviceFailed`].

use std::time::Duration;

use crate::{Error, imports, milliseconds};

/// Drives a line of kind `gpio-out`: active, whatever voltage the engine's configuration says that is, or not.
///
/// # Errors
/// See [above](self#errors).
pub fn gpio_write(alias: &str, active: bool) -> Result<(), Error> {
    imports::gpio_write(alias, active)
}

/// Whether a line of kind `gpio-in` is active; of kind `gpio-out`, what was set last.
///
/// # Errors
/// See [above](self#errors).
pub fn gpio_read(alias: &str) -> Result<bool, Error> {
    imports::gpio_read(alias)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edge {
    /// It became active.
    Rising,
    Falling,
}

/// Waits for the next edge of a line of kind `gpio-in`: those since it was last read or waited for count. `only` passes over the
/// others, `timeout` ends the waiting, by the program's clock.
///
/// # Errors
/// [`Error::TimedOut`], and see [above](self#errors).
pub fn gpio_wait(alias: &str, only: Option<Edge>, timeout: Option<Duration>) -> Result<Edge, Error> {
    let edges = match only {
        Some(Edge::Rising) => 1,
        Some(Edge::Falling) => 2,
        None => 3,
    };
    match imports::gpio_wait(alias, edges, limit(timeout))? {
        1 => Ok(Edge::Rising),
        _ => Ok(Edge::Falling),
    }
}

/// What a converter or sensor gives.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    pub raw: i64,
    /// In millivolts for a voltage, milliamperes for a current, thousandths of a degree Celsius for a temperature, and otherwise
    /// as Linux has it for its channel.
    pub scaled: f64,
}

/// Reads a channel of kind `adc`.
///
/// # Errors
/// See [above](self#errors).
pub fn adc_read(alias: &str) -> Result<Sample, Error> {
    let (raw, scaled) = imports::adc_read(alias)?;
    Ok(Sample { raw, scaled })
}

/// Writes to the device of kind `i2c`, then reads from it, in one transfer with a repeated start. Either may be empty, and
/// neither have more than 4096 bytes.
///
/// # Errors
/// [`Error::TooLarge`], and see [above](self#errors).
pub fn i2c_transfer(alias: &str, write: &[u8], read: &mut [u8]) -> Result<(), Error> {
    imports::i2c_transfer(alias, write, read)
}

/// Writes to the device of kind `spi` and reads from it at the same time, as many bytes as the shorter of the two has, at most 4096.
///
/// # Errors
/// [`Error::TooLarge`], and see [above](self#errors).
pub fn spi_transfer(alias: &str, write: &[u8], read: &mut [u8]) -> Result<(), Error> {
    imports::spi_transfer(alias, write, read)
}

/// Sends all of it through a port of kind `serial`; waits while the port's buffer is full.
///
/// # Errors
/// See [above](self#errors).
pub fn serial_write(alias: &str, mut data: &[u8]) -> Result<(), Error> {
    while !data.is_empty() {
        let sent = imports::serial_write(alias, data)?;
        data = data.get(sent..).unwrap_or_default();
    }
    Ok(())
}

/// Waits until a port of kind `serial` has received something, at most for so long, and takes what there is room for. Says how much
/// that was, which is never 0.
///
/// # Errors
/// [`Error::TimedOut`]; [`Error::Malformed`] for an empty buffer; see [above](self#errors).
pub fn serial_read(alias: &str, buffer: &mut [u8], timeout: Option<Duration>) -> Result<usize, Error> {
    imports::serial_read(alias, limit(timeout), buffer)
}

fn limit(timeout: Option<Duration>) -> i64 {
    timeout.map_or(-1, |timeout| milliseconds(timeout).max(1))
}
