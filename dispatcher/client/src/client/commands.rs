//! Commanding: each order resolved against the fleet view, checked, and sent to the one engine it concerns.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesOrdered;
use tokio::sync::{oneshot, watch};
use wayfare_protocol::command::{Action, Target};
use wayfare_protocol::error::Failure;
use wayfare_protocol::ids::{Digest, EngineId, OperationId, ProgramId};

use super::Client;
use crate::core::{Finished, Progress, Request};
use crate::error::CommandError;
use crate::fleet::{EngineView, Presence, ProgramView};
use crate::lookup;
use crate::operation::Operation;
use crate::order::{self, Busy, CommandOptions, IdChoice, Order, Prepared, Restore, ResumeMode, Run};
use crate::task::{FleetView, ToTask};
use crate::transfer::Content;

impl Client {
    pub async fn run(&self, run: Run, options: &CommandOptions) -> Result<Operation, CommandError> {
        let (prepared, options) = (run.prepare()?, &options.of_one());
        let (name, on) = (prepared.spec.name.clone(), prepared.on.clone());
        let give = self.start(prepared, options);
        self.given("run", Some(&name), on.as_deref(), options, give).await
    }

    pub async fn restore(
        &self,
        restore: Restore,
        options: &CommandOptions,
    ) -> Result<Operation, CommandError> {
        let kept = restore.id == IdChoice::Kept;
        let mut prepared = restore.prepare()?;
        if kept && let Ok(view) = self.program(&prepared.program.to_string()).await {
            prepared.succeed(&view)?;
        }
        let options = &options.of_one();
        let (name, on) = (prepared.spec.name.clone(), prepared.on.clone());
        let give = self.start(prepared, options);
        self.given("restore", Some(&name), on.as_deref(), options, give)
            .await
    }

    pub async fn move_program(
        &self,
        program: &str,
        to: &str,
        options: &CommandOptions,
    ) -> Result<Operation, CommandError> {
        let options = &options.of_one();
        let give = self.give_move(program, to, options);
        self.given("move", Some(program), Some(to), options, give).await
    }

    async fn give_move(
        &self,
        program: &str,
        to: &str,
        options: &CommandOptions,
    ) -> Result<Operation, CommandError> {
        let view = self.reachable_program(program, options).await?;
        let target = self.open_engine(to, options).await?.engine;
        if target == view.status.engine {
            let reason = format!("program {} is on '{target}' already", view.status.program.short());
            return Err(CommandError::Refused(Failure::BadRequest { reason }));
        }
        self.command(
            &view,
            Action::Move {
                on: order::target(&view),
                target,
            },
            options,
        )
        .await
    }

    /// A copy under a new id; the original runs on. The copy's id is in the outcome.
    pub async fn spawn(
        &self,
        program: &str,
        to: &str,
        name: Option<String>,
        options: &CommandOptions,
    ) -> Result<Operation, CommandError> {
        let options = &options.of_one();
        let give = self.give_spawn(program, to, name, options);
        self.given("spawn", Some(program), Some(to), options, give).await
    }

    async fn give_spawn(
        &self,
        program: &str,
        to: &str,
        name: Option<String>,
        options: &CommandOptions,
    ) -> Result<Operation, CommandError> {
        let view = self.reachable_program(program, options).await?;
        let target = self.open_engine(to, options).await?.engine;
        let action = Action::Spawn {
            on: order::target(&view),
            target,
            copy: ProgramId::random(),
            copy_name: name.unwrap_or_else(|| order::copy_name(&view.status.name)),
        };
        self.command(&view, action, options).await
    }

    pub async fn pause(&self, program: &str, options: &CommandOptions) -> Result<Operation, CommandError> {
        let pause = |on| Action::Pause { on };
        self.give_on("pause", program, options, pause).await
    }

    pub async fn resume(
        &self,
        program: &str,
        mode: ResumeMode,
        options: &CommandOptions,
    ) -> Result<Operation, CommandError> {
        let force = mode == ResumeMode::Force;
        let resume = |on| Action::Resume { on, force };
        self.give_on("resume", program, options, resume).await
    }

    /// Ends a program and forgets it; one that is lost is only forgotten. The beginning of a name is not enough.
    pub async fn kill(&self, program: &str, options: &CommandOptions) -> Result<Operation, CommandError> {
        let options = &options.of_one();
        let give = self.give_kill(program, options);
        self.given("kill", Some(program), None, options, give).await
    }

    async fn give_kill(&self, program: &str, options: &CommandOptions) -> Result<Operation, CommandError> {
        let find = |fleet: &FleetView| lookup::whole_program(&fleet.programs, program).cloned();
        let view = self.find(find).await?;
        if view.presence == Presence::Lost {
            return self.forget(&view).await;
        }
        let view = self.reachable(view, options).await?;
        self.command(
            &view,
            Action::Kill {
                on: order::target(&view),
            },
            options,
        )
        .await
    }

    /// Captures a program; [`Finished::into_bundle`] makes a file of the result.
    pub async fn snapshot(&self, program: &str, options: &CommandOptions) -> Result<Operation, CommandError> {
        let snapshot = |on| Action::Snapshot { on };
        self.give_on("snapshot", program, options, snapshot).await
    }

    /// Something about a program where it is.
    async fn give_on(
        &self,
        verb: &str,
        program: &str,
        options: &CommandOptions,
        action: impl FnOnce(Target) -> Action,
    ) -> Result<Operation, CommandError> {
        let options = &options.of_one();
        let give = async {
            let view = self.reachable_program(program, options).await?;
            self.command(&view, action(order::target(&view)), options).await
        };
        self.given(verb, Some(program), None, options, give).await
    }

