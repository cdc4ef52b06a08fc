//! What became of an operation whose answer nobody heard, by the statuses of programs.

use std::sync::Arc;

use wayfare_client::ProgramView;
use wayfare_client::operations::{OperationRecord, OperationState};
use wayfare_protocol::ids::ProgramId;
use wayfare_protocol::status::{ProgramState, ProgramStatus};

use super::core::End;

/// All programs, in the order of their ids.
pub(super) struct SeenPrograms(Arc<[ProgramView]>);

impl SeenPrograms {
    pub(super) fn new(programs: Arc<[ProgramView]>) -> Self {
        Self(programs)
    }

    fn status(&self, program: ProgramId) -> Option<&ProgramStatus> {
        let id = |view: &ProgramView| view.status.program;
        let at = self.0.binary_search_by_key(&program, id).ok()?;
        Some(&self.0[at].status)
    }

    /// `None`: that cannot be told yet.
    pub(super) fn became_of(&self, record: &OperationRecord) -> Option<End> {
        let of = |program: Option<ProgramId>| self.status(program?);
        let program = of(record.program);
        if let Some(ProgramState::Moving { .. } | ProgramState::InDoubt { .. }) =
            program.map(|status| &status.state)
            && record.verb == "move"
        {
            return None;
        }
        let is_paused = program.map(|status| status.state == ProgramState::Paused);
        let is_done = match record.verb.as_str() {
            "run" | "restore" => program.is_some(),
            "move" => program.is_some_and(|status| Some(&status.engine) == record.target.as_ref()),
            "spawn" => of(record.copy).is_some(),
            "kill" => program.is_none(),
            "pause" => is_paused == Some(true),
            "resume" => is_paused == Some(false),
            _ => false,
        };
        let place = match program {
            Some(status) => format!("the program is on {}, {}", status.engine, status.state.word()),
            None => "there is no such program".to_owned(),
        };
        let state = match is_done {
            true => OperationState::Done,
            false => OperationState::Failed,
        };
        Some((state, place))
    }
}
