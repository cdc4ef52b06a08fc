//! Commands: whether they can be begun, and what each begins. `journal` knows which came before.

use wayfare_protocol::command::{Action, Command};
use wayfare_protocol::error::Failure;
use wayfare_protocol::event::{EventBody, Outcome, Phase};
use wayfare_protocol::ids::{BootId, OperationId, ProgramId};

use super::Core;
use super::timing::OPEN_OPERATIONS_MAX;
use super::types::{Disk, Effect, Identity};

impl Core {
    pub(super) fn command(&mut self, command: Command) {
        let operation = command.operation;
        let obeyed = self.journal.obey(command.term);
        // Asked again, by whomever, it has the answer that it had.
        if let Some(body) = self.journal.known(&command) {
            return self.reply(&command, body);
        }
        // Not an answer to be remembered: it is about who asks, not about what is asked.
        if let Err(failure) = obeyed {
            return self.reply(&command, EventBody::Failed { failure });
        }
        if self.is_for_a_lost_folder(&command) {
            let engine = self.identity.engine.clone();
            let failure = Failure::Forgotten { engine };
            return self.reply(&command, EventBody::Failed { failure });
        }
        match (self.check(&command), command.action.clone()) {
            // Reading twice is harmless: no need to remember it.
            (Err(failure), Action::Logs { .. }) => self.reply(&command, EventBody::Failed { failure }),
            (Ok(()), Action::Logs { on, since, follower }) => self.effects.push(Effect::ReplyLogs {
                client: command.client,
                operation,
                program: on.program,
                since,
                follower,
            }),
            (Err(failure), _) => self
                .effects
                .extend(self.journal.refuse(command, failure, self.now)),
            (Ok(()), _) => {
                self.effects.extend(self.journal.accept(command, self.now));
                self.begin(operation);
            }
        }
    }

    /// Whether this was commanded before the engine lost its records, and came with an empty folder: it may
    /// have been carried out, and what was begun by it must not begin again in the same numbers. Reading does
    /// no harm.
    fn is_for_a_lost_folder(&self, command: &Command) -> bool {
        let Identity {
            boot, earlier_boots, ..
        } = &self.identity;
        let is_ours = |meant: BootId| meant == *boot || earlier_boots.contains(&meant);
        command.boot.is_some_and(|meant| !is_ours(meant)) && !matches!(command.action, Action::Logs { .. })
    }

    /// Whether a command may be given to [`Core::handle`] while the disk is as it is. One that came before
    /// goes on in any case. A refusal cannot be stored either, so it is not remembered: the caller says it.
    /// (A program that moves here is refused when its memory finds no room.)
    pub fn may_take(&self, command: &Command, disk: Disk) -> Result<(), Failure> {
        let reason = match (disk, &command.action) {
            (Disk::Stalled, _) => "its disk cannot be written",
            (Disk::Full, Action::Run { .. }) => "its disk is full",
            (Disk::Full | Disk::HasRoom, _) => return Ok(()),
        };
        if self.journal.knows(command.operation) {
            return Ok(());
        }
        Err(Failure::Storage {
            engine: self.identity.engine.clone(),
            reason: reason.into(),
        })
    }

    /// Whether the command can be begun as things stand.
    pub(super) fn check(&self, command: &Command) -> Result<(), Failure> {
        command.check()?;
        if self.journal.is_full() {
            return Err(self.no_room(format!("{OPEN_OPERATIONS_MAX} operations are under way")));
        }
        match &command.action {
            Action::Run {
                program,
                spec,
                snapshot: _,
                generation: _,
                follower: _,
            } => self.check_room(*program, spec, 0),
            Action::Move { on, target } => self.check_move(*on, target),
            Action::Spawn { on, target, copy, .. } => self.check_spawn(*on, target, *copy),
            Action::Pause { on } => self.check_pause(*on),
            Action::Resume { on, force } => self.check_resume(*on, *force),
            Action::Kill { on } => self.check_kill(*on),
            Action::Snapshot { on } => self.check_free(*on, "snapshot"),
            Action::Logs { on, .. } => self.here(*on).map(|_| ()),
        }
    }

    /// Begins an accepted operation; called again for those that a restart interrupted.
    pub(super) fn begin(&mut self, operation: OperationId) {
        let Some(command) = self.journal.command(operation) else {
            return;
        };
        match command.action.clone() {
            Action::Run {
                program,
                spec,
                snapshot,
                generation,
                follower: _,
            } => self.begin_run(operation, (program, generation), spec, snapshot),
            Action::Move { on, target } => self.begin_move(operation, on.program, target),
            Action::Spawn {
                on,
                target,
                copy,
                copy_name,
            } => self.begin_spawn(operation, on.program, target, (copy, copy_name)),
            Action::Pause { on } => self.begin_pause(operation, on.program),
            Action::Resume { on, .. } => self.resume(operation, on.program),
            Action::Kill { on } => self.kill(operation, on.program),
            Action::Snapshot { on } => self.begin_snapshot(operation, on.program),
            Action::Logs { .. } => {}
        }
    }

    /// The answer is stored, then said. Nothing if the operation was answered before.
    pub(super) fn finish(&mut self, operation: OperationId, result: Result<Outcome, Failure>) {
        self.effects
            .extend(self.journal.finish(operation, result, self.now));
    }

    /// Tells how far an operation is: at each new phase, and now and then within one.
    pub(super) fn progress(
        &mut self,
        operation: OperationId,
        phase: Phase,
        done_bytes: u64,
        total_bytes: u64,
    ) {
        let bytes = (done_bytes, total_bytes);
        self.effects
            .extend(self.journal.progress(operation, phase, bytes, self.now));
    }

    /// Says that code is compiled that the operation waits for. That is not its time: how long it takes is
    /// the module's and the processor's, and nobody is silent.
    pub(super) fn compiles(&mut self, operation: OperationId) {
        if let Some(deadline) = self.journal.extend(operation, self.now)
            && let Some(departure) = self.departures.get_mut(&operation)
        {
            departure.extend(deadline);
        }
        self.progress(operation, Phase::Compile, 0, 0);
    }

    /// Whether the operation waits for a module here, or for the code that captures its program.
    pub(super) fn waits_for_code(&self, operation: OperationId, program: ProgramId) -> bool {
        if let Some(arrival) = self.arrivals.get(&operation) {
            return arrival.is_loading();
        }
        let capture = self.programs.get(&program).and_then(|here| here.capture.as_ref());
        capture.is_some_and(|(_, purpose)| purpose.operation() == Some(operation))
            && self.journal.phase(operation) == Some(Phase::Compile)
    }

    fn reply(&mut self, command: &Command, body: EventBody) {
        self.effects.push(self.journal.reply(command, body));
    }
}