    /// Any order, as its own method would.
    pub async fn apply(&self, order: Order, options: &CommandOptions) -> Result<Operation, CommandError> {
        match order {
            Order::Run(run) => self.run(*run, options).await,
            Order::Restore(restore) => self.restore(restore, options).await,
            Order::Move { program, to } => self.move_program(&program, &to, options).await,
            Order::Spawn { program, to, name } => self.spawn(&program, &to, name, options).await,
            Order::Pause { program } => self.pause(&program, options).await,
            Order::Resume { program, mode } => self.resume(&program, mode, options).await,
            Order::Kill { program } => self.kill(&program, options).await,
            Order::Snapshot { program } => self.snapshot(&program, options).await,
        }
    }

    /// All orders at once; results in the order of the orders. Those on one program wait for each other.
    pub async fn apply_actions(
        &self,
        orders: Vec<Order>,
        options: &CommandOptions,
    ) -> Vec<Result<Finished, CommandError>> {
        let options = &CommandOptions {
            busy: Busy::Wait,
            ..options.clone()
        };
        let each = orders
            .into_iter()
            .map(|order| async { self.apply(order, options).await?.wait().await });
        each.collect::<FuturesOrdered<_>>().collect().await
    }

    /// Waits until the program's engine is there, or fails with what is wrong, as `options` say.
    pub(crate) async fn reachable(
        &self,
        view: ProgramView,
        options: &CommandOptions,
    ) -> Result<ProgramView, CommandError> {
        let program = view.status.program;
        let find = |fleet: &FleetView| {
            let view = fleet
                .programs
                .iter()
                .find(|found| found.status.program == program)
                .unwrap_or(&view);
            check_presence(fleet, view)?;
            Ok(view.clone())
        };
        self.wait_until(find, options).await
    }

    /// A command to the engine that has the program.
    pub(crate) async fn command(
        &self,
        view: &ProgramView,
        action: Action,
        options: &CommandOptions,
    ) -> Result<Operation, CommandError> {
        let time_limit_ms = options.time_limit_ms();
        let engine = view.status.engine.clone();
        self.send_as(
            options.id(),
            Request {
                engine,
                action,
                blobs: [].into(),
                time_limit_ms,
                busy: options.busy,
                known: [].into(),
                term: self.term,
                by: self.inner.by.clone(),
            },
        )
        .await
    }

    async fn start(&self, prepared: Prepared, options: &CommandOptions) -> Result<Operation, CommandError> {
        let engine = match &prepared.on {
            Some(wanted) => self.open_engine(wanted, options).await?,
            None => self.choose(&prepared.spec, options).await?,
        };
        let action = prepared.action();
        let time_limit_ms = options.time_limit_ms();
        self.send_as(
            options.id(),
            Request {
                engine: engine.engine,
                action,
                blobs: prepared.blobs,
                time_limit_ms,
                busy: options.busy,
                known: [].into(),
                term: self.term,
                by: self.inner.by.clone(),
            },
        )
        .await
    }

    async fn reachable_program(
        &self,
        wanted: &str,
        options: &CommandOptions,
    ) -> Result<ProgramView, CommandError> {
        let view = self.program(wanted).await?;
        self.reachable(view, options).await
    }

    /// One that is there, and may be given something new.
    async fn open_engine(&self, wanted: &str, options: &CommandOptions) -> Result<EngineView, CommandError> {
        let view = self.reachable_engine(wanted, options).await?;
        self.check_open(view, options).await
    }

    async fn reachable_engine(
        &self,
        wanted: &str,
        options: &CommandOptions,
    ) -> Result<EngineView, CommandError> {
        let find = |fleet: &FleetView| {
            let view = lookup::engine(&fleet.engines, wanted)?;
            check_online(view)?;
            Ok(view.clone())
        };
        self.wait_until(find, options).await
    }

    /// What a service has decided, under an id that it remembers: sent again with it, it is done once.
    pub async fn order(
        &self,
        operation: OperationId,
        engine: EngineId,
        action: Action,
        blobs: BTreeMap<Digest, Content>,
        known: BTreeSet<Digest>,
        time_limit: Duration,
    ) -> Result<Operation, CommandError> {
        let options = CommandOptions {
            time_limit,
            ..CommandOptions::default()
        };
        let request = Request {
            engine,
            action,
            blobs,
            time_limit_ms: options.time_limit_ms(),
            busy: options.busy,
            known,
            term: self.term,
            by: self.inner.by.clone(),
        };
        self.send_as(operation, request).await
    }

    async fn send_as(&self, operation: OperationId, request: Request) -> Result<Operation, CommandError> {
        let engine = request.engine.clone();
        let (progress, progress_end) = watch::channel(Progress::default());
        let (end, end_end) = oneshot::channel();
        let request = Box::new(request);
        self.tell(ToTask::Start {
            operation,
            request,
            progress,
            end,
        })
        .await?;
        Ok(Operation::new(operation, engine, progress_end, end_end))
    }
}

fn check_online(view: &EngineView) -> Result<(), CommandError> {
    if view.online {
        return Ok(());
    }
    Err(CommandError::EngineOffline {
        engine: view.engine.clone(),
        offline_for_ms: view.offline_for_ms,
    })
}

fn check_presence(fleet: &FleetView, view: &ProgramView) -> Result<(), CommandError> {
    let engine = view.status.engine.clone();
    match view.presence {
        Presence::Known => Ok(()),
        Presence::Lost => Err(CommandError::ProgramLost {
            engine,
            program: view.status.program.short(),
        }),
        Presence::EngineOffline => {
            let found = fleet.engines.iter().find(|found| found.engine == engine);
            let offline_for_ms = found.and_then(|found| found.offline_for_ms);
            Err(CommandError::EngineOffline {
                engine,
                offline_for_ms,
            })
        }
    }
}
