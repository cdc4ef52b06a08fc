//! What can be typed. Only shapes and help: nothing in here acts.

pub(crate) mod apps;
pub(crate) mod batch;
pub(crate) mod calls;
pub(crate) mod context;
pub(crate) mod devices;
pub(crate) mod engines;
pub(crate) mod fleet;
pub(crate) mod fs;
pub(crate) mod http;
pub(crate) mod language;
pub(crate) mod looking;
#[cfg(all(test, feature = "gateway"))]
mod offered;
pub(crate) mod operator;
pub(crate) mod ops;
pub(crate) mod programs;
pub(crate) mod project;
pub(crate) mod query;
#[cfg(test)]
mod reference;
pub(crate) mod services;
pub(crate) mod state;
#[cfg(test)]
mod tried;
pub(crate) mod values;

use std::borrow::Cow;
use std::ffi::OsString;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use crate::output::{Output, tell_json, write_usage};
use apps::{AppVerb, EventsArgs, HoldArgs};
use batch::BatchArgs;
use calls::{CallArgs, SendArgs, ServiceVerb, ServicesArgs};
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;
use context::ContextVerb;
use devices::DeviceVerb;
use engines::EngineVerbArgs;
use fleet::FleetArgs;
use fs::FsVerb;
use language::{JsVerb, LanguageVerb};
use looking::{
    EnginesArgs, InspectArgs, LogsArgs, ModulesArgs, PruneArgs, PsArgs, SnapshotsArgs, StatusArgs, TopArgs,
};
use operator::{EnrollArgs, OperatorArgs};
use ops::OpsArgs;
use programs::{MoveArgs, OnProgramsArgs, RestoreArgs, ResumeArgs, RunArgs, SnapshotArgs, SpawnArgs};
use project::{ManArgs, NewArgs, SchemaArgs, SupportBundleArgs};
use services::{CompileArgs, DemoArgs, DispatcherArgs, KeyArgs, UpArgs};
use state::StateVerb;
use values::{parse_duration, parse_expiry, parse_name};
use wayfare_client::operations::{QueuePolicy, Queueing};

const AFTER_HELP: &str = "\
Programs and engines are given by name, id, or a unique beginning of either; an application's instance
also as APP/COMPONENT/NUMBER.

Settings: a flag wins over the environment (WAYFARE_BROKER, WAYFARE_BROKER_CA,
WAYFARE_BROKER_LOGIN, WAYFARE_ROOT, WAYFARE_OPERATOR_KEY), which wins over the context in use
(`wayfare context use`). A context that is named (--context, WAYFARE_CONTEXT) leaves the environment
out; a broker that is given otherwise leaves out the context in use. Without a context, what is not
given is in the file
$XDG_CONFIG_HOME/wayfare/config.toml (by default ~/.config/wayfare/config.toml), with lines such as
  broker = \"mqtt://hub.local:1883\"
  root = \"wayfare\"
  broker-ca = \"/etc/ssl/hub.pem\"
  broker-login = \"/home/ann/.config/wayfare/broker-login\"
  operator-key = \"/home/ann/.config/wayfare/operator.key\"
The login and the key of your own `wayfare up` on this machine are found by themselves.

