//! What can be done with a device, by kind. Each trait has two implementations: the simulated one and the
//! kernel's.

use std::io;
use std::time::Duration;

use crate::feed::Feed;

pub(super) enum Port {
    Output(Box<dyn Output>),
    Input(Box<dyn Input>),
    Bus(Box<dyn Bus>),
    Sensor(Box<dyn Sensor>),
    Serial(Box<dyn Serial>),
}

/// A line to be driven. Levels are logical: true is active, whatever the voltage.
pub(super) trait Output: Send + Sync {
    fn drive(&self, active: bool) -> io::Result<()>;
    /// Makes it inactive, and lets go of it.
    fn release(&self) -> io::Result<()>;
}

/// A line to be read.
pub(super) trait Input: Send + Sync {
    fn level(&self) -> io::Result<bool>;
    /// Its edges, from the first call on.
    fn edges(&self) -> io::Result<&Feed<Edge>>;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edge {
    Rising,
    Falling,
}

/// I2C, where reading follows writing, or SPI, where both happen at once and have one length.
pub(super) trait Bus: Send + Sync {
    fn transfer(&self, write: &[u8], read: &mut [u8]) -> io::Result<()>;
}

pub(super) trait Sensor: Send + Sync {
    fn sample(&self) -> io::Result<Sample>;
}

/// A reading as the converter gives it, and in the unit of its channel: millivolts for a voltage,
/// milliamperes for a current, thousandths of a degree Celsius for a temperature (the kernel's
/// `Documentation/ABI/testing/sysfs-bus-iio`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    pub raw: i64,
    pub scaled: f64,
}

pub(super) trait Serial: Send + Sync {
    /// Sends what there is room for, and says how much that was: 0 if there was none for so long.
    fn send(&self, bytes: &[u8], wait: Duration) -> io::Result<usize>;
    /// What it receives, from the first call on.
    fn received(&self) -> io::Result<&Feed<u8>>;
}
