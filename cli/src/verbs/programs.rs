//! `wayfare move`, `spawn`, `pause`, `resume` and `kill`.

use futures::future::join_all;
use wayfare_dispatcher::{Busy, CommandOptions, Operation, Order, ResumeMode};

use crate::args::{CommandArgs, MoveArgs, OnProgramArgs, ResumeArgs, SpawnArgs};
use crate::context::{options, with_fleet};
use crate::fail::Result;
use crate::output::Output;
use crate::waiting::conclude;

pub(crate) async fn move_program(args: MoveArgs, output: Output) -> Result {
    apply(
        Order::Move {
            program: args.program,
            to: args.to,
        },
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
            ..options(&args.command)
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

async fn apply(order: Order, args: &CommandArgs, output: Output) -> Result {
    with_fleet(&args.fleet, async |fleet| {
        let operation = fleet.apply(order, &options(args)).await?;
        conclude(operation, args, output).await.map(|_| ())
    })
    .await
}
