//! What can be typed about contexts.

use clap::{Args, Subcommand};

use super::fleet::FleetArgs;
use super::values::parse_name;
use crate::completing::kept::contexts;

#[derive(Debug, Subcommand)]
pub(crate) enum ContextVerb {
    /// Keep a fleet's broker, root and login under a name; the first is used at once
    Add(ContextAddArgs),
    /// Use a context from now on, wherever --context names no other
    Use(ContextNameArgs),
    /// List contexts
    Ls,
    /// Remove a context
    Rm(ContextNameArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ContextAddArgs {
    #[arg(value_parser = parse_name)]
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) fleet: FleetArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ContextNameArgs {
    #[arg(add = contexts())]
    pub(crate) name: String,
}
