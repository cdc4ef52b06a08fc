//! Drops values that no sensor of this city can have measured: the bounds are those of RIoTBench's city data.

use crate::flow::{Counts, Stage};
use crate::row::{Row, VALUES};

/// Lowest and highest, in the order of `row::OBSERVED`.
const BOUNDS: [(f64, f64); VALUES] =
    [(-12.5, 43.1), (10.7, 95.2), (1345.0, 26282.0), (186.61, 5188.21), (12.0, 49.0)];

#[derive(Default)]
pub struct Range {
    dropped: u64,
}

impl Stage for Range {
    fn take(&mut self, _input: &str, text: &str, out: &mut Vec<String>) -> Option<()> {
        let mut row = Row::parse(text)?;
        for (value, (lowest, highest)) in row.values.iter_mut().zip(BOUNDS) {
            if value.is_some_and(|value| value < lowest || value > highest) {
                *value = None;
                self.dropped += 1;
            }
        }
        out.push(row.text());
        Some(())
    }

    fn end(&mut self, _out: &mut Vec<String>, counts: &mut Counts) {
        counts.insert("values out of range".to_owned(), self.dropped);
    }
}
