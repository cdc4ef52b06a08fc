//! `wayfare move`, `spawn`, `pause`, `resume` and `kill`.

use std::collections::BTreeSet;

use futures::future::join_all;
use wayfare_client::rows::Listed;
use wayfare_client::{Busy, Client, CommandOptions, Operation, Order, ResumeMode};

use wayfare_protocol::ids::EngineId;

use super::dry;
use crate::args::CommandArgs;
use crate::args::programs::{ChosenArgs, MoveArgs, OnProgramsArgs, ResumeArgs, SpawnArgs};
use crate::context::{options, options_for, with_fleet};
use crate::fail::{Fail, Result};
use crate::output::Output;
use crate::waiting::conclude;

pub(crate) async fn move_program(args: MoveArgs, output: Output) -> Result {
    let to = &args.to;
    let order = |program| Order::Move {
        program,
        to: to.clone(),
    };
    let options = options_for(&args.command, args.marked);
    each(args.chosen, order, &options, &args.command, output).await
}

pub(crate) async fn pause(args: OnProgramsArgs, output: Output) -> Result {
    let order = |program| Order::Pause { program };
    let options = options(&args.command);
    each(args.chosen, order, &options, &args.command, output).await
}

pub(crate) async fn resume(args: ResumeArgs, output: Output) -> Result {
    let mode = if args.force {
        ResumeMode::Force
    } else {
        ResumeMode::Normal
    };
    let order = |program| Order::Resume { program, mode };
    let options = options(&args.command);
    each(args.chosen, order, &options, &args.command, output).await
}

pub(crate) async fn kill(args: OnProgramsArgs, output: Output) -> Result {
    let order = |program| Order::Kill { program };
    let options = options(&args.command);
    each(args.chosen, order, &options, &args.command, output).await
}

/// All copies at once; the first failure is the command's, after all have ended.
pub(crate) async fn spawn(args: SpawnArgs, output: Output) -> Result {
    check_key(args.to.len(), &args.command)?;
    with_fleet(&args.command.fleet, async |fleet| {
        // The copies are made one after the other, each when the one before is done.
        let options = CommandOptions {
            busy: Busy::Wait,
            ..options_for(&args.command, args.marked)
        };
        let one = |to: &String| {
            let order = Order::Spawn {
                program: args.program.clone(),
                to: to.clone(),
                name: args.name.clone(),
            };
            fleet.apply(order, &options)
        };
        if args.command.dry.dry_run {
            for to in &args.to {
                let order = Order::Spawn {
                    program: args.program.clone(),
                    to: to.clone(),
                    name: args.name.clone(),
                };
                dry::order(fleet, order, &options, output).await?;
            }
            return Ok(());
        }
        let started: Vec<std::result::Result<Operation, _>> = join_all(args.to.iter().map(one)).await;
        let ends = started
            .into_iter()
            .map(async |operation| conclude(operation?, &args.command, output).await.map(|_| ()));
        join_all(ends).await.into_iter().collect::<Result>()
    })
    .await
}

/// All programs at once; the first failure is the command's, after all have ended and the others' have been
/// told.
async fn each(
    chosen: ChosenArgs,
    order: impl Fn(String) -> Order,
    options: &CommandOptions,
    args: &CommandArgs,
    output: Output,
) -> Result {
    with_fleet(&args.fleet, async |fleet| {
        let programs = programs_of(fleet, &chosen).await?;
        check_key(programs.len(), args)?;
        let one = async |program: String| {
            if args.dry.dry_run {
                return dry::order(fleet, order(program), options, output).await;
            }
            let operation = fleet.apply(order(program), options).await?;
            conclude(operation, args, output).await.map(drop)
        };
        let ends = join_all(programs.into_iter().map(one)).await;
        let mut failures = ends.into_iter().filter_map(Result::err);
        let first = failures.next();
        for other in failures {
            other.print(output);
        }
        first.map_or(Ok(()), Err)
    })
    .await
}

/// Each once: those that are named, and the ids of those that belong to what is.
pub(super) async fn programs_of(fleet: &Client, chosen: &ChosenArgs) -> Result<Vec<String>> {
    let mut named = BTreeSet::new();
    let mut programs = chosen.programs.clone();
    programs.retain(|program| named.insert(program.clone()));
    if chosen.app.is_empty() && chosen.label.is_empty() {
        return Ok(programs);
    }
    let engines = fleet.engines().await?;
    let has_labels = |engine: &EngineId| {
        let about = engines.iter().find(|view| view.engine == *engine);
        let labels = about.and_then(|view| Some(&view.about.as_ref()?.labels));
        let has = |(key, value): &(String, String)| labels.and_then(|labels| labels.get(key)) == Some(value);
        chosen.label.iter().all(has)
    };
    let is_of = |one: &Listed| {
        let app = one.instance().and_then(|instance| instance.split('/').next());
        chosen.app.is_empty() || app.is_some_and(|app| chosen.app.iter().any(|wanted| wanted == app))
    };
    let listed = fleet.listed().await?;
    let found = listed.iter().filter(|one| {
        let status = &one.view.status;
        !status.state.is_ended() && is_of(one) && has_labels(&status.engine)
    });
    let found: Vec<String> = found.map(|one| one.view.status.program.to_string()).collect();
    if found.is_empty() {
        let text =
            "nothing that has not ended belongs to that application, or is on an engine with these labels";
        return Err(
            Fail::new("no-program", text).hint("`wayfare ps --where 'app = NAME'` lists an application's")
        );
    }
    programs.extend(found);
    Ok(programs)
}

/// Several orders with one key would join or supersede each other.
fn check_key(orders: usize, args: &CommandArgs) -> Result {
    let has_key = args.queueing().is_some_and(|queueing| queueing.key.is_some());
    if orders > 1 && has_key {
        return Err(Fail::usage(format!(
            "a key is one order's, and these are {orders}: give --coalesce or --supersede without one, or one order at a time"
        )));
    }
    Ok(())
}
