//! What an engine's configuration says about its devices: `deploy/README.md` has an example of each kind,
//! which a test holds to this.
//!
//! Everything is checked here, before an engine begins: an error names the alias and the key.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use wayfare_protocol::device::{Alias, Backend, DEVICES_MAX, DeviceAbout, DeviceKind};

/// 7-bit addresses that the I2C specification does not reserve (UM10204, table 4).
const I2C_ADDRESSES: std::ops::RangeInclusive<u16> = 0x08..=0x77;
const SPI_SPEED_HZ: u32 = 1_000_000;
const SPI_MODE_MAX: u8 = 3;
const CHANNEL_BYTES_MAX: usize = 64;
/// A simulated sensor gives these again and again.
const SAMPLES_MAX: usize = 4096;
/// What `serial` takes by default, and the least and most it takes.
const BAUD: u32 = 115_200;
const BAUDS: std::ops::RangeInclusive<u32> = 50..=4_000_000;

/// The tables as they are written.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DeviceTables {
    #[serde(default)]
    pub devices: BTreeMap<Alias, DeviceTable>,
    pub status_led: Option<StatusLedTable>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatusLedTable {
    alias: Alias,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DeviceTable {
    kind: DeviceKind,
    #[serde(default = "linux")]
    backend: Backend,
    chip: Option<PathBuf>,
    line: Option<u32>,
    active_low: Option<bool>,
    bias: Option<Bias>,
    path: Option<PathBuf>,
    address: Option<u16>,
    speed_hz: Option<u32>,
    mode: Option<u8>,
    channel: Option<String>,
    baud: Option<u32>,
    samples: Option<Vec<f64>>,
}

fn linux() -> Backend {
    Backend::Linux
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bias {
    PullUp,
    PullDown,
    Disabled,
}

/// The devices of an engine, checked.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DeviceOptions {
    pub devices: BTreeMap<Alias, Wiring>,
    /// One of them, which programs do not get.
    pub status_led: Option<Alias>,
}

/// Where an alias leads.
#[derive(Debug, Clone, PartialEq)]
pub enum Wiring {
    Simulated { kind: DeviceKind, samples: Vec<f64> },
    GpioIn(Line),
    GpioOut(Line),
    I2c { path: PathBuf, address: u16 },
    Spi { path: PathBuf, speed_hz: u32, mode: u8 },
    Adc { path: PathBuf, channel: String },
    Serial { path: PathBuf, baud: u32 },
}

#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    pub chip: PathBuf,
    pub offset: u32,
    pub active_low: bool,
    pub bias: Option<Bias>,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error("{count} devices are configured, {DEVICES_MAX} can be")]
    TooMany { count: usize },
    #[error(
        "device '{alias}' is of kind {kind} and needs '{key}', or backend = \"simulated\" where there is no such device"
    )]
    Lacks {
        alias: Alias,
        kind: DeviceKind,
        key: &'static str,
    },
    #[error("device '{alias}' is of kind {kind}, to which '{key}' means nothing")]
    Foreign {
        alias: Alias,
        kind: DeviceKind,
        key: &'static str,
    },
    #[error("device '{alias}': {key} = {value}, and {allowed}")]
    OutOfRange {
        alias: Alias,
        key: &'static str,
        value: String,
        allowed: String,
    },
    #[error("devices '{alias}' and '{other}' are the same: one of them has to go")]
    Same { alias: Alias, other: Alias },
    #[error("the status LED is '{alias}', which is not a configured device of kind gpio-out")]
    StatusLed { alias: Alias },
}

impl DeviceTables {
    pub fn check(self) -> Result<DeviceOptions, ConfigError> {
        let count = self.devices.len();
        if count > DEVICES_MAX {
            return Err(ConfigError::TooMany { count });
        }
        let mut devices = BTreeMap::new();
        for (alias, table) in self.devices {
            let wiring = Draft {
                alias: &alias,
                kind: table.kind,
                table,
            }
            .check()?;
            if let Some(other) = same_as(&wiring, &devices) {
                return Err(ConfigError::Same { alias, other });
            }
            devices.insert(alias, wiring);
        }
        let status_led = self.status_led.map(|led| led.alias);
        if let Some(alias) = &status_led
            && devices.get(alias).map(Wiring::kind) != Some(DeviceKind::GpioOut)
        {
            let alias = alias.clone();
            return Err(ConfigError::StatusLed { alias });
        }
        Ok(DeviceOptions { devices, status_led })
    }
}

