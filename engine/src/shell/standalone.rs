//! An engine that is a process of its own: logging, signals, and the runtime.

use std::io::{self, IsTerminal, Write};

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{self, Receiver};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;

use super::arguments::EngineArgs;
use super::run::run;

/// Threads for work that takes long. More would only compete for memory on a board.
const WORK_THREADS_MAX: usize = 4;
const LINK_THREADS: usize = 1;

/// Signals to stop that may wait; more are as good as these.
const STOPS_MAX: usize = 4;

/// Standard error for logs. A reader that has gone away is no reason to end: what it would have read is given
/// up.
pub struct LogWriter;

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Nobody is left who could be told.
        let _ = io::stderr().lock().write_all(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Runs an engine until SIGTERM or SIGINT. A second signal ends its wait for programs to be moved elsewhere,
/// or if it does not wait for that, the engine at once.
pub fn run_to_the_end(arguments: EngineArgs) -> anyhow::Result<()> {
    let arguments = arguments.with_file()?;
    let level = arguments.log_level();
    // Levels for parts, without the regular expressions of `EnvFilter`: those are a tenth of a board's
    // binary.
    let filter: Targets = level.parse().with_context(|| {
        format!("'{level}' is not a log level, and no list such as info,wayfare_link=debug")
    })?;
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(|| LogWriter)
        .with_target(false);
    // On a terminal it has colours, unless NO_COLOR is set.
    let lines = match io::stderr().is_terminal() {
        true => lines,
        false => lines.with_ansi(false),
    };
    tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .init();
    let options = arguments.options()?;
    let runtime = runtime().context("cannot set up the engine's threads")?;
    runtime.block_on(async {
        let stops = stop_signals(std::future::pending()).context("cannot wait for signals")?;
        run(options, stops).await
    })
}

/// A message for each SIGTERM and SIGINT, and one when `also` is ready.
pub fn stop_signals(also: impl Future<Output = ()> + Send + 'static) -> std::io::Result<Receiver<()>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (stop, stops) = mpsc::channel(STOPS_MAX);
    // It ends when nobody waits for it any more.
    tokio::spawn(async move {
        let mut also = std::pin::pin!(also);
        let mut is_also_ready = false;
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                () = &mut also, if !is_also_ready => is_also_ready = true,
                () = stop.closed() => return,
            }
            // A full queue is reason enough to stop.
            let _ = stop.try_send(());
        }
    });
    Ok(stops)
}

/// What an engine runs best on: its loop on the thread that blocks on [`run()`], and the link to the broker
/// on another, so that messages go out while the loop stores something.
pub fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(LINK_THREADS)
        .max_blocking_threads(WORK_THREADS_MAX)
        .enable_all()
        .build()
}
