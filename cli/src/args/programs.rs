//! What can be typed to command programs.

use std::path::PathBuf;

use clap::Args;
use wayfare_protocol::device::Alias;
use wayfare_protocol::files::FileGrant;

use super::values::{
    parse_file_grant, parse_filter, parse_name, parse_service, parse_shared_key, parse_size, parse_variable,
    parse_variable_name,
};
use super::{CommandArgs, MarkedArgs};
use crate::completing::{applications, engines, programs};

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// A WASI command as a .wasm file; a program in a language that the fleet has (`wayfare language ls`),
    /// such as app.py; a folder whose app.toml names one module, or which has a file 'main'; or the name of a
    /// sample: counter, factorial, fib, primes, sort, wordfreq; scribe and ledger, which keep files; chat,
    /// relay, thermostat, which talk and need --allow-sub and --allow-pub; tally, which counts under a key;
    /// calc, which is called and calls with --allow-serve and --allow-call; web, a page at /r/web/ with
    /// --allow-serve http; and blink, which needs --allow-device led
    #[arg(value_name = "MODULE")]
    pub(crate) module: String,
    /// Engine to run it on [default: the one with the fewest programs]
    #[arg(long, value_name = "ENGINE", add = engines())]
    pub(crate) on: Option<String>,
    /// Name of the program [default: the module's]
    #[arg(long, value_parser = parse_name)]
    pub(crate) name: Option<String>,
    /// Environment variable; can be given again
    #[arg(long = "env", value_name = "K=V", value_parser = parse_variable)]
    pub(crate) env: Vec<(String, String)>,
    /// File for the program's standard input; '-' is this command's own
    #[arg(long, value_name = "FILE")]
    pub(crate) stdin: Option<PathBuf>,
    /// Largest memory of the program, such as 16M [default: the engine's limit]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) memory: Option<u64>,
    /// Topics it may publish to, as a filter such as 'sensors/#'; can be given again
    #[arg(long, value_name = "FILTER", value_parser = parse_filter)]
    pub(crate) allow_pub: Vec<String>,
    /// Topics it may subscribe to, as a filter; can be given again
    #[arg(long, value_name = "FILTER", value_parser = parse_filter)]
    pub(crate) allow_sub: Vec<String>,
    /// Addresses that it may call and send to, as a filter such as 'service/calc' or 'service/+'; can be
    /// given again
    #[arg(long, value_name = "FILTER", value_parser = parse_filter)]
    pub(crate) allow_call: Vec<String>,
    /// Addresses that it may send messages to, beside those that it may call; can be given again
    #[arg(long, value_name = "FILTER", value_parser = parse_filter)]
    pub(crate) allow_send: Vec<String>,
    /// Service that it may provide, or '+' for any; can be given again
    #[arg(long, value_name = "SERVICE", value_parser = parse_service)]
    pub(crate) allow_serve: Vec<String>,
    /// Beginning of shared keys whose values it may read and set, such as /counters/; can be given again
    #[arg(long, value_name = "PREFIX", value_parser = parse_shared_key)]
    pub(crate) allow_state: Vec<String>,
    /// What it may use of the fleet's files: a path below /fleet, and ':ro' to read or ':rw' to change as
    /// well; can be given again
    #[arg(long, value_name = "PATH:ro|rw", value_parser = parse_file_grant)]
    pub(crate) allow_fs: Vec<FileGrant>,
    /// Environment variable that it gets as its engine has it; can be given again
    #[arg(long, value_name = "NAME", value_parser = parse_variable_name)]
    pub(crate) allow_env: Vec<String>,
    /// Device that it may use, by the alias that engines have for it; can be given again. It then runs only
    /// where that is
    #[arg(long, value_name = "ALIAS")]
    pub(crate) allow_device: Vec<Alias>,
    /// Topics that its source declares in a first comment /*things.meta ... */, without asking
    #[arg(long)]
    pub(crate) allow_declared: bool,
    /// Messages it may publish in a second [default: as fast as the broker takes them]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) publish_rate: Option<u32>,
    /// Show what it prints until it ends; ends with 1 if the program's exit code is not 0, it did not end by
    /// itself, or lines were lost (see `wayfare logs --help`)
    #[arg(long, conflicts_with_all = ["no_wait", "coalesce"])]
    pub(crate) follow: bool,
    /// Once for all who want it: attach to what runs under this name, if it is made in the same way, or begin
    /// it, as an application of one program, NAME/main/0. It ends when nobody holds it any more. With
    /// --follow this command holds it while it runs, otherwise its user until `wayfare app rm NAME`
    #[arg(long, conflicts_with_all = ["coalesce", "supersede", "expires", "wait_for_engine", "even_cordoned"])]
    pub(crate) if_absent: bool,
    #[command(flatten)]
    pub(crate) marked: MarkedArgs,
    #[command(flatten)]
    pub(crate) command: CommandArgs,
    /// Arguments for the program
    #[arg(last = true, value_name = "ARGUMENTS")]
    pub(crate) args: Vec<String>,
}

