//! What can be typed about applications, events and a hold.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::DryRunArgs;
use super::fleet::AskArgs;
use super::query::QueryArgs;
use super::values::{parse_age, parse_time};
use crate::completing::applications;

#[derive(Debug, Subcommand)]
pub(crate) enum AppVerb {
    /// Show what applying a manifest would change; exits with 0 for nothing, 1 for something
    #[command(visible_alias = "diff")]
    Plan(AppPlanArgs),
    /// Make what a manifest says so
    Apply(AppApplyArgs),
    /// Show applications and their instances
    #[command(visible_aliases = ["ls", "show"])]
    Status(AppStatusArgs),
    /// List an application's versions
    History(AppNameArgs),
    /// Go back to an earlier version
    Revert(AppRevertArgs),
    /// Change the number of a component's instances: the current version with another count
    Scale(AppScaleArgs),
    /// Have instances begin anew, a few at a time as in an update
    Restart(AppRestartArgs),
    /// Begin the next stage of a roll-out at once, or go on with one that was halted
    Promote(AppChangeArgs),
    /// Replace nothing more in a roll-out, until it is promoted
    Halt(AppChangeArgs),
    /// Say that a roll-out has failed: the version before comes back
    Fail(AppChangeArgs),
    /// Hold all instances of an application where they are
    Pause(AppChangeArgs),
    /// Let an application run on
    Resume(AppChangeArgs),
    /// End an application and forget it
    Rm(AppChangeArgs),
}

#[derive(Debug, Args)]
pub(crate) struct AppPlanArgs {
    /// The manifest
    #[arg(value_name = "APP.TOML")]
    pub(crate) manifest: PathBuf,
    /// Also write the plan to a file, for `apply --plan`
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) ask: AskArgs,
}

#[derive(Debug, Args)]
pub(crate) struct AppApplyArgs {
    /// The manifest
    #[arg(value_name = "APP.TOML")]
    pub(crate) manifest: PathBuf,
    /// Refuse if the application has changed since this plan was made
    #[arg(long, value_name = "FILE")]
    pub(crate) plan: Option<PathBuf>,
    /// Wait until all instances run and are healthy, within --timeout
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) wait: bool,
    #[command(flatten)]
    pub(crate) dry: DryRunArgs,
    #[command(flatten)]
    pub(crate) ask: AskArgs,
}

#[derive(Debug, Args)]
pub(crate) struct AppStatusArgs {
    /// One application [default: all]
    #[arg(add = applications())]
    pub(crate) application: Option<String>,
    #[command(flatten)]
    pub(crate) ask: AskArgs,
}

#[derive(Debug, Args)]
pub(crate) struct AppNameArgs {
    #[arg(add = applications())]
    pub(crate) application: String,
    #[command(flatten)]
    pub(crate) ask: AskArgs,
}

#[derive(Debug, Args)]
pub(crate) struct AppChangeArgs {
    #[arg(add = applications())]
    pub(crate) application: String,
    #[command(flatten)]
    pub(crate) dry: DryRunArgs,
    #[command(flatten)]
    pub(crate) ask: AskArgs,
}

#[derive(Debug, Args)]
pub(crate) struct AppScaleArgs {
    #[arg(add = applications())]
    pub(crate) application: String,
    pub(crate) component: String,
    pub(crate) count: u32,
    #[command(flatten)]
    pub(crate) dry: DryRunArgs,
    #[command(flatten)]
    pub(crate) ask: AskArgs,
}

#[derive(Debug, Args)]
pub(crate) struct AppRestartArgs {
    #[arg(add = applications())]
    pub(crate) application: String,
    /// One component [default: all]
    pub(crate) component: Option<String>,
    #[command(flatten)]
    pub(crate) dry: DryRunArgs,
    #[command(flatten)]
    pub(crate) ask: AskArgs,
}

#[derive(Debug, Args)]
pub(crate) struct AppRevertArgs {
    #[arg(add = applications())]
    pub(crate) application: String,
    /// Number of the version, as `history` lists it [default: the one before]
    pub(crate) version: Option<u64>,
    #[command(flatten)]
    pub(crate) dry: DryRunArgs,
    #[command(flatten)]
    pub(crate) ask: AskArgs,
}

#[derive(Debug, Args)]
pub(crate) struct EventsArgs {
    /// Go on with what happens
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Since how long ago, such as 10m or 1d, or since a time such as 2026-11-24T19:05:00Z
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = parse_time)]
    pub(crate) since: u64,
    /// Before so long ago, or before a time
    #[arg(long, value_name = "TIME", value_parser = parse_time, conflicts_with = "follow")]
    pub(crate) until: Option<u64>,
    /// About an application, APP/COMPONENT/NUMBER, an engine or a program, by its whole name; or a program's
    /// or operation's id, or the beginning of one
    #[arg(long, value_name = "SUBJECT")]
    pub(crate) about: Option<String>,
    /// Of one kind, such as move, kill, engine-lost or start
    #[arg(long, value_name = "KIND")]
    pub(crate) kind: Option<String>,
    /// Ends of orders that somebody gave, as USER or USER@HOST
    #[arg(long, value_name = "WHO")]
    pub(crate) by: Option<String>,
    #[command(flatten)]
    pub(crate) query: QueryArgs,
    #[command(flatten)]
    pub(crate) ask: AskArgs,
}

#[derive(Debug, Args)]
pub(crate) struct HoldArgs {
    /// End it by itself after so long, such as 10m or 1d [default: `wayfare release` ends it]
    #[arg(long = "for", value_name = "TIME", value_parser = parse_age)]
    pub(crate) limit: Option<Duration>,
    /// Why, for those whose orders are refused
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    #[command(flatten)]
    pub(crate) dry: DryRunArgs,
    #[command(flatten)]
    pub(crate) ask: AskArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ReleaseArgs {
    #[command(flatten)]
    pub(crate) dry: DryRunArgs,
    #[command(flatten)]
    pub(crate) ask: AskArgs,
}
