//! What can be typed to look at programs and engines.

use std::time::Duration;

use clap::Args;
use wayfare_protocol::log::Stream;

use super::DryRunArgs;
use super::fleet::{AskArgs, FleetArgs};
use super::query::QueryArgs;
use super::values::{parse_duration, parse_name, parse_time};
use crate::completing::{applications, programs};

#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// Programs, running, ended or killed: by name or id; or an application, APP/COMPONENT or
    /// APP/COMPONENT/NUMBER
    #[arg(value_name = "PROGRAM", required_unless_present = "app", add = programs())]
    pub(crate) programs: Vec<String>,
    /// An application, whatever else has its name; can be given again
    #[arg(long, value_name = "APP", value_parser = parse_name, add = applications())]
    pub(crate) app: Vec<String>,
    /// Go on until the programs end; of an application's instance with what takes its place. Ends with 1, and
    /// says why, if one was killed or did not end well
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Of what was printed until now only the last lines
    #[arg(short = 'n', long, value_name = "COUNT")]
    pub(crate) lines: Option<u32>,
    /// Show when each line was written, by the clock of its engine
    #[arg(short, long)]
    pub(crate) timestamps: bool,
    /// Lines written since so long ago, such as 10m or 1d, or since a time such as 2026-11-24T19:05:00Z
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(crate) since: Option<u64>,
    /// Lines written before so long ago, or before a time
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(crate) until: Option<u64>,
    /// Lines that match a regular expression
    #[arg(long, value_name = "REGEX")]
    pub(crate) grep: Option<String>,
    /// Lines of which this is so, such as 'text ~ error and not (text ~ retry) or stream = stderr'; fields
    /// are line, stream, text and age
    #[arg(long = "where", value_name = "EXPRESSION")]
    pub(crate) filter: Option<String>,
    /// Of the program that had the name before, such as a failed version's
    #[arg(long, conflicts_with = "follow")]
    pub(crate) previous: bool,
    /// Number of the first line; lines are counted from 0
    #[arg(long, value_name = "LINE", default_value_t = 0)]
    pub(crate) from_line: u64,
    /// Which of its streams to show
    #[arg(long, value_enum, value_name = "STREAM", default_value_t)]
    pub(crate) stream: ShownStream,
    /// Show its standard error alone
    #[arg(long, conflicts_with = "stream")]
    pub(crate) stderr: bool,
    #[command(flatten)]
    pub(crate) fleet: FleetArgs,
}

/// Which lines of a program's log are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum ShownStream {
    #[default]
    All,
    Stdout,
    Stderr,
}

impl ShownStream {
    pub(crate) fn takes(self, stream: Stream) -> bool {
        match self {
            Self::All => true,
            Self::Stdout => stream == Stream::Stdout,
            Self::Stderr => stream == Stream::Stderr,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct EnginesArgs {
    #[command(flatten)]
    pub(crate) query: QueryArgs,
    #[command(flatten)]
    pub(crate) fleet: FleetArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ModulesArgs {
    #[command(flatten)]
    pub(crate) query: QueryArgs,
    #[command(flatten)]
    pub(crate) fleet: FleetArgs,
}

#[derive(Debug, Args)]
pub(crate) struct SnapshotsArgs {
    #[command(flatten)]
    pub(crate) query: QueryArgs,
    #[command(flatten)]
    pub(crate) ask: AskArgs,
}

#[derive(Debug, Args)]
pub(crate) struct PsArgs {
    /// Also programs that ended more than 10 minutes ago, as --where does
    #[arg(short, long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) query: QueryArgs,
    #[command(flatten)]
    pub(crate) fleet: FleetArgs,
}

#[derive(Debug, Args)]
pub(crate) struct TopArgs {
    /// Print once, when there are two lines of figures to compare, and end
    #[arg(long)]
    pub(crate) once: bool,
    /// How often everything is measured
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = parse_duration)]
    pub(crate) every: Duration,
    /// Only programs of which this is so, as with `ps`
    #[arg(long = "where", value_name = "EXPRESSION")]
    pub(crate) filter: Option<String>,
    /// In the order of a field; with '-' in front the largest first
    #[arg(
        long,
        value_name = "FIELD",
        default_value = "-cpu",
        allow_hyphen_values = true
    )]
    pub(crate) sort: String,
    #[command(flatten)]
    pub(crate) fleet: FleetArgs,
}

#[derive(Debug, Args)]
pub(crate) struct PruneArgs {
    #[command(flatten)]
    pub(crate) dry: DryRunArgs,
    #[command(flatten)]
    pub(crate) ask: AskArgs,
}

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// Show it again whenever something changes
    #[arg(long)]
    pub(crate) watch: bool,
    /// How long engines may take to report
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = parse_duration)]
    pub(crate) timeout: Duration,
    #[command(flatten)]
    pub(crate) fleet: FleetArgs,
}

#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// A program, an engine, a service as service/NAME, a .wasm file or the name of a sample
    #[arg(value_name = "WHAT", add = programs())]
    pub(crate) what: String,
    #[command(flatten)]
    pub(crate) fleet: FleetArgs,
}