Exit codes: 0 done, 1 failed, 2 bad usage, 3 no answer in time, 4 an alarm stands (status), 130 interrupted (Ctrl-C).
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
    /// Look at programs in JavaScript and TypeScript before they are run
    Js {
        #[command(subcommand)]
        verb: JsVerb,
    },
    /// See to the fleet's files, which programs see below /fleet
    Fs {
        #[command(subcommand)]
        verb: FsVerb,
    },
    /// Call a function of a service that a program provides, and print what it answers
    Call(CallArgs),
    /// Send a message to a program that provides a service
    Send(SendArgs),
    /// List the services that programs provide
    Services(ServicesArgs),
    /// See to a service that programs provide
    Service {
        #[command(subcommand)]
        verb: ServiceVerb,
    },
    /// Show what was ordered and by whom, and what the dispatcher decided, and why
    Events(EventsArgs),
    /// List every order in the fleet: who gave it, and what became of it
    ///
    /// Without a verb it lists operations, the latest first.
    Ops(Box<OpsArgs>),
    /// Give many orders at once, as one operation
    ///
    /// FILE has an order a line: as it is typed, without the word `wayfare`, or as JSON, such as {"do":
    /// "move", "args": ["p"], "to": "b"} or ["move", "p", "--to", "b"]; `do` is the verb, `args` what stands
    /// without an option, and everything else an option, true for one without a value. A .toml file has such
    /// orders as `[[order]]`. Empty lines and those that begin with # are left out. All are read before the
    /// first is given.
    Batch(BatchArgs),
    /// Type verbs without the word `wayfare`, over one connection
    ///
    /// Ctrl-C ends a verb and not the shell. `source FILE` runs lines of a file, and `exit` ends it.
    Shell(FleetArgs),
    /// Hold the fleet: nothing is decided and no order taken until `wayfare release`
    ///
    /// Programs run on, and everything can be looked at. What was begun before ends as it would have. A hold
    /// stands for whichever dispatcher acts next as well.
    Hold(HoldArgs),
    /// End a hold
    Release(apps::ReleaseArgs),
    /// Make, show and change the key that signs code for engines without a compiler
    Key(KeyArgs),
    /// Say whose orders count in the fleet: keys of people and dispatchers, and what each may do
    Operator(OperatorArgs),
    /// Approve engines: say which key an engine has, and how it is labelled
    Enroll(EnrollArgs),
    /// Run a program
    Run(RunArgs),
    /// Move running programs to another engine
    Move(MoveArgs),
    /// Copy a running program to other engines; the original runs on
    Spawn(SpawnArgs),
    /// Hold programs where they are
    Pause(OnProgramsArgs),
    /// Let programs run on
    Resume(ResumeArgs),
    /// End programs and forget them
    #[command(visible_aliases = ["rm", "stop"])]
    Kill(OnProgramsArgs),
    /// Capture a running program into a file
    Snapshot(SnapshotArgs),
    /// Go on with a program from such a file
    Restore(RestoreArgs),
    /// List programs
    ///
    /// Those that run, and those that ended in the last 10 minutes.
    #[command(visible_alias = "ls")]
    Ps(PsArgs),
    /// Remove programs that have ended or are lost, and belong to no application
    Prune(PruneArgs),
    /// List engines
    Engines(EnginesArgs),
    /// List the modules that programs are made of
    Modules(ModulesArgs),
    /// List the snapshots of applications' instances that the dispatcher keeps, from which they go on if
    /// their engine is lost
    Snapshots(SnapshotsArgs),
    /// Show what engines and programs use, again and again, and see to them from there
    ///
    /// Engines are measured while this runs, and rest when it has ended. Keys are shown at the bottom. Rates
    /// are over the time between two lines of figures.
    Top(TopArgs),
    /// Look at an engine's devices, and set simulated ones
    Device {
        #[command(subcommand)]
        verb: DeviceVerb,
    },
    /// Show what a program has printed
    ///
    /// Its standard output and its standard error are shown as one, on standard output, in the order in which
    /// they were written; --stream shows one of them. A terminal gets text and colours, and other control
    /// characters are shown as \u{1b} and so on; pipes and files get every byte. Where lines are kept nowhere
    /// any more, a line on standard error says how many. A program that is followed waits for this command
    /// when it is 4096 lines or 1 MiB ahead, for at most 20 s each time that this command cannot be reached
    /// or its reader stands still; lines that are lost while it follows are a failure.
    Logs(LogsArgs),
    /// Open the dashboard of any fleet in a browser: serves it over HTTP on this machine until Ctrl-C
    #[cfg(feature = "gateway")]
    Ui(services::UiArgs),
    /// Make every engine report, and show the fleet and what is wrong with it; exits with 4 if an alarm
    /// stands
    Status(StatusArgs),
    /// Show all about a program, an engine or a module file
    Inspect(InspectArgs),
    /// Begin a project: a folder with a program that builds and runs
    New(NewArgs),
    /// Put what whoever helps has to know of the fleet into one file, without passwords and keys
    SupportBundle(SupportBundleArgs),
    /// Show it all on this machine: run, move, copy, pause and compare with an unmoved run
    Demo(DemoArgs),
    /// Keep several fleets' brokers, roots and logins under names, and use one of them
    Context {
        #[command(subcommand)]
        verb: ContextVerb,
    },
    /// Print the JSON Schema of what a verb prints with --json; without a verb, list those that have one
    Schema(SchemaArgs),
    /// Write a page for `man` of each verb, such as wayfare-engine-ls.1, and of the command
    Man(ManArgs),
    /// Print what a shell runs at its start to complete verbs, options, and the fleet's names: `source
    /// <(wayfare completion bash)`
    Completion {
        /// Left out: the one that SHELL names
        #[arg(value_enum)]
        shell: Option<Shell>,
        /// Put it where this user's shell finds it by itself (bash and fish), instead of printing it
        #[arg(long)]
        install: bool,
    },
}

