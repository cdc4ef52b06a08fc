//! What is said of programs on the wire: their statuses, and under which addresses they can be called.

use std::collections::BTreeSet;

use wayfare_protocol::ids::{Generation, ProgramId};
use wayfare_protocol::status::ProgramStatus;

use super::Agent;

impl Agent {
    /// Announces what a program serves, where that is not known.
    pub(super) fn announce(&mut self, program: ProgramId) {
        if let Some(hosted) = self.programs.current(program).filter(|_| self.fence.is_passed()) {
            self.announced
                .announce(program, hosted, &self.out, &mut self.subscriptions);
        }
    }

    pub(super) fn announce_again(&mut self) {
        for program in self.announced.take_unannounced() {
            self.announce(program);
        }
    }

    /// A program that has ended, maybe as this process began, may still be announced.
    pub(super) fn look_for_stale(&mut self, status: &ProgramStatus) {
        let program = status.program;
        if self.programs.has_ended(program) {
            self.announced
                .look_for(program, status.generation, &mut self.subscriptions);
        }
    }

    pub(super) fn withdraw_ended(&mut self, program: ProgramId, generation: Generation) {
        self.announced
            .withdraw_ended(program, generation, &self.out, &mut self.subscriptions);
    }

    pub(super) fn withdraw(&mut self, program: ProgramId) {
        self.announced
            .withdraw(program, &self.out, &mut self.subscriptions);
    }

    /// Programs that are not known any more, or do not concern this engine any more, are not said or heard
    /// anything of.
    pub(super) fn forget_programs(&mut self, known: &BTreeSet<ProgramId>) {
        self.announced.keep_only(known, &mut self.subscriptions);
        let concerned = self.core.concerned();
        self.statuses.keep_only(&concerned);
        self.subscriptions.watch_only(&concerned);
    }
}
