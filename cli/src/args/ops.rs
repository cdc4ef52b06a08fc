//! What can be typed about operations.

use clap::{Args, Subcommand, ValueEnum};
use wayfare_client::operations::{EXPIRED, OperationState, SUPERSEDED};

use super::fleet::AskArgs;
use super::query::QueryArgs;
use super::values::parse_time;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct OpsArgs {
    #[command(subcommand)]
    pub(crate) verb: Option<OpsVerb>,
    #[command(flatten)]
    pub(crate) list: OpsListArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum OpsVerb {
    /// Show all about one operation
    Show(OpsIdArgs),
    /// Wait for the end of an operation, such as one whose id `--no-wait` printed; ends with 1 if it failed
    /// or was cancelled
    Wait(OpsIdArgs),
    /// Withdraw an order that still waits for its engine (`--wait-for-engine`)
    ///
    /// Engines cannot take back a command that they have: then it is too late, and nothing changes.
    Cancel(OpsIdArgs),
}

#[derive(Debug, Args)]
pub(crate) struct OpsListArgs {
    /// Operations in this state
    #[arg(long, value_enum, value_name = "STATE")]
    pub(crate) state: Option<ShownState>,
    /// Of an engine, by its whole name: given to it, or moving or copying something to it
    #[arg(long, value_name = "ENGINE")]
    pub(crate) engine: Option<String>,
    /// About a program, by its whole name or the beginning of its id
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) program: Option<String>,
    /// Given by somebody, as USER or USER@HOST, or by 'dispatcher'
    #[arg(long, value_name = "WHO")]
    pub(crate) by: Option<String>,
    /// Given by one `wayfare batch`: its id, or the beginning of that
    #[arg(long, value_name = "OPERATION")]
    pub(crate) batch: Option<String>,
    /// Begun since so long ago, such as 10m or 1d, or since a time such as 2026-11-24T19:05:00Z
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(crate) since: Option<u64>,
    // Without --limit there are no more than 100.
    #[command(flatten)]
    pub(crate) query: QueryArgs,
    #[command(flatten)]
    pub(crate) ask: AskArgs,
}

#[derive(Debug, Args)]
pub(crate) struct OpsIdArgs {
    /// Its id, or a unique beginning of that
    #[arg(value_name = "OPERATION")]
    pub(crate) operation: String,
    #[command(flatten)]
    pub(crate) ask: AskArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ShownState {
    Waiting,
    Running,
    Done,
    Failed,
    Cancelled,
    /// Cancelled for a later order
    Superseded,
    /// Failed, because it was not given in time
    Expired,
}

impl ShownState {
    /// The word of those of the state that are meant; `None`: all of them.
    pub(crate) fn narrower(self) -> Option<&'static str> {
        match self {
            Self::Superseded => Some(SUPERSEDED),
            Self::Expired => Some(EXPIRED),
            _ => None,
        }
    }
}

impl From<ShownState> for OperationState {
    fn from(state: ShownState) -> Self {
        match state {
            ShownState::Waiting => Self::Waiting,
            ShownState::Running => Self::Running,
            ShownState::Done => Self::Done,
            ShownState::Failed | ShownState::Expired => Self::Failed,
            ShownState::Cancelled | ShownState::Superseded => Self::Cancelled,
        }
    }
}
