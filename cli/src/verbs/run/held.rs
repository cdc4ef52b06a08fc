//! `wayfare run --if-absent`: a program that is there for as long as somebody holds it, once for all who do.

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use wayfare_client::app::AppSpec;
use wayfare_client::app::ask::{Ask, Holding, Lasts};
use wayfare_client::app::manifest::{self, Made, ONE, OneProgram, Resolved};
use wayfare_client::{ANSWER_TIMEOUT, Client, Follow, Run};
use wayfare_protocol::ids::{OperationId, ProgramId};

use super::super::dry;
use super::super::logs::{LinePrinter, Lines, print_all};
use super::end_of;
use crate::args::programs::RunArgs;
use crate::context::who;
use crate::fail::{Fail, Result};
use crate::output::{Output, tell};
use crate::waiting::upload;

/// Between two looks at whether it runs.
const LOOK_PERIOD: Duration = Duration::from_millis(300);

pub(super) async fn run(fleet: &Client, run: Run, args: &RunArgs, output: Output) -> Result {
    let limit = args.command.timeout;
    let engines = match &run.on {
        Some(wanted) => [fleet.engine(wanted).await?.engine].into(),
        None => Default::default(),
    };
    let name = run.name.clone();
    let program = OneProgram {
        made: Made {
            module: run.module,
            args: run.args,
            env: run.env,
            memory_bytes: run.memory_bytes_max,
            folders: run.folders,
            ports: run.ports,
        },
        stdin: run.stdin,
        grants: run.grants,
        engines,
    };
    let Resolved { spec, blobs } =
        manifest::of_one(&name, program).map_err(|error| Fail::usage(error.to_string()))?;
    let lasts = match args.follow {
        true => Lasts::Lease,
        false => Lasts::UntilLetGo,
    };
    let holder = holder(lasts);
    if args.command.dry.dry_run {
        return dry::ask(fleet, Ask::Acquire { spec, holder, lasts }, limit, output).await;
    }
    upload(fleet, &blobs, limit, output).await?;
    let holding = acquire(fleet, &spec, (&holder, lasts), limit).await?;
    if args.command.no_wait {
        return print(output, &holding, None);
    }
    let shown = async {
        let program = tokio::time::timeout(limit, running(fleet, &name)).await;
        let late = || Fail::no_answer(format!("{name} does not run after {} s", limit.as_secs()));
        let program = program.map_err(|_| late())??;
        print(output, &holding, Some(program))?;
        match args.follow {
            true => follow(fleet, program, output).await,
            false => Ok(()),
        }
    };
    if lasts == Lasts::UntilLetGo {
        return shown.await;
    }
    let result = tokio::select! {
        result = shown => result,
        // There is nothing to let go of.
        lost = renew(fleet, &name, &holder, holding.lease_ms) => return Err(lost),
        interrupted = tokio::signal::ctrl_c() => {
            interrupted.map_err(|error| Fail::new("signal", error.to_string()))
        }
    };
    let gone = fleet.let_go(&name, &holder, ANSWER_TIMEOUT).await;
    if output == Output::Human {
        tell(match gone {
            // How the program ended is what was asked for.
            Err(error) => format!(
                "{holder} holds {name} for {} s more: {error}",
                holding.lease_ms / 1_000
            ),
            Ok(gone) if gone.ends => format!("nobody holds {name} any more: it ends"),
            Ok(gone) if gone.holders.is_empty() => format!("{name} runs on"),
            Ok(gone) => format!("{name} runs on, held by {}", gone.holders.join(", ")),
        });
    }
    result
}

/// The last one's may still be ending: then it begins once that is gone.
async fn acquire(
    fleet: &Client,
    spec: &AppSpec,
    (holder, lasts): (&str, Lasts),
    limit: Duration,
) -> Result<Holding> {
    let until = Instant::now() + limit;
    loop {
        match fleet.acquire(spec, holder, lasts, limit).await {
            Err(error) if error.is_being_removed() && Instant::now() < until => sleep(LOOK_PERIOD).await,
            answered => return Ok(answered?),
        }
    }
}

/// For as long as it is held; then why it is not.
async fn renew(fleet: &Client, name: &str, holder: &str, lease_ms: u64) -> Fail {
    let mut due = interval(Duration::from_millis(lease_ms / 3).max(LOOK_PERIOD));
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        due.tick().await;
        // Where nobody acts for a moment, leases begin anew with who acts next.
        match fleet.renew(name, holder, ANSWER_TIMEOUT).await {
            Err(error) if error.is_not_held() => return error.into(),
            Err(error) => tracing::debug!(%error, "not renewed"),
            Ok(_) => {}
        }
    }
}

/// By a lease each command is another.
fn holder(lasts: Lasts) -> String {
    let who = name_of(&who());
    match lasts {
        Lasts::Lease => format!("{who}/{}", OperationId::random().short()),
        Lasts::UntilLetGo => who,
    }
}

/// As the service takes it, whatever users are called here.
fn name_of(who: &str) -> String {
    const BYTES_MAX: usize = 100;
    let is_taken = |c: &char| !c.is_whitespace() && !c.is_control() && !matches!(c, '"' | '\\');
    let mut name = String::new();
    for c in who.chars().filter(is_taken) {
        if name.len() + c.len_utf8() > BYTES_MAX {
            break;
        }
        name.push(c);
    }
    match name.is_empty() {
        true => "somebody".to_owned(),
        false => name,
    }
}

/// Until it runs, or has come to nothing.
async fn running(fleet: &Client, name: &str) -> Result<ProgramId> {
    loop {
        let statuses = fleet.app_status(Some(name), ANSWER_TIMEOUT).await?;
        let instances = statuses.iter().flat_map(|status| &status.instances);
        let ready = instances
            .filter(|one| one.state == "running" || one.state == "complete")
            .find_map(|one| one.program);
        if let Some(program) = ready {
            return Ok(program);
        }
        sleep(LOOK_PERIOD).await;
    }
}

fn print(output: Output, holding: &Holding, program: Option<ProgramId>) -> Result {
    let document = json!({
        "application": holding.application,
        "begun": holding.begun,
        "holders": holding.holders,
        "program": program,
    });
    output.print(&document, |_| {
        let how = match holding.begun {
            true => "begun",
            false => "there already",
        };
        let (name, holders) = (&holding.application, holding.holders.join(", "));
        match program {
            Some(program) => format!(
                "{name}/{ONE}/0 is program {}, {how}, held by {holders}",
                program.short()
            ),
            None => format!("{name}/{ONE}/0 is {how}, held by {holders}"),
        }
    })
}

/// As `wayfare run --follow`, from its first line that is kept.
async fn follow(fleet: &Client, program: ProgramId, output: Output) -> Result {
    let mut stream = fleet.logs(program, 0, Follow::UntilEnded).await?;
    let printer = LinePrinter::new(Lines::Apart, false, output);
    print_all(&mut stream, program, printer).await?;
    end_of(&stream, program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_of_any_name_can_hold() {
        for (who, expected) in [
            ("ann@host", "ann@host"),
            ("DOMAIN\\ann \"x\"@host", "DOMAINannx@host"),
            (" \n", "somebody"),
            (&"ä".repeat(90), &"ä".repeat(50)),
        ] {
            assert_eq!(name_of(who), expected);
        }
    }
}
