//! What engines and programs used, hour by hour for 30 days: durable, so that it outlives the dispatcher that
//! measured it. No clock and no I/O.
//!
//! Always: it is bounded ([`HOURS_MAX`] hours with [`SUBJECTS_MAX`] engines and as many programs each, some
//! 70 bytes for each); a record is an hour, and is stored only when it has changed. A clock that is wrong for
//! a while costs no more hours than were measured by it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use wayfare_client::numbers::Point;
use wayfare_protocol::ids::{EngineId, ProgramId};

pub(super) const HOUR_MS: u64 = 3_600_000;
/// 30 days.
const HOURS_MAX: u64 = 30 * 24;
/// Engines in one hour, and programs.
const SUBJECTS_MAX: usize = 100;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    Engine(EngineId),
    Program(ProgramId),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Engine(engine) => write!(f, "engine/{engine}"),
            Self::Program(program) => write!(f, "program/{program}"),
        }
    }
}

/// What was measured of one subject in one hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "(u64, u64, u64)", into = "(u64, u64, u64)")]
struct Sum {
    /// With a known use of processors.
    points: u64,
    cpu_millicores: u64,
    /// The most.
    memory_bytes: u64,
}

impl From<(u64, u64, u64)> for Sum {
    fn from((points, cpu_millicores, memory_bytes): (u64, u64, u64)) -> Self {
        Self {
            points,
            cpu_millicores,
            memory_bytes,
        }
    }
}

impl From<Sum> for (u64, u64, u64) {
    fn from(sum: Sum) -> Self {
        (sum.points, sum.cpu_millicores, sum.memory_bytes)
    }
}

type Hour = BTreeMap<String, Sum>;

#[derive(Debug, Default)]
pub(super) struct Coarse {
    /// By the number of hours since 1970.
    hours: BTreeMap<u64, Hour>,
    /// Those that are not stored as they are.
    changed: BTreeSet<u64>,
}

impl Coarse {
    /// From records. One that cannot be read is left out.
    pub(super) fn read<'a>(records: impl Iterator<Item = (&'a String, &'a String)>) -> Self {
        let hour = |(key, json): (&String, &String)| {
            let number = key.strip_prefix(KEY)?.parse().ok()?;
            let mut hour: Hour = serde_json::from_str(json).ok()?;
            while hour.len() > 2 * SUBJECTS_MAX {
                hour.pop_last();
            }
            Some((number, hour))
        };
        Self {
            hours: records.filter_map(hour).collect(),
            changed: BTreeSet::new(),
        }
    }

    pub(super) fn add(&mut self, subject: &Subject, point: &Point) {
        let number = point.at_ms / HOUR_MS;
        let hour = self.hours.entry(number).or_default();
        let key = subject.to_string();
        let kind = key.split('/').next().unwrap_or_default();
        let is_full = || hour.keys().filter(|known| known.starts_with(kind)).count() >= SUBJECTS_MAX;
        if !hour.contains_key(&key) && is_full() {
            return;
        }
        let sum = hour.entry(key).or_default();
        if let Some(cpu) = point.cpu_millicores {
            sum.points = sum.points.saturating_add(1);
            sum.cpu_millicores = sum.cpu_millicores.saturating_add(cpu);
        }
        sum.memory_bytes = sum.memory_bytes.max(point.memory_bytes);
        self.changed.insert(number);
    }

    /// What is to be stored, and what there are too many hours for: records, `None` erases.
    pub(super) fn take_changed(&mut self, now_ms: u64) -> Vec<(String, Option<String>)> {
        let now = now_ms / HOUR_MS;
        let mut records = Vec::new();
        while self.hours.len() as u64 > HOURS_MAX {
            // Mostly the oldest; or what a clock that was ahead has written.
            let ends = [self.hours.first_key_value(), self.hours.last_key_value()];
            let numbers = ends.into_iter().flatten().map(|(number, _)| *number);
            let Some(farthest) = numbers.max_by_key(|number| number.abs_diff(now)) else {
                break;
            };
            self.hours.remove(&farthest);
            self.changed.remove(&farthest);
            records.push((key(farthest), None));
        }
        for number in std::mem::take(&mut self.changed) {
            let json = self
                .hours
                .get(&number)
                .map(|hour| serde_json::to_string(hour).expect("plain data serialises"));
            records.push((key(number), json));
        }
        records
    }

    /// They could not be stored, and are tried again.
    pub(super) fn not_stored(&mut self) {
        self.changed = self.hours.keys().copied().collect();
    }

    /// The means of processors and the most of memory, in the 30 days up to some time.
    pub(super) fn history(&self, subject: &Subject, until_ms: u64) -> Vec<Point> {
        let subject = subject.to_string();
        let until = until_ms / HOUR_MS;
        let hours = self.hours.range(until.saturating_sub(HOURS_MAX)..until);
        let point = |(number, hour): (&u64, &Hour)| {
            let sum = hour.get(&subject)?;
            Some(Point {
                at_ms: number * HOUR_MS,
                cpu_millicores: sum.cpu_millicores.checked_div(sum.points),
                memory_bytes: sum.memory_bytes,
            })
        };
        hours.filter_map(point).collect()
    }
}