/// Which fleet, and how long.
#[derive(Debug, Clone, Args)]
pub(crate) struct CommandArgs {
    #[command(flatten)]
    pub(crate) fleet: FleetArgs,
    /// How long it may take, such as 500ms, 30s or 5m; while an engine compiles for it, that does not count
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_duration)]
    pub(crate) timeout: Duration,
    /// Print the operation's id as soon as the engine has all it needs, and do not wait for the end
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// Wait for an engine that is offline, instead of failing at once
    #[arg(long)]
    pub(crate) wait_for_engine: bool,
    /// Wait for an engine that is offline for so long at most, such as 10m or 2d; an order that was not given
    /// by then has expired
    #[arg(long, value_name = "TIME", value_parser = parse_expiry)]
    pub(crate) expires: Option<Duration>,
    /// Join an order that waits already and asks for the same, or has the same key: both get its answer, and
    /// it is given once
    #[arg(long, value_name = "KEY", num_args = 0..=1, require_equals = true, value_parser = parse_name)]
    pub(crate) coalesce: Option<Option<String>>,
    /// Withdraw orders that wait, of the same verb about the same program or with the same key, before this
    /// one is given
    #[arg(long, value_name = "KEY", num_args = 0..=1, require_equals = true, value_parser = parse_name,
        conflicts_with = "coalesce")]
    pub(crate) supersede: Option<Option<String>>,
    #[command(flatten)]
    pub(crate) dry: DryRunArgs,
}

impl CommandArgs {
    /// What an order has to do with others that wait.
    pub(crate) fn queueing(&self) -> Option<Queueing> {
        let (policy, key) = match (&self.coalesce, &self.supersede) {
            (Some(key), _) => (QueuePolicy::Coalesce, key.clone()),
            (None, Some(key)) => (QueuePolicy::Supersede, key.clone()),
            (None, None) => return None,
        };
        Some(Queueing { policy, key })
    }
}

/// Whether it is done at all.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct DryRunArgs {
    /// Only say what would happen, or what would refuse it
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// Whether an engine that is to get nothing new may be named.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct MarkedArgs {
    /// Take the engine even if it is cordoned, being emptied or about to stop
    #[arg(long)]
    pub(crate) even_cordoned: bool,
}

/// Why there is nothing to run: help, version or bad usage.
pub(crate) struct NotRun {
    error: clap::Error,
    json: bool,
}

impl NotRun {
    /// Help was asked for, or the version.
    pub(crate) fn is_asked(&self) -> bool {
        !self.error.use_stderr()
    }

