//! An engine that is a process of its own: logging, signals, and the runtime.

use std::io::{self, Write};

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;

use super::arguments::EngineArgs;
use super::run::run;

/// Threads for work that takes long. More would only compete for memory on a board.
const WORK_THREADS_MAX: usize = 4;
const LINK_THREADS: usize = 1;

/// Standard error for logs. A reader that has gone away is no reason to end: what it would have read is given up.
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

/// Runs an engine until SIGTERM or SIGINT. A second signal ends it at once.
pub fn run_to_the_end(arguments: EngineArgs) -> anyhow::Result<()> {
    let arguments = arguments.with_file()?;
    let level = arguments.log_level();
    // Levels for parts, without the regular expressions of `EnvFilter`: those are a tenth of a board's binary.
    let filter: Targets = level
        .parse()
        .with_context(|| format!("'{level}' is no log level, and no list such as info,wayfare_link=debug"))?;
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(|| LogWriter)
        .with_target(false);
    tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .init();
    let options = arguments.options()?;
    let runtime = runtime().context("cannot set up the engine's threads")?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).context("cannot wait for signals")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for signals")?;
        let engine = run(options, async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        });
        let mut again_terminate = signal(SignalKind::terminate()).context("cannot wait for signals")?;
        let mut again_interrupt = signal(SignalKind::interrupt()).context("cannot wait for signals")?;
        let second = async {
            for _ in 0..2 {
                tokio::select! {
                    _ = again_terminate.recv() => {}
                    _ = again_interrupt.recv() => {}
                }
            }
        };
        tokio::select! {
            ended = engine => ended,
            () = second => anyhow::bail!("ended by a second signal, before everything was stored"),
        }
    })
}

/// What an engine runs best on: its loop on the thread that blocks on [`run()`], and the link to the broker on another, so
/// that messages go out while the loop stores something.
pub fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(LINK_THREADS)
        .max_blocking_threads(WORK_THREADS_MAX)
        .enable_all()
        .build()
}
