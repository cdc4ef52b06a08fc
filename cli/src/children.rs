//! Engines as processes of their own, started from this very binary, for `wayfare up` and `wayfare demo`.
//!
//! An engine's standard input is a pipe from us, and it ends in good order when that closes: when we want it
//! to, and just as well when this process is killed.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, ChildStdin, Command};
use tokio::time::{Instant, sleep, timeout};
use wayfare_link::BrokerUrl;
use wayfare_protocol::code::PublicKey;
use wayfare_protocol::ids::EngineId;
use wayfare_protocol::topics::Topics;

use crate::fail::{Fail, Result};
use crate::output::tell;

/// An engine that ends so soon has something wrong with it,
const SHORT_LIFE: Duration = Duration::from_secs(10);
/// and is given up after so many such ends in a row.
const SHORT_LIVES_MAX: u32 = 5;
const RESTART_WAIT: Duration = Duration::from_millis(500);

/// How long an engine may take to store its programs and go.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// How much of an engine's own messages is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EngineOutput {
    All,
    /// Warnings and errors.
    Warnings,
    Nothing,
}

/// What a local engine is started with.
#[derive(Debug, Clone)]
pub(crate) struct LocalEngineOptions {
    pub(crate) id: EngineId,
    pub(crate) broker: BrokerUrl,
    pub(crate) topics: Topics,
    pub(crate) data: PathBuf,
    pub(crate) output: EngineOutput,
    /// File with the login for the broker, so that it is on no command line.
    pub(crate) login: Option<PathBuf>,
    pub(crate) trust_root: PublicKey,
}

/// A local engine. [`LocalEngine::stop`] lets it end in good order; dropping it kills it.
#[derive(Debug)]
pub(crate) struct LocalEngine {
    pub(crate) options: LocalEngineOptions,
    child: Child,
    stdin: Option<ChildStdin>,
}

impl LocalEngine {
    pub(crate) fn start(options: LocalEngineOptions) -> Result<Self> {
        let executable = std::env::current_exe()?;
        let mut command = Command::new(executable);
        command
            .args(["engine", "--until-stdin-closes"])
            // What this machine's own engine is told is not for them.
            .args(["--config", "/dev/null"])
            .env_remove("WAYFARE_BROKER_CA")
            .env_remove("WAYFARE_BROKER_LOGIN")
            .env_remove("WAYFARE_TRUST_ROOT")
            // They all end together: there is nobody to hand anything over to.
            .args(["--hand-over", "0"])
            .args(["--id", options.id.as_str()])
            .args(["--broker", &options.broker.to_string()])
            .args(["--root", &options.topics.to_string()])
            .args(["--trust-root", &options.trust_root.to_string()])
            .arg("--data")
            .arg(&options.data)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .kill_on_drop(true);
        if let Some(login) = &options.login {
            command.arg("--broker-login").arg(login);
        }
        // Ctrl-C at the terminal is for us: we tell the engines in our own time.
        command.process_group(0);
        match options.output {
            EngineOutput::All => command.stderr(Stdio::inherit()),
            EngineOutput::Warnings => command.args(["--log-level", "warn"]).stderr(Stdio::inherit()),
            EngineOutput::Nothing => command.stderr(Stdio::null()),
        };
        let mut child = command
            .spawn()
            .map_err(|error| Fail::new("engine", format!("cannot start engine '{}': {error}", options.id)))?;
        // Kept apart from the child, whose `wait` would close it.
        let stdin = child.stdin.take();
        Ok(Self {
            options,
            child,
            stdin,
        })
    }

    /// Starts it again whenever it ends; returns once that is hopeless.
    pub(crate) async fn keep_running(&mut self) -> Fail {
        let mut short_lives = 0;
        loop {
            let started = Instant::now();
            let fail = self.ended().await;
            short_lives = if started.elapsed() < SHORT_LIFE {
                short_lives + 1
            } else {
                1
            };
            if short_lives >= SHORT_LIVES_MAX {
                return fail;
            }
            tell(format!("{}: it is started again", fail.message()));
            sleep(RESTART_WAIT).await;
            match Self::start(self.options.clone()) {
                Ok(engine) => *self = engine,
                Err(fail) => return fail,
            }
        }
    }

    /// Returns when the process has ended by itself.
    pub(crate) async fn ended(&mut self) -> Fail {
        let how = match self.child.wait().await {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        };
        Fail::new("engine", format!("engine '{}' has ended: {how}", self.options.id))
    }

    /// Asks it to end, waits, and kills it if it does not.
    pub(crate) async fn stop(mut self) {
        drop(self.stdin.take());
        if timeout(DRAIN_TIMEOUT, self.child.wait()).await.is_err() {
            tell(format!(
                "engine '{}' did not end within {} s and is killed",
                self.options.id,
                DRAIN_TIMEOUT.as_secs()
            ));
            // kill waits for the end; an error means that there is nothing to kill.
            let _ = self.child.kill().await;
        }
    }
}

/// Stops all at once.
pub(crate) async fn stop_all(engines: Vec<LocalEngine>) {
    futures::future::join_all(engines.into_iter().map(LocalEngine::stop)).await;
}
