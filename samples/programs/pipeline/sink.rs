//! Puts together what comes from three stages, in an order of its own, and prints it when all three have ended.

use std::collections::BTreeMap;

use crate::flow::{Counts, Stage};
use crate::row::{OBSERVED, VALUES, number};

#[derive(Default)]
pub struct Sink {
    /// By sensor and block.
    blocks: BTreeMap<(String, u64), Line>,
    distinct: BTreeMap<u64, (u64, u64)>,
}

#[derive(Default)]
struct Line {
    means: [Option<f64>; VALUES],
    slope: Option<f64>,
    next: Option<f64>,
}

impl Stage for Sink {
    fn take(&mut self, input: &str, text: &str, _out: &mut Vec<String>) -> Option<()> {
        let parts: Vec<&str> = text.split(',').collect();
        if input == "distinct" {
            let [block, sensors, readings] = parts.as_slice() else { return None };
            self.distinct.insert(block.parse().ok()?, (sensors.parse().ok()?, readings.parse().ok()?));
            return Some(());
        }
        let [sensor, block, values @ ..] = parts.as_slice() else { return None };
        let line = self.blocks.entry(((*sensor).to_owned(), block.parse().ok()?)).or_default();
        match (input, values) {
            ("averages", values) if values.len() == VALUES => {
                for (mean, value) in line.means.iter_mut().zip(values) {
                    *mean = number(value)?;
                }
            }
            ("trends", [slope, next]) => (line.slope, line.next) = (number(slope)?, number(next)?),
            _ => return None,
        }
        Some(())
    }

    fn end(&mut self, _out: &mut Vec<String>, counts: &mut Counts) {
        let mut head = format!("{:8} {:>5}", "sensor", "block");
        for (name, _) in OBSERVED {
            head += &format!(" {name:>11}");
        }
        println!("{head} {:>8} {:>8}", "an hour", "next");
        for ((sensor, block), line) in &self.blocks {
            let mut text = format!("{sensor:8} {block:>5}");
            for mean in line.means {
                text += &format!(" {:>11}", shown(mean, 2));
            }
            println!("{text} {:>8} {:>8}", shown(line.slope, 3), shown(line.next, 2));
        }
        for (block, (sensors, readings)) in &self.distinct {
            println!("block {block}: about {sensors} sensors; about {readings} readings of light so far");
        }
        for (name, count) in counts {
            println!("{name}: {count}");
        }
    }
}

fn shown(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
}
