//! What can be typed about devices.

use clap::{Args, Subcommand};
use wayfare_protocol::device::Alias;

use super::DryRunArgs;
use super::fleet::AskArgs;

#[derive(Debug, Subcommand)]
pub(crate) enum DeviceVerb {
    /// Show what a device gives: of a simulated one also what programs have made of it
    Get(DeviceGetArgs),
    /// Set what programs read of a simulated device
    Set(DeviceSetArgs),
}

#[derive(Debug, Args)]
pub(crate) struct DeviceGetArgs {
    pub(crate) engine: String,
    /// As the engine's configuration calls it; `wayfare engines` lists them
    pub(crate) alias: Alias,
    #[command(flatten)]
    pub(crate) ask: AskArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DeviceSetArgs {
    pub(crate) engine: String,
    /// As the engine's configuration calls it; `wayfare engines` lists them
    pub(crate) alias: Alias,
    /// 'on' or 'off' for a gpio-in, a number for an adc, text that a serial port receives
    #[arg(allow_negative_numbers = true)]
    pub(crate) value: String,
    #[command(flatten)]
    pub(crate) dry: DryRunArgs,
    #[command(flatten)]
    pub(crate) ask: AskArgs,
}
