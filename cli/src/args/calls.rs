//! What can be typed to call programs' services.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use wayfare_protocol::address::Address;
use wayfare_protocol::choice::Choice;
use wayfare_protocol::ids::is_name;

use super::fleet::FleetArgs;
use super::values::parse_duration;
use crate::stubs::Language;

#[derive(Debug, Args)]
pub(crate) struct CallArgs {
    /// service/NAME, or program/NAME or program/ID of a program that serves anything; of app/NAME and other
    /// sets one is called
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
    /// Print how far it is, as the provider tells
    #[arg(long)]
    pub(crate) stream: bool,
    /// Which of several programs is called: those with engine=ID, host=NAME or label=KEY=VALUE, and of these
    /// the first, least-cpu, most-free-memory, or the one that a service such as service/coolest picks; with
    /// commas between them
    #[arg(long, value_name = "CHOICE")]
    pub(crate) choose: Option<Choice>,
    /// How long it may take, such as 500ms, 30s or 5m
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_duration)]
    pub(crate) deadline: Duration,
    #[command(flatten)]
    pub(crate) fleet: FleetArgs,
}

#[derive(Debug, Args)]
pub(crate) struct SendArgs {
    /// As for `wayfare call`, or a set: app/NAME, app/NAME/COMPONENT, engine/NAME or label/KEY=VALUE, each of
    /// which gets a copy
    #[arg(value_name = "ADDRESS")]
    pub(crate) address: Address,
    #[arg(value_name = "PAYLOAD")]
    pub(crate) payload: String,
    /// What messages of this sort are called, for the receiver
    #[arg(long = "type", value_name = "WORD")]
    pub(crate) kind: Option<String>,
    /// The receiver handles one message of this key at a time
    #[arg(long, value_name = "KEY")]
    pub(crate) order: Option<String>,
    /// It is of no use later than that: how long after now, such as 30s or 5m
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) expires: Option<Duration>,
    /// Wait until it is taken, for so long
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) wait: Option<Duration>,
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

#[derive(Debug, Subcommand)]
pub(crate) enum ServiceVerb {
    /// Print a client of a service, with the types that its schema has
    Stub(StubArgs),
}

#[derive(Debug, Args)]
pub(crate) struct StubArgs {
    /// The service, as in service/NAME
    #[arg(value_name = "NAME", value_parser = parse_service)]
    pub(crate) name: String,
    #[arg(long, value_enum, value_name = "LANGUAGE")]
    pub(crate) lang: Language,
    /// Read the schema from a file, and ask nobody
    #[arg(long, value_name = "FILE")]
    pub(crate) schema: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) fleet: FleetArgs,
}

/// With or without `service/`.
fn parse_service(text: &str) -> Result<String, String> {
    let name = text.strip_prefix("service/").unwrap_or(text);
    match is_name(name) {
        true => Ok(name.to_owned()),
        false => Err("a name is 1 to 64 of a-z A-Z 0-9 . _ -".into()),
    }
}
