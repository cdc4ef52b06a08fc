//! What can be typed about devices.

use clap::{Args, Subcommand};
use wayfare_protocol::device::Alias;

use super::DryRunArgs;
use super::fleet::{AskArgs, FleetArgs};
use super::query::QueryArgs;
use crate::completing::engines;

#[derive(Debug, Subcommand)]
pub(crate) enum DeviceVerb {
    /// List the devices that engines offer
    Ls(DeviceLsArgs),
    /// Show what a device gives: of a simulated one also what programs have made of it
    Get(DeviceGetArgs),
    /// Set what programs read of a simulated device
    Set(DeviceSetArgs),
}

#[derive(Debug, Args)]
pub(crate) struct DeviceLsArgs {
    /// Of one engine [default: all]
    #[arg(add = engines())]
    pub(crate) engine: Option<String>,
    #[command(flatten)]
    pub(crate) query: QueryArgs,
    #[command(flatten)]
    pub(crate) fleet: FleetArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DeviceGetArgs {
    #[arg(add = engines())]
    pub(crate) engine: String,
    /// As the engine's configuration calls it; `wayfare device ls` lists them
    pub(crate) alias: Alias,
    #[command(flatten)]
    pub(crate) ask: AskArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DeviceSetArgs {
    #[arg(add = engines())]
    pub(crate) engine: String,
    /// As the engine's configuration calls it; `wayfare device ls` lists them
    pub(crate) alias: Alias,
    /// 'on' or 'off' for a gpio-in, a number for an adc, text that a serial port receives
    #[arg(allow_negative_numbers = true)]
    pub(crate) value: String,
    #[command(flatten)]
    pub(crate) dry: DryRunArgs,
    #[command(flatten)]
    pub(crate) ask: AskArgs,
}