/// A table being taken apart: what is left of it at the end means nothing.
struct Draft<'a> {
    alias: &'a Alias,
    kind: DeviceKind,
    table: DeviceTable,
}

impl Draft<'_> {
    fn check(mut self) -> Result<Wiring, ConfigError> {
        let kind = self.kind;
        let is_simulated = self.table.backend == Backend::Simulated;
        let samples = self.samples(is_simulated && kind == DeviceKind::Adc)?;
        // The keys of a device that is simulated for now can stay.
        let wiring = match self.wiring() {
            Err(ConfigError::Lacks { .. }) if is_simulated => None,
            wiring => Some(wiring?),
        };
        if let Some(key) = self.left_over() {
            let alias = self.alias.clone();
            return Err(ConfigError::Foreign { alias, kind, key });
        }
        Ok(match wiring {
            Some(wiring) if !is_simulated => wiring,
            _ => Wiring::Simulated { kind, samples },
        })
    }

    fn wiring(&mut self) -> Result<Wiring, ConfigError> {
        Ok(match self.kind {
            DeviceKind::GpioIn => Wiring::GpioIn(self.line()?),
            DeviceKind::GpioOut => Wiring::GpioOut(self.line()?),
            DeviceKind::I2c => {
                let (path, address) = (self.table.path.take(), self.table.address.take());
                if let Some(address) = address
                    && !I2C_ADDRESSES.contains(&address)
                {
                    let allowed = format!(
                        "addresses are {:#x} to {:#x}",
                        I2C_ADDRESSES.start(),
                        I2C_ADDRESSES.end()
                    );
                    return Err(self.out_of_range("address", format!("{address:#x}"), allowed));
                }
                Wiring::I2c {
                    path: self.needs("path", path)?,
                    address: self.needs("address", address)?,
                }
            }
            DeviceKind::Spi => {
                let (path, speed_hz, mode) = (
                    self.table.path.take(),
                    self.table.speed_hz.take().unwrap_or(SPI_SPEED_HZ),
                    self.table.mode.take().unwrap_or(0),
                );
                if mode > SPI_MODE_MAX {
                    return Err(self.out_of_range("mode", mode.to_string(), "modes are 0 to 3".into()));
                }
                if speed_hz == 0 {
                    return Err(self.out_of_range("speed-hz", "0".into(), "it must be above".into()));
                }
                Wiring::Spi {
                    path: self.needs("path", path)?,
                    speed_hz,
                    mode,
                }
            }
            DeviceKind::Adc => {
                let (path, channel) = (self.table.path.take(), self.table.channel.take());
                if let Some(channel) = channel.as_ref().filter(|channel| !is_channel(channel)) {
                    let value = channel.chars().take(CHANNEL_BYTES_MAX).collect();
                    let allowed = "it must be as in the names of the files, such as voltage0 or temp".into();
                    return Err(self.out_of_range("channel", value, allowed));
                }
                Wiring::Adc {
                    path: self.needs("path", path)?,
                    channel: self.needs("channel", channel)?,
                }
            }
            DeviceKind::Serial => {
                let (path, baud) = (self.table.path.take(), self.table.baud.take().unwrap_or(BAUD));
                if !BAUDS.contains(&baud) {
                    let allowed = format!("it can be {} to {}", BAUDS.start(), BAUDS.end());
                    return Err(self.out_of_range("baud", baud.to_string(), allowed));
                }
                Wiring::Serial {
                    path: self.needs("path", path)?,
                    baud,
                }
            }
        })
    }

    fn line(&mut self) -> Result<Line, ConfigError> {
        let (chip, line) = (self.table.chip.take(), self.table.line.take());
        let (active_low, bias) = (self.table.active_low.take(), self.table.bias.take());
        Ok(Line {
            chip: self.needs("chip", chip)?,
            offset: self.needs("line", line)?,
            active_low: active_low.unwrap_or(false),
            bias,
        })
    }

    fn samples(&mut self, are_meant: bool) -> Result<Vec<f64>, ConfigError> {
        if !are_meant {
            return Ok(Vec::new());
        }
        let samples = self.table.samples.take().unwrap_or_else(|| vec![0.0]);
        if samples.is_empty()
            || samples.len() > SAMPLES_MAX
            || !samples.iter().all(|sample| sample.is_finite())
        {
            let allowed = format!("1 to {SAMPLES_MAX} finite numbers are expected");
            return Err(self.out_of_range("samples", format!("[{} numbers]", samples.len()), allowed));
        }
        Ok(samples)
    }

    fn needs<T>(&self, key: &'static str, value: Option<T>) -> Result<T, ConfigError> {
        value.ok_or_else(|| ConfigError::Lacks {
            alias: self.alias.clone(),
            kind: self.kind,
            key,
        })
    }

    fn out_of_range(&self, key: &'static str, value: String, allowed: String) -> ConfigError {
        ConfigError::OutOfRange {
            alias: self.alias.clone(),
            key,
            value,
            allowed,
        }
    }

    fn left_over(&self) -> Option<&'static str> {
        let table = &self.table;
        [
            ("chip", table.chip.is_some()),
            ("line", table.line.is_some()),
            ("active-low", table.active_low.is_some()),
            ("bias", table.bias.is_some()),
            ("path", table.path.is_some()),
            ("address", table.address.is_some()),
            ("speed-hz", table.speed_hz.is_some()),
            ("mode", table.mode.is_some()),
            ("channel", table.channel.is_some()),
            ("baud", table.baud.is_some()),
            ("samples", table.samples.is_some()),
        ]
        .into_iter()
        .find_map(|(key, is_there)| is_there.then_some(key))
    }
}

