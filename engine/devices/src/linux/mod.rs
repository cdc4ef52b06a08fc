//! The kernel's devices. Each is looked for when the engine begins, so that what is not there is not offered,
//! and opened when it is first used.

mod adc;
mod bus;
mod gpio;
mod raw;
mod serial;

use std::io;
use std::path::Path;

use crate::config::Wiring;
use crate::port::Port;

pub(super) fn open(wiring: &Wiring) -> io::Result<Port> {
    Ok(match wiring {
        Wiring::Simulated { .. } => return Err(io::ErrorKind::Unsupported.into()),
        Wiring::GpioIn(line) => Port::Input(Box::new(gpio::InputLine::find(line)?)),
        Wiring::GpioOut(line) => Port::Output(Box::new(gpio::OutputLine::find(line)?)),
        Wiring::I2c { path, address } => {
            must_be_there(path)?;
            Port::Bus(Box::new(bus::I2c::new(path, *address)))
        }
        Wiring::Spi { path, speed_hz, mode } => {
            must_be_there(path)?;
            Port::Bus(Box::new(bus::Spi::new(path, *speed_hz, *mode)))
        }
        Wiring::Adc { path, channel } => Port::Sensor(Box::new(adc::Channel::find(path, channel)?)),
        Wiring::Serial { path, baud } => {
            must_be_there(path)?;
            Port::Serial(Box::new(serial::Tty::new(path, *baud)))
        }
    })
}

fn must_be_there(path: &Path) -> io::Result<()> {
    std::fs::metadata(path)
        .map(drop)
        .map_err(|error| at(path, &error))
}

/// With the path, which the system's errors leave out.
fn at(path: &Path, error: &dyn std::fmt::Display) -> io::Error {
    io::Error::other(format!("{}: {error}", path.display()))
}
