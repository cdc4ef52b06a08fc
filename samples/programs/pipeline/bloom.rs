//! Lets through what known sensors say, by a Bloom filter: a few bits for any number of sensors, at the price of letting a
//! stranger through now and then, always the same.

use crate::flow::{Counts, Stage};
use crate::hash::hash;
use crate::row::Row;

const BITS: u64 = 512;
/// Bits that each name sets.
const HASHES: u64 = 4;

pub struct Bloom {
    words: [u64; BITS as usize / 64],
    dropped: u64,
}

impl Bloom {
    pub fn knowing(names: &[&str]) -> Self {
        let mut bloom = Self { words: [0; BITS as usize / 64], dropped: 0 };
        for bit in names.iter().flat_map(|name| bits(name)) {
            bloom.words[(bit / 64) as usize] |= 1 << (bit % 64);
        }
        bloom
    }

    fn may_know(&self, name: &str) -> bool {
        bits(name).all(|bit| self.words[(bit / 64) as usize] & 1 << (bit % 64) != 0)
    }
}

impl Stage for Bloom {
    fn take(&mut self, _input: &str, text: &str, out: &mut Vec<String>) -> Option<()> {
        let row = Row::parse(text)?;
        if self.may_know(&row.sensor) {
            out.push(text.to_owned());
        } else {
            self.dropped += 1;
        }
        Some(())
    }

    fn end(&mut self, _out: &mut Vec<String>, counts: &mut Counts) {
        counts.insert("rows of unknown sensors".to_owned(), self.dropped);
    }
}

/// Two hashes make as many as it takes (Kirsch and Mitzenmacher, 2006).
fn bits(name: &str) -> impl Iterator<Item = u64> {
    let hash = hash(name);
    let (first, second) = (hash & 0xffff_ffff, hash >> 32);
    (0..HASHES).map(move |number| (first + number * second) % BITS)
}
