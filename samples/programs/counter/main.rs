//! counter [steps] [period_ms] [heap_kib]: counts, sleeping between steps, with a heap full of state.
//!
//! The heap holds `heap_kib` KiB of pseudo-random records in an ordered map. Each step rewrites some of them,
//! replaces one by a new one, and prints a checksum over all: one lost or stale byte changes every later line.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

const USAGE: &str = "usage: counter [steps=100] [period_ms=100] [heap_kib=1024]";

const RECORD_WORDS: usize = 64;
const RECORDS_PER_KIB: u32 = 1024 / (RECORD_WORDS as u32 * 4);
const REWRITES_PER_STEP: u32 = 16;

/// xorshift32 (G. Marsaglia, "Xorshift RNGs", 2003).
struct Random(u32);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0
    }
}

struct State {
    random: Random,
    records: BTreeMap<u32, Vec<u32>>,
}

impl State {
    fn new(heap_kib: u32) -> Self {
        let mut state = Self {
            random: Random(2_463_534_242),
            records: BTreeMap::new(),
        };
        for _ in 0..(heap_kib * RECORDS_PER_KIB).max(1) {
            state.insert();
        }
        state
    }

    /// Numbers that xorshift32 gives come but once in its period, so keys do not collide.
    fn insert(&mut self) {
        let key = self.random.next();
        let record = (0..RECORD_WORDS).map(|_| self.random.next()).collect();
        self.records.insert(key, record);
    }

    /// The first record at or after a pseudo-random key, or the first of all.
    fn pick(&mut self) -> u32 {
        let wanted = self.random.next();
        let mut keys = self.records.range(wanted..).chain(self.records.iter());
        *keys.next().expect("there is always a record").0
    }

    fn step(&mut self) {
        for _ in 0..REWRITES_PER_STEP {
            let key = self.pick();
            let mixer = self.random.next();
            if let Some(record) = self.records.get_mut(&key) {
                record.rotate_left(1);
                record[0] = record[0].wrapping_add(mixer);
            }
        }
        let leaving = self.pick();
        self.records.remove(&leaving);
        self.insert();
    }

    /// FNV-1a, 64 bits wide, over whole words in place of bytes.
    fn checksum(&self) -> u64 {
        let words = self
            .records
            .iter()
            .flat_map(|(key, record)| std::iter::once(key).chain(record));
        words.fold(0xcbf2_9ce4_8422_2325, |hash, &word| {
            (hash ^ u64::from(word)).wrapping_mul(0x100_0000_01b3)
        })
    }
}

fn main() {
    let steps = argument(1, 100);
    let period = Duration::from_millis(u64::from(argument(2, 100)));
    let heap_kib = argument(3, 1024);
    if heap_kib > 1024 * 1024 {
        eprintln!("counter: at most 1048576 KiB of heap\n{USAGE}");
        std::process::exit(2);
    }
    let mut state = State::new(heap_kib);
    for step in 1..=steps {
        state.step();
        println!("{step} {:016x}", state.checksum());
        thread::sleep(period);
    }
    println!("{steps} steps, {} records", state.records.len());
}

fn argument(index: usize, default: u32) -> u32 {
    let Some(text) = std::env::args().nth(index) else {
        return default;
    };
    text.parse().unwrap_or_else(|error| {
        eprintln!("counter: {text}: {error}\n{USAGE}");
        std::process::exit(2)
    })
}
