//! `--dry-run`: what would become of something, or what would refuse it.

use std::time::Duration;

use wayfare_client::app::ask::{Ask, WouldAnswer};
use wayfare_client::{Client, CommandOptions, Order, Would};

use crate::fail::Result;
use crate::output::{Output, Text};

/// What would become of it: nothing is done.
pub(super) async fn ask(fleet: &Client, ask: Ask, limit: Duration, output: Output) -> Result {
    let dry = Ask::DryRun { ask: Box::new(ask) };
    let answer: WouldAnswer = fleet.ask_apps(&dry, limit).await?;
    output.print(&answer, |answer| match answer.would.as_slice() {
        [] => "nothing would change".into(),
        would => would
            .iter()
            .map(|line| format!("would: {line}"))
            .collect::<Text>(),
    })
}

/// What would become of an order: nothing is done.
pub(super) async fn order(fleet: &Client, order: Order, options: &CommandOptions, output: Output) -> Result {
    let would = fleet.would(order, options).await?;
    output.print(&would, sentence)
}

fn sentence(would: &Would) -> String {
    let id = would
        .program
        .map_or_else(String::new, |program| format!(" ({})", program.short()));
    let Would {
        verb, name, engine, ..
    } = would;
    match (&would.target, *verb) {
        (Some(target), _) => format!("would {verb} {name}{id} from {engine} to {target}"),
        (None, "forget") => format!("would forget {name}{id}, which no engine has"),
        (None, _) => format!("would {verb} {name}{id} on {engine}"),
    }
}
