//! Smooths each sensor's temperature with a Kalman filter of one dimension (Welch and Bishop, An Introduction to the Kalman Filter,
//! 1995, section 3): `time,sensor,temperature`.

use std::collections::BTreeMap;

use crate::flow::Stage;
use crate::row::{Row, joined};

/// Variances of the process and of a measurement, in square degrees.
const PROCESS: f64 = 0.02;
const MEASUREMENT: f64 = 0.32;

#[derive(Default)]
pub struct Kalman {
    sensors: BTreeMap<String, Estimate>,
}

struct Estimate {
    value: f64,
    variance: f64,
}

impl Stage for Kalman {
    fn take(&mut self, _input: &str, text: &str, out: &mut Vec<String>) -> Option<()> {
        let row = Row::parse(text)?;
        let [measured, ..] = row.values;
        if let Some(measured) = measured {
            let first = Estimate { value: measured, variance: 1.0 };
            self.sensors.entry(row.sensor.clone()).or_insert(first).correct(measured);
        }
        let value = self.sensors.get(&row.sensor).map(|estimate| estimate.value);
        out.push(format!("{},{},{}", row.time, row.sensor, joined(&[value])));
        Some(())
    }
}

impl Estimate {
    fn correct(&mut self, measured: f64) {
        let predicted = self.variance + PROCESS;
        let gain = predicted / (predicted + MEASUREMENT);
        self.value += gain * (measured - self.value);
        self.variance = (1.0 - gain) * predicted;
    }
}
