//! A binary tree over the engines. Each node knows the lowest rank and the most room below it, so a search
//! goes down only where something better than the best so far could fit.
//!
//! Engines of like capacity are neighbours: were they mixed, nearly every node would have one with a low rank
//! and another with room, and none with both.

use super::{Ask, Entry};

#[derive(Debug)]
pub(crate) struct Tournament {
    /// A power of two.
    leaves: usize,
    /// Node `n` has the children `2n` and `2n + 1`; leaves begin at `leaves`.
    nodes: Vec<Entry>,
    /// By node: the lowest number of an engine below it, which decides among equal ranks.
    lowest: Vec<u32>,
    /// By engine: its leaf.
    leaf: Vec<u32>,
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
    /// `order` has every engine once.
    pub(super) fn new(order: &[u32]) -> Self {
        let leaves = order.len().next_power_of_two();
        let mut lowest = vec![u32::MAX; leaves * 2];
        let mut leaf = vec![0; order.len()];
        for (at, engine) in (0_u32..).zip(order) {
            lowest[leaves + at as usize] = *engine;
            leaf[*engine as usize] = at;
        }
        for node in (1..leaves).rev() {
            lowest[node] = lowest[node * 2].min(lowest[node * 2 + 1]);
        }
        Self {
            leaves,
            nodes: vec![NOTHING; leaves * 2],
            lowest,
            leaf,
        }
    }

    pub(super) fn set(&mut self, engine: u32, entry: Option<Entry>) {
        let mut node = self.node_of(engine);
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
        let entry = self.nodes[self.node_of(engine)];
        (entry != NOTHING).then_some(entry)
    }

    fn node_of(&self, engine: u32) -> usize {
        self.leaves + self.leaf[engine as usize] as usize
    }

    pub(super) fn rank_min(&self) -> i64 {
        self.nodes[1].rank
    }

    pub(super) fn find(&self, ask: &Ask, mut accept: impl FnMut(u32) -> bool) -> Option<u32> {
        let mut best: Option<(i64, u32)> = None;
        let mut open = Vec::with_capacity(DEPTH_MAX);
        open.push(1);
        while let Some(node) = open.pop() {
            let promise = self.promise(node);
            if !ask.fits(&self.nodes[node]) || best.is_some_and(|best| best <= promise) {
                continue;
            }
            if node >= self.leaves {
                if accept(self.lowest[node]) {
                    best = Some(promise);
                }
                continue;
            }
            // The more promising one is looked at first, so it goes on top.
            let (left, right) = (node * 2, node * 2 + 1);
            if self.promise(left) <= self.promise(right) {
                open.extend([right, left]);
            } else {
                open.extend([left, right]);
            }
        }
        best.map(|(_, engine)| engine)
    }

    /// Nothing below the node is better than this.
    fn promise(&self, node: usize) -> (i64, u32) {
        (self.nodes[node].rank, self.lowest[node])
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
