//! What can be typed to say which fleet is meant, and how long it may take to answer.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::values::parse_duration;
use crate::completing::kept::contexts;

/// Which fleet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub(crate) struct FleetArgs {
    /// MQTT broker [env: WAYFARE_BROKER] [default: mqtt://127.0.0.1:1883]
    #[arg(long, value_name = "URL")]
    pub(crate) broker: Option<String>,
    /// File with the certificates (PEM) of the authorities that may have signed the broker's, for mqtts://
    /// [env: WAYFARE_BROKER_CA] [default: those that this machine trusts]
    #[arg(long, value_name = "FILE")]
    pub(crate) broker_ca: Option<PathBuf>,
    /// File whose first line is user:password for the broker [env: WAYFARE_BROKER_LOGIN]
    #[arg(long, value_name = "FILE")]
    pub(crate) broker_login: Option<PathBuf>,
    /// Topic root: several fleets can share a broker [env: WAYFARE_ROOT] [default: wayfare]
    #[arg(long, value_name = "TOPIC")]
    pub(crate) root: Option<String>,
    /// File of your key, which signs what you order [env: WAYFARE_OPERATOR_KEY]
    /// [default: $XDG_CONFIG_HOME/wayfare/operator.key if that is there]
    #[arg(long, value_name = "FILE")]
    pub(crate) operator_key: Option<PathBuf>,
    /// One of the fleets that `wayfare context` keeps [env: WAYFARE_CONTEXT] [default: the one in use]
    #[arg(long, value_name = "NAME", add = contexts())]
    pub(crate) context: Option<String>,
}

impl FleetArgs {
    /// Nothing of it was given.
    pub(crate) fn is_unsaid(&self) -> bool {
        *self == Self::default()
    }
}

/// Which fleet, and how long its dispatcher may take to answer.
#[derive(Debug, Clone, Args)]
pub(crate) struct AskArgs {
    #[command(flatten)]
    pub(crate) fleet: FleetArgs,
    /// How long it may take, such as 500ms, 30s or 5m
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_duration)]
    pub(crate) timeout: Duration,
}
