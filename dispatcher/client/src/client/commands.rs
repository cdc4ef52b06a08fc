//! Commanding: each order resolved against the fleet view, checked, and sent to the one engine it concerns.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesOrdered;
use tokio::sync::{oneshot, watch};
use wayfare_protocol::command::{Action, Target};
use wayfare_protocol::error::Failure;
use wayfare_protocol::ids::{BootId, Digest, EngineId, OperationId, ProgramId};

use super::Client;
use crate::core::{Finished, Progress, Request};
use crate::error::CommandError;
use crate::fleet::{EngineView, Presence, ProgramView};
use crate::lookup;
use crate::operation::Operation;
use crate::order::{self, Busy, CommandOptions, IdChoice, Order, Prepared, ResumeMode};
use crate::task::ToTask;
use crate::transfer::Content;
use crate::view::FleetView;

/// What is to be sent for an order, and to whom.
pub(super) enum Resolved {
    Command {
        engine: EngineId,
        action: Box<Action>,
        blobs: BTreeMap<Digest, Content>,
        /// As it is now, where it is about a program that is there.
        view: Option<Box<ProgramView>>,
    },
    /// A program that no engine has is only forgotten.
    Forget(Box<ProgramView>),
}

/// An order whose own contents have been checked.
pub(super) enum Checked {
    Start(&'static str, Box<Prepared>),
    OnProgram(Order),
}

impl Client {
    /// Gives an order.
    pub async fn apply(&self, order: Order, options: &CommandOptions) -> Result<Operation, CommandError> {
        let options = &options.of_one();
        let checked = self.check(order).await?;
        self.check_not_held(checked.verb()).await?;
        let words = checked.words();
        let give = async {
            match self.resolve(checked, options).await? {
                Resolved::Forget(view) => self.forget(&view).await,
                Resolved::Command {
                    engine,
                    action,
                    blobs,
                    ..
                } => self.send(engine, *action, blobs, options).await,
            }
        };
        self.given(words, options, give).await
    }

    /// Refuses at once what no engine would take.
    pub(super) async fn check(&self, order: Order) -> Result<Checked, CommandError> {
        match order {
            Order::Run(run) => Ok(Checked::Start("run", Box::new(run.prepare()?))),
            Order::Restore(restore) => {
                let kept = restore.id == IdChoice::Kept;
                let mut prepared = restore.prepare()?;
                if kept && let Ok(view) = self.program(&prepared.program.to_string()).await {
                    prepared.succeed(&view)?;
                }
                Ok(Checked::Start("restore", Box::new(prepared)))
            }
            order => Ok(Checked::OnProgram(order)),
        }
    }

    /// Finds whom an order is about, as far as it may be given.
    pub(super) async fn resolve(
        &self,
        checked: Checked,
        options: &CommandOptions,
    ) -> Result<Resolved, CommandError> {
        let order = match checked {
            Checked::Start(_, prepared) => return self.resolve_start(*prepared, options).await,
            Checked::OnProgram(order) => order,
        };
        let (view, action) = match order {
            Order::Run(_) | Order::Restore(_) => unreachable!("they start something"),
            Order::Move { program, to } => self.resolve_move(&program, &to, options).await?,
            Order::Spawn { program, to, name } => {
                let view = self.reachable_program(&program, options).await?;
                let target = self.open_engine(&to, options).await?.engine;
                let action = Action::Spawn {
                    on: order::target(&view),
                    target,
                    copy: ProgramId::random(),
                    copy_name: name.unwrap_or_else(|| order::copy_name(&view.status.name)),
                };
                (view, action)
            }
            Order::Kill { program } => {
                let find = |fleet: &FleetView| lookup::whole_program(&fleet.programs, &program).cloned();
                let view = self.find(find).await?;
                if view.presence == Presence::Lost {
                    return Ok(Resolved::Forget(Box::new(view)));
                }
                let view = self.reachable(view, options).await?;
                let on = order::target(&view);
                (view, Action::Kill { on })
            }
            Order::Pause { program } => {
                self.on_program(&program, options, |on| Action::Pause { on })
                    .await?
            }
            Order::Resume { program, mode } => {
                let force = mode == ResumeMode::Force;
                self.on_program(&program, options, |on| Action::Resume { on, force })
                    .await?
            }
            Order::Snapshot { program } => {
                self.on_program(&program, options, |on| Action::Snapshot { on })
                    .await?
            }
        };
        Ok(Resolved::Command {
            engine: view.status.engine.clone(),
            action: Box::new(action),
            blobs: BTreeMap::new(),
            view: Some(Box::new(view)),
        })
    }

