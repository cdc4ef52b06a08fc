//! One file per group of verbs; each parses no more than it must, makes one library call, and prints.

mod app;
mod batch;
mod calls;
mod compile;
mod completion;
mod contexts;
mod device;
mod dispatcher;
mod dry;
mod engine;
mod enroll;
mod events;
mod fleet;
mod fs;
mod hold;
mod http;
mod inspect;
mod js;
mod key;
mod language;
mod lists;
mod logs;
mod maintenance;
mod man;
pub(crate) mod module;
mod new;
mod numbers;
mod open_calls;
mod operator;
mod ops;
mod programs;
mod prune;
mod run;
mod schema;
mod service;
mod shell;
mod snapshots;
mod state;
mod support_bundle;
mod top;
mod up;

#[cfg(test)]
mod hostile_tests;

use crate::args::calls::ServiceVerb;
use crate::args::engines::EngineVerb;
use crate::args::engines::EngineVerbArgs;
use crate::args::{Cli, Verb};
use crate::fail::Result;
use crate::output::Output;

pub(crate) fn run(cli: Cli, output: Output) -> Result {
    let verb = match cli.verb {
        // It brings a runtime of its own.
        Verb::Engine(args) if args.verb.is_none() => return engine::run(args.start),
        Verb::Engine(args) => match args.verb {
            Some(EngineVerb::Start(start)) => return engine::run(*start),
            verb => Verb::Engine(Box::new(EngineVerbArgs { verb, ..*args })),
        },
        verb => verb,
    };
    // That is a service, with a log of its own.
    if !matches!(verb, Verb::Dispatcher(_)) {
        show_what_libraries_say();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(run_async(verb, output))
}

/// Only where RUST_LOG asks for it: a command's own words are enough otherwise.
fn show_what_libraries_say() {
    if let Ok(filter) = tracing_subscriber::EnvFilter::try_from_default_env() {
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(|| wayfare_engine::shell::LogWriter)
            .with_ansi(crate::output::log_has_colours())
            .init();
    }
}

async fn run_async(verb: Verb, output: Output) -> Result {
    match verb {
        Verb::Up(args) => up::run(args, output).await,
        Verb::Dispatcher(args) => dispatcher::run(args).await,
        Verb::Compile(args) => compile::run(&args, output),
        Verb::Key(args) => key::run(&args, output),
        Verb::Operator(args) => operator::run(args, output).await,
        Verb::Enroll(args) => enroll::run(args, output).await,
        Verb::Run(args) => run::run(args, output).await,
        Verb::Move(args) => programs::move_program(args, output).await,
        Verb::Spawn(args) => programs::spawn(args, output).await,
        Verb::Pause(args) => programs::pause(args, output).await,
        Verb::Resume(args) => programs::resume(args, output).await,
        Verb::Kill(args) => programs::kill(args, output).await,
        Verb::Snapshot(args) => snapshots::snapshot(args, output).await,
        Verb::Restore(args) => snapshots::restore(args, output).await,
        Verb::Ps(args) => fleet::programs(args, output).await,
        Verb::Batch(args) => batch::run(args, output).await,
        Verb::Shell(args) => shell::run(args, output).await,
        Verb::Hold(args) => hold::hold(args, output).await,
        Verb::Release(args) => hold::release(args, output).await,
        Verb::Prune(args) => prune::run(args, output).await,
        Verb::Engines(args) => fleet::engines(args, output).await,
        Verb::Modules(args) => lists::modules(args, output).await,
        Verb::Snapshots(args) => lists::snapshots(args, output).await,
        Verb::Top(args) => top::run(args, output).await,
        Verb::Status(args) => fleet::status(args, output).await,
        #[cfg(feature = "gateway")]
        Verb::Ui(args) => http::ui(args, output).await,
        Verb::Device { verb } => device::run(verb, output).await,
        Verb::Language { verb } => language::run(verb, output).await,
        Verb::Js { verb } => js::run(&verb, output),
        Verb::Logs(args) => logs::run(args, output).await,
        Verb::Inspect(args) => inspect::run(args, output).await,
        Verb::Schema(args) => schema::run(&args, output),
        Verb::New(args) => new::run(&args, output),
        Verb::SupportBundle(args) => support_bundle::run(args, output).await,
        Verb::Demo(args) => crate::demo::run(args, output).await,
        Verb::Context { verb } => contexts::run(verb, output),
        Verb::Man(args) => man::run(&args, output),
        Verb::Completion { shell, install } => match install {
            true => completion::install(completion::of_user(shell)?, output),
            false => completion::print(completion::of_user(shell)?),
        },
        Verb::App { verb } => app::run(verb, output).await,
        Verb::State { verb } => state::run(verb, output).await,
        Verb::Fs { verb } => fs::run(verb, output).await,
        Verb::Ops(args) => ops::run(*args, output).await,
        Verb::Call(args) => calls::call(args, output).await,
        Verb::Send(args) => calls::send(args, output).await,
        Verb::Services(args) => calls::services(args, output).await,
        Verb::Service {
            verb: ServiceVerb::Stub(args),
        } => service::stub(args, output).await,
        Verb::Events(args) => events::run(args, output).await,
        Verb::Engine(args) => match args.verb {
            Some(verb) => maintenance::run(verb, output).await,
            None => unreachable!("done before"),
        },
    }
}
