//! Programs that may still live on an engine that was given up for lost, although nobody wants them there any
//! more.
//!
//! While their instance lives on elsewhere, its higher generation fences them off. When it has ended for
//! good, a *tombstone* takes its place: a retained status of a generation above all, which an engine that
//! comes back reads before it says anything. It stands as long as an order of before may come, and is set
//! again where something else has taken its place. Until then a tombstone stands there that the engine has
//! left with which it ended: one of a program that is no orphan is taken away, or stands until every engine
//! that was away has been back. An orphan is forgotten when its engine is back and has not had it for as long
//! as an order of before may still bring it there: one is repeated until its time limit, and has as long
//! again from when it was accepted.

use std::collections::BTreeSet;

use wayfare_fleet::fleet::Presence;
use wayfare_protocol::command::{Action, Target};
use wayfare_protocol::ids::{EngineId, ProgramId};

use super::state::{Orphan, Placed};
use super::watched::Health;
use super::{COMMAND_MS_MAX, Core, Effect, RETRY_MS, Subject, to_json};

/// An engine that is back has told what it has, and has carried out or given up what it was ordered before,
/// after this.
const BACK_MS: u64 = 2 * COMMAND_MS_MAX + 5_000;
/// An engine's tombstone is seen to after this: by then it is known here what it was left for, if that was
/// ordered here.
const TOMBSTONE_MS: u64 = 5_000;
/// Tombstones that do not stand are set again so many at a time.
const SET_AGAIN_MAX: usize = 64;

impl Core {
    /// The program may still live on that engine.
    pub(super) fn may_be_left_on(&mut self, program: ProgramId, engine: &EngineId) {
        let orphan = self.state.orphans.entry(program).or_default();
        if orphan.engines.insert(engine.clone()) {
            self.store_orphan(program);
        }
    }

    /// No instance is this program any more.
    pub(super) fn set_tombstone(&mut self, program: ProgramId) {
        if let Some(orphan) = self.state.orphans.get_mut(&program)
            && !std::mem::replace(&mut orphan.has_tombstone, true)
        {
            self.store_orphan(program);
            self.publish_tombstone(program);
        }
    }

    fn publish_tombstone(&mut self, program: ProgramId) {
        self.tombstones.is_set(program, self.now.ms);
        self.effects.push(Effect::Tombstone {
            program,
            stands: true,
        });
    }

    /// An engine that has a copy, and has not heard of the tombstone yet, publishes the status of that in its
    /// place; a broker may come back without it. An order of before that comes then would find nothing to end
    /// what it begins.
    pub(super) fn set_tombstones_again(&mut self) {
        let orphans = self.state.orphans.iter();
        let fallen = orphans
            .filter(|(_, orphan)| orphan.has_tombstone)
            // Whoever has begun it anew under its id since has taken the tombstone's place; what is left over
            // is ended.
            .filter(|(program, _)| !self.programs.contains_key(program))
            .filter_map(|(program, _)| {
                let set_ms = self.tombstones.fallen_ms(*program, self.began_ms)?;
                Some((set_ms, *program))
            })
            // What the broker had when it was set is read.
            .filter(|(set_ms, _)| self.read_ms > *set_ms);
        let mut fallen: Vec<(u64, ProgramId)> = fallen.collect();
        fallen.sort_unstable();
        for (_, program) in fallen.into_iter().take(SET_AGAIN_MAX) {
            self.publish_tombstone(program);
        }
    }

    /// The program has ended for good, and was an instance until now. Its engine may have left a tombstone,
    /// which is for those that it is left on.
    pub(super) fn ended_for_good(&mut self, placed: &Placed) {
        self.set_tombstone(placed.program);
        if !self.state.orphans.contains_key(&placed.program) && placed.highest.has_replaced() {
            self.remove_tombstone(placed.program);
        }
    }

    fn remove_tombstone(&mut self, program: ProgramId) {
        self.tombstones.seen_to(program);
        self.effects.push(Effect::Tombstone {
            program,
            stands: false,
        });
    }

    /// A copy that nobody wanted was ended. Its engine knows nothing of others that may be left.
    pub(super) fn orphan_settled(&mut self, program: ProgramId) {
        match self.state.orphans.get(&program) {
            Some(orphan) if orphan.has_tombstone => self.publish_tombstone(program),
            Some(_) if !self.is_instance(program) => self.set_tombstone(program),
            Some(_) | None => {}
        }
    }

