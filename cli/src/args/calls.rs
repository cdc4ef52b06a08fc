//! What can be typed to call programs' services.

use std::time::Duration;

use clap::Args;
use wayfare_protocol::address::Address;

use super::FleetArgs;
use super::values::parse_duration;

#[derive(Debug, Args)]
pub(crate) struct CallArgs {
    /// service/NAME, or program/NAME or program/ID of a program that serves anything
    #[arg(value_name = "ADDRESS")]
    pub(crate) address: Address,
    #[arg(value_name = "FUNCTION")]
    pub(crate) function: String,
    /// Arguments, as JSON
    #[arg(value_name = "JSON", default_value = "null")]
    pub(crate) arguments: String,
    /// The arguments are bytes of any kind
    #[arg(long)]
    pub(crate) raw: bool,
    /// How long it may take, such as 500ms, 30s or 5m
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_duration)]
    pub(crate) deadline: Duration,
    #[command(flatten)]
    pub(crate) fleet: FleetArgs,
}

#[derive(Debug, Args)]
pub(crate) struct SendArgs {
    /// As for `wayfare call`
    #[arg(value_name = "ADDRESS")]
    pub(crate) address: Address,
    #[arg(value_name = "PAYLOAD")]
    pub(crate) payload: String,
    #[command(flatten)]
    pub(crate) fleet: FleetArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ServicesArgs {
    /// Every address at which a program can be called, not only services
    #[arg(long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) fleet: FleetArgs,
}