    /// What is wrong, without how it would be right.
    pub(crate) fn in_a_line(&self) -> String {
        let text = self.error.render().to_string();
        let lines = text.trim_start_matches("error: ").lines();
        let lines: Vec<&str> = lines.map(str::trim).take_while(|line| !line.is_empty()).collect();
        lines.join(" ")
    }

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

/// A bare `wayfare engine` starts an engine where a script or a service manager says it. People at a terminal
/// who look what verbs there are do not want that.
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
            "move p shop/web/0 --to pi-2",
            "stop p q",
            "rm p",
            "ls -a",
            "ps --sort -memory --limit 3 -q",
            "engines --sort cpus -q",
            "prune --dry-run",
            "top --sort -memory --where cpu>5% --every 5s",
            "top --once --json",
            "dispatcher --measure-every 30s",
            "move p q --to b --dry-run",
            "run m --dry-run",
            "app apply a.toml --dry-run",
            "engine drain a --dry-run",
            "hold --for 10m --reason upgrade",
            "release",
            "batch f.jsonl --parallel 4 --keep-going",
            "batch - --dry-run",
            "shell --root site",
            "new hello --lang rust",
            "schema",
            "schema app status",
            "new dir/hello",
            "support-bundle -o x.tar.gz --since 2d",
            "ops --batch 3f3f",
            "engine forget pi-1 --dry-run",
            "engine ls --sort cpus -q",
            "device ls pi-1 --where kind=adc -o csv",
            "spawn p --to a,b --to c",
            "resume p --force --json",
            "snapshot p -o f",
            "restore f --keep-id",
            "logs -f p --from-line 12",
            "logs a/b/0 c -n 50 -t --since 1d --until 2026-11-24T19:05:00+01:00 --grep e+ --stderr",
            "logs p --previous",
            "logs p --where line>5 -f",
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
            "events --about p --kind move --by ann --since 2d --until 1d",
            "ops --state failed --engine pi-1 --program p --by ann --since 1d --limit 5",
            "ops show 3f3f",
            "ops wait 3f3f --timeout 5m",
            "ops cancel 3f3f --json",
            "dispatcher --ops-max 500 --ops-for 7d",
            "engine drain pi-1 --deadline 1m",
            "engine cordon pi-1",
            "engine init --path f --force",
            "engine --config f --signed-only",
            "state ls /counters/",
            "state rm tally/mine --timeout 5s",
            "state get --pattern /lamps/+/level",
            "state set tally/mine x --expect 0",
            "state set --pattern /lamps/# off",
            "state watch",
            "state watch /lamps/# --json",
            "state export tally/#",
            "state import f",
            "run m --allow-fs /fleet/in:ro --allow-fs /fleet/out:rw",
            "fs ls",
            "fs rm -r /fleet/a --dry-run",
            "state rm tally/mine --dry-run",
            "device set a led on --dry-run",
            "fs ls /fleet --where length>1M --sort -age -o csv",
            "state ls --sort -length --limit 5 -q",
            "ops --where took>10s --sort -took -o json",
            "events --where kind=move --limit 3 -o csv",
            "ps -o wide",
            "fs put - /fleet/a",
            "fs cat /fleet/a --version 2 --offset 5 --bytes 1K",
            "fs cp --version 3 /fleet/a /fleet/b",
            "fs rm -r /fleet/a /fleet/b",
            "dispatcher --files s3://bucket/fleet",
            "dispatcher --store s3://bucket/fleet",
            "call service/calc double 2 --deadline 5s",
            "call program/p f --raw x",
            "send program/p x",
            "call app/shop/web/0 f --stream",
            "send app/shop x --type order --order t4 --expires 1m --wait 5s",
            "run m --allow-send app/shop/#",
            "services --all --json",
            "service stub calc --lang ts",
            "service stub calc --lang rust --schema calc.json",
            "inspect service/calc",
            "run m --allow-call service/+ --allow-serve calc",
            "completion bash",
            "completion fish --install",
            "man share/man/man1",
            "modules --where programs>1 --sort -engines -o csv",
            "snapshots --where age>1h -q",
            "context add site --broker mqtt://hub --root site",
            "context ls --json",
            "ps --context site",
            "move p q --to b --expires 2d --supersede",
            "move p --to b --wait-for-engine --coalesce=night",
            "run m --on a --expires 10m --coalesce",
        ] {
            assert_eq!(exit_of(&good.split(' ').collect::<Vec<_>>()), None, "{good}");
        }
        for bad in [
            "",
            "move p",
            "kill",
            "run",
            "fly",
            "run m --name a/b",
            "run m --env A",
            "run m --allow-env WAYFARE_BROKER",
            "run m --allow-state mine",
            "run m --allow-serve a/b",
            "call calc double",
            "call service/calc",
            "send service/+ x",
            "send app/shop/web/x x",
            "state set mine x",
            "state set --pattern a/# x --expect 1",
            "state watch a#",
            "run m --allow-fs /fleet/in",
            "run m --allow-fs /tmp:ro",
            "fs cat a",
            "fs put a",
            "ps --timeout 1s",
            "top --every 0",
            "man",
            "batch",
            "batch f --parallel 0",
            "new a/..",
            "new hello --lang cobol",
            "support-bundle",
            "batch f --ordered --parallel 2",
            "logs",
            "logs p --since yesterday",
            "events -f --until 1m",
            "ops show",
            "ops --state lost",
            "ops --limit 0",
            "hold --for 0",
            "context add a/b",
            "app history a --dry-run",
            "dispatcher --ops-max 0",
            "logs p --stderr --stream stdout",
            "move p --to q --timeout 0",
            "engine drain",
            "state get mine",
            "engine --id a drain b",
            "dispatcher --policy best",
            "move p --to b --expires 31d",
            "move p --to b --expires 0s",
            "move p --to b --coalesce --supersede",
            "move p --to b --coalesce=a/b",
            "run m --coalesce --follow",
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
