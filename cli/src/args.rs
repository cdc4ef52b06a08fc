//! What can be typed. Only shapes and help: nothing in here acts.

pub(crate) mod apps;
pub(crate) mod devices;
pub(crate) mod fs;
pub(crate) mod language;
#[cfg(test)]
mod reference;
pub(crate) mod state;
pub(crate) mod values;

use std::borrow::Cow;
use std::ffi::OsString;
use std::io::IsTerminal;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use crate::output::{Output, tell_json, write_usage};
use apps::{AppVerb, EngineVerb, EventsArgs};
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;
use devices::DeviceVerb;
use fs::FsVerb;
use language::LanguageVerb;
use state::StateVerb;
use values::{
    parse_age, parse_duration, parse_file_grant, parse_filter, parse_name, parse_policy, parse_shared_key,
    parse_size, parse_time, parse_variable, parse_variable_name,
};
use wayfare_client::Policy;
use wayfare_engine::shell::EngineArgs;
use wayfare_protocol::device::Alias;
use wayfare_protocol::files::FileGrant;
use wayfare_protocol::ids::EngineId;
use wayfare_protocol::log::Stream;

const AFTER_HELP: &str = "\
Programs and engines are given by name, id, or a unique beginning of either.

Settings: a flag wins over the environment (WAYFARE_BROKER, WAYFARE_BROKER_CA,
WAYFARE_BROKER_LOGIN, WAYFARE_ROOT), which wins over the file
$XDG_CONFIG_HOME/wayfare/config.toml (by default ~/.config/wayfare/config.toml), with lines such as
  broker = \"mqtt://hub.local:1883\"
  root = \"wayfare\"
  broker-ca = \"/etc/ssl/hub.pem\"
  broker-login = \"/home/ann/.config/wayfare/broker-login\"

Exit codes: 0 done, 1 failed, 2 bad usage, 3 no answer in time.
A command whose standard output cannot be written has failed; one whose reader has gone away ends
quietly with 141, as if by SIGPIPE.

Names, reasons and other foreign text are shown with control characters escaped, such as \\u{1b}.";

/// Run, move and watch WebAssembly programs on a fleet of boards.
#[derive(Debug, Parser)]
#[command(name = "wayfare", version, after_help = AFTER_HELP, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct GlobalArgs {
    /// Print JSON: one document, or one a line where there are several; errors too, on standard error
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Show rows of tables whole; a terminal is shown as much as fits into its width
    #[arg(long, global = true)]
    pub(crate) no_trunc: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Start a broker here, and engines with it
    Up(UpArgs),
    /// Start an engine, or see to the maintenance of one
    ///
    /// Without a verb, but with options or outside of a terminal, it is `wayfare engine start`.
    Engine(Box<EngineVerbArgs>),
    /// Compile a module ahead of time, for any processor, as the dispatcher does for boards
    Compile(CompileArgs),
    /// Start the fleet's dispatcher; several stand in for each other
    Dispatcher(DispatcherArgs),
    /// Applications: say what should run, and it keeps running
    App {
        #[command(subcommand)]
        verb: AppVerb,
    },
    /// See to the values that programs keep
    State {
        #[command(subcommand)]
        verb: StateVerb,
    },
    /// See to languages, whose programs `run` takes as they are written
    Language {
        #[command(subcommand)]
        verb: LanguageVerb,
    },
    /// See to the fleet's files, which programs see below /fleet
    Fs {
        #[command(subcommand)]
        verb: FsVerb,
    },
    /// Show what the dispatcher decided, and why
    Events(EventsArgs),
    /// Make, show and change the key that signs code for engines without a compiler
    Key(KeyArgs),
    /// Run a program
    Run(RunArgs),
    /// Move a running program to another engine
    Move(MoveArgs),
    /// Copy a running program to other engines; the original runs on
    Spawn(SpawnArgs),
    /// Hold a program where it is
    Pause(OnProgramArgs),
    /// Let a program run on
    Resume(ResumeArgs),
    /// End a program and forget it
    Kill(OnProgramArgs),
    /// Capture a running program into a file
    Snapshot(SnapshotArgs),
    /// Go on with a program from such a file
    Restore(RestoreArgs),
    /// List programs
    Ps(FleetArgs),
    /// List engines
    Engines(FleetArgs),
    /// Look at an engine's devices, and set simulated ones
    Device {
        #[command(subcommand)]
        verb: DeviceVerb,
    },
    /// Show what a program has printed
    ///
    /// Its standard output and its standard error are shown as one, on standard output, in the order in which they were
    /// written; --stream shows one of them. A terminal gets text and colours, and other control characters are shown as \u{1b} and so on; pipes and files get every byte. Where lines are kept
    /// nowhere any more, a line on standard error says how many. A program that is followed waits for this command
    /// when it is 4096 lines or 1 MiB ahead, for at most 20 s each time that this command cannot be reached or its reader stands still;
    /// lines that are lost while it follows are a failure.
    Logs(LogsArgs),
    /// Make every engine report, and show the fleet
    Status(StatusArgs),
    /// Show all about a program, an engine or a module file
    Inspect(InspectArgs),
    /// Show it all on this machine: run, move, copy, pause and compare with an unmoved run
    Demo(DemoArgs),
    /// Print a completion script for a shell
    Completion {
        #[arg(value_enum)]
        shell: Shell,
    },
}

