//! `wayfare engine`: the agent, in the foreground, and its configuration file.

use std::future::Future;
use std::io::Read;

use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use wayfare_engine::shell::{ConfigurationError, InitArgs, Initialised};

use crate::args::engines::EngineStartArgs;
use crate::args::fleet::FleetArgs;
use crate::config::Settings;
use crate::fail::{Fail, Result};
use crate::local::LocalFleet;
use crate::output::Output;
use crate::service_log::ServiceLog;

/// Until Ctrl-C, or a polite kill, or the end of standard input where that was asked for.
pub(crate) fn run(args: EngineStartArgs) -> Result {
    let mut engine = args.engine.with_file().map_err(configuration)?;
    // A fleet of this user's `wayfare up` is joined as its commands reach it: its login is another at each
    // start.
    let local = engine.broker.as_ref().filter(|_| engine.broker_login.is_none());
    if let Some(local) = local.and_then(LocalFleet::at) {
        engine.broker_login = local.broker_login;
        engine.trust_root = engine.trust_root.or(local.trust_root);
    }
    // What every verb goes by, where the engine's own settings say nothing.
    if engine.broker.is_none() || engine.root.is_none() {
        let settings = Settings::load(&FleetArgs::default())?;
        if engine.broker.is_none() {
            engine.broker = Some(settings.broker);
            engine.trust_root = engine.trust_root.or(settings.trust_root);
        }
        engine.root.get_or_insert(settings.topics);
    }
    let runtime = wayfare_engine::shell::runtime()?;
    // One without a name has this machine's.
    let machine = || wayfare_link::machine_name().unwrap_or_default();
    let name = engine.id.as_ref().map_or_else(machine, ToString::to_string);
    let log = ServiceLog::begin(engine.log_level(), ("wayfare-engine", &name), runtime.handle())?;
    let options = engine
        .options()
        .map_err(|error| Fail::usage(format!("{error:#}")))?;
    runtime.block_on(async {
        let stdin = args.until_stdin_closes.then(watch_stdin);
        let stops = wayfare_engine::shell::stop_signals(stdin_closed(stdin))?;
        let ended = wayfare_engine::shell::run(options, stops).await;
        log.close().await;
        ended.map_err(|error| Fail::new("engine", format!("{error:#}")))
    })
}

/// `wayfare engine init`.
pub(super) fn init(args: &InitArgs, output: Output) -> Result {
    let done = args.write().map_err(configuration)?;
    let document = json!({ "file": args.path, "written": done == Initialised::Written });
    output.print(&document, |_| match done {
        Initialised::Written => format!(
            "wrote {}: every setting is in it, with its default",
            args.path.display()
        ),
        Initialised::Kept => format!(
            "{} is there, and stays as it is; --force writes it anew",
            args.path.display()
        ),
    })
}

fn configuration(error: ConfigurationError) -> Fail {
    match error {
        ConfigurationError::Write { .. } => Fail::new("file", error.to_string()),
        _ => Fail::usage(error.to_string()),
    }
}

pub(super) fn shutdown() -> Result<impl Future<Output = ()>> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

async fn stdin_closed(closed: Option<oneshot::Receiver<()>>) {
    match closed {
        // The thread's end is the news, however it ends.
        Some(closed) => drop(closed.await),
        None => std::future::pending().await,
    }
}

/// A thread of its own, because nothing can interrupt a blocking read: it ends with the process.
fn watch_stdin() -> oneshot::Receiver<()> {
    let (sender, closed) = oneshot::channel();
    std::thread::spawn(move || {
        let mut byte = [0];
        // What is written there is nothing to us; an error is an end as well.
        while matches!(std::io::stdin().lock().read(&mut byte), Ok(1..)) {}
        // The receiver may have gone: then the engine is ending already.
        let _ = sender.send(());
    });
    closed
}
