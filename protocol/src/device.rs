//! Devices by alias. An engine's configuration says that `led` is line 21 of a GPIO chip here and line 4 of
//! another there; programs ask for `led`, and a program that is moved finds the target's.
//!
//! An alias is granted to a program ([`crate::grants`]) and offered by an engine
//! ([`crate::status::EngineAbout`]). A program comes only to an engine that offers all that it is granted;
//! what it may then do with a device follows from the [`DeviceKind`].

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::ids::is_name;

/// Bytes of an alias.
pub const ALIAS_BYTES_MAX: usize = 32;
/// Devices that one engine offers, or one program is granted.
pub const DEVICES_MAX: usize = 64;

#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "'{0}' is not an alias of a device: 1 to {ALIAS_BYTES_MAX} letters, digits, '.', '_' or '-', beginning with a letter or digit"
)]
pub struct AliasError(String);

/// What programs call a device.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Alias(String);

impl Alias {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Alias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Alias {
    type Err = AliasError;
    fn from_str(text: &str) -> Result<Self, AliasError> {
        if text.len() <= ALIAS_BYTES_MAX && is_name(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(AliasError(text.chars().take(80).collect()))
        }
    }
}

impl TryFrom<String> for Alias {
    type Error = AliasError;
    fn try_from(text: String) -> Result<Self, AliasError> {
        text.parse()
    }
}

impl From<Alias> for String {
    fn from(alias: Alias) -> String {
        alias.0
    }
}

/// What can be done with a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceKind {
    /// A line to be read, and whose edges can be waited for.
    GpioIn,
    /// A line to be driven.
    GpioOut,
    /// One device at one address of a bus.
    I2c,
    /// One device on a bus, chosen by its select line.
    Spi,
    /// One channel of an analogue-to-digital converter or another sensor.
    Adc,
    /// A serial port.
    Serial,
}

impl DeviceKind {
    /// Only one program of an engine can have it: two that drive one line, or share the bytes that a port
    /// receives, are a mistake. The others are read, or used one transfer at a time.
    pub fn is_exclusive(self) -> bool {
        matches!(self, Self::GpioOut | Self::Serial)
    }

    pub fn word(self) -> &'static str {
        match self {
            Self::GpioIn => "gpio-in",
            Self::GpioOut => "gpio-out",
            Self::I2c => "i2c",
            Self::Spi => "spi",
            Self::Adc => "adc",
            Self::Serial => "serial",
        }
    }
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What is behind an alias.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Backend {
    /// Nothing: values that can be set and looked at, for machines without such a device.
    Simulated,
    /// The kernel's device.
    Linux,
}

impl Backend {
    pub fn word(self) -> &'static str {
        match self {
            Self::Simulated => "simulated",
            Self::Linux => "linux",
        }
    }
}

/// A device as its engine offers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceAbout {
    pub kind: DeviceKind,
    pub backend: Backend,
}

/// Bytes that one [`Setting::Received`] may have.
pub const SETTING_BYTES_MAX: usize = 4096;

/// What people ask of an engine's devices, answered with a [`Reading`]: the body of a
/// [`crate::dispatcher::Request`] to [`crate::topics::Topic::EngineDevice`], which is repeated until it is
/// answered as those to dispatchers are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
pub enum DeviceAsk {
    Get { alias: Alias },
    Set { alias: Alias, setting: Setting },
}

/// What `wayfare device get` shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Reading {
    Level {
        active: bool,
    },
    /// A simulated output.
    Output {
        /// `None`: no program drives it.
        active: Option<bool>,
        /// How often it has changed since the engine began.
        changes: u64,
        /// The last levels that it had, oldest first.
        last: Vec<Option<bool>>,
    },
    Sample {
        raw: i64,
        scaled: f64,
    },
    /// The registers behind a simulated bus, or what a simulated serial port was sent.
    Bytes {
        bytes: Vec<u8>,
    },
}

/// What `wayfare device set` sets: what programs will read of a simulated device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "to", rename_all = "kebab-case")]
pub enum Setting {
    Level { active: bool },
    Sample { scaled: f64 },
    Received { bytes: Vec<u8> },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_are_short_names() {
        for good in ["led", "led.2", "a-b_c", "0"] {
            assert_eq!(good.parse::<Alias>().map(String::from).as_deref(), Ok(good));
        }
        for bad in ["", "a b", "-a", "a/b", "ä", &"a".repeat(ALIAS_BYTES_MAX + 1)] {
            assert!(bad.parse::<Alias>().is_err(), "{bad}");
            assert!(
                serde_json::from_str::<Alias>(&format!("\"{bad}\"")).is_err(),
                "{bad}"
            );
        }
    }

    #[test]
    fn kinds_are_written_as_they_are_said() {
        for kind in [
            DeviceKind::GpioIn,
            DeviceKind::GpioOut,
            DeviceKind::I2c,
            DeviceKind::Spi,
            DeviceKind::Adc,
            DeviceKind::Serial,
        ] {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.word());
        }
    }
}
