//! What is known of programs and operations, and which rules were broken.

use std::collections::{BTreeMap, BTreeSet};

use wayfare_protocol::command::{Action, Command};
use wayfare_protocol::event::EventBody;
use wayfare_protocol::ids::{Generation, OperationId, ProgramId};

#[derive(Default)]
pub(crate) struct Oracle {
    pub(crate) violations: Vec<String>,
    pub(super) programs: BTreeMap<ProgramId, Known>,
    pub(super) accepted: BTreeSet<OperationId>,
    pub(super) answers: BTreeMap<OperationId, EventBody>,
    /// For a look at what the seeds reach.
    pub(crate) outcomes: BTreeMap<String, u64>,
}

#[derive(Debug, Default)]
pub(super) struct Known {
    /// Said to run, by an answer to a run or spawn.
    pub(super) acknowledged: bool,
    /// A run that was said to have failed.
    pub(super) never: bool,
    pub(super) killed: bool,
    /// The newest life that was ordered to begin anew.
    pub(super) ordered: Option<Generation>,
    /// A forced resume was sent, or it was begun anew under its id: two may run until one hears of the other.
    pub(super) forced: bool,
    /// Something of it was on a disk that was lost, and nowhere else: it may be gone, or be what it was
    /// before.
    pub(super) wiped: bool,
    /// The state it may not fall behind.
    pub(super) counter: u64,
}

impl Oracle {
    pub(crate) fn violation(&mut self, text: String) {
        self.violations.push(text);
    }

    pub(super) fn known(&mut self, program: ProgramId) -> &mut Known {
        self.programs.entry(program).or_default()
    }

    /// Two copies of it may run until one hears of the other.
    pub(crate) fn is_forced(&self, program: ProgramId) -> bool {
        self.programs.get(&program).is_some_and(|known| known.forced)
    }

    pub(crate) fn is_wiped(&self, program: ProgramId) -> bool {
        self.programs.get(&program).is_some_and(|known| known.wiped)
    }

    /// A disk is lost with what was only there. `taken_back`: another engine has offered it, and does not
    /// know how far it has come.
    pub(crate) fn wiped(&mut self, program: ProgramId, taken_back: bool) {
        let known = self.known(program);
        known.wiped = true;
        known.forced |= taken_back;
    }

    pub(crate) fn is_answered(&self, operation: OperationId) -> bool {
        self.answers.contains_key(&operation)
    }

    pub(crate) fn commanded(&mut self, command: &Command) {
        let program = command.action.program();
        if matches!(command.action, Action::Resume { force: true, .. }) {
            self.known(program).forced = true;
        }
        if let Action::Run {
            generation: Some(generation),
            ..
        } = command.action
            && generation > Generation::FIRST
        {
            let known = self.known(program);
            (known.forced, known.killed, known.acknowledged) = (true, false, false);
            known.ordered = known.ordered.max(Some(generation));
        }
    }

    /// An engine that had the program in memory crashed.
    pub(crate) fn lost(&mut self, program: ProgramId, stored: Option<u64>) {
        if let Some(stored) = stored {
            let known = self.known(program);
            known.counter = known.counter.min(stored);
        }
    }

    pub(crate) fn runs_from(&mut self, program: ProgramId, counter: u64) {
        let known = self.known(program);
        let (forced, before) = (known.forced || known.wiped, known.counter);
        if counter < before && !forced {
            self.violation(format!("{program:?} fell back from {before} to {counter}"));
        }
        let known = self.known(program);
        known.counter = known.counter.max(counter + 1);
    }
}