/// Which fleet.
#[derive(Debug, Clone, Default, Args)]
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
}

/// Which fleet, and how long.
#[derive(Debug, Clone, Args)]
pub(crate) struct CommandArgs {
    #[command(flatten)]
    pub(crate) fleet: FleetArgs,
    /// How long it may take, such as 500ms, 30s or 5m
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_duration)]
    pub(crate) timeout: Duration,
    /// Print the operation's id as soon as the engine has all it needs, and do not wait for the end
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// Wait for an engine that is offline, instead of failing at once
    #[arg(long)]
    pub(crate) wait_for_engine: bool,
}

/// Whether an engine that is to get nothing new may be named.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct MarkedArgs {
    /// Take the engine even if it is cordoned, being emptied or about to stop
    #[arg(long)]
    pub(crate) even_cordoned: bool,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct EngineVerbArgs {
    #[command(subcommand)]
    pub(crate) verb: Option<EngineVerb>,
    #[command(flatten)]
    pub(crate) start: EngineStartArgs,
}

#[derive(Debug, Args)]
pub(crate) struct EngineStartArgs {
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
    /// End when standard input does: for who starts engines as child processes
    #[arg(long, hide = true)]
    pub(crate) until_stdin_closes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    /// Engines to start
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u16).range(0..=64))]
    pub(crate) engines: u16,
    /// Address that the broker listens on; it asks nobody for a password
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub(crate) bind: IpAddr,
    /// Port that the broker listens on
    #[arg(long, default_value_t = 1883)]
    pub(crate) port: u16,
    /// Topic root [env: WAYFARE_ROOT] [default: wayfare]
    #[arg(long, value_name = "TOPIC")]
    pub(crate) root: Option<String>,
    /// Start no dispatcher: applications need one
    #[arg(long)]
    pub(crate) no_dispatcher: bool,
    /// Folder for what must survive a restart [default: $XDG_STATE_HOME/wayfare/up]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct DispatcherArgs {
    /// Folder for what must survive a restart; those that stand in for each other share it
    /// [default: $XDG_STATE_HOME/wayfare/dispatcher]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Name of this one, unique in the fleet [default: dispatcher- and some digits]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<EngineId>,
    /// Where programs of applications go: first-fit, best-fit, spread, least-cpu, most-free-memory or least-moves
    #[arg(long, value_name = "POLICY", default_value = "spread", value_parser = parse_policy)]
    pub(crate) policy: Policy,
    /// Where all that must survive is kept: s3://bucket/prefix, with the usual variables AWS_..., or a folder. Those that stand in for
    /// each other, on whatever hosts, share it. The fleet's key stays in --data [default: --data]
    #[arg(long, value_name = "URL", env = "WAYFARE_STORE")]
    pub(crate) store: Option<String>,
    /// Where the fleet's files are kept: s3://bucket/prefix, with the usual variables AWS_..., or a folder
    /// [default: with everything else]
    #[arg(long, value_name = "URL", env = "WAYFARE_FILES")]
    pub(crate) files: Option<String>,
    /// How often engines are asked whether they are there
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_duration)]
    pub(crate) poll: Duration,
    /// An engine that has not answered for so long gets nothing new
    #[arg(long, value_name = "TIME", default_value = "12s", value_parser = parse_duration)]
    pub(crate) late_after: Duration,
    /// What an engine had that has not answered for so long is started elsewhere
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_duration)]
    pub(crate) lost_after: Duration,
    /// The same of one whose connection to the broker has ended; at least 7s where the broker or the network may be the cause
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_duration)]
    pub(crate) grace: Duration,
    /// Room for what programs have printed, so that it can be read when they have ended: of all together,
    #[arg(long, value_name = "SIZE", default_value = "64M", value_parser = parse_size)]
    pub(crate) logs_max: u64,
    /// and of one program
    #[arg(long, value_name = "SIZE", default_value = "16M", value_parser = parse_size)]
    pub(crate) logs_per_program: u64,
    /// For how long it is kept, such as 12h or 7d
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = parse_age)]
    pub(crate) logs_for: Duration,
    /// Share of an engine's memory that programs may take before it sheds some
    #[arg(long, value_name = "PERCENT", default_value_t = 90, value_parser = clap::value_parser!(u64).range(1..=100))]
    pub(crate) memory_mark: u64,
    /// The same of its processors, for programs that ask for a share of them
    #[arg(long, value_name = "PERCENT", default_value_t = 90, value_parser = clap::value_parser!(u64).range(1..=100))]
    pub(crate) processor_mark: u64,
    /// The 'wayfare' of another release, which compiles for engines of that release; can be given again
    #[arg(long, value_name = "PATH")]
    pub(crate) compiler: Vec<PathBuf>,
    /// How long one of these may take for a module
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = parse_duration)]
    pub(crate) compiler_timeout: Duration,
    /// How long it may be silent before another acts
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    pub(crate) lease: Duration,
    /// How much to say on standard error: error, warn, info, debug, trace, or a filter as in RUST_LOG
    #[arg(long, value_name = "LEVEL", env = "RUST_LOG", default_value = "info")]
    pub(crate) log_level: String,
    #[command(flatten)]
    pub(crate) fleet: FleetArgs,
}