    async fn resolve_start(
        &self,
        prepared: Prepared,
        options: &CommandOptions,
    ) -> Result<Resolved, CommandError> {
        let engine = match &prepared.on {
            Some(wanted) => self.open_engine(wanted, options).await?,
            None => self.choose(&prepared.spec, options).await?,
        };
        Ok(Resolved::Command {
            engine: engine.engine,
            action: Box::new(prepared.action()),
            blobs: prepared.blobs,
            view: None,
        })
    }

    async fn resolve_move(
        &self,
        program: &str,
        to: &str,
        options: &CommandOptions,
    ) -> Result<(ProgramView, Action), CommandError> {
        let view = self.reachable_program(program, options).await?;
        let target = self.open_engine(to, options).await?.engine;
        if target == view.status.engine {
            let reason = format!("program {} is on '{target}' already", view.status.program.short());
            return Err(CommandError::Refused(Failure::BadRequest { reason }));
        }
        let on = order::target(&view);
        Ok((view, Action::Move { on, target }))
    }

    /// Something about a program where it is.
    async fn on_program(
        &self,
        program: &str,
        options: &CommandOptions,
        action: impl FnOnce(Target) -> Action,
    ) -> Result<(ProgramView, Action), CommandError> {
        let view = self.reachable_program(program, options).await?;
        let action = action(order::target(&view));
        Ok((view, action))
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
        self.wait_until(Some(program), find, options).await
    }

    /// A command to the engine that has the program.
    pub(crate) async fn command(
        &self,
        view: &ProgramView,
        action: Action,
        options: &CommandOptions,
    ) -> Result<Operation, CommandError> {
        let engine = view.status.engine.clone();
        self.send(engine, action, BTreeMap::new(), options).await
    }

    async fn send(
        &self,
        engine: EngineId,
        action: Action,
        blobs: BTreeMap<Digest, Content>,
        options: &CommandOptions,
    ) -> Result<Operation, CommandError> {
        let request = Request {
            engine,
            action,
            blobs,
            time_limit_ms: options.time_limit_ms(),
            busy: options.busy,
            known: [].into(),
            term: self.term,
            boot: None,
            by: self.inner.by.clone(),
            batch: self.inner.batch,
        };
        self.send_as(options.id(), request).await
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
        self.wait_until(None, find, options).await
    }

    /// What a service has decided, under an id that it remembers, for that process of the engine: sent again
    /// with both, it is done once, also where the engine has lost its data folder meanwhile.
    pub async fn order(
        &self,
        operation: OperationId,
        (engine, boot): (EngineId, Option<BootId>),
        action: Action,
        blobs: BTreeMap<Digest, Content>,
        known: BTreeSet<Digest>,
        time_limit: Duration,
    ) -> Result<Operation, CommandError> {
        let options = CommandOptions {
            time_limit,
            ..CommandOptions::default()
        };
        let action = self.with_generation(&engine, action).await;
        let request = Request {
            engine,
            action,
            blobs,
            time_limit_ms: options.time_limit_ms(),
            busy: options.busy,
            known,
            term: self.term,
            boot,
            by: self.inner.by.clone(),
            batch: self.inner.batch,
        };
        self.send_as(operation, request).await
    }

    /// An engine that looks at signatures is told of which generation a move or a return is, because the
    /// place that is signed with it is one generation's.
    async fn with_generation(&self, engine: &EngineId, action: Action) -> Action {
        let on = match &action {
            Action::Move { on, .. } | Action::Resume { on, force: true } if on.generation.is_none() => *on,
            _ => return action,
        };
        if self.challenge(engine).await.is_none() {
            return action;
        }
        let fleet = self.fleet_of(on.program).await.unwrap_or_default();
        let known = fleet.programs.iter().find(|view| view.status.engine == *engine);
        let on = Target {
            generation: known.map(|view| view.status.generation),
            ..on
        };
        match action {
            Action::Move { target, .. } => Action::Move { on, target },
            Action::Resume { force, .. } => Action::Resume { on, force },
            action => action,
        }
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

impl Checked {
    pub(super) fn verb(&self) -> &'static str {
        match self {
            Self::Start(verb, _) => verb,
            Self::OnProgram(order) => order.verb(),
        }
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
