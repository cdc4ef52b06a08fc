//! A straight line through each sensor's last smoothed temperatures, by least squares: `sensor,block`, its slope in degrees an hour, and
//! what it says of the next value.

use std::collections::{BTreeMap, VecDeque};

use crate::average::BLOCK_ROWS;
use crate::flow::{Counts, Stage};
use crate::row::{joined, number};

/// Values that the line is drawn through.
const WINDOW: usize = 10;

#[derive(Default)]
pub struct Regression {
    sensors: BTreeMap<String, Window>,
}

#[derive(Default)]
struct Window {
    rows: u64,
    /// Time and temperature, oldest first.
    points: VecDeque<(u64, f64)>,
}

impl Stage for Regression {
    fn take(&mut self, _input: &str, text: &str, out: &mut Vec<String>) -> Option<()> {
        let mut parts = text.split(',');
        let time = parts.next()?.parse().ok()?;
        let sensor = parts.next()?;
        let value = number(parts.next()?)?;
        let window = self.sensors.entry(sensor.to_owned()).or_default();
        window.rows += 1;
        if let Some(value) = value {
            if window.points.len() == WINDOW {
                window.points.pop_front();
            }
            window.points.push_back((time, value));
        }
        if window.rows % BLOCK_ROWS == 0 {
            out.push(window.line(sensor));
        }
        Some(())
    }

    fn end(&mut self, out: &mut Vec<String>, _counts: &mut Counts) {
        for (sensor, window) in &self.sensors {
            if window.rows % BLOCK_ROWS != 0 {
                out.push(window.line(sensor));
            }
        }
    }
}

impl Window {
    fn line(&self, sensor: &str) -> String {
        let block = self.rows.div_ceil(BLOCK_ROWS);
        let (slope, next) = self.fit().unzip();
        format!("{sensor},{block},{}", joined(&[slope.map(|slope| slope * 3600.0), next]))
    }

    /// The slope a second, and the value as long after the last as that was after the one before. `None`: fewer than two times.
    fn fit(&self) -> Option<(f64, f64)> {
        let (first, _) = *self.points.front()?;
        let (last, _) = *self.points.back()?;
        let (before, _) = *self.points.iter().rev().nth(1)?;
        let count = self.points.len() as f64;
        let after = |time: u64| time.wrapping_sub(first).cast_signed() as f64;
        let time_mean = self.points.iter().map(|(time, _)| after(*time)).sum::<f64>() / count;
        let value_mean = self.points.iter().map(|(_, value)| value).sum::<f64>() / count;
        let (mut both, mut square) = (0.0, 0.0);
        for (time, value) in &self.points {
            let distance = after(*time) - time_mean;
            both += distance * (value - value_mean);
            square += distance * distance;
        }
        if square == 0.0 {
            return None;
        }
        let slope = both / square;
        let next = after(last) + (after(last) - after(before));
        Some((slope, value_mean + slope * (next - time_mean)))
    }
}