const KEY: &str = "hour:";

fn key(hour: u64) -> String {
    format!("{KEY}{hour}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn engine(number: usize) -> Subject {
        Subject::Engine(format!("e{number}").parse().unwrap())
    }

    fn point(at_ms: u64, cpu: u64, memory_bytes: u64) -> Point {
        Point {
            at_ms,
            cpu_millicores: Some(cpu),
            memory_bytes,
        }
    }

    #[test]
    fn hours_have_means_and_maxima_and_are_read_back() {
        let mut coarse = Coarse::default();
        for (at_ms, cpu, memory) in [(0, 100, 7), (30_000, 300, 5), (HOUR_MS, 50, 1)] {
            coarse.add(&engine(0), &point(at_ms, cpu, memory));
        }
        let records: BTreeMap<String, String> = coarse
            .take_changed(HOUR_MS)
            .into_iter()
            .map(|(key, json)| (key, json.unwrap()))
            .collect();
        assert_eq!(records.len(), 2);
        assert_eq!(coarse.take_changed(HOUR_MS), vec![], "it is stored");
        let read = Coarse::read(records.iter());
        let expected = vec![point(0, 200, 7), point(HOUR_MS, 50, 1)];
        assert_eq!(read.history(&engine(0), 2 * HOUR_MS), expected);
        assert_eq!(
            read.history(&engine(0), HOUR_MS + 1),
            expected[..1],
            "the rest is finer"
        );
        assert_eq!(read.history(&engine(1), 2 * HOUR_MS), vec![]);
    }

    #[test]
    fn it_is_bounded_in_time_and_in_each_hour() {
        let mut coarse = Coarse::default();
        let mut stored = BTreeMap::new();
        for hour in 0..HOURS_MAX + 10 {
            for number in 0..SUBJECTS_MAX + 5 {
                coarse.add(&engine(number), &point(hour * HOUR_MS, 1, 1));
            }
            let program = Subject::Program(ProgramId::from_random([7; 16]));
            coarse.add(&program, &point(hour * HOUR_MS, 1, 1));
            for (key, json) in coarse.take_changed(hour * HOUR_MS) {
                match json {
                    Some(json) => drop(stored.insert(key, json)),
                    None => drop(stored.remove(&key)),
                }
            }
        }
        assert_eq!(stored.len() as u64, HOURS_MAX);
        assert!(
            !stored.contains_key(&key(9)) && stored.contains_key(&key(10)),
            "the oldest go"
        );
        assert!(coarse.hours.values().all(|hour| hour.len() == SUBJECTS_MAX + 1));
        let read = Coarse::read(stored.iter());
        assert_eq!(read.hours, coarse.hours);
    }

    #[test]
    fn a_clock_that_was_wrong_erases_nothing_of_before() {
        let mut coarse = Coarse::default();
        for hour in 500_000..500_000 + HOURS_MAX {
            coarse.add(&engine(0), &point(hour * HOUR_MS, 1, 1));
        }
        coarse.take_changed((500_000 + HOURS_MAX) * HOUR_MS);
        // A board that begins in 1970, and one whose clock is far ahead.
        for wrong in [3, 900_000] {
            coarse.add(&engine(0), &point(wrong * HOUR_MS, 1, 1));
            let erased = coarse.take_changed(wrong * HOUR_MS);
            let erased = erased.iter().filter(|(_, json)| json.is_none()).count();
            assert!(erased <= 1, "{erased}");
        }
        let now = 500_000 + HOURS_MAX;
        coarse.add(&engine(0), &point(now * HOUR_MS, 1, 1));
        coarse.take_changed(now * HOUR_MS);
        let kept = coarse.history(&engine(0), now * HOUR_MS).len() as u64;
        assert!(kept >= HOURS_MAX - 3, "{kept}");
    }
}
