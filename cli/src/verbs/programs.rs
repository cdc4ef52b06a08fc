//! `wayfare move`, `spawn`, `pause`, `resume` and `kill`.

use futures::future::join_all;
use wayfare_client::{Busy, CommandOptions, Operation, Order, ResumeMode};

use crate::args::CommandArgs;
use crate::args::programs::{MoveArgs, OnProgramArgs, ResumeArgs, SpawnArgs};
use crate::context::{options, options_for, with_fleet};
use crate::fail::Result;
use crate::output::Output;
use crate::waiting::conclude;

pub(crate) async fn move_program(args: MoveArgs, output: Output) -> Result {
    apply(
        Order::Move {
            program: args.program,
            to: args.to,
        },
        &options_for(&args.command, args.marked),
        &args.command,
        output,
    )
    .await
}

pub(crate) async fn pause(args: OnProgramArgs, output: Output) -> Result {
    apply(
        Order::Pause {
            program: args.program,
        },
        &options(&args.command),
        &args.command,
        output,
    )
    .await
}

pub(crate) async fn resume(args: ResumeArgs, output: Output) -> Result {
    let mode = if args.force {
        ResumeMode::Force
    } else {
        ResumeMode::Normal
    };
    apply(
        Order::Resume {
            program: args.program,
            mode,
        },
        &options(&args.command),
        &args.command,
        output,
    )
    .await
}

pub(crate) async fn kill(args: OnProgramArgs, output: Output) -> Result {
    apply(
        Order::Kill {
            program: args.program,
        },
        &options(&args.command),
        &args.command,
        output,
    )
    .await
}

/// All copies at once; the first failure is the command's, after all have ended.
pub(crate) async fn spawn(args: SpawnArgs, output: Output) -> Result {
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
        let started: Vec<std::result::Result<Operation, _>> = join_all(args.to.iter().map(one)).await;
        let ends = started
            .into_iter()
            .map(async |operation| conclude(operation?, &args.command, output).await.map(|_| ()));
        join_all(ends).await.into_iter().collect::<Result>()
    })
    .await
}

async fn apply(order: Order, options: &CommandOptions, args: &CommandArgs, output: Output) -> Result {
    with_fleet(&args.fleet, async |fleet| {
        let operation = fleet.apply(order, options).await?;
        conclude(operation, args, output).await.map(|_| ())
    })
    .await
}
