//! A binary tree over the engines in the order of their names. Each node knows the lowest rank and the most room below it,
//! so a search goes down only where something better than the best so far could fit.

use super::{Ask, Entry};

#[derive(Debug)]
pub(crate) struct Tournament {
    /// A power of two.
    leaves: usize,
    /// Node `n` has the children `2n` and `2n + 1`; leaves begin at `leaves`.
    nodes: Vec<Entry>,
}

const NOTHING: Entry = Entry {
    rank: i64::MAX,
    memory: -1,
    processor: -1,
    places: 0,
};

/// A search keeps at most one sibling per level, and there are fewer levels than bits in an index.
const DEPTH_MAX: usize = 64;

impl Tournament {
    pub(super) fn new(engines: usize) -> Self {
        let leaves = engines.next_power_of_two();
        Self {
            leaves,
            nodes: vec![NOTHING; leaves * 2],
        }
    }

    pub(super) fn set(&mut self, engine: u32, entry: Option<Entry>) {
        let mut node = self.leaves + engine as usize;
        self.nodes[node] = entry.filter(|entry| entry.places > 0).unwrap_or(NOTHING);
        while node > 1 {
            node /= 2;
            let joined = join(&self.nodes[node * 2], &self.nodes[node * 2 + 1]);
            if self.nodes[node] == joined {
                break;
            }
            self.nodes[node] = joined;
        }
    }

    pub(super) fn get(&self, engine: u32) -> Option<Entry> {
        let entry = self.nodes[self.leaves + engine as usize];
        (entry != NOTHING).then_some(entry)
    }

    pub(super) fn rank_min(&self) -> i64 {
        self.nodes[1].rank
    }

    pub(super) fn find(&self, ask: &Ask, mut accept: impl FnMut(u32) -> bool) -> Option<u32> {
        let mut best: Option<(i64, usize)> = None;
        // Nodes yet to be looked at, with the first leaf below each and how many there are.
        let mut open = Vec::with_capacity(DEPTH_MAX);
        open.push((1, 0, self.leaves));
        while let Some((node, first, count)) = open.pop() {
            let entry = &self.nodes[node];
            if !ask.fits(entry) || best.is_some_and(|best| best <= (entry.rank, first)) {
                continue;
            }
            if count == 1 {
                let engine = u32::try_from(first).expect("engines are numbered in 32 bits");
                if accept(engine) {
                    best = Some((entry.rank, first));
                }
                continue;
            }
            let half = count / 2;
            let (left, right) = ((node * 2, first, half), (node * 2 + 1, first + half, half));
            // The more promising one is looked at first, so it goes on top.
            if self.nodes[left.0].rank <= self.nodes[right.0].rank {
                open.extend([right, left]);
            } else {
                open.extend([left, right]);
            }
        }
        best.map(|(_, first)| u32::try_from(first).expect("engines are numbered in 32 bits"))
    }
}

fn join(a: &Entry, b: &Entry) -> Entry {
    Entry {
        rank: a.rank.min(b.rank),
        memory: a.memory.max(b.memory),
        processor: a.processor.max(b.processor),
        places: a.places.max(b.places),
    }
}
