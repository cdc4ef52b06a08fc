//! What can be typed about many orders at once.

use clap::Args;

use super::DryRunArgs;
use super::fleet::FleetArgs;

#[derive(Debug, Args)]
pub(crate) struct BatchArgs {
    /// File with the orders; '-' is standard input
    #[arg(value_name = "FILE")]
    pub(crate) file: String,
    /// Each when the one before has ended; so it is without --parallel
    #[arg(long, conflicts_with = "parallel")]
    pub(crate) ordered: bool,
    /// So many at a time, in no order
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) parallel: Option<u16>,
    /// Go on with the others when one fails
    #[arg(long)]
    pub(crate) keep_going: bool,
    #[command(flatten)]
    pub(crate) dry: DryRunArgs,
    #[command(flatten)]
    pub(crate) fleet: FleetArgs,
}
