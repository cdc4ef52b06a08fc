//! What can be typed about the values that programs keep.

use clap::{Args, Subcommand};

use super::DryRunArgs;
use super::apps::AskArgs;
use super::looking::QueryArgs;
use super::values::parse_key;
use wayfare_protocol::values::Key;

#[derive(Debug, Subcommand)]
pub(crate) enum StateVerb {
    /// List keys, with their values' versions and lengths
    Ls(StateLsArgs),
    /// Print a value
    Get(StateKeyArgs),
    /// Remove a value
    Rm(StateRmArgs),
}

#[derive(Debug, Args)]
pub(crate) struct StateLsArgs {
    /// Only keys that begin like this: /counters/ for shared ones, NAME/ for those of programs of a name
    #[arg(value_name = "PREFIX", default_value = "")]
    pub(crate) prefix: String,
    #[command(flatten)]
    pub(crate) query: QueryArgs,
    #[command(flatten)]
    pub(crate) ask: AskArgs,
}

#[derive(Debug, Args)]
pub(crate) struct StateKeyArgs {
    /// As `wayfare state ls` lists it
    #[arg(value_name = "KEY", value_parser = parse_key)]
    pub(crate) key: Key,
    #[command(flatten)]
    pub(crate) ask: AskArgs,
}

#[derive(Debug, Args)]
pub(crate) struct StateRmArgs {
    #[command(flatten)]
    pub(crate) dry: DryRunArgs,
    #[command(flatten)]
    pub(crate) one: StateKeyArgs,
}
