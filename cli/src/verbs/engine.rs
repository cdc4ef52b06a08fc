//! `wayfare engine`: the agent, in the foreground.

use std::future::Future;
use std::io::Read;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tracing_subscriber::EnvFilter;

use crate::args::{EngineVerbArgs, FleetArgs};
use crate::config::Settings;
use crate::fail::{Fail, Result};

/// Until Ctrl-C, or a polite kill, or the end of standard input where that was asked for.
pub(crate) fn run(mut args: EngineVerbArgs) -> Result {
    let settings = Settings::load(&FleetArgs {
        broker: None,
        root: None,
    })?;
    if args.unset.broker {
        args.engine.broker = settings.broker;
    }
    if args.unset.root {
        args.engine.root = settings.topics;
    }
    let filter = EnvFilter::try_new(&args.engine.log_level)
        .map_err(|error| Fail::usage(format!("--log-level '{}': {error}", args.engine.log_level)))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .init();
    let options = args
        .engine
        .options()
        .map_err(|error| Fail::usage(format!("{error:#}")))?;

    let runtime = wayfare_engine::shell::runtime()?;
    runtime.block_on(async {
        let shutdown = shutdown(args.until_stdin_closes.then(watch_stdin))?;
        let ended = wayfare_engine::shell::run(options, shutdown).await;
        ended.map_err(|error| Fail::new("engine", format!("{error:#}")))
    })
}

pub(super) fn shutdown(stdin_closed: Option<oneshot::Receiver<()>>) -> Result<impl Future<Output = ()>> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let stdin_closed = async {
        match stdin_closed {
            // The thread's end is the news, however it ends.
            Some(closed) => drop(closed.await),
            None => std::future::pending().await,
        }
    };
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            () = stdin_closed => {}
        }
    })
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