/// Part of a file's name.
fn is_channel(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= CHANNEL_BYTES_MAX
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

/// Two programs could have one line through two aliases.
fn same_as(wiring: &Wiring, others: &BTreeMap<Alias, Wiring>) -> Option<Alias> {
    let same = |other: &Wiring| match (wiring, other) {
        (Wiring::GpioIn(a) | Wiring::GpioOut(a), Wiring::GpioIn(b) | Wiring::GpioOut(b)) => {
            (&a.chip, a.offset) == (&b.chip, b.offset)
        }
        (Wiring::Serial { path: a, .. }, Wiring::Serial { path: b, .. }) => a == b,
        _ => false,
    };
    others
        .iter()
        .find(|(_, other)| same(other))
        .map(|(alias, _)| alias.clone())
}

impl Wiring {
    pub fn kind(&self) -> DeviceKind {
        match self {
            Self::Simulated { kind, .. } => *kind,
            Self::GpioIn(_) => DeviceKind::GpioIn,
            Self::GpioOut(_) => DeviceKind::GpioOut,
            Self::I2c { .. } => DeviceKind::I2c,
            Self::Spi { .. } => DeviceKind::Spi,
            Self::Adc { .. } => DeviceKind::Adc,
            Self::Serial { .. } => DeviceKind::Serial,
        }
    }

    pub fn about(&self) -> DeviceAbout {
        let backend = match self {
            Self::Simulated { .. } => Backend::Simulated,
            Self::GpioIn(_)
            | Self::GpioOut(_)
            | Self::I2c { .. }
            | Self::Spi { .. }
            | Self::Adc { .. }
            | Self::Serial { .. } => Backend::Linux,
        };
        DeviceAbout {
            kind: self.kind(),
            backend,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<DeviceOptions, String> {
        let tables: DeviceTables = toml::from_str(text).map_err(|error| error.to_string())?;
        tables.check().map_err(|error| error.to_string())
    }

    #[test]
    fn the_documented_tables_are_right() {
        let guide = include_str!("../../../deploy/README.md");
        let (_, from) = guide.split_once("```toml\n[devices.led]").unwrap();
        let (toml, _) = from.split_once("```").unwrap();
        let options = check(&format!("[devices.led]{toml}")).unwrap();
        let kinds: Vec<_> = options
            .devices
            .iter()
            .map(|(alias, wiring)| (alias.as_str(), wiring.kind().word(), wiring.about().backend))
            .collect();
        assert_eq!(
            kinds,
            [
                ("button", "gpio-in", Backend::Linux),
                ("display", "spi", Backend::Linux),
                ("gps", "serial", Backend::Linux),
                ("heating", "gpio-out", Backend::Simulated),
                ("led", "gpio-out", Backend::Linux),
                ("light", "adc", Backend::Linux),
                ("temperature", "i2c", Backend::Linux),
            ]
        );
        assert_eq!(options.status_led.as_ref().map(Alias::as_str), Some("led"));
    }

    #[test]
    fn what_is_simulated_needs_nothing_and_may_keep_its_keys() {
        let options = check(
            "[devices.led]\nkind = 'gpio-out'\nbackend = 'simulated'\nchip = '/dev/gpiochip1'\nline = 21\n
             [devices.t]\nkind = 'adc'\nbackend = 'simulated'\nsamples = [1.5, 2.0]",
        )
        .unwrap();
        let t = options.devices.get(&"t".parse().unwrap());
        assert_eq!(
            t,
            Some(&Wiring::Simulated {
                kind: DeviceKind::Adc,
                samples: vec![1.5, 2.0]
            })
        );
    }

    #[test]
    fn errors_name_the_alias_and_the_key() {
        let many: String = (0..=DEVICES_MAX)
            .map(|n| format!("[devices.d{n}]\nkind = 'gpio-in'\nbackend = 'simulated'\n"))
            .collect();
        for (bad, said) in [
            (
                "[devices.led]\nkind = 'gpio-out'\nchip = '/dev/gpiochip0'",
                "'led' is of kind gpio-out and needs 'line'",
            ),
            ("[devices.led]\nkind = 'gpio'", "unknown variant"),
            (
                "[devices.led]\nkind = 'gpio-in'\nbackend = 'simulated'\nlevel = 1",
                "unknown field `level`",
            ),
            ("[devices.'a b']\nkind = 'gpio-in'", "not an alias"),
            (
                "[devices.g]\nkind = 'serial'\npath = '/dev/ttyS0'\nline = 3",
                "'g' is of kind serial, to which 'line' means nothing",
            ),
            (
                "[devices.g]\nkind = 'serial'\npath = '/dev/ttyS0'\nbaud = 7",
                "baud = 7",
            ),
            (
                "[devices.t]\nkind = 'i2c'\npath = '/dev/i2c-1'\naddress = 0x80",
                "address = 0x80, and addresses are 0x8 to 0x77",
            ),
            (
                "[devices.t]\nkind = 'i2c'\nbackend = 'simulated'\naddress = 0x80",
                "address = 0x80",
            ),
            (
                "[devices.t]\nkind = 'spi'\npath = '/dev/spidev0.0'\nmode = 4",
                "mode = 4",
            ),
            (
                "[devices.t]\nkind = 'adc'\npath = '/sys'\nchannel = '../x'",
                "channel = ../x",
            ),
            (
                "[devices.t]\nkind = 'adc'\nbackend = 'simulated'\nsamples = []",
                "samples = [0 numbers]",
            ),
            (
                "[devices.t]\nkind = 'adc'\npath = '/sys'\nchannel = 'temp'\nsamples = [1.0]",
                "'samples' means nothing",
            ),
            (
                "[devices.a]\nkind = 'gpio-in'\nchip = '/c'\nline = 1\n[devices.b]\nkind = 'gpio-out'\nchip = '/c'\nline = 1",
                "'b' and 'a' are the same",
            ),
            ("[status-led]\nalias = 'led'", "the status LED is 'led'"),
            (&many, "65 devices are configured"),
        ] {
            let error = check(bad).expect_err(bad);
            assert!(error.contains(said), "{error}");
        }
    }
}
