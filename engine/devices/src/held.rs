//! What one program has of its engine's devices: its grants, the levels that it has set, and how far it has
//! heard.
//!
//! The levels are in its snapshots: where it goes on, its outputs are set to them again before it runs.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use wayfare_protocol::device::{Alias, DeviceKind};

use crate::feed::{Feed, Waker};
use crate::port::{Edge, Port, Sample};
use crate::{Device, Devices, Holder};

/// What one program has of its engine's devices.
pub struct Held {
    devices: Arc<Devices>,
    granted: BTreeSet<Alias>,
    holder: Holder,
    outputs: BTreeMap<Alias, bool>,
    is_driving: bool,
    /// How far it has heard what a device says by itself; nothing is kept for it while it stands still.
    places: BTreeMap<Alias, u64>,
}

/// Why a program's call to a device failed.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    #[error("not granted")]
    NotGranted,
    #[error("it is not here")]
    NotHere,
    #[error("it is of kind {actual}")]
    WrongKind { actual: DeviceKind },
    #[error("another program has it")]
    Taken,
    #[error("{0}")]
    Failed(String),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

impl Held {
    pub fn new(devices: Arc<Devices>, granted: BTreeSet<Alias>) -> Self {
        Self {
            holder: devices.next_holder(),
            devices,
            granted,
            outputs: BTreeMap::new(),
            is_driving: false,
            places: BTreeMap::new(),
        }
    }

    /// For a snapshot.
    pub fn outputs(&self) -> &BTreeMap<Alias, bool> {
        &self.outputs
    }

    /// From a snapshot. A level of what is not granted is nobody's.
    pub fn set_outputs(&mut self, outputs: BTreeMap<Alias, bool>) {
        self.outputs = outputs;
        self.outputs.retain(|alias, _| self.granted.contains(alias));
    }

    /// Before it runs: what only it can have is its own from here on, and its outputs are as it had set them.
    /// Answers with what could not be done.
    pub fn drive(&mut self) -> Vec<(Alias, Trouble)> {
        let mut troubles = Vec::new();
        if self.is_driving {
            return troubles;
        }
        self.is_driving = true;
        for alias in &self.granted {
            let Some(device) = self.devices.by_alias.get(alias) else {
                continue;
            };
            if device.about.kind.is_exclusive() {
                device.claim(self.holder);
            }
            let done = match &device.port {
                Port::Output(output) => self
                    .outputs
                    .get(alias)
                    .map_or(Ok(()), |active| output.drive(*active)),
                // From here on it hears everything.
                Port::Serial(serial) => serial.received().map(|feed| {
                    self.places.insert(alias.clone(), feed.end());
                }),
                Port::Input(_) | Port::Bus(_) | Port::Sensor(_) => Ok(()),
            };
            if let Err(error) = done {
                troubles.push((alias.clone(), error.into()));
            }
        }
        troubles
    }

    /// When it stands still, before anybody hears that it does.
    pub fn release(&mut self) -> Vec<(Alias, Trouble)> {
        let mut troubles = Vec::new();
        if !std::mem::take(&mut self.is_driving) {
            return troubles;
        }
        self.places.clear();
        for alias in &self.granted {
            let device = self.devices.by_alias.get(alias);
            if let Some(device) = device.filter(|device| device.about.kind.is_exclusive())
                && let Err(error) = device.release(self.holder)
            {
                troubles.push((alias.clone(), error.into()));
            }
        }
        troubles
    }

    pub fn write(&mut self, alias: &Alias, active: bool) -> Result<(), Trouble> {
        let device = device(&self.devices, &self.granted, alias)?;
        let Port::Output(output) = &device.port else {
            return Err(device.wrong());
        };
        let owner = device.owner();
        if *owner != Some(self.holder) {
            return Err(Trouble::Taken);
        }
        output.drive(active)?;
        drop(owner);
        self.outputs.insert(alias.clone(), active);
        Ok(())
    }

