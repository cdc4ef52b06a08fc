//! What can be typed about the values that programs keep.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::DryRunArgs;
use super::fleet::AskArgs;
use super::query::QueryArgs;
use super::values::{parse_key, parse_key_or_pattern, parse_pattern};
use wayfare_protocol::pattern::Pattern;
use wayfare_protocol::values::Key;

#[derive(Debug, Subcommand)]
pub(crate) enum StateVerb {
    /// List keys, with their values' versions and lengths
    Ls(StateLsArgs),
    /// Print a value
    Get(StateGetArgs),
    /// Set a value
    Set(StateSetArgs),
    /// Remove a value
    Rm(StateRmArgs),
    /// Print values as they are, and then each change
    Watch(StatePatternArgs),
    /// Write values as JSON lines, for `import`
    Export(StatePatternArgs),
    /// Set what `export` wrote, read from a file or standard input
    Import(StateImportArgs),
}

#[derive(Debug, Args)]
pub(crate) struct StateGetArgs {
    /// As `wayfare state ls` lists it
    #[arg(value_name = "KEY", value_parser = parse_key_or_pattern)]
    pub(crate) key: String,
    /// The key is a pattern: '+' stands for a level, and '#' at the end for any number of them. Prints JSON
    /// lines, as `export` does
    #[arg(long)]
    pub(crate) pattern: bool,
    #[command(flatten)]
    pub(crate) ask: AskArgs,
}

#[derive(Debug, Args)]
pub(crate) struct StateSetArgs {
    /// /shared, or NAME/key for what programs of that name know as key
    #[arg(value_name = "KEY", value_parser = parse_key_or_pattern)]
    pub(crate) key: String,
    #[arg(value_name = "VALUE")]
    pub(crate) value: String,
    /// The key is a pattern: whatever matches and is there is set, all of it or nothing
    #[arg(long, conflicts_with = "expect")]
    pub(crate) pattern: bool,
    /// Only if it has this version; 0: only if there is none
    #[arg(long, value_name = "VERSION")]
    pub(crate) expect: Option<u64>,
    #[command(flatten)]
    pub(crate) dry: DryRunArgs,
    #[command(flatten)]
    pub(crate) ask: AskArgs,
}

#[derive(Debug, Args)]
pub(crate) struct StatePatternArgs {
    /// A key, or a pattern with '+' for a level and '#' at the end for any number of them
    #[arg(value_name = "PATTERN", default_value = "#", value_parser = parse_pattern)]
    pub(crate) pattern: Pattern,
    #[command(flatten)]
    pub(crate) ask: AskArgs,
}

#[derive(Debug, Args)]
pub(crate) struct StateImportArgs {
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) ask: AskArgs,
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
