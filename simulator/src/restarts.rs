//! Restarts of the broker: with everything it had, with what it had last written to its disk, or with
//! nothing.
//!
//! What it forgets are sessions, what is retained, and the dispatcher's lease. Everybody's connection ends; a
//! broker that stops in good order publishes everybody's last will. Everybody is back within the longest wait
//! between two tries to connect.
//!
//! What holds: nobody that is there is lost, no input that the broker still has is lost or taken twice,
//! whatever is lost with its memory is missed and nothing else, and a dispatcher's term never goes back.
//! While the broker has forgotten what it retained, two lives of a program that was given up somewhere may
//! run until one hears of the other: of each generation there is one all the same.

pub(crate) mod state;

use wayfare_protocol::ids::ProgramId;

use crate::happening::Happening;
use crate::heard::state::Retained;
use crate::time::{MS, SECOND};
use crate::world::World;

use state::{Memory, SavedByBroker, SavedSession};

/// The longest that one takes to be back, as the dispatcher counts with it.
const RECONNECT: u64 = 7 * SECOND;

impl World {
    /// In some worlds.
    pub(super) fn plan_restarts(&mut self) {
        if !matches!(self.seed % 7, 2 | 5) {
            return;
        }
        for _ in 0..self.broker.random.below(6) {
            let at = self.base + self.broker.random.below(60 * SECOND);
            self.at(at, Happening::BrokerSaves);
        }
        for _ in 0..1 + self.broker.random.below(3) {
            let at = self.base + self.broker.random.below(60 * SECOND);
            let memory = match self.broker.random.below(4) {
                0 | 1 => Memory::Whole,
                2 => Memory::Older,
                _ => Memory::Nothing,
            };
            self.at(at, Happening::BrokerRestarts { memory });
        }
    }

    pub(super) fn is_broker_down(&self) -> bool {
        self.now < self.broker.down_until
    }

    pub(super) fn broker_saves(&mut self) {
        if self.is_broker_down() {
            return;
        }
        let sessions = self.broker.kept.iter().filter(|(_, kept)| kept.is_subscribed);
        let sessions = sessions.map(|(program, kept)| {
            let saved = SavedSession {
                queued: kept.queued().collect(),
                published: kept.published,
            };
            (*program, saved)
        });
        let acting = self.acting.as_ref();
        self.broker.saved = SavedByBroker {
            claims: self.retained.clone(),
            retained: acting.map_or_else(Retained::default, |acting| acting.retained.clone()),
            lease: acting.and_then(|acting| acting.lease),
            sessions: sessions.collect(),
        };
    }

    pub(super) fn broker_restarts(&mut self, memory: Memory) {
        if self.is_broker_down() {
            return;
        }
        self.note(|| format!("the broker restarts, and then has: {memory:?}"));
        self.count(&format!("broker restarted with memory: {memory:?}"));
        if memory == Memory::Whole {
            for engine in 0..self.engines.len() {
                if self.is_heard(engine)
                    && !self.is_cut_off(engine)
                    && let Some(boot) = self.boot_id(engine).filter(|_| self.acting.is_some())
                {
                    self.will(engine, boot);
                }
            }
        }
        let down = [100 * MS, 5 * SECOND][usize::from(self.broker.random.per_mille(300))];
        self.broker.down_until = self.now + 1 + self.broker.random.below(down);
        for wire in 0..self.broker.wires.len() {
            self.cut(wire);
        }
        for kept in self.broker.kept.values_mut() {
            kept.give_back();
        }
        self.broker_has(memory);
        // Its session has ended.
        self.dispatcher_dies();
        for engine in 0..self.engines.len() {
            let back = self.broker.down_until + self.broker.random.below(RECONNECT);
            self.part_until(engine, back);
            if self.is_fenced() {
                self.sessions_not_heard(engine);
                self.connect(engine);
            } else {
                self.at(self.reached_again(engine), Happening::Reconnects { engine });
            }
        }
    }

    /// Without a fence everything is said again at once.
    pub(super) fn reconnects(&mut self, engine: usize) {
        if self.is_cut_off(engine) {
            return self.at(self.reached_again(engine), Happening::Reconnects { engine });
        }
        self.connect(engine);
    }

    fn broker_has(&mut self, memory: Memory) {
        let before = match memory {
            Memory::Whole => return,
            Memory::Older => std::mem::take(&mut self.broker.saved),
            Memory::Nothing => SavedByBroker::default(),
        };
        self.broker.has_forgotten = true;
        self.retained.clone_from(&before.claims);
        if let Some(acting) = &mut self.acting {
            acting.retained = before.retained.clone();
            acting.lease = before.lease;
        }
        let programs: Vec<ProgramId> = self.broker.kept.keys().copied().collect();
        for program in programs {
            self.session_is_as(program, before.sessions.get(&program));
        }
        if memory == Memory::Older {
            self.broker.saved = before;
        }
    }

    /// What was acknowledged since then is sent again. What was published since is gone, or is published
    /// again by whoever did.
    fn session_is_as(&mut self, program: ProgramId, saved: Option<&SavedSession>) {
        let is_published_again = self.broker.random.per_mille(500);
        let Some(kept) = self.broker.kept.get_mut(&program) else {
            return;
        };
        kept.is_set_back = true;
        let Some(saved) = saved.filter(|_| kept.is_subscribed) else {
            return kept.forget_session();
        };
        let since = saved.published..kept.published;
        if !is_published_again {
            kept.lost.extend(
                kept.queued()
                    .filter(|number| since.contains(number))
                    .collect::<Vec<_>>(),
            );
        }
        let since = since.filter(|_| is_published_again);
        let queued = saved.queued.iter().copied().chain(since);
        kept.waiting = queued.filter(|number| !kept.lost.contains(number)).collect();
        kept.unacknowledged.clear();
    }
}
