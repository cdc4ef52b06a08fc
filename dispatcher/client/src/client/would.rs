//! What an order would do, found out without giving it: it is resolved and checked as if it were, and nothing
//! is sent to an engine.
//!
//! What only the engine knows is left to it: that a device is taken, say, or that its memory is used up when
//! the order comes.

use serde::Serialize;
use wayfare_protocol::command::Action;
use wayfare_protocol::error::Failure;
use wayfare_protocol::ids::{EngineId, ProgramId};

use super::Client;
use super::commands::Resolved;
use crate::error::CommandError;
use crate::fleet::{EngineView, ProgramView};
use crate::order::{CommandOptions, Order};

/// What would be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Would {
    pub verb: &'static str,
    /// `None`: a new one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub program: Option<ProgramId>,
    pub name: String,
    pub engine: EngineId,
    /// Where it would go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<EngineId>,
}

impl Client {
    /// What an order would do as far as is known here, or what would refuse it.
    pub async fn would(&self, order: Order, options: &CommandOptions) -> Result<Would, CommandError> {
        let checked = self.check(order).await?;
        let verb = checked.verb();
        self.check_not_held(verb).await?;
        match self.resolve(checked, options).await? {
            Resolved::Forget(view) => Ok(Would::new("forget", &view, None)),
            Resolved::Command {
                engine, action, view, ..
            } => {
                let engines = self.engines().await?;
                let find = |wanted: &EngineId| engines.iter().find(|view| view.engine == *wanted);
                match (action.as_ref(), view) {
                    (Action::Run { spec, .. }, _) => {
                        if let Some(view) = find(&engine) {
                            check_program(&spec.name, spec.memory_bytes_max, view)?;
                            check_room(&spec.name, view)?;
                        }
                        Ok(Would {
                            verb,
                            program: None,
                            name: spec.name.clone(),
                            engine,
                            target: None,
                        })
                    }
                    (_, Some(view)) => {
                        check_state(&action, &view)?;
                        let target = target(&action);
                        if let Some(room) = target.as_ref().and_then(find) {
                            check_room(&view.status.name, room)?;
                        }
                        Ok(Would::new(verb, &view, target))
                    }
                    (_, None) => unreachable!("every other order is about a program that is there"),
                }
            }
        }
    }
}

impl Would {
    fn new(verb: &'static str, view: &ProgramView, target: Option<EngineId>) -> Self {
        Self {
            verb,
            program: Some(view.status.program),
            name: view.status.name.clone(),
            engine: view.status.engine.clone(),
            target,
        }
    }
}

fn target(action: &Action) -> Option<EngineId> {
    match action {
        Action::Move { target, .. } | Action::Spawn { target, .. } => Some(target.clone()),
        _ => None,
    }
}

/// An ended program can only be forgotten.
fn check_state(action: &Action, view: &ProgramView) -> Result<(), CommandError> {
    if matches!(action, Action::Kill { .. }) || !view.status.state.is_ended() {
        return Ok(());
    }
    Err(CommandError::Refused(Failure::WrongState {
        program: view.status.program,
        state: view.status.state.word().into(),
        verb: action.verb().into(),
    }))
}

fn check_program(name: &str, memory_bytes: Option<u64>, view: &EngineView) -> Result<(), CommandError> {
    let most = view.about.as_ref().map(|about| about.program_memory_bytes_max);
    match (memory_bytes, most) {
        (Some(wanted), Some(most)) if wanted > most => Err(CommandError::NoPlace {
            name: name.to_owned(),
            reason: format!(
                "engine '{}' gives a program {most} bytes of memory at most",
                view.engine
            ),
        }),
        _ => Ok(()),
    }
}

fn check_room(name: &str, view: &EngineView) -> Result<(), CommandError> {
    match &view.about {
        Some(about) if view.programs >= about.programs_max => Err(CommandError::NoPlace {
            name: name.to_owned(),
            reason: format!(
                "engine '{}' has {} of {} programs",
                view.engine, view.programs, about.programs_max
            ),
        }),
        _ => Ok(()),
    }
}
