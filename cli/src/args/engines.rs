//! What can be typed to start an engine, and to see to the maintenance of one.

use std::time::Duration;

use clap::{Args, Subcommand};
use wayfare_engine::shell::{EngineArgs, InitArgs};

use super::DryRunArgs;
use super::fleet::AskArgs;
use super::looking::EnginesArgs;
use super::values::parse_duration;
use crate::completing::engines;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct EngineVerbArgs {
    #[command(subcommand)]
    pub(crate) verb: Option<EngineVerb>,
    #[command(flatten)]
    pub(crate) start: EngineStartArgs,
}

#[derive(Debug, Args)]
pub(crate) struct EngineStartArgs {
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
    /// End when standard input does: for who starts engines as child processes
    #[arg(long, hide = true)]
    pub(crate) until_stdin_closes: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum EngineVerb {
    /// Start an engine here, in the foreground
    Start(Box<EngineStartArgs>),
    /// List engines, as `wayfare engines` does
    Ls(EnginesArgs),
    /// Write a configuration file for the engine of this machine, which explains itself
    Init(InitArgs),
    /// Move everything off an engine while it runs on, and give it nothing new
    Drain(DrainArgs),
    /// Give an engine nothing new
    Cordon(EngineNameArgs),
    /// Give an engine work again
    Uncordon(EngineNameArgs),
    /// Remove an engine that is gone for good, with the programs that were on it, from all lists
    ///
    /// It is refused while the engine is there, or an instance of an application is on it as far as is known.
    /// An engine that comes back after all is listed again, with all that it has.
    Forget(EngineForgetArgs),
}

#[derive(Debug, Args)]
pub(crate) struct DrainArgs {
    #[arg(add = engines())]
    pub(crate) engine: String,
    /// Fail if it is not empty by then; it goes on being emptied
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = parse_duration)]
    pub(crate) deadline: Duration,
    /// Do not wait
    #[arg(long)]
    pub(crate) no_wait: bool,
    #[command(flatten)]
    pub(crate) dry: DryRunArgs,
    #[command(flatten)]
    pub(crate) ask: AskArgs,
}

#[derive(Debug, Args)]
pub(crate) struct EngineForgetArgs {
    /// By its whole name
    #[arg(add = engines())]
    pub(crate) engine: String,
    #[command(flatten)]
    pub(crate) dry: DryRunArgs,
    #[command(flatten)]
    pub(crate) ask: AskArgs,
}

#[derive(Debug, Args)]
pub(crate) struct EngineNameArgs {
    #[arg(add = engines())]
    pub(crate) engine: String,
    #[command(flatten)]
    pub(crate) dry: DryRunArgs,
    #[command(flatten)]
    pub(crate) ask: AskArgs,
}
