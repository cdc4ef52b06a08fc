//! How many different ones there were, about, in little memory (HyperLogLog: Flajolet and others, 2007): sensors in each block of
//! rows, and readings of the light since the beginning. `block,sensors,readings`.

use crate::flow::{Counts, Stage};
use crate::hash::hash;
use crate::row::Row;

const BLOCK_ROWS: u64 = 200;
const LIGHT: usize = 2;

#[derive(Default)]
pub struct Distinct {
    rows: u64,
    sensors: Sketch,
    readings: Sketch,
}

impl Stage for Distinct {
    fn take(&mut self, _input: &str, text: &str, out: &mut Vec<String>) -> Option<()> {
        let row = Row::parse(text)?;
        self.rows += 1;
        self.sensors.add(&row.sensor);
        if let Some(light) = row.values[LIGHT] {
            self.readings.add(&light.to_string());
        }
        if self.rows.is_multiple_of(BLOCK_ROWS) {
            out.push(self.block());
        }
        Some(())
    }

    fn end(&mut self, out: &mut Vec<String>, _counts: &mut Counts) {
        if !self.rows.is_multiple_of(BLOCK_ROWS) {
            out.push(self.block());
        }
    }
}

impl Distinct {
    fn block(&mut self) -> String {
        let block = self.rows.div_ceil(BLOCK_ROWS);
        let sensors = std::mem::take(&mut self.sensors);
        format!("{block},{},{}", sensors.estimate(), self.readings.estimate())
    }
}

const REGISTERS: usize = 256;

struct Sketch {
    ranks: [u8; REGISTERS],
}

impl Default for Sketch {
    fn default() -> Self {
        Self { ranks: [0; REGISTERS] }
    }
}

impl Sketch {
    fn add(&mut self, text: &str) {
        let hash = hash(text);
        let register = (hash >> 56) as usize;
        let rank = (hash << 8 | 0xff).leading_zeros() as u8 + 1;
        self.ranks[register] = self.ranks[register].max(rank);
    }

    fn estimate(&self) -> u64 {
        let registers = REGISTERS as f64;
        let empty = self.ranks.iter().filter(|rank| **rank == 0).count();
        let sum: f64 = self.ranks.iter().map(|rank| 2f64.powi(-i32::from(*rank))).sum();
        let estimate = 0.7213 / (1.0 + 1.079 / registers) * registers * registers / sum;
        let few = estimate <= 2.5 * registers && empty > 0;
        let estimate = if few { registers * (registers / empty as f64).ln() } else { estimate };
        estimate.round() as u64
    }
}
