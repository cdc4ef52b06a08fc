//! Programs that may still live on an engine that was given up for lost, although nobody wants them there any more.
//!
//! While their instance lives on elsewhere, its higher generation fences them off. When it has ended for good, a *tombstone*
//! takes its place: a retained status of a generation above all, which an engine that comes back reads before it says
//! anything. A ghost is laid when its engine is back and does not have it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use wayfare_client::fleet::Presence;
use wayfare_protocol::command::{Action, Target};
use wayfare_protocol::ids::{EngineId, ProgramId};

use super::loss::Health;
use super::{Core, Effect, RETRY_MS, Subject, to_json};

/// An engine that is back has told what it has after this.
const BACK_MS: u64 = 5_000;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ghost {
    /// Where it may be.
    pub(crate) engines: BTreeSet<EngineId>,
    /// Its tombstone stands.
    pub(crate) buried: bool,
}

impl Core {
    /// The program may still live on that engine.
    pub(super) fn haunt(&mut self, program: ProgramId, engine: &EngineId) {
        let ghost = self.state.ghosts.entry(program).or_default();
        if ghost.engines.insert(engine.clone()) {
            self.store_ghost(program);
        }
    }

    /// No instance is this program any more.
    pub(super) fn bury(&mut self, program: ProgramId) {
        if let Some(ghost) = self.state.ghosts.get_mut(&program)
            && !std::mem::replace(&mut ghost.buried, true)
        {
            self.store_ghost(program);
            self.effects.push(Effect::Bury {
                program,
                stands: true,
            });
        }
    }

    pub(super) fn lay_ghosts(&mut self) {
        let ghosts = self.state.ghosts.iter();
        let each: Vec<(ProgramId, EngineId)> = ghosts
            .flat_map(|(program, ghost)| ghost.engines.iter().map(|engine| (*program, engine.clone())))
            .collect();
        for (program, engine) in each {
            self.lay(program, &engine);
        }
    }

    fn lay(&mut self, program: ProgramId, engine: &EngineId) {
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
        let placed = self
            .state
            .instances
            .values()
            .filter_map(|instance| instance.placed.as_ref());
        let is_wanted = placed.into_iter().any(|placed| placed.program == program);
        let back_ms = *self.back_ms.entry(key.clone()).or_insert(now_ms);
        if is_there && !is_wanted {
            let subject = Subject::Ghost(program);
            if !self.in_flight.values().any(|known| *known == subject) && now_ms >= back_ms {
                self.back_ms.insert(key, now_ms.saturating_add(RETRY_MS));
                self.exorcise(program, engine);
            }
        } else if self.read_ms.saturating_sub(back_ms) >= BACK_MS {
            self.back_ms.remove(&key);
            self.forget_ghost(program, engine);
        }
    }

    fn exorcise(&mut self, program: ProgramId, engine: &EngineId) {
        let text = format!(
            "program {} is ended on {engine}: it was given up there",
            program.short()
        );
        self.tell_engine("kill", engine, text);
        let operation = self.ids.operation();
        self.in_flight.insert(operation, Subject::Ghost(program));
        let on = Target {
            program,
            generation: None,
        };
        self.effects.push(Effect::Begin {
            operation,
            engine: engine.clone(),
            action: Box::new(Action::Kill { on }),
        });
    }

    fn forget_ghost(&mut self, program: ProgramId, engine: &EngineId) {
        let Some(ghost) = self.state.ghosts.get_mut(&program) else {
            return;
        };
        ghost.engines.remove(engine);
        if ghost.engines.is_empty() {
            if ghost.buried {
                self.effects.push(Effect::Bury {
                    program,
                    stands: false,
                });
            }
            self.state.ghosts.remove(&program);
        }
        self.store_ghost(program);
    }

    fn store_ghost(&mut self, program: ProgramId) {
        let json = self.state.ghosts.get(&program).map(to_json);
        self.effects.push(Effect::Store {
            key: format!("ghost:{program}"),
            json,
        });
    }
}
