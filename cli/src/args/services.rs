//! What can be typed to start what runs on, and to see to what it needs: engines, dispatchers, keys,
//! compilers.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use wayfare_client::Policy;
use wayfare_protocol::code::PublicKey;
use wayfare_protocol::ids::EngineId;

use super::fleet::FleetArgs;
use super::http::{HttpArgs, UpHttpArgs};
use super::values::{parse_age, parse_duration, parse_policy, parse_size};

#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    /// Engines to start
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u16).range(0..=64))]
    pub(crate) engines: u16,
    /// Address that the broker listens on
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub(crate) bind: IpAddr,
    /// Port that the broker listens on
    #[arg(long, default_value_t = 1883)]
    pub(crate) port: u16,
    /// Let anybody connect to the broker without a login. Otherwise only this user's commands know the one
    /// that it makes at each start
    #[arg(long)]
    pub(crate) no_login: bool,
    /// Topic root [env: WAYFARE_ROOT] [default: wayfare]
    #[arg(long, value_name = "TOPIC")]
    pub(crate) root: Option<String>,
    /// Start no dispatcher: applications need one
    #[arg(long)]
    pub(crate) no_dispatcher: bool,
    /// Folder for what must survive a restart [default: $XDG_STATE_HOME/wayfare/up]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) http: UpHttpArgs,
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
    /// The fleet's root key: what changes something has to be signed as its roster says [default: no
    /// signature is looked at]
    #[arg(long, value_name = "KEY", env = "WAYFARE_TRUST_ROOT")]
    pub(crate) trust_root: Option<PublicKey>,
    /// Where programs of applications go: first-fit, best-fit, spread, least-cpu, most-free-memory or
    /// least-moves
    #[arg(long, value_name = "POLICY", default_value = "spread", value_parser = parse_policy)]
    pub(crate) policy: Policy,
    /// Where all that must survive is kept: s3://bucket/prefix, with the usual variables AWS_..., or a
    /// folder. Those that stand in for each other, on whatever hosts, share it. The fleet's key stays in
    /// --data [default: --data]
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
    /// The same of one whose connection to the broker has ended; at least 7s where the broker or the network
    /// may be the cause
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
    /// Operations that are listed by `wayfare ops`
    #[arg(long, value_name = "COUNT", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) ops_max: u32,
    /// For how long they are kept, such as 12h or 30d
    #[arg(long, value_name = "TIME", default_value = "30d", value_parser = parse_age)]
    pub(crate) ops_for: Duration,
    /// How often engines and programs are measured while nobody watches, so that `inspect` has an hour's
    /// figures [default: never]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) measure_every: Option<Duration>,
    /// Share of an engine's memory that programs may take before it sheds some
    #[arg(long, value_name = "PERCENT", default_value_t = 90, value_parser = clap::value_parser!(u64).range(1..=100))]
    pub(crate) memory_mark: u64,
    /// The same of its processors, for programs that ask for a share of them
    #[arg(long, value_name = "PERCENT", default_value_t = 90, value_parser = clap::value_parser!(u64).range(1..=100))]
    pub(crate) processor_mark: u64,
    /// The 'wayfare' of another release, which compiles for engines of that release; can be given again
    #[arg(long, value_name = "PATH")]
    pub(crate) compiler: Vec<PathBuf>,
    /// How long compiling a module may take, and how much processor time
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = parse_duration)]
    pub(crate) compiler_timeout: Duration,
    /// How much memory compiling a module may take
    #[arg(long, value_name = "SIZE", default_value = "2G", value_parser = parse_size)]
    pub(crate) compiler_memory: u64,
    /// How long it may be silent before another acts
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    pub(crate) lease: Duration,
    /// How many others are to stand by; fewer are an alarm
    #[arg(long, value_name = "COUNT", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=16))]
    pub(crate) standbys: u8,
    /// How much to say on standard error: error, warn, info, debug, trace, or a filter as in RUST_LOG
    #[arg(long, value_name = "LEVEL", env = "RUST_LOG", default_value = "info")]
    pub(crate) log_level: String,
    #[command(flatten)]
    pub(crate) http: HttpArgs,
    #[command(flatten)]
    pub(crate) fleet: FleetArgs,
}

#[cfg(feature = "gateway")]
#[derive(Debug, Args)]
pub(crate) struct UiArgs {
    /// Where the token is kept [default: $XDG_STATE_HOME/wayfare/ui]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) http: HttpArgs,
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
    /// File for the code, unsigned; '-' is standard output [default: none, and only what it would be is
    /// shown]
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
    /// The folder of the dispatcher, or of `wayfare up` [default: the one below $XDG_STATE_HOME/wayfare that
    /// has a key]
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
pub(crate) struct DemoArgs {
    /// How far the sample counts primes: more takes longer
    #[arg(long, value_name = "NUMBER", default_value_t = 8_000_000,
          value_parser = clap::value_parser!(u64).range(1_000_000..=100_000_000))]
    pub(crate) limit: u64,
    /// Show what the engines say
    #[arg(long)]
    pub(crate) engine_logs: bool,
}
