//! Subscribes, decides, publishes: switches a heating by the mean of several sensors, with hysteresis and a time that the
//! heating stays as it is.
//!
//! `thermostat <home> [target=20.0] [rest_ms=2000] [sensor]`. Subscribes to `<home>/+/temperature`, where a message is a number in degrees
//! Celsius, and to `<home>/target`; publishes `on` and `off` to `<home>/heating`, retained and plain.
//!
//! `sensor` is the alias of a device of kind `adc`, in thousandths of a degree as Linux has temperatures: one more sensor, asked at
//! every look. Where the program is moved, it is the one there.
//!
//! A sensor that was silent for a minute counts no more. Time is the program's own, and stands still while it is moved.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use wayfare_guest::{self as wayfare, Publish, device, health};

/// Above and below the target.
const HYSTERESIS: f64 = 0.5;
const SILENT: Duration = Duration::from_secs(60);
/// If it has not looked again in this time, it is not well.
const WELL: Duration = Duration::from_secs(30);

struct Thermostat {
    home: String,
    target: f64,
    rest: Duration,
    sensors: BTreeMap<String, (f64, Instant)>,
    /// Of a device that is one of them.
    sensor: Option<String>,
    heating: Option<bool>,
    switched: Instant,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default: f64| args.get(at).map_or(Ok(default), |text| text.parse());
    let (Some(home), Ok(target), Ok(rest_ms)) = (args.first(), number(1, 20.0), number(2, 2000.0)) else {
        eprintln!("usage: thermostat <home> [target=20.0] [rest_ms=2000] [sensor]");
        return ExitCode::from(2);
    };
    let rest = Duration::from_millis(rest_ms as u64);
    let mut thermostat = Thermostat {
        home: home.clone(),
        target,
        rest,
        sensors: BTreeMap::new(),
        sensor: args.get(3).cloned(),
        heating: None,
        switched: Instant::now(),
    };
    match thermostat.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("thermostat: {error}");
            ExitCode::FAILURE
        }
    }
}

impl Thermostat {
    fn run(&mut self) -> Result<(), wayfare::Error> {
        wayfare::subscribe(&format!("{}/+/temperature", self.home))?;
        wayfare::subscribe(&format!("{}/target", self.home))?;
        println!("keeps {} at {:.1} degrees", self.home, self.target);
        loop {
            // Without news it looks all the same: a sensor may have fallen silent, or the rest be over.
            match wayfare::receive_timeout(self.rest.max(Duration::from_millis(1))) {
                Ok(message) => self.hear(&message),
                Err(wayfare::Error::TimedOut) => {}
                Err(error) => return Err(error),
            }
            if wayfare::was_moved() {
                println!("now on {}", wayfare::engine_id());
            }
            self.look();
            self.decide()?;
            // For a manifest with `health`. Engines of earlier releases refuse it, and it runs all the same.
            let _ = health::healthy(WELL.max(2 * self.rest));
        }
    }

    fn hear(&mut self, message: &wayfare::Message) {
        let Some(value) = message.text().and_then(|text| text.trim().parse::<f64>().ok()) else {
            return println!("no number on {}", message.topic);
        };
        if message.topic == format!("{}/target", self.home) {
            self.target = value;
            println!("target {value:.1}");
        } else {
            self.sensors.insert(message.topic.clone(), (value, Instant::now()));
        }
    }

    /// A sensor that cannot be read is one that is silent; the program's log says why.
    fn look(&mut self) {
        if let Some(alias) = &self.sensor
            && let Ok(sample) = device::adc_read(alias)
        {
            let degrees = sample.scaled / 1000.0;
            self.sensors.insert(format!("device {alias}"), (degrees, Instant::now()));
        }
    }

    fn decide(&mut self) -> Result<(), wayfare::Error> {
        self.sensors.retain(|_, (_, heard)| heard.elapsed() < SILENT);
        if self.sensors.is_empty() {
            return Ok(());
        }
        let mean = self.sensors.values().map(|(value, _)| value).sum::<f64>() / self.sensors.len() as f64;
        let wanted = match self.heating {
            Some(true) if mean < self.target + HYSTERESIS => true,
            Some(true) => false,
            _ => mean < self.target - HYSTERESIS,
        };
        let rests = self.heating.is_some() && self.switched.elapsed() < self.rest;
        if self.heating == Some(wanted) || rests {
            return Ok(());
        }
        let word = if wanted { "on" } else { "off" };
        Publish::new(&format!("{}/heating", self.home), word).retained().plain().send()?;
        println!("heating {word} at {mean:.2} degrees");
        (self.heating, self.switched) = (Some(wanted), Instant::now());
        Ok(())
    }
}
