//! The board's devices, by the aliases that programs know them by.
//!
//! ```text
//!  program --host call--> Held --alias, granted?--> Device --owner?--> Port --> simulated
//!                       (one program)               (all programs)       `---> linux
//! ```
//! Invariant: an output is driven only by a program that runs. One that is paused, on its way to another
//! engine, or ended has released its outputs before anybody hears that it stands still: so the source of a
//! move releases a line before the target can drive its own.
//!
//! Whatever is called in here may block, and is called on a program's own thread or on one of a device: never
//! on the engine's loop.
//!
//! Reading order: `config` (what the engine is told), `port` (what can be done with a device), `simulated`
//! and `linux` (with what), `feed` (what comes by itself), `held` (what one program has), `status_led` (what
//! the engine has for itself).
#![deny(unsafe_code)]

mod config;
mod feed;
mod held;
#[cfg(target_os = "linux")]
mod linux;
mod port;
mod simulated;
mod status_led;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wayfare_protocol::device::{Alias, DeviceAbout, Reading, Setting};

pub use config::{Bias, ConfigError, DeviceOptions, DeviceTable, DeviceTables, Line, StatusLedTable, Wiring};
pub use feed::Waker;
pub use held::{Held, Trouble};
use port::Port;
pub use port::{Edge, Sample};
use simulated::Simulated;
pub use status_led::StatusLed;

/// All devices of an engine.
#[derive(Default)]
pub struct Devices {
    by_alias: BTreeMap<Alias, Device>,
    status_led: Option<Alias>,
    holders: AtomicU64,
}

struct Device {
    about: DeviceAbout,
    port: Port,
    simulated: Option<Arc<Simulated>>,
    /// The holder that drives it or reads from it, where only one can. Locked while it is driven, so that one
    /// that was succeeded does not drive it any more.
    owner: Mutex<Option<Holder>>,
}

/// One start of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Holder(u64);

impl Devices {
    /// Those that are there. One that is configured and missing is left out with a warning, and so not
    /// offered: a board whose serial adapter is not plugged in does the rest of its work. It is looked for
    /// again at the engine's next start.
    pub fn open(options: &DeviceOptions) -> Self {
        let mut devices = Self {
            status_led: options.status_led.clone(),
            ..Self::default()
        };
        for (alias, wiring) in &options.devices {
            match Device::open(wiring) {
                Ok(device) => {
                    devices.by_alias.insert(alias.clone(), device);
                }
                Err(error) => tracing::warn!("device '{alias}' is not offered: {error}"),
            }
        }
        devices
    }

    /// What programs can be granted.
    pub fn offered(&self) -> BTreeMap<Alias, DeviceAbout> {
        let offered = self.by_alias.iter().filter(|(alias, _)| self.is_offered(alias));
        offered
            .map(|(alias, device)| (alias.clone(), device.about))
            .collect()
    }

    /// What is behind an alias, for people. Of a real device only what reading does not change.
    pub fn reading(&self, alias: &Alias) -> Result<Reading, Trouble> {
        let device = self.by_alias.get(alias).ok_or(Trouble::NotHere)?;
        if let Some(simulated) = &device.simulated {
            return Ok(simulated.reading(device.about.kind));
        }
        match &device.port {
            Port::Input(input) => Ok(Reading::Level {
                active: input.level()?,
            }),
            Port::Sensor(sensor) => {
                let Sample { raw, scaled } = sensor.sample()?;
                Ok(Reading::Sample { raw, scaled })
            }
            Port::Output(_) | Port::Bus(_) | Port::Serial(_) => Err(Trouble::Failed(format!(
                "a real device of kind {} shows nothing of itself",
                device.about.kind
            ))),
        }
    }

    /// What programs will read of a simulated device.
    pub fn set(&self, alias: &Alias, setting: &Setting) -> Result<(), Trouble> {
        let device = self.by_alias.get(alias).ok_or(Trouble::NotHere)?;
        let Some(simulated) = &device.simulated else {
            return Err(Trouble::Failed(
                "it is a real device, and what it says is its own".into(),
            ));
        };
        match simulated.set(device.about.kind, setting) {
            true => Ok(()),
            false => Err(device.wrong()),
        }
    }

    fn next_holder(&self) -> Holder {
        Holder(self.holders.fetch_add(1, Ordering::Relaxed))
    }

    fn is_offered(&self, alias: &Alias) -> bool {
        self.status_led.as_ref() != Some(alias)
    }
}

impl Device {
    fn open(wiring: &Wiring) -> io::Result<Self> {
        let (port, simulated) = match wiring {
            Wiring::Simulated { kind, samples } => {
                let simulated = Arc::new(Simulated::new(samples.clone()));
                (simulated::port(*kind, &simulated), Some(simulated))
            }
            #[cfg(target_os = "linux")]
            wiring => (linux::open(wiring)?, None),
            #[cfg(not(target_os = "linux"))]
            _ => return Err(io::ErrorKind::Unsupported.into()),
        };
        Ok(Self {
            about: wiring.about(),
            port,
            simulated,
            owner: Mutex::new(None),
        })
    }

    fn owner(&self) -> MutexGuard<'_, Option<Holder>> {
        self.owner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From here on it is `holder`'s. Whoever had it is about to end, or it would not have been granted
    /// again.
    fn claim(&self, holder: Holder) {
        *self.owner() = Some(holder);
    }

    /// Nothing, if it has another owner by now.
    fn release(&self, holder: Holder) -> io::Result<()> {
        let mut owner = self.owner();
        if *owner != Some(holder) {
            return Ok(());
        }
        *owner = None;
        match &self.port {
            Port::Output(output) => output.release(),
            Port::Input(_) | Port::Bus(_) | Port::Sensor(_) | Port::Serial(_) => Ok(()),
        }
    }
}

impl fmt::Debug for Devices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.by_alias.keys()).finish()
    }
}
