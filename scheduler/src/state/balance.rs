//! Moving what runs well to where it would run better, if that is worth a move.
//!
//! The gain of a move is the rank that the source has now less the rank that the target has afterwards. Only
//! a gain above the cost counts, and only if the source ranks lower afterwards. So the ranks of all engines,
//! highest first, get lower with every move, and moving comes to an end.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::log::Log;
use super::{Balance, Room, Seat, State};
use crate::application::Mobility;
use crate::fleet::Presence;
use crate::plan::MoveReason;

/// Each pass that is not the last has moved something; this only bounds what a mistake could cost.
const PASSES_MAX: u32 = 1000;

impl State {
    pub(super) fn rebalance(&mut self, log: &mut Log) {
        if !self.options.policy.rebalances() {
            return;
        }
        for _ in 0..PASSES_MAX {
            let sources = self.sources();
            let mut moved = false;
            for source in sources {
                moved |= self.relieve(source, log);
            }
            if !moved {
                break;
            }
        }
    }

    /// Engines that could be worth relieving, the highest rank first.
    fn sources(&mut self) -> Vec<u32> {
        let engines = std::mem::replace(&mut self.balance, Balance::Only(BTreeSet::new()));
        let engines: Vec<u32> = match engines {
            Balance::All => (0_u32..).zip(&self.engines).map(|(engine, _)| engine).collect(),
            Balance::Only(engines) => engines.into_iter().collect(),
        };
        let mut sources: Vec<_> = engines
            .into_iter()
            .filter(|engine| self.engines[*engine as usize].engine.presence == Presence::Open)
            .map(|engine| (Reverse(self.rank(engine)), engine))
            .filter(|(Reverse(rank), _)| self.index.rank_min_of_all() < self.limit(*rank))
            .collect();
        sources.sort_unstable();
        sources.into_iter().map(|(_, engine)| engine).collect()
    }

    /// What a target must rank below afterwards to be worth a move.
    fn limit(&self, rank: i64) -> i64 {
        let cost = i64::try_from(self.options.move_cost).unwrap_or(i64::MAX);
        rank.saturating_sub(cost)
    }

    /// Moves away what is worth it, first what relieves the engine most.
    fn relieve(&mut self, source: u32, log: &mut Log) -> bool {
        if self.index.rank_min_of_all() >= self.limit(self.rank(source)) {
            return false;
        }
        let site = &self.engines[source as usize];
        let movable = |instance: &&u32| {
            self.part(**instance).mobility == Mobility::Free && !self.misplaced.contains(instance)
        };
        let without = |instance: u32| self.rank_with(source, &site.taken.minus(&self.room_of(instance)));
        let mut movable: Vec<_> = site
            .instances
            .iter()
            .filter(movable)
            .map(|one| (without(*one), *one))
            .collect();
        movable.sort_unstable();
        let mut moved = false;
        for (_, instance) in movable {
            moved |= self.move_if_worth(instance, source, log);
        }
        moved
    }

    fn move_if_worth(&mut self, instance: u32, source: u32, log: &mut Log) -> bool {
        let room = self.room_of(instance);
        let rank = self.rank(source);
        let limit = self.limit(rank);
        // No target can rank as low afterwards as it does before: this much at least comes on top.
        let limit_before = limit.saturating_sub(self.rise_min(&room));
        let relieved = self.rank_with(source, &self.engines[source as usize].taken.minus(&room));
        if relieved >= rank || self.index.rank_min(self.part(instance).class) >= limit_before {
            return false;
        }
        let component = self.instances[instance as usize].component;
        let uneven = self.relations.unevenness(component);
        // Only the rules about company care whether it has left already.
        let leaves_first = self.relations.rule(component).is_some();
        if leaves_first {
            self.leave(instance, source);
        }
        let rank_after =
            |engine: u32| self.rank_with(engine, &self.engines[engine as usize].taken.plus(&room));
        let target = self.find_below(instance, limit_before, |engine| {
            engine != source && rank_after(engine) < limit
        });
        let Some(target) = target else {
            if leaves_first {
                self.enter(instance, source);
            }
            return false;
        };
        let gain = rank.saturating_sub(rank_after(target)).unsigned_abs();
        if !leaves_first {
            self.leave(instance, source);
        }
        self.enter(instance, target);
        if self.relations.unevenness(component) > uneven {
            self.leave(instance, target);
            self.enter(instance, source);
            return false;
        }
        self.fuller(target);
        self.emptier();
        log.placed(instance, Seat::On(source), target, MoveReason::Rebalance { gain });
        true
    }

    /// By how much the rank of any engine rises at least when it takes this.
    fn rise_min(&self, room: &Room) -> i64 {
        let rank = |taken: &Room| self.options.policy.rank(&taken.of(&self.largest));
        rank(room) - rank(&Room::NONE)
    }
}
