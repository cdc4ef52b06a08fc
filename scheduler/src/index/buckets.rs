//! Engines in buckets by free memory, eight buckets to each doubling, and by free processor in each bucket.
//! The first engine with enough of both is found in one seek per bucket, and has at most an eighth more
//! memory than the tightest.

use std::collections::BTreeSet;

use super::{Ask, Entry};

#[derive(Debug)]
pub(crate) struct Buckets {
    entries: Vec<Option<Entry>>,
    /// Bucket, millicores free, engine.
    order: BTreeSet<(u16, i64, u32)>,
}

impl Buckets {
    pub(super) fn new(engines: usize) -> Self {
        Self {
            entries: vec![None; engines],
            order: BTreeSet::new(),
        }
    }

    pub(super) fn set(&mut self, engine: u32, entry: Option<Entry>) {
        let entry = entry.filter(|entry| entry.places > 0);
        let old = std::mem::replace(&mut self.entries[engine as usize], entry);
        if let Some(old) = old {
            self.order.remove(&key(engine, &old));
        }
        if let Some(entry) = entry {
            self.order.insert(key(engine, &entry));
        }
    }

    pub(super) fn get(&self, engine: u32) -> Option<Entry> {
        self.entries[engine as usize]
    }

    pub(super) fn find(&self, ask: &Ask, mut accept: impl FnMut(u32) -> bool) -> Option<u32> {
        let mut from = (bucket(ask.memory), ask.processor, 0);
        let mut items = self.order.range(from..);
        while let Some(&(bucket, processor, engine)) = items.next() {
            if processor < ask.processor {
                // A further bucket begins with engines too busy.
                from = (bucket, ask.processor, 0);
                items = self.order.range(from..);
                continue;
            }
            let entry = self.entries[engine as usize].as_ref();
            if entry.is_some_and(|entry| ask.fits(entry)) && accept(engine) {
                return Some(engine);
            }
        }
        None
    }
}

fn key(engine: u32, entry: &Entry) -> (u16, i64, u32) {
    (bucket(entry.memory), entry.processor, engine)
}

/// The binary logarithm with three bits after the point; what is smaller has no higher bucket.
fn bucket(bytes: i64) -> u16 {
    let bytes = bytes.max(0).unsigned_abs();
    if bytes < 8 {
        return bytes as u16;
    }
    let exponent = bytes.ilog2();
    let fraction = (bytes >> (exponent - 3)) & 7;
    (exponent as u16) * 8 + fraction as u16
}
