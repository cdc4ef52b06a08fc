//! `wayfare demo`: everything on one machine, and the proof that it makes no difference.
//!
//! A broker in this process, two engines as processes of their own, and the sample `primes`, which computes
//! in nested loops and never yields. One run stays where it is; the other moves to the second engine in the
//! middle of a loop, back, is copied, paused and resumed. All must print the same, byte for byte.
//!
//! Each step waits for lines that the program printed, never for time to pass.

mod collect;
mod stage;
mod timeline;

use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use wayfare_client::{Client, CommandError, CommandOptions, Finished, Operation, Order, ResumeMode, Run};
use wayfare_protocol::error::Failure;
use wayfare_protocol::event::Outcome;
use wayfare_protocol::ids::ProgramId;
use wayfare_protocol::status::ProgramState;

use crate::args::services::DemoArgs;
use crate::fail::{Fail, Result};
use crate::output::{Output, bytes, micros};
use collect::{Collected, Collector};
use stage::{A, B, Stage};
use timeline::Timeline;

/// The sample prints a line each time it has looked at so many numbers.
const NUMBERS_PER_LINE: u64 = 10_000;
const TOO_FAST: &str = "too-fast";
/// Each with three times the work of the one before.
const TRIES_MAX: u32 = 3;

pub(crate) async fn run(args: DemoArgs, output: Output) -> Result {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut timeline = Timeline::new(output);
    let mut stage = Stage::set(&args, &mut timeline).await?;
    let client = stage.client.clone();
    let result = tokio::select! {
        result = play_to_the_end(&client, args.limit, &mut timeline) => result,
        fail = stage.engine_ended() => Err(fail),
        _ = interrupt.recv() => Err(Fail::new("interrupted", "interrupted")),
        _ = terminate.recv() => Err(Fail::new("interrupted", "interrupted")),
    };
    stage.clear().await;
    result
}

/// On a machine so fast that the program ends before everything was shown, again with more to do.
async fn play_to_the_end(fleet: &Client, mut limit: u64, timeline: &mut Timeline) -> Result {
    for _ in 1..TRIES_MAX {
        match play(fleet, limit, timeline).await {
            Err(fail) if fail.is(TOO_FAST) => {
                limit = limit.saturating_mul(3);
                timeline.note("again", &format!("{}: now with more to do", fail.message()))?;
            }
            result => return result,
        }
    }
    play(fleet, limit, timeline).await
}

/// The program's work was done before the demo's.
fn too_fast() -> Fail {
    Fail::new(TOO_FAST, "the program ended before everything could be shown").hint("give a larger --limit")
}

async fn play(fleet: &Client, limit: u64, timeline: &mut Timeline) -> Result {
    let lines = limit / NUMBERS_PER_LINE;
    // When each step is taken, in lines printed: spread over the first half of the run.
    let step = |number: u64| lines * number / 12;

    let reference = start(fleet, limit, "reference", timeline).await?;
    let mut mover = start(fleet, limit, "mover", timeline).await?;

    mover.printed(step(1)).await?;
    move_to(fleet, &mover, B, timeline).await?;
    mover.printed(step(2)).await?;
    move_to(fleet, &mover, A, timeline).await?;
    mover.printed(step(3)).await?;
    let copied_at = mover.lines();
    let copy = spawn(fleet, &mover, timeline).await?;
    mover.printed(step(4)).await?;
    pause_and_resume(fleet, &mover, timeline).await?;
    mover.printed(step(5)).await?;
    move_to(fleet, &mover, B, timeline).await?;

    timeline.note("waiting", "all three run on to their ends")?;
    let (reference, mover, copy) = (
        reference.finish().await?,
        mover.finish().await?,
        copy.finish().await?,
    );
    timeline.note("ended", "all three have ended")?;
    // Followed from their first lines on; the copy inherits what engines keep of a log.
    for (collected, known_from) in [(&reference, 0), (&mover, 0), (&copy, copied_at)] {
        if collected.first_line > known_from {
            let (name, last) = (&collected.name, collected.first_line - 1);
            let text = format!("'{name}': lines {known_from} to {last} are missing");
            return Err(Fail::new("missing", text));
        }
    }
    verdict(
        &reference,
        &[
            ("moved three times, paused once", &mover),
            ("copied in mid-run", &copy),
        ],
        timeline,
    )
}

async fn start(fleet: &Client, limit: u64, name: &str, timeline: &mut Timeline) -> Result<Collector> {
    let sample = wayfare_samples::find("primes").expect("the sample comes with the command");
    let run = Run {
        name: name.into(),
        module: sample.wasm.to_vec(),
        args: vec![limit.to_string()],
        on: Some(A.into()),
        ..Run::default()
    };
    match done(fleet.apply(Order::run(run), &CommandOptions::default()).await?)
        .await?
        .outcome
    {
        Outcome::Running { program, .. } => {
            timeline.step(
                "run",
                &format!(
                    "'{name}' ({}) counts primes up to {} on {A}",
                    program.short(),
                    limit
                ),
                json!({ "name": name, "program": program, "engine": A }),
            )?;
            Collector::start(fleet, name, program).await
        }
        other => Err(unexpected(&other)),
    }
}

