//! `wayfare events`: what was ordered and by whom; what the dispatcher decided, and why.

use wayfare_client::Client;
use wayfare_client::app::ask::{Ask, Decision, EventsWanted};

use crate::args::apps::EventsArgs;
use crate::context::with_fleet;
use crate::fail::{Fail, Result};
use crate::output::{Output, moment, say, say_json_with};

pub(crate) async fn run(args: EventsArgs, output: Output) -> Result {
    let wanted = EventsWanted {
        about: args.about.clone(),
        kind: args.kind.clone(),
        by: args.by.clone(),
        until_ms: args.until,
    };
    with_fleet(&args.ask.fleet, async |fleet| {
        // First the live ones, then the past: nothing can fall between them.
        let mut live = if args.follow {
            Some(fleet.decisions().await?)
        } else {
            None
        };
        let mut after = past(fleet, &args, &wanted, output).await?;
        let Some(live) = &mut live else { return Ok(()) };
        while let Some(decision) = live.recv().await {
            let place = (decision.term, decision.sequence);
            if after.is_none_or(|after| place > after) && wanted.takes(&decision) {
                print(&decision, output)?;
                after = Some(place);
            }
        }
        Err(Fail::new("closed", "the connection to the broker was closed"))
    })
    .await
}

type Place = (wayfare_protocol::ids::Term, u64);

/// All that is kept; answers with the place of the last.
async fn past(
    fleet: &Client,
    args: &EventsArgs,
    wanted: &EventsWanted,
    output: Output,
) -> Result<Option<Place>> {
    let mut after = None;
    loop {
        let ask = Ask::Events {
            since_ms: args.since,
            after,
            wanted: wanted.clone(),
        };
        let part: Vec<Decision> = fleet.ask_apps(&ask, args.ask.timeout).await?;
        let Some(last) = part.last() else { return Ok(after) };
        after = Some((last.term, last.sequence));
        // A dispatcher of an earlier release leaves nothing out.
        for decision in part.iter().filter(|decision| wanted.takes(decision)) {
            print(decision, output)?;
        }
    }
}

fn print(decision: &Decision, output: Output) -> Result {
    match output {
        Output::Human => say(sentence(decision)),
        // Times are the same everywhere; what scripts knew before stays.
        Output::Json => say_json_with(decision, &[("at", &moment(decision.at_ms))]),
    }
}

pub(super) fn sentence(decision: &Decision) -> String {
    format!(
        "{}  {:18}  {}",
        moment(decision.at_ms),
        decision.kind,
        decision.text
    )
}
