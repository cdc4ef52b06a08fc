//! How instances stand to what is wanted, which roll-outs are decided by.

use wayfare_fleet::app::ComponentSpec;
use wayfare_protocol::health::Health;
use wayfare_protocol::ids::{Digest, EngineId};
use wayfare_scheduler::application::{ComponentId, InstanceId};

use super::Core;
use super::state::Placed;

/// How one instance stands to what is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stand {
    /// Of the wanted revision, and healthy or complete.
    Settled,
    /// Begun, and on its way there.
    Begun,
    /// Of another revision, on this engine.
    Outdated(EngineId),
    /// Of another revision, on an engine that cannot be asked now.
    OutOfReach(EngineId),
    /// Of the wanted revision, and alive: whoever acted before knew how it is, and this core does not yet.
    Unjudged,
    /// It has ended, or is on its way, as what it was before: the stage has not come to it.
    AsBefore,
    /// Of another revision on the one engine that it may run on, which takes none.
    ShutIn,
    /// It runs nowhere, because it fits nowhere.
    Unplaced,
    /// It may run on one engine only, and that is lost.
    Away,
}

impl Core {
    pub(super) fn stands(&self, of: &ComponentId, wanted: &ComponentSpec) -> Vec<(InstanceId, Stand)> {
        let revision = wanted.revision();
        let stand = |id: InstanceId| {
            let stand = self.stand(&id, revision);
            (id, stand)
        };
        self.instances_wanted(of, wanted).map(stand).collect()
    }

    pub(super) fn instances_wanted(
        &self,
        of: &ComponentId,
        wanted: &ComponentSpec,
    ) -> impl Iterator<Item = InstanceId> + use<> {
        let of = of.clone();
        let ordinals = self.state.ordinals(&of, wanted).into_iter();
        ordinals.map(move |ordinal| InstanceId {
            of: of.clone(),
            ordinal,
        })
    }

    fn stand(&self, id: &InstanceId, revision: Digest) -> Stand {
        // It ends by itself, and is made as is wanted then when its time comes: nobody waits for that.
        if self
            .state
            .wanted(id)
            .is_some_and(|wanted| wanted.schedule.is_some())
        {
            return Stand::Settled;
        }
        let instance = self.state.instances.get(id);
        let is_pending = instance.is_some_and(|instance| instance.pending.is_some());
        if self.is_away(id) {
            return Stand::Away;
        }
        if self.obstacles.is_homeless(id) && !is_pending {
            return Stand::Unplaced;
        }
        let placed = instance.and_then(|instance| instance.placed.as_ref());
        let begun = || match self.is_still_to_come(id) {
            true => Stand::AsBefore,
            false => Stand::Begun,
        };
        let Some(placed) = placed.filter(|_| !is_pending) else {
            return begun();
        };
        let is_healthy = placed.complete || self.passing.get(id).is_some_and(|passing| passing.is_healthy);
        match &placed.seat {
            Some(_) if placed.revision != revision && self.is_shut_in(id) => Stand::ShutIn,
            Some(seat) if placed.revision != revision && self.can_be_asked(seat) => {
                Stand::Outdated(seat.clone())
            }
            Some(seat) if placed.revision != revision => Stand::OutOfReach(seat.clone()),
            Some(_) if is_healthy => Stand::Settled,
            Some(_) if self.is_unjudged(id, placed) => Stand::Unjudged,
            _ => begun(),
        }
    }

    fn is_unjudged(&self, id: &InstanceId, placed: &Placed) -> bool {
        let is_begun = self.passing.get(id).is_some_and(|passing| passing.is_begun);
        let is_bad = self
            .status(placed.program)
            .is_some_and(|status| status.state.is_ended() || status.health == Some(Health::Unhealthy));
        !is_begun && !is_bad
    }
}

impl Stand {
    /// Something is done for it that is to be waited for.
    pub(super) fn is_under_way(&self) -> bool {
        matches!(self, Self::Begun | Self::Unjudged)
    }

    /// It is waited for by nobody.
    pub(super) fn is_settled(&self) -> bool {
        matches!(self, Self::Settled | Self::Unplaced | Self::Away | Self::ShutIn)
    }
}

/// What a roll-out has left out.
#[derive(Debug, Default)]
pub(super) struct LeftOut {
    pub(super) unplaced: usize,
    away: usize,
    shut_in: usize,
}

impl LeftOut {
    pub(super) fn count(&mut self, stand: &Stand) {
        match stand {
            Stand::Unplaced => self.unplaced += 1,
            Stand::Away => self.away += 1,
            Stand::ShutIn => self.shut_in += 1,
            _ => {}
        }
    }

    pub(super) fn words(&self) -> String {
        let count = |count: usize, one: &str, more: &str| match count {
            0 => None,
            1 => Some(format!("1 instance {one}")),
            many => Some(format!("{many} instances {more}")),
        };
        let left_out = [
            count(self.unplaced, "that fits nowhere", "that fit nowhere"),
            count(self.away, "whose engine is lost", "whose engines are lost"),
            count(self.shut_in, "whose engine takes none", "whose engines take none"),
        ];
        let left_out: Vec<String> = left_out.into_iter().flatten().collect();
        match left_out.is_empty() {
            true => String::new(),
            false => format!(", but for {}", left_out.join(" and ")),
        }
    }
}
