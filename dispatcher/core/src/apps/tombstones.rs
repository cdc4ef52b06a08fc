//! Which tombstones there are: those that engines have left, those that stand at the broker, and when ours
//! were set.
//!
//! Which of them there should be is decided in `orphans`.

use std::collections::{BTreeMap, BTreeSet};

use wayfare_fleet::fleet::FleetChanges;
use wayfare_protocol::ids::ProgramId;

#[derive(Debug, Clone, Default)]
pub(super) struct Tombstones {
    /// Programs of which an engine has left one, and since when that is known.
    left_ms: BTreeMap<ProgramId, u64>,
    /// Programs of which any stands at the broker,
    standing: BTreeSet<ProgramId>,
    /// and when each of ours was last set.
    set_ms: BTreeMap<ProgramId, u64>,
}

impl Tombstones {
    pub(super) fn see(&mut self, changes: &FleetChanges, now_ms: u64) {
        if changes.is_whole {
            let left: BTreeSet<&ProgramId> = changes.tombstones.iter().collect();
            self.left_ms.retain(|program, _| left.contains(program));
            self.standing.clear();
        }
        let live = changes.programs.iter().map(|view| &view.status.program);
        for program in live.chain(&changes.programs_gone) {
            if !changes.tombstones.contains(program) {
                self.left_ms.remove(program);
            }
            self.standing.remove(program);
        }
        for program in &changes.tombstones {
            self.left_ms.entry(*program).or_insert(now_ms);
        }
        self.standing.extend(&changes.standing);
    }

    /// Programs of which an engine has left one for so long.
    pub(super) fn left_for(&self, age_ms: u64, now_ms: u64) -> Vec<ProgramId> {
        let is_due = |since_ms: &u64| now_ms.saturating_sub(*since_ms) >= age_ms;
        let due = self.left_ms.iter().filter(|(_, since_ms)| is_due(since_ms));
        due.map(|(program, _)| *program).collect()
    }

    /// What its engine has left is seen to.
    pub(super) fn seen_to(&mut self, program: ProgramId) {
        self.left_ms.remove(&program);
    }

    pub(super) fn is_set(&mut self, program: ProgramId, now_ms: u64) {
        self.set_ms.insert(program, now_ms);
    }

    /// None of ours stands for it any more, nor has to.
    pub(super) fn forget(&mut self, program: ProgramId) {
        self.set_ms.remove(&program);
    }

    /// If none stands for the program: when ours was set last, or `began_ms` where that was before we began.
    pub(super) fn fallen_ms(&self, program: ProgramId, began_ms: u64) -> Option<u64> {
        let set_ms = self.set_ms.get(&program).copied();
        (!self.standing.contains(&program)).then(|| set_ms.unwrap_or(began_ms))
    }
}