    /// Of an input; of an output, the level that the program has set.
    pub fn read(&mut self, alias: &Alias) -> Result<bool, Trouble> {
        let device = device(&self.devices, &self.granted, alias)?;
        match &device.port {
            Port::Output(_) => Ok(self.outputs.get(alias).copied().unwrap_or(false)),
            Port::Input(input) => {
                // An edge between this and a wait is not missed; a line that cannot tell of edges can be read
                // all the same.
                if !self.places.contains_key(alias)
                    && let Ok(edges) = input.edges()
                {
                    self.places.insert(alias.clone(), edges.end());
                }
                Ok(input.level()?)
            }
            Port::Bus(_) | Port::Sensor(_) | Port::Serial(_) => Err(device.wrong()),
        }
    }

    /// The next edge among `wanted` since the line was last read or waited for; others are passed over.
    /// `None`: not yet, and then `wake` is called when it is worth looking again.
    pub fn edge(
        &mut self,
        alias: &Alias,
        wanted: impl Fn(Edge) -> bool,
        wake: impl Fn() -> Waker,
    ) -> Result<Option<Edge>, Trouble> {
        let device = device(&self.devices, &self.granted, alias)?;
        let Port::Input(input) = &device.port else {
            return Err(device.wrong());
        };
        let feed = input.edges()?;
        let place = self.places.entry(alias.clone()).or_insert_with(|| feed.end());
        loop {
            let (from, there) = hear(feed, *place, self.holder, &wake)?;
            match there.iter().position(|edge| wanted(*edge)) {
                Some(at) => {
                    *place = from + at as u64 + 1;
                    return Ok(Some(there[at]));
                }
                None if there.is_empty() => return Ok(None),
                None => *place = from + there.len() as u64,
            }
        }
    }

    pub fn sample(&self, alias: &Alias) -> Result<Sample, Trouble> {
        let device = device(&self.devices, &self.granted, alias)?;
        match &device.port {
            Port::Sensor(sensor) => Ok(sensor.sample()?),
            _ => Err(device.wrong()),
        }
    }

    pub fn transfer(
        &self,
        (alias, kind): (&Alias, DeviceKind),
        write: &[u8],
        read: &mut [u8],
    ) -> Result<(), Trouble> {
        let device = device(&self.devices, &self.granted, alias)?;
        match &device.port {
            Port::Bus(bus) if device.about.kind == kind => Ok(bus.transfer(write, read)?),
            _ => Err(device.wrong()),
        }
    }

    /// How much was sent; 0 if there was no room for so long.
    pub fn send(&self, alias: &Alias, bytes: &[u8], wait: Duration) -> Result<usize, Trouble> {
        let device = device(&self.devices, &self.granted, alias)?;
        let Port::Serial(serial) = &device.port else {
            return Err(device.wrong());
        };
        self.must_own(device)?;
        Ok(serial.send(bytes, wait)?)
    }

    /// At most `bytes_max` that have come and were not received yet; as [`Held::edge`] if there are none.
    pub fn receive(
        &mut self,
        alias: &Alias,
        bytes_max: usize,
        wake: impl Fn() -> Waker,
    ) -> Result<Vec<u8>, Trouble> {
        let device = device(&self.devices, &self.granted, alias)?;
        let Port::Serial(serial) = &device.port else {
            return Err(device.wrong());
        };
        self.must_own(device)?;
        let feed = serial.received()?;
        let place = self.places.entry(alias.clone()).or_insert_with(|| feed.end());
        let (from, mut there) = hear(feed, *place, self.holder, &wake)?;
        there.truncate(bytes_max);
        *place = from + there.len() as u64;
        Ok(there)
    }

