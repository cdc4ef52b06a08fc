//! What can be typed about whose orders count.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use wayfare_protocol::code::PublicKey;
use wayfare_protocol::ids::{EngineId, PeerName};
use wayfare_protocol::trust::roster::{Orders, Role};

use super::fleet::FleetArgs;
use crate::completing::engines;

#[derive(Debug, Args)]
pub(crate) struct OperatorArgs {
    #[command(subcommand)]
    pub(crate) verb: OperatorVerb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum OperatorVerb {
    /// Make the fleet's root key, and a roster that names you as its operator
    ///
    /// Engines look at signatures when they are started with --trust-root and the key that this prints. Keep
    /// the file of the root key where no machine of the fleet can read it: whoever has it has the fleet.
    Init(OperatorInitArgs),
    /// Print your own public key; it is made if there is none
    Key(OperatorKeyArgs),
    /// Let somebody's key order something, or change what it may order
    Add(OperatorAddArgs),
    /// Take somebody's key out of the roster
    Rm(OperatorRmArgs),
    /// List whose orders count
    Ls(OperatorLsArgs),
    /// Say what engines do about orders that are not signed: open, prefer (they warn) or require (they
    /// refuse)
    Orders(OperatorOrdersArgs),
    /// Say what dispatchers do about engines without a card (`wayfare enroll`): open, prefer (they warn) or
    /// require (such engines have no labels, and get no values and files for their programs)
    Engines(OperatorEnginesArgs),
    /// Publish the roster again, for a broker that has lost it
    Publish(RosterArgs),
}

/// Which fleet, and where its root key is.
#[derive(Debug, Args)]
pub(crate) struct RosterArgs {
    #[command(flatten)]
    pub(crate) fleet: FleetArgs,
    /// File of the fleet's root key; the roster is kept beside it [env: WAYFARE_ROOT_KEY]
    /// [default: $XDG_CONFIG_HOME/wayfare/root.key]
    #[arg(long, value_name = "FILE")]
    pub(crate) root_key: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct OperatorInitArgs {
    #[command(flatten)]
    pub(crate) roster: RosterArgs,
    /// Your name in the roster [default: your user name]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<PeerName>,
}

#[derive(Debug, Args)]
pub(crate) struct OperatorKeyArgs {
    #[command(flatten)]
    pub(crate) fleet: FleetArgs,
}

#[derive(Debug, Args)]
pub(crate) struct OperatorAddArgs {
    pub(crate) name: PeerName,
    /// Public key, as `wayfare operator key` prints it there, and a dispatcher when it begins to act
    pub(crate) key: PublicKey,
    /// operator (everything), deployer (run, restore, kill), viewer (logs) or dispatcher; can be given again
    #[arg(long = "role", value_name = "ROLE", default_value = "operator")]
    pub(crate) roles: Vec<Role>,
    #[command(flatten)]
    pub(crate) roster: RosterArgs,
}

#[derive(Debug, Args)]
pub(crate) struct OperatorRmArgs {
    pub(crate) name: PeerName,
    #[command(flatten)]
    pub(crate) roster: RosterArgs,
}

#[derive(Debug, Args)]
pub(crate) struct OperatorLsArgs {
    #[command(flatten)]
    pub(crate) roster: RosterArgs,
    /// The fleet's root key, where its file is not here
    #[arg(long, value_name = "KEY", env = "WAYFARE_TRUST_ROOT")]
    pub(crate) trust_root: Option<PublicKey>,
}

#[derive(Debug, Args)]
pub(crate) struct OperatorOrdersArgs {
    pub(crate) orders: Orders,
    #[command(flatten)]
    pub(crate) roster: RosterArgs,
}

#[derive(Debug, Args)]
pub(crate) struct OperatorEnginesArgs {
    pub(crate) rule: Orders,
    #[command(flatten)]
    pub(crate) roster: RosterArgs,
}

#[derive(Debug, Args)]
pub(crate) struct EnrollArgs {
    #[command(subcommand)]
    pub(crate) verb: EnrollVerb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum EnrollVerb {
    /// List the engines with the keys that they show, and whether somebody has approved these
    Ls(EnrollLsArgs),
    /// Say with your key that an engine has the key that it shows, and how it is labelled
    ///
    /// The engine's log says its key when it makes it: where others can be on the network, compare the two,
    /// or give that one with --key.
    Approve(EnrollApproveArgs),
    /// Take an engine's card away; it needs the fleet's root key, so that nobody brings the card back
    Rm(EnrollRmArgs),
}

#[derive(Debug, Args)]
pub(crate) struct EnrollLsArgs {
    #[command(flatten)]
    pub(crate) roster: RosterArgs,
    /// The fleet's root key, where its file is not here
    #[arg(long, value_name = "KEY", env = "WAYFARE_TRUST_ROOT")]
    pub(crate) trust_root: Option<PublicKey>,
}

#[derive(Debug, Args)]
pub(crate) struct EnrollApproveArgs {
    #[arg(add = engines())]
    pub(crate) engine: EngineId,
    /// What it is labelled, whatever it says itself; can be given again [default: as it says now]
    #[arg(long, value_name = "KEY=VALUE", value_parser = wayfare_protocol::labels::parse)]
    pub(crate) label: Vec<(String, String)>,
    /// The machine that it runs on [default: as it says now]
    #[arg(long, value_name = "NAME")]
    pub(crate) host: Option<String>,
    /// The key that it must show
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<PublicKey>,
    /// The fleet's root key, where its file is not here
    #[arg(long, value_name = "KEY", env = "WAYFARE_TRUST_ROOT")]
    pub(crate) trust_root: Option<PublicKey>,
    #[command(flatten)]
    pub(crate) roster: RosterArgs,
}

#[derive(Debug, Args)]
pub(crate) struct EnrollRmArgs {
    #[arg(add = engines())]
    pub(crate) engine: EngineId,
    #[command(flatten)]
    pub(crate) roster: RosterArgs,
}
