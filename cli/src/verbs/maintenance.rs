//! `wayfare engine drain`, `cordon` and `uncordon`.

use serde_json::Value;
use tokio::time::{Duration, Instant, sleep};
use wayfare_client::Client;
use wayfare_client::app::ask::Ask;
use wayfare_protocol::ids::EngineId;

use super::app::ask;
use super::dry;
use crate::args::engines::{DrainArgs, EngineNameArgs, EngineVerb};
use crate::context::with_fleet;
use crate::fail::{Fail, Result};
use crate::interrupt::or_interrupted;
use crate::output::Output;

/// Between two looks at what is left.
const LOOK_PERIOD: Duration = Duration::from_millis(200);

pub(crate) async fn run(verb: EngineVerb, output: Output) -> Result {
    match verb {
        EngineVerb::Start(_) => unreachable!("done before"),
        EngineVerb::Ls(args) => super::fleet::engines(args, output).await,
        EngineVerb::Init(args) => super::engine::init(&args, output),
        EngineVerb::Drain(args) => drain(args, output).await,
        EngineVerb::Cordon(args) => {
            mark(args, output, |engine| Ask::Cordon { engine }, "gets nothing new").await
        }
        EngineVerb::Forget(args) => super::prune::forget_engine(args, output).await,
        EngineVerb::Uncordon(args) => mark(args, output, |engine| Ask::Uncordon { engine }, "is open").await,
    }
}

async fn mark(
    args: EngineNameArgs,
    output: Output,
    what: impl FnOnce(EngineId) -> Ask,
    word: &str,
) -> Result {
    with_fleet(&args.ask.fleet, async |fleet| {
        let engine = fleet.whole_engine(&args.engine).await?.engine;
        let what = what(engine.clone());
        if args.dry.dry_run {
            return dry::ask(fleet, what, args.ask.timeout, output).await;
        }
        let answer = ask(fleet, &what, args.ask.timeout).await?;
        output.print(&answer, |_| format!("{engine} {word}"))
    })
    .await
}

async fn drain(args: DrainArgs, output: Output) -> Result {
    with_fleet(&args.ask.fleet, async |fleet| {
        let engine = fleet.whole_engine(&args.engine).await?.engine;
        let deadline = Instant::now() + args.deadline;
        let drain = Ask::Drain {
            engine: engine.clone(),
        };
        if args.dry.dry_run {
            return dry::ask(fleet, drain, args.ask.timeout, output).await;
        }
        ask(fleet, &drain, args.ask.timeout).await?;
        if args.no_wait {
            return output.print(&serde_json::json!({ "engine": engine }), |_| {
                format!("{engine} is to be emptied")
            });
        }
        let empty = or_interrupted(until_empty(fleet, &engine, deadline, args.ask.timeout), || {
            Fail::interrupted(format!("{engine} goes on being emptied"))
                .hint(format!("`wayfare engine uncordon {engine}` ends that"))
        });
        output.print(&empty.await?, |_| {
            format!("{engine} is empty, and gets nothing new until `wayfare engine uncordon`")
        })
    })
    .await
}

async fn until_empty(fleet: &Client, engine: &EngineId, deadline: Instant, limit: Duration) -> Result<Value> {
    loop {
        let wanted = Ask::Left {
            engine: engine.clone(),
        };
        let left = ask(fleet, &wanted, limit).await?;
        let count = |what: &str| left[what].as_array().map_or(0, Vec::len);
        if count("instances") + count("programs") == 0 {
            return Ok(left);
        }
        if Instant::now() >= deadline {
            let what = format!("{engine} is not empty: {}", words(&left));
            return Err(Fail::no_answer(what));
        }
        sleep(LOOK_PERIOD).await;
    }
}

fn words(left: &Value) -> String {
    let list = |what: &str| {
        let items = left[what].as_array().into_iter().flatten();
        items
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let why = list("why");
    let left = [list("instances"), list("programs")].concat().join(", ");
    if why.is_empty() {
        left
    } else {
        format!("{left} ({})", why.join("; "))
    }
}