    fn must_own(&self, device: &Device) -> Result<(), Trouble> {
        match *device.owner() == Some(self.holder) {
            true => Ok(()),
            false => Err(Trouble::Taken),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        for (alias, trouble) in self.release() {
            tracing::warn!("device '{alias}' was not released: {trouble}");
        }
    }
}

impl Device {
    pub(super) fn wrong(&self) -> Trouble {
        let actual = self.about.kind;
        Trouble::WrongKind { actual }
    }
}

/// Not a method, so that the rest of what a program has can be changed meanwhile.
fn device<'a>(devices: &'a Devices, granted: &BTreeSet<Alias>, alias: &Alias) -> Result<&'a Device, Trouble> {
    if !granted.contains(alias) {
        return Err(Trouble::NotGranted);
    }
    let device = devices.by_alias.get(alias).filter(|_| devices.is_offered(alias));
    device.ok_or(Trouble::NotHere)
}

fn hear<T: Copy>(
    feed: &Feed<T>,
    place: u64,
    holder: Holder,
    wake: impl Fn() -> Waker,
) -> Result<(u64, Vec<T>), Trouble> {
    feed.after(place, holder, wake).map_err(Trouble::Failed)
}

#[cfg(test)]
mod tests {
    use wayfare_protocol::device::{Reading, Setting};

    use super::*;
    use crate::DeviceTables;

    fn alias(text: &str) -> Alias {
        text.parse().unwrap()
    }

    fn devices() -> Arc<Devices> {
        let kinds = ["gpio-in", "gpio-out", "i2c", "spi", "adc", "serial"];
        let table = |kind: &&str| format!("[devices.{kind}]\nkind = '{kind}'\nbackend = 'simulated'\n");
        let text: String = kinds.iter().map(table).collect();
        let tables: DeviceTables = toml::from_str(&text).unwrap();
        Arc::new(Devices::open(&tables.check().unwrap()))
    }

    fn program(devices: &Arc<Devices>, granted: &[&str]) -> Held {
        Held::new(devices.clone(), granted.iter().map(|text| alias(text)).collect())
    }

    fn levels(devices: &Devices) -> Vec<Option<bool>> {
        match devices.reading(&alias("gpio-out")) {
            Ok(Reading::Output { last, .. }) => last,
            other => panic!("{other:?}"),
        }
    }

    fn no_waker() -> Waker {
        Box::new(|| ())
    }

    #[test]
    fn an_output_is_driven_while_its_program_runs_and_released_when_it_stands_still() {
        let devices = devices();
        let mut program = program(&devices, &["gpio-out"]);
        let led = alias("gpio-out");
        assert!(
            program.drive().is_empty() && levels(&devices).is_empty(),
            "it has set nothing yet"
        );
        program.write(&led, true).unwrap();
        program.write(&led, false).unwrap();
        program.write(&led, true).unwrap();
        program.release();
        program.release();
        let so_far = [Some(true), Some(false), Some(true), None];
        assert_eq!(levels(&devices), so_far);
        assert!(matches!(program.write(&led, false), Err(Trouble::Taken)));
        // It goes on elsewhere, from what its snapshot says.
        let mut moved = self::program(&devices, &["gpio-out"]);
        moved.set_outputs(program.outputs().clone());
        moved.drive();
        moved.drive();
        assert_eq!(levels(&devices)[4..], [Some(true)]);
        assert!(moved.read(&led).unwrap());
        drop(moved);
        assert_eq!(levels(&devices)[5..], [None]);
    }

    #[test]
    fn a_program_that_was_succeeded_does_not_touch_the_line_any_more() {
        let devices = devices();
        let (mut old, mut new) = (program(&devices, &["gpio-out"]), program(&devices, &["gpio-out"]));
        let led = alias("gpio-out");
        old.drive();
        old.write(&led, true).unwrap();
        new.drive();
        new.write(&led, false).unwrap();
        assert!(matches!(old.write(&led, true), Err(Trouble::Taken)));
        drop(old);
        assert_eq!(levels(&devices), [Some(true), Some(false)]);
    }

    #[test]
    fn levels_of_what_is_not_granted_are_left_out() {
        let devices = devices();
        let mut program = program(&devices, &["adc"]);
        program.set_outputs(BTreeMap::from([(alias("gpio-out"), true)]));
        assert!(program.outputs().is_empty());
        program.drive();
        assert!(levels(&devices).is_empty());
    }

