//! `wayfare events`: what was ordered and by whom; what the dispatcher decided, and why.

use wayfare_client::Client;
use wayfare_client::app::ask::{Ask, Decision, EventsWanted};
use wayfare_client::documents::decision as document;
use wayfare_client::rows::EVENT_FIELDS;

use crate::args::apps::EventsArgs;
use crate::context::with_services;
use crate::fail::{Fail, Result};
use crate::output::{Output, moment, say, say_json};
use crate::query::Query;

pub(crate) async fn run(args: EventsArgs, output: Output) -> Result {
    let wanted = EventsWanted {
        about: args.about.clone(),
        kind: args.kind.clone(),
        by: args.by.clone(),
        until_ms: args.until,
    };
    let query = Query::new(&args.query, &EVENT_FIELDS)?;
    if args.follow && query.needs_all() {
        return Err(Fail::usage(
            "--follow shows events as they come: --sort, --limit, -q and -o are for those that were",
        ));
    }
    with_services(&args.ask.fleet, async |fleet| {
        // First the live ones, then the past: nothing can fall between them.
        let mut live = if args.follow {
            Some(fleet.decisions().await?)
        } else {
            None
        };
        let mut kept = Vec::new();
        let mut after = past(fleet, &args, &wanted, |decision| {
            match query.needs_all() {
                true => kept.push(decision),
                false if query.takes(&decision) => print(&decision, output)?,
                false => {}
            }
            Ok(())
        })
        .await?;
        if query.needs_all() {
            let kept = query.of(kept);
            let sentences = |kept: &[Decision]| kept.iter().map(sentence).collect();
            return query.print(&kept, output, |one| one.kind.clone(), document, sentences);
        }
        let Some(live) = &mut live else { return Ok(()) };
        while let Some(decision) = live.recv().await {
            let place = (decision.term, decision.sequence);
            if after.is_none_or(|after| place > after) && wanted.takes(&decision) {
                if query.takes(&decision) {
                    print(&decision, output)?;
                }
                after = Some(place);
            }
        }
        Err(Fail::new("closed", "the connection to the broker was closed"))
    })
    .await
}

type Place = (wayfare_protocol::ids::Term, u64);

/// Gives `each` all that is kept; answers with the place of the last.
async fn past(
    fleet: &Client,
    args: &EventsArgs,
    wanted: &EventsWanted,
    mut each: impl FnMut(Decision) -> Result,
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
        for decision in part.into_iter().filter(|decision| wanted.takes(decision)) {
            each(decision)?;
        }
    }
}

fn print(decision: &Decision, output: Output) -> Result {
    match output {
        Output::Human => say(sentence(decision)),
        // Times are the same everywhere; what scripts knew before stays.
        Output::Json => say_json(&document(decision)),
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