#[derive(Debug, Args)]
pub(crate) struct CompileArgs {
    /// A WASI command as a .wasm file, '-' for standard input, or the name of a sample
    #[arg(value_name = "MODULE", required_unless_present = "about")]
    pub(crate) module: Option<String>,
    /// Processor, such as aarch64, x86_64, or pulley32 for armv7 [default: this machine's]
    #[arg(long, value_name = "ARCH")]
    pub(crate) target: Option<String>,
    /// File for the code, unsigned; '-' is standard output [default: none, and only what it would be is shown]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Say what this release compiles for, and do nothing
    #[arg(long, conflicts_with_all = ["module", "target", "output"])]
    pub(crate) about: bool,
}

#[derive(Debug, Args)]
pub(crate) struct KeyArgs {
    #[command(subcommand)]
    pub(crate) what: KeyVerb,
    /// The folder of the dispatcher, or of `wayfare up` [default: the one below $XDG_STATE_HOME/wayfare that has a key]
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) data: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, Subcommand)]
pub(crate) enum KeyVerb {
    /// Make the fleet's first key; a dispatcher that finds none does so by itself
    Init,
    /// Print the public key, for the engines' configuration
    Show,
    /// Make a new key; code is signed with the newest that an engine trusts
    Rotate {
        /// When all engines trust the newest: sign with that alone
        #[arg(long)]
        finish: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// A WASI command as a .wasm file; a program in a language that the fleet has (`wayfare language ls`),
    /// such as app.py, or a folder with a file 'main'; or the name of a sample: counter, factorial, fib,
    /// primes, sort, wordfreq; scribe and ledger, which keep files; chat, relay, thermostat, which talk and
    /// need --allow-sub and --allow-pub; tally, which counts under a key; and blink, which needs
    /// --allow-device led
    #[arg(value_name = "MODULE")]
    pub(crate) module: String,
    /// Engine to run it on [default: the one with the fewest programs]
    #[arg(long, value_name = "ENGINE")]
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
    /// Beginning of shared keys whose values it may read and set, such as /counters/; can be given again
    #[arg(long, value_name = "PREFIX", value_parser = parse_shared_key)]
    pub(crate) allow_state: Vec<String>,
    /// What it may use of the fleet's files: a path below /fleet, and ':ro' to read or ':rw' to change as well; can be given again
    #[arg(long, value_name = "PATH:ro|rw", value_parser = parse_file_grant)]
    pub(crate) allow_fs: Vec<FileGrant>,
    /// Environment variable that it gets as its engine has it; can be given again
    #[arg(long, value_name = "NAME", value_parser = parse_variable_name)]
    pub(crate) allow_env: Vec<String>,
    /// Device that it may use, by the alias that engines have for it; can be given again. It then runs only where that is
    #[arg(long, value_name = "ALIAS")]
    pub(crate) allow_device: Vec<Alias>,
    /// Messages it may publish in a second [default: as fast as the broker takes them]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) publish_rate: Option<u32>,
    /// Show what it prints until it ends; ends with 1 if the program's exit code is not 0, it did not end by itself, or
    /// lines were lost (see `wayfare logs --help`)
    #[arg(long, conflicts_with = "no_wait")]
    pub(crate) follow: bool,
    #[command(flatten)]
    pub(crate) marked: MarkedArgs,
    #[command(flatten)]
    pub(crate) command: CommandArgs,
    /// Arguments for the program
    #[arg(last = true, value_name = "ARGUMENTS")]
    pub(crate) args: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct OnProgramArgs {
    pub(crate) program: String,
    #[command(flatten)]
    pub(crate) command: CommandArgs,
}

#[derive(Debug, Args)]
pub(crate) struct MoveArgs {
    pub(crate) program: String,
    /// Engine to move it to
    #[arg(long, value_name = "ENGINE")]
    pub(crate) to: String,
    #[command(flatten)]
    pub(crate) marked: MarkedArgs,
    #[command(flatten)]
    pub(crate) command: CommandArgs,
}

#[derive(Debug, Args)]
pub(crate) struct SpawnArgs {
    pub(crate) program: String,
    /// Engines to copy it to
    #[arg(long, value_name = "ENGINES", value_delimiter = ',', required = true)]
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
    pub(crate) program: String,
    /// Take back a program whose move is in doubt. Only if its target is gone for good: else it runs twice
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) command: CommandArgs,
}

#[derive(Debug, Args)]
pub(crate) struct SnapshotArgs {
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
    #[arg(long, value_name = "ENGINE")]
    pub(crate) on: Option<String>,
    /// Name of the program [default: the one in the file]
    #[arg(long, value_parser = parse_name)]
    pub(crate) name: Option<String>,
    /// Keep the program's id: only if the original is gone
    #[arg(long)]
    pub(crate) keep_id: bool,
    #[command(flatten)]
    pub(crate) marked: MarkedArgs,
    #[command(flatten)]
    pub(crate) command: CommandArgs,
}

#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// Programs, running, ended or killed: by name or id; or an application, APP/COMPONENT or APP/COMPONENT/NUMBER
    #[arg(value_name = "PROGRAM", required = true)]
    pub(crate) programs: Vec<String>,
    /// Go on until the programs end; of an application's instance with what takes its place. Ends with 1, and says why, if one was
    /// killed or did not end well
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
    /// A program, an engine, a .wasm file or the name of a sample
    #[arg(value_name = "WHAT")]
    pub(crate) what: String,
    #[command(flatten)]
    pub(crate) fleet: FleetArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// How far the sample counts primes: more takes longer
    #[arg(long, value_name = "NUMBER", default_value_t = 8_000_000,
          value_parser = clap::value_parser!(u64).range(1_000_000..=100_000_000))]
    pub(crate) limit: u64,
    /// Show what the engines say
    #[arg(long)]
    pub(crate) engine_logs: bool,
}