async fn move_to(fleet: &Client, mover: &Collector, target: &str, timeline: &mut Timeline) -> Result {
    let at = mover.last_line();
    let order = Order::Move {
        program: mover.program.to_string(),
        to: target.into(),
    };
    let finished = command(fleet, order).await?;
    let Outcome::Moved {
        report, generation, ..
    } = finished.outcome
    else {
        return Err(unexpected(&finished.outcome));
    };
    must_be(fleet, mover.program, target, &ProgramState::Running).await?;
    timeline.step(
        "move",
        &format!(
            "moved {} -> {target} after \"{at}\": stood still {}, in all {}; {} ahead, {} at the end",
            finished.engine,
            micros(report.downtime_us),
            micros(report.total_us),
            bytes(report.precopied_bytes),
            bytes(report.final_bytes),
        ),
        json!({ "from": finished.engine, "to": target, "generation": generation, "after": at, "report": report }),
    )?;
    Ok(())
}

async fn spawn(fleet: &Client, mover: &Collector, timeline: &mut Timeline) -> Result<Collector> {
    let at = mover.last_line();
    let order = Order::Spawn {
        program: mover.program.to_string(),
        to: B.into(),
        name: Some("copy".into()),
    };
    let Outcome::Spawned { copy, .. } = command(fleet, order).await?.outcome else {
        return Err(Fail::new("demo", "the spawn was answered with something else"));
    };
    must_be(fleet, mover.program, A, &ProgramState::Running).await?;
    let text = format!(
        "copied to {B} after \"{at}\": 'copy' ({}); the original runs on",
        copy.short()
    );
    timeline.step("spawn", &text, json!({ "copy": copy, "to": B, "after": at }))?;
    Collector::start(fleet, "copy", copy).await
}

async fn pause_and_resume(fleet: &Client, mover: &Collector, timeline: &mut Timeline) -> Result {
    let program = mover.program.to_string();
    command(
        fleet,
        Order::Pause {
            program: program.clone(),
        },
    )
    .await?;
    must_be(fleet, mover.program, A, &ProgramState::Paused).await?;
    let at = mover.last_line();
    timeline.step(
        "pause",
        &format!("paused on {A} after \"{at}\""),
        json!({ "engine": A, "after": at }),
    )?;
    command(
        fleet,
        Order::Resume {
            program,
            mode: ResumeMode::Normal,
        },
    )
    .await?;
    must_be(fleet, mover.program, A, &ProgramState::Running).await?;
    timeline.step("resume", &format!("resumed on {A}"), json!({ "engine": A }))?;
    Ok(())
}

/// The fleet view says so, at once or as soon as the news arrives. It also proves that the program had not
/// ended by itself before the step: the demo would show nothing then.
async fn must_be(fleet: &Client, program: ProgramId, engine: &str, state: &ProgramState) -> Result {
    let mut seen = 0;
    let is_so = async {
        loop {
            let status = fleet.program(&program.to_string()).await?.status;
            if status.engine.as_str() == engine && status.state == *state {
                return Ok(());
            }
            if status.state.is_ended() {
                return Err(too_fast());
            }
            fleet.changed(&mut seen).await?;
        }
    };
    let limit = CommandOptions::default().time_limit;
    let late = || {
        Fail::new(
            "demo",
            format!("the fleet view never said that the program is on {engine}"),
        )
    };
    tokio::time::timeout(limit, is_so)
        .await
        .unwrap_or_else(|_| Err(late()))
}

async fn command(fleet: &Client, order: Order) -> Result<Finished> {
    let result = fleet.apply(order, &CommandOptions::default()).await?.wait().await;
    result.map_err(|error| match error {
        CommandError::Failed {
            failure: Failure::Ended { .. },
            ..
        } => too_fast(),
        // What a program that ended meanwhile is told.
        CommandError::Failed {
            failure: Failure::WrongState { state, .. },
            ..
        } if state.starts_with("exited") => too_fast(),
        error => error.into(),
    })
}

async fn done(operation: Operation) -> Result<Finished> {
    Ok(operation.wait().await?)
}

fn unexpected(outcome: &Outcome) -> Fail {
    Fail::new("demo", format!("unexpected answer: {outcome:?}"))
}

fn verdict(reference: &Collected, others: &[(&str, &Collected)], timeline: &mut Timeline) -> Result {
    let mut differs = None;
    for (what, other) in others {
        let (expected, first_line) = (reference.starting_at(other.first_line), other.first_line);
        let same = other.stdout == expected && !expected.is_empty();
        let result = match (same, first_line) {
            (false, _) => collect::difference(expected, &other.stdout, first_line),
            (true, 0) => format!("the same {} lines", other.lines()),
            (true, _) => format!("the same {} lines, from line {first_line} on", other.lines()),
        };
        let text = format!("'{}', {what}: {result}, {} bytes", other.name, other.stdout.len());
        let details = json!({
            "name": other.name, "same": same, "bytes": other.stdout.len(), "first_line": first_line,
        });
        timeline.step("compare", &text, details)?;
        if !same {
            differs.get_or_insert(text);
        }
    }
    match differs {
        Some(text) => Err(Fail::new("differs", text)),
        None => {
            timeline.note(
                "verdict",
                "moved, copied and paused programs printed what the unmoved one printed",
            )?;
            Ok(())
        }
    }
}
