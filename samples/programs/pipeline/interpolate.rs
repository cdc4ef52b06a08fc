//! Fills what is missing: with the mean of the last values that this sensor did measure.

use std::collections::{BTreeMap, VecDeque};

use crate::flow::{Counts, Stage};
use crate::row::{Row, VALUES};

const REMEMBERED: usize = 5;

#[derive(Default)]
pub struct Interpolate {
    /// Of each sensor, and of each thing that it measures, oldest first.
    measured: BTreeMap<String, [VecDeque<f64>; VALUES]>,
    filled: u64,
    left: u64,
}

impl Stage for Interpolate {
    fn take(&mut self, _input: &str, text: &str, out: &mut Vec<String>) -> Option<()> {
        let mut row = Row::parse(text)?;
        let measured = self.measured.entry(row.sensor.clone()).or_default();
        for (value, measured) in row.values.iter_mut().zip(measured) {
            match value {
                Some(value) => {
                    if measured.len() == REMEMBERED {
                        measured.pop_front();
                    }
                    measured.push_back(*value);
                }
                None if measured.is_empty() => self.left += 1,
                None => {
                    *value = Some(measured.iter().sum::<f64>() / measured.len() as f64);
                    self.filled += 1;
                }
            }
        }
        out.push(row.text());
        Some(())
    }

    fn end(&mut self, _out: &mut Vec<String>, counts: &mut Counts) {
        counts.insert("values filled in".to_owned(), self.filled);
        counts.insert("values left empty".to_owned(), self.left);
    }
}