/// Why there is nothing to run: help, version or bad usage.
pub(crate) struct NotRun {
    error: clap::Error,
    json: bool,
}

impl NotRun {
    pub(crate) fn print(self) -> ExitCode {
        let is_bad = self.error.use_stderr();
        if self.json && is_bad {
            let text = self.error.render().to_string();
            let text = text.trim_start_matches("error: ").trim_end();
            tell_json(&serde_json::json!({ "error": "bad-usage", "message": text, "exit": 2 }));
            return ExitCode::from(2);
        }
        let printed = write_usage(&self.error.render(), is_bad);
        match printed {
            // Nobody is left who could be told about bad usage.
            _ if is_bad => ExitCode::from(2),
            Ok(()) => ExitCode::SUCCESS,
            Err(fail) => fail.print(Output::Human),
        }
    }
}

pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Cli, NotRun> {
    let args: Vec<OsString> = args.into_iter().collect();
    let json = args
        .iter()
        .take_while(|arg| *arg != "--")
        .any(|arg| arg == "--json");
    let matches = Cli::command()
        .try_get_matches_from(meant(&args, std::io::stdin().is_terminal()).iter())
        .map_err(|error| NotRun { error, json })?;
    let mut cli = Cli::from_arg_matches(&matches).map_err(|error| NotRun { error, json })?;
    cli.global.json |= json;
    Ok(cli)
}