/// Which programs: those that are named, and those that belong to something.
#[derive(Debug, Args)]
pub(crate) struct ChosenArgs {
    #[arg(value_name = "PROGRAM", required_unless_present_any = ["app", "label"], add = programs())]
    pub(crate) programs: Vec<String>,
    /// Also those of an application that have not ended; can be given again
    #[arg(long, value_name = "APP", value_parser = parse_name, add = applications())]
    pub(crate) app: Vec<String>,
    /// Also those that have not ended on engines with this label, and of --app only these; can be given again
    #[arg(long, value_name = "KEY=VALUE", value_parser = wayfare_protocol::labels::parse)]
    pub(crate) label: Vec<(String, String)>,
}

#[derive(Debug, Args)]
pub(crate) struct OnProgramsArgs {
    #[command(flatten)]
    pub(crate) chosen: ChosenArgs,
    #[command(flatten)]
    pub(crate) command: CommandArgs,
}

#[derive(Debug, Args)]
pub(crate) struct MoveArgs {
    #[command(flatten)]
    pub(crate) chosen: ChosenArgs,
    /// Engine to move them to
    #[arg(long, value_name = "ENGINE", add = engines())]
    pub(crate) to: String,
    #[command(flatten)]
    pub(crate) marked: MarkedArgs,
    #[command(flatten)]
    pub(crate) command: CommandArgs,
}

#[derive(Debug, Args)]
pub(crate) struct SpawnArgs {
    #[arg(add = programs())]
    pub(crate) program: String,
    /// Engines to copy it to
    #[arg(long, value_name = "ENGINES", value_delimiter = ',', required = true, add = engines())]
    pub(crate) to: Vec<String>,
    /// Name of the copies [default: the original's, with -copy]
    #[arg(long, value_parser = parse_name)]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) marked: MarkedArgs,
    #[command(flatten)]
    pub(crate) command: CommandArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ResumeArgs {
    #[command(flatten)]
    pub(crate) chosen: ChosenArgs,
    /// Take back programs whose move is in doubt. Only if their target is gone for good: else they run twice
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) command: CommandArgs,
}

#[derive(Debug, Args)]
pub(crate) struct SnapshotArgs {
    #[arg(add = programs())]
    pub(crate) program: String,
    /// File to write
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,
    #[command(flatten)]
    pub(crate) command: CommandArgs,
}

#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    pub(crate) file: PathBuf,
    /// Engine to go on [default: the one with the fewest programs]
    #[arg(long, value_name = "ENGINE", add = engines())]
    pub(crate) on: Option<String>,
    /// Name of the program [default: the one in the file]
    #[arg(long, value_parser = parse_name)]
    pub(crate) name: Option<String>,
    /// Keep the program's id: only if the original is gone
    #[arg(long)]
    pub(crate) keep_id: bool,
    /// Do not ask whether the program may have what the file grants it
    #[arg(long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) marked: MarkedArgs,
    #[command(flatten)]
    pub(crate) command: CommandArgs,
}
