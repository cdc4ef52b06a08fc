//! What a core decided, done in order: what comes behind a record waits until that is stored, however long
//! the disk is full.

pub(crate) mod state;

use wayfare_core::types::{Effect, Input, Record, RecordKey};
use wayfare_protocol::ids::ProgramId;

use crate::happening::Happening;
use crate::time::SECOND;
use crate::world::World;

use state::Step;

/// How long the store waits after it could not store, as in the shell.
const STORE_RETRY: u64 = SECOND;

impl World {
    pub(super) fn carry_out(&mut self, index: usize, effects: Vec<Effect>) {
        if let Some(up) = &mut self.engines[index].up {
            up.steps.extend(effects.into_iter().map(Step::Effect));
        }
        self.take_steps(index);
    }

    /// As far as the disk takes it; a crash is possible before each. What is to be discarded ends at once, as
    /// in the shell.
    pub(super) fn take_steps(&mut self, index: usize) {
        self.take_what_can_be(index);
        let Some(up) = &self.engines[index].up else {
            return;
        };
        let discarded = up.steps.iter().filter_map(|step| match step {
            Step::Effect(Effect::Discard { program }) => Some(*program),
            _ => None,
        });
        for program in discarded.collect::<Vec<_>>() {
            // A crash before the disk takes its end brings back what is stored.
            if self.engines[index].has_process(program) {
                let stored = self.engines[index].stored_counter(program, &self.library);
                self.oracle.lost(program, stored);
            }
            self.forget_process(index, program);
        }
        self.plan_wakeup(index);
        if let Some(up) = &mut self.engines[index].up
            && let Some(input) = up.inputs.pop_front()
        {
            self.feed(index, input);
        }
    }

    fn take_what_can_be(&mut self, index: usize) {
        while let Some(up) = self.engines[index].up.as_mut().filter(|up| !up.is_stalled) {
            let Some(step) = up.steps.pop_front() else { break };
            match step {
                Step::Effect(effect) => {
                    if self.crashes_before(index, &effect) {
                        return;
                    }
                    if self.cannot_store(index, &effect) {
                        self.stall(index, Step::Effect(effect));
                        break;
                    }
                    self.note(|| format!("e{index} -> {effect:?}"));
                    self.act(index, effect);
                }
                Step::Heard { connection } => {
                    up.is_heard = up.connection == connection;
                }
                Step::OpenSessions { connection } if up.connection == connection => {
                    let programs: Vec<ProgramId> = up.processes.keys().copied().collect();
                    for program in programs {
                        self.turn(index, program);
                    }
                }
                Step::OpenSessions { .. } => {}
            }
        }
        if let Some(up) = self.engines[index].up.as_mut().filter(|up| up.steps.is_empty()) {
            up.is_late = false;
        }
    }

    fn plan_wakeup(&mut self, index: usize) {
        let Some(up) = self.engines[index].up.as_mut().filter(|up| !up.is_stalled) else {
            return;
        };
        if let Some(at) = up.core.next_wakeup()
            && up.wake_at.is_none_or(|planned| at.0 < planned)
        {
            up.wake_at = Some(at.0);
            let boot = up.boot;
            self.at(at.0, Happening::Wake { engine: index, boot });
        }
    }

    /// A record or its blobs find no room. Some of it may be there all the same when a write or sync fails:
    /// then a crash finds it.
    fn cannot_store(&mut self, index: usize, effect: &Effect) -> bool {
        let now = self.now;
        if !matches!(effect, Effect::Store(_) | Effect::Erase(_))
            || !self.engines[index].disk.refuses_record(now, &mut self.random)
        {
            return false;
        }
        if self.engines[index].disk.is_torn(&mut self.random) {
            self.note(|| format!("e{index} fails to store, but it is there: {effect:?}"));
            match effect {
                Effect::Store(record) => self.leave_on_disk(index, record.clone()),
                Effect::Erase(key) => self.take_from_disk(index, *key),
                _ => {}
            }
        }
        true
    }

    fn leave_on_disk(&mut self, index: usize, record: Record) {
        self.make_durable(index, &record);
        self.engines[index].records.insert(record.key(), record);
    }

    fn take_from_disk(&mut self, index: usize, key: RecordKey) {
        self.engines[index].records.remove(&key);
    }

    fn stall(&mut self, index: usize, step: Step) {
        let at = self.now + STORE_RETRY;
        let Some(up) = &mut self.engines[index].up else {
            return;
        };
        up.steps.push_front(step);
        (up.is_stalled, up.is_late) = (true, true);
        let boot = up.boot;
        *self
            .oracle
            .outcomes
            .entry("records kept waiting".into())
            .or_default() += 1;
        self.note(|| format!("e{index} cannot store"));
        self.at(at, Happening::StoreAgain { engine: index, boot });
    }

    pub(super) fn store_again(&mut self, index: usize, boot: u64) {
        if let Some(up) = self.engines[index].up.as_mut().filter(|up| up.boot == boot) {
            up.is_stalled = false;
            self.take_steps(index);
        }
    }

    pub(super) fn is_late(&self, index: usize) -> bool {
        self.engines[index].up.as_ref().is_some_and(|up| up.is_late)
    }

    /// It ended while the question waited for the disk.
    pub(super) fn capture_too_late(
        &mut self,
        index: usize,
        program: ProgramId,
        capture: wayfare_core::types::CaptureId,
    ) {
        let result = Err(self.disk_is_full(index));
        if let Some(up) = &mut self.engines[index].up {
            up.inputs.push_back(Input::Captured {
                program,
                capture,
                result,
            });
        }
    }
}