    #[test]
    fn every_call_says_what_is_wrong_with_it() {
        let devices = devices();
        let mut program = program(&devices, &["gpio-in", "adc", "relay"]);
        let trouble = program.write(&alias("gpio-out"), true).unwrap_err();
        assert!(matches!(trouble, Trouble::NotGranted));
        let trouble = program.write(&alias("relay"), true).unwrap_err();
        assert!(matches!(trouble, Trouble::NotHere));
        let said: Vec<String> = [
            program.write(&alias("adc"), true).unwrap_err(),
            program.read(&alias("adc")).unwrap_err(),
            program.sample(&alias("gpio-in")).unwrap_err(),
            program.edge(&alias("adc"), |_| true, no_waker).unwrap_err(),
            program.receive(&alias("adc"), 1, no_waker).unwrap_err(),
            program.send(&alias("adc"), b"", Duration::ZERO).unwrap_err(),
            program
                .transfer((&alias("adc"), DeviceKind::I2c), b"", &mut [])
                .unwrap_err(),
        ]
        .iter()
        .map(Trouble::to_string)
        .collect();
        let of = |kind: &str| format!("it is of kind {kind}");
        let adc = of("adc");
        assert_eq!(
            said,
            [&adc, &adc, &of("gpio-in"), &adc, &adc, &adc, &adc].map(String::clone)
        );
    }

    #[test]
    fn edges_between_reading_and_waiting_are_heard_in_order() {
        let devices = devices();
        let mut program = program(&devices, &["gpio-in"]);
        let button = alias("gpio-in");
        let set = |active: bool| devices.set(&button, &Setting::Level { active }).unwrap();
        set(true);
        assert!(program.read(&button).unwrap());
        set(false);
        set(true);
        set(true);
        set(false);
        let mut next = |wanted: fn(Edge) -> bool| program.edge(&button, wanted, no_waker).unwrap();
        assert_eq!(next(|edge| edge == Edge::Rising), Some(Edge::Rising));
        assert_eq!(next(|_| true), Some(Edge::Falling));
        assert_eq!(next(|_| true), None);
    }

    #[test]
    fn sensors_buses_and_ports_give_what_they_are_given() {
        let devices = devices();
        let mut program = program(&devices, &["adc", "i2c", "spi", "serial"]);
        program.drive();
        let adc = alias("adc");
        devices.set(&adc, &Setting::Sample { scaled: 20.6 }).unwrap();
        let sample = Sample {
            raw: 21,
            scaled: 20.6,
        };
        assert_eq!(program.sample(&adc).unwrap(), sample);

        let mut read = [0; 3];
        let i2c = (&alias("i2c"), DeviceKind::I2c);
        program.transfer(i2c, &[7, 1, 2], &mut []).unwrap();
        program.transfer(i2c, &[6], &mut read).unwrap();
        assert_eq!(read, [0, 1, 2]);
        program
            .transfer((&alias("spi"), DeviceKind::Spi), &[9, 8, 7], &mut read)
            .unwrap();
        assert_eq!(read, [9, 8, 7]);

        let serial = alias("serial");
        assert_eq!(program.send(&serial, b"at", Duration::ZERO).unwrap(), 2);
        let bytes = b"at".to_vec();
        assert_eq!(devices.reading(&serial).unwrap(), Reading::Bytes { bytes });
        let bytes = b"ok\n".to_vec();
        devices.set(&serial, &Setting::Received { bytes }).unwrap();
        assert_eq!(program.receive(&serial, 2, no_waker).unwrap(), b"ok");
        assert_eq!(program.receive(&serial, 2, no_waker).unwrap(), b"\n");
        assert_eq!(program.receive(&serial, 2, no_waker).unwrap(), b"");
        assert!(
            devices
                .set(&alias("spi"), &Setting::Sample { scaled: 0.0 })
                .is_err()
        );
    }
}
