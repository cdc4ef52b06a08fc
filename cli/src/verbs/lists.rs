//! `wayfare modules` and `wayfare snapshots`: what programs are made of, and what is kept of them.

use serde_json::json;
use wayfare_client::rows::{self, ListedModule, ListedSnapshot, MODULE_FIELDS, SNAPSHOT_FIELDS};

use crate::args::looking::{ModulesArgs, SnapshotsArgs};
use crate::context::{with_fleet, with_services};
use crate::fail::Result;
use crate::output::{Output, Text, bytes, moment};
use crate::query::Query;

pub(super) async fn modules(args: ModulesArgs, output: Output) -> Result {
    let query = Query::new(&args.query, &MODULE_FIELDS)?;
    with_fleet(&args.fleet, async |fleet| {
        let modules = query.of(rows::modules(&fleet.listed().await?));
        let name = |one: &ListedModule| one.module.to_string();
        query.print(&modules, output, name, |one| json!(one), modules_table)
    })
    .await
}

pub(super) fn modules_table(modules: &[ListedModule]) -> Text {
    if modules.is_empty() {
        return "no programs, and so no modules: start one with `wayfare run`".into();
    }
    let row = |one: &ListedModule| {
        let applications: Vec<&str> = one.applications.iter().map(String::as_str).collect();
        vec![
            one.module.short(),
            one.name.clone(),
            one.programs.to_string(),
            one.ended.to_string(),
            one.engines.len().to_string(),
            match applications.is_empty() {
                true => "-".to_owned(),
                false => applications.join(", "),
            },
        ]
    };
    let head = ["MODULE", "NAME", "PROGRAMS", "ENDED", "ENGINES", "APPLICATIONS"];
    Text::table(&head, modules.iter().map(row))
}

pub(super) async fn snapshots(args: SnapshotsArgs, output: Output) -> Result {
    let query = Query::new(&args.query, &SNAPSHOT_FIELDS)?;
    with_services(&args.ask.fleet, async |fleet| {
        let applications = fleet.app_status(None, args.ask.timeout).await?;
        let snapshots = query.of(rows::snapshots(&applications));
        let name = |one: &ListedSnapshot| one.instance.clone();
        query.print(&snapshots, output, name, |one| json!(one), snapshots_table)
    })
    .await
}

pub(super) fn snapshots_table(snapshots: &[ListedSnapshot]) -> Text {
    if snapshots.is_empty() {
        return "no snapshots: `checkpoint` in an application's manifest makes them".into();
    }
    let row = |one: &ListedSnapshot| {
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".into());
        vec![
            one.instance.clone(),
            one.program.short(),
            or_dash(one.engine.as_ref().map(ToString::to_string)),
            moment(one.at_ms),
            or_dash(one.bytes.map(bytes)),
        ]
    };
    let head = ["INSTANCE", "PROGRAM", "ENGINE", "MADE", "LENGTH"];
    Text::table(&head, snapshots.iter().map(row))
}
