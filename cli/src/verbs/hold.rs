//! `wayfare hold` and `wayfare release`.

use wayfare_client::app::ask::Ask;
use wayfare_client::app::hold::HoldRecord;

use super::app::ask;
use super::dry;
use crate::args::apps::{HoldArgs, ReleaseArgs};
use crate::context::with_services;
use crate::fail::Result;
use crate::output::Output;

pub(crate) async fn hold(args: HoldArgs, output: Output) -> Result {
    let hold = Ask::Hold {
        for_ms: args
            .limit
            .map(|limit| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)),
        reason: args.reason,
    };
    with_services(&args.ask.fleet, async |fleet| {
        if args.dry.dry_run {
            return dry::ask(fleet, hold, args.ask.timeout, output).await;
        }
        let held: HoldRecord = fleet.ask_apps(&hold, args.ask.timeout).await?;
        output.print(&held, |held| format!("{held}; `wayfare release` ends that"))
    })
    .await
}

pub(crate) async fn release(args: ReleaseArgs, output: Output) -> Result {
    with_services(&args.ask.fleet, async |fleet| {
        if args.dry.dry_run {
            return dry::ask(fleet, Ask::Release, args.ask.timeout, output).await;
        }
        let answer = ask(fleet, &Ask::Release, args.ask.timeout).await?;
        output.print(&answer, |answer| match answer["changed"].as_bool() {
            Some(true) => "the fleet is released",
            _ => "the fleet is not held",
        })
    })
    .await
}