    /// Engines' tombstones of programs that nothing was ordered for here, such as those of people or of a
    /// dispatcher whose store was lost.
    pub(super) fn end_tombstones(&mut self) {
        for program in self.tombstones.left_for(TOMBSTONE_MS, self.now.ms) {
            if self.is_instance(program) {
                continue;
            }
            self.tombstones.seen_to(program);
            if self.state.orphans.contains_key(&program) {
                self.set_tombstone(program);
                continue;
            }
            let engines = self.engines.keys();
            let away = engines.filter(|engine| self.health(engine) != Health::Here);
            let engines: BTreeSet<EngineId> = away.cloned().collect();
            if engines.is_empty() {
                self.remove_tombstone(program);
                continue;
            }
            let has_tombstone = true;
            let orphan = Orphan {
                engines,
                has_tombstone,
            };
            self.state.orphans.insert(program, orphan);
            self.store_orphan(program);
        }
    }

    fn is_instance(&self, program: ProgramId) -> bool {
        let mut placed = self.state.instances.values().filter_map(|i| i.placed.as_ref());
        placed.any(|placed| placed.program == program)
    }

    pub(super) fn end_orphans(&mut self) {
        let orphans = self.state.orphans.iter();
        let each: Vec<(ProgramId, EngineId)> = orphans
            .flat_map(|(program, orphan)| orphan.engines.iter().map(|engine| (*program, engine.clone())))
            .collect();
        if each.is_empty() {
            return;
        }
        let placed = self
            .state
            .instances
            .values()
            .filter_map(|instance| instance.placed.as_ref());
        let wanted: BTreeSet<ProgramId> = placed.map(|placed| placed.program).collect();
        for (program, engine) in each {
            self.end_orphan(program, &engine, &wanted);
        }
    }

    fn end_orphan(&mut self, program: ProgramId, engine: &EngineId, wanted: &BTreeSet<ProgramId>) {
        let now_ms = self.now.ms;
        let key = (program, engine.clone());
        if self.health(engine) != Health::Here || !self.can_be_asked(engine) {
            self.back_ms.remove(&key);
            return;
        }
        let view = self.programs.get(&program);
        let is_there = view.is_some_and(|view| {
            view.presence == Presence::Known && view.status.engine == *engine && !view.status.state.is_ended()
        });
        let back_ms = *self.back_ms.entry(key.clone()).or_insert(now_ms);
        if is_there && !wanted.contains(&program) {
            let subject = Subject::Orphan(program);
            if !self.in_flight.values().any(|known| *known == subject) && now_ms >= back_ms {
                self.back_ms.insert(key, now_ms.saturating_add(RETRY_MS));
                self.kill_orphan(program, engine);
            }
        } else if self.read_ms.saturating_sub(back_ms) >= BACK_MS {
            self.back_ms.remove(&key);
            self.forget_orphan(program, engine);
        }
    }

    fn kill_orphan(&mut self, program: ProgramId, engine: &EngineId) {
        let text = format!(
            "program {} is ended on {engine}: it was given up there",
            program.short()
        );
        self.tell_engine("kill", engine, text);
        let on = Target {
            program,
            generation: None,
        };
        self.give_once(Subject::Orphan(program), engine.clone(), Action::Kill { on });
    }

    /// Whether it depends on what has been read that an orphan is forgotten.
    pub(super) fn awaits_what_is_back(&self) -> bool {
        let now_ms = self.now.ms;
        self.back_ms
            .values()
            .any(|back_ms| now_ms.saturating_sub(*back_ms) >= BACK_MS)
    }

    fn forget_orphan(&mut self, program: ProgramId, engine: &EngineId) {
        let lives = self.status(program).is_some();
        let Some(orphan) = self.state.orphans.get_mut(&program) else {
            return;
        };
        orphan.engines.remove(engine);
        if orphan.engines.is_empty() {
            // Whoever has begun it anew under its id since has taken the tombstone's place.
            if orphan.has_tombstone && !lives {
                self.effects.push(Effect::Tombstone {
                    program,
                    stands: false,
                });
            }
            self.state.orphans.remove(&program);
            self.tombstones.forget(program);
        }
        self.store_orphan(program);
    }

    fn store_orphan(&mut self, program: ProgramId) {
        let json = self.state.orphans.get(&program).map(to_json);
        self.effects.push(Effect::Store {
            // The name that these records have had from the first release on.
            key: format!("ghost:{program}"),
            json,
        });
    }
}
