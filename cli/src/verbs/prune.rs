//! `wayfare prune` and `wayfare engine forget`: removing from all lists what is over.

use futures::StreamExt;
use futures::stream;
use serde::Serialize;
use serde_json::json;
use wayfare_client::app::ask::Ask;
use wayfare_client::rows::Listed;
use wayfare_client::{ANSWER_TIMEOUT, Client, CommandOptions, Heard, Order, Presence, ProgramView};
use wayfare_protocol::ids::{EngineId, ProgramId};

use super::app::ask;
use crate::args::engines::EngineForgetArgs;
use crate::args::looking::PruneArgs;
use crate::context::with_fleet;
use crate::fail::{Fail, Result};
use crate::output::{Output, Text};

/// Programs that are ended at the same time.
const AT_ONCE: usize = 16;

/// One that was or would be removed, or could not be.
#[derive(Debug, Serialize)]
struct Pruned {
    program: ProgramId,
    name: String,
    engine: EngineId,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

impl Pruned {
    fn new(view: &ProgramView, why: Option<String>) -> Self {
        Self {
            program: view.status.program,
            name: view.status.name.clone(),
            engine: view.status.engine.clone(),
            why,
        }
    }

    fn label(&self) -> String {
        format!("{} ({}) of {}", self.name, self.program.short(), self.engine)
    }
}

pub(crate) async fn run(args: PruneArgs, output: Output) -> Result {
    with_fleet(&args.ask.fleet, async |fleet| {
        let acts = fleet.somebody_acts().await?;
        // Whose it is, whoever acts must have said.
        let is_nobodys = |one: &Listed| one.instance().is_none() && (!acts || one.about.is_some());
        let over: Vec<ProgramView> = fleet
            .listed()
            .await?
            .into_iter()
            .filter(|one| is_over(&one.view) && is_nobodys(one))
            .map(|one| one.view)
            .collect();
        let options = CommandOptions {
            time_limit: args.ask.timeout,
            ..CommandOptions::default()
        };
        let one = async |view: &ProgramView| match args.dry.dry_run {
            true => Pruned::new(view, None),
            false => Pruned::new(view, remove(fleet, view, &options).await.err()),
        };
        let ends: Vec<Pruned> = stream::iter(&over).map(one).buffered(AT_ONCE).collect().await;
        let (removed, left): (Vec<Pruned>, Vec<Pruned>) = ends.into_iter().partition(|end| end.why.is_none());
        let document = json!({ "removed": removed, "left": left, "dry_run": args.dry.dry_run });
        output.print(&document, |_| pruned_text(&removed, &left, args.dry.dry_run))?;
        match left.is_empty() {
            true => Ok(()),
            false => Err(Fail::quiet()),
        }
    })
    .await
}

/// It has ended or is lost, and its engine can be asked.
fn is_over(view: &ProgramView) -> bool {
    match view.presence {
        Presence::Known => view.status.state.is_ended(),
        Presence::Lost => true,
        Presence::EngineOffline => false,
    }
}

async fn remove(
    fleet: &Client,
    view: &ProgramView,
    options: &CommandOptions,
) -> std::result::Result<(), String> {
    let program = view.status.program.to_string();
    // Its engine may have begun anew when the list was made, and told of it since.
    let now = fleet.program(&program).await;
    if !is_over(&now.map_err(|error| error.to_string())?) {
        return Err("it is there again".to_owned());
    }
    let order = Order::Kill { program };
    let ended = async { fleet.apply(order, options).await?.wait().await };
    ended.await.map(drop).map_err(|error| error.to_string())
}

fn pruned_text(removed: &[Pruned], left: &[Pruned], is_dry: bool) -> Text {
    let word = if is_dry { "would remove" } else { "removed" };
    let mut lines: Vec<String> = removed
        .iter()
        .map(|one| format!("{word} {}", one.label()))
        .collect();
    let why = |one: &Pruned| one.why.clone().unwrap_or_default();
    lines.extend(
        left.iter()
            .map(|one| format!("left {}: {}", one.label(), why(one))),
    );
    match lines.is_empty() {
        true => "nothing has ended or is lost that belongs to no application".into(),
        false => lines.into_iter().collect(),
    }
}

pub(crate) async fn forget_engine(args: EngineForgetArgs, output: Output) -> Result {
    with_fleet(&args.ask.fleet, async |fleet| {
        let engine = fleet.whole_engine(&args.engine).await?.engine;
        let asked = fleet.engines_asked(ANSWER_TIMEOUT).await?;
        let is_there = |view: &wayfare_client::EngineView| view.online && view.heard != Heard::Silent;
        if asked.iter().any(|view| view.engine == engine && is_there(view)) {
            return Err(Fail::new("engine-there", format!("engine '{engine}' is there"))
                .hint("stop it first; `wayfare engine cordon` gives it nothing new"));
        }
        let left = fleet.programs_left_on(&engine).await?;
        if fleet.somebody_acts().await? {
            let forget = Ask::Forget {
                engine: engine.clone(),
            };
            let forget = match args.dry.dry_run {
                true => Ask::DryRun {
                    ask: Box::new(forget),
                },
                false => forget,
            };
            ask(fleet, &forget, args.ask.timeout).await?;
        }
        if !args.dry.dry_run {
            fleet.clear_engine(&engine, &left).await?;
        }
        let programs: Vec<Pruned> = left.iter().map(|view| Pruned::new(view, None)).collect();
        let document = json!({ "engine": engine, "programs": programs, "dry_run": args.dry.dry_run });
        output.print(&document, |_| {
            let word = if args.dry.dry_run {
                "would forget"
            } else {
                "forgot"
            };
            let of_program = |one: &Pruned| format!("{word} program {} ({})", one.name, one.program.short());
            let programs: Text = programs.iter().map(of_program).collect();
            Text::from(format!("{word} engine {engine}")).then(programs)
        })
    })
    .await
}