/// A bare `wayfare engine` starts an engine where a script or a service manager says it. People at a terminal who look what verbs
/// there are do not want that.
fn meant(args: &[OsString], at_terminal: bool) -> Cow<'_, [OsString]> {
    match args {
        [_, verb] if at_terminal && verb == "engine" => [args, &["--help".into()]].concat().into(),
        _ => args.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit_of(args: &[&str]) -> Option<i32> {
        let args = std::iter::once(&"wayfare").chain(args).map(OsString::from);
        parse(args).err().map(|not_run| not_run.error.exit_code())
    }

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn good_usage_is_taken_and_bad_usage_is_two() {
        for good in [
            "run m --allow-env SITE --allow-env ROOM --allow-state /counters/",
            "run primes --on pi-1 --name p --env A=1 --env B= --stdin - --memory 16M --follow -- 5 --json",
            "move p --to pi-2 --timeout 5m --no-wait",
            "spawn p --to a,b --to c",
            "resume p --force --json",
            "snapshot p -o f",
            "restore f --keep-id",
            "logs -f p --from-line 12",
            "logs a/b/0 c -n 50 -t --since 1d --until 2026-11-24T19:05:00+01:00 --grep e+ --stderr",
            "logs p --previous",
            "status --watch",
            "up --engines 3 --bind 0.0.0.0 --port 0",
            "engine --id a --broker mqtt://hub",
            "engine start --id a --signed-only",
            "run m --on pi-1 --even-cordoned",
            "engines --no-trunc",
            "dispatcher --name d-1 --lease 2s --data /d",
            "up --no-dispatcher",
            "app plan a.toml -o p.json",
            "app apply a.toml --plan p.json --wait",
            "app revert a 3",
            "events -f --since 10m",
            "engine drain pi-1 --deadline 1m",
            "engine cordon pi-1",
            "engine init --path f --force",
            "engine --config f --signed-only",
            "state ls /counters/",
            "state rm tally/mine --timeout 5s",
            "run m --allow-fs /fleet/in:ro --allow-fs /fleet/out:rw",
            "fs ls",
            "fs put - /fleet/a",
            "fs cat /fleet/a --version 2 --offset 5 --bytes 1K",
            "fs cp --version 3 /fleet/a /fleet/b",
            "fs rm -r /fleet/a /fleet/b",
            "dispatcher --files s3://bucket/fleet",
            "dispatcher --store s3://bucket/fleet",
            "completion bash",
        ] {
            assert_eq!(exit_of(&good.split(' ').collect::<Vec<_>>()), None, "{good}");
        }
        for bad in [
            "",
            "move p",
            "run",
            "fly",
            "run m --name a/b",
            "run m --env A",
            "run m --allow-env WAYFARE_BROKER",
            "run m --allow-state mine",
            "run m --allow-fs /fleet/in",
            "run m --allow-fs /tmp:ro",
            "fs cat a",
            "fs put a",
            "ps --timeout 1s",
            "logs",
            "logs p --since yesterday",
            "logs p --stderr --stream stdout",
            "move p --to q --timeout 0",
            "engine drain",
            "state get mine",
            "engine --id a drain b",
            "dispatcher --policy best",
        ] {
            assert_eq!(exit_of(&bad.split(' ').collect::<Vec<_>>()), Some(2), "{bad}");
        }
        assert_eq!(exit_of(&["--help"]), Some(0));
    }

    #[test]
    fn a_bare_engine_is_a_question_at_a_terminal_and_a_start_elsewhere() {
        let args = |text: &str| text.split(' ').map(OsString::from).collect::<Vec<_>>();
        let bare = args("wayfare engine");
        assert_eq!(*meant(&bare, true), args("wayfare engine --help"));
        assert_eq!(*meant(&bare, false), bare);
        for typed in ["wayfare engine start", "wayfare engine --id a", "wayfare ps"] {
            assert_eq!(*meant(&args(typed), true), args(typed));
        }
    }

    #[test]
    fn json_is_ours_only_before_the_programs_arguments() {
        let parsed = |text: &str| {
            let args = text.split(' ').map(OsString::from);
            parse(args).ok().map(|cli| cli.global.json)
        };
        assert_eq!(parsed("wayfare --json ps"), Some(true));
        assert_eq!(parsed("wayfare ps --json"), Some(true));
        assert_eq!(parsed("wayfare run m -- --json"), Some(false));
    }
}
