//! The mean of each block of rows of a sensor: `sensor,block` and a mean of each thing that it measures.

use std::collections::BTreeMap;

use crate::flow::{Counts, Stage};
use crate::row::{Row, VALUES, joined};

/// Rows of one sensor in a block: also the rhythm of `regression`.
pub const BLOCK_ROWS: u64 = 20;

#[derive(Default)]
pub struct Average {
    sensors: BTreeMap<String, Block>,
}

#[derive(Default)]
struct Block {
    number: u64,
    rows: u64,
    sums: [f64; VALUES],
    counts: [u32; VALUES],
}

impl Stage for Average {
    fn take(&mut self, _input: &str, text: &str, out: &mut Vec<String>) -> Option<()> {
        let row = Row::parse(text)?;
        let block = self.sensors.entry(row.sensor.clone()).or_default();
        block.rows += 1;
        for (at, value) in row.values.iter().enumerate() {
            if let Some(value) = value {
                block.sums[at] += value;
                block.counts[at] += 1;
            }
        }
        if block.rows == BLOCK_ROWS {
            out.push(block.finish(&row.sensor));
        }
        Some(())
    }

    fn end(&mut self, out: &mut Vec<String>, _counts: &mut Counts) {
        for (sensor, block) in &mut self.sensors {
            if block.rows > 0 {
                out.push(block.finish(sensor));
            }
        }
    }
}

impl Block {
    /// Its means, and the next block.
    fn finish(&mut self, sensor: &str) -> String {
        let mut means = [None; VALUES];
        for ((mean, sum), count) in means.iter_mut().zip(self.sums).zip(self.counts) {
            *mean = (count > 0).then(|| sum / f64::from(count));
        }
        let number = self.number + 1;
        *self = Self { number, ..Self::default() };
        format!("{sensor},{number},{}", joined(&means))
    }
}
