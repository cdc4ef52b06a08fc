//! The command as people run it: a process with arguments, output and an exit code.

#![allow(dead_code, reason = "each test binary uses some of it")]

pub(crate) mod schema;

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use wayfare_tests::compiled;

/// Longest that engines may take to be there.
const ENGINES_LIMIT: Duration = Duration::from_secs(90);

/// Where commands find the login of an `up` that a test has started.
pub(crate) const STATE_HOME: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/state");

/// What came of one command.
pub(crate) struct Ran {
    pub(crate) exit: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// The documents of `--json`, one a line.
    pub(crate) fn documents(&self) -> Vec<Value> {
        self.stdout
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// The error document of `--json`.
    pub(crate) fn error(&self) -> Value {
        serde_json::from_str(self.stderr.trim()).unwrap()
    }
}

/// Without anything of the machine's settings.
pub(crate) fn command(broker: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wayfare"));
    command.args(arguments).env("WAYFARE_BROKER", broker);
    command.env("HOME", "/nonexistent");
    for unset in [
        "WAYFARE_CONTEXT",
        "WAYFARE_ROOT",
        "XDG_CACHE_HOME",
        "XDG_CONFIG_HOME",
        "RUST_LOG",
    ] {
        command.env_remove(unset);
    }
    command.env("XDG_STATE_HOME", STATE_HOME);
    command.stdin(Stdio::null());
    command
}

pub(crate) fn run(broker: &str, arguments: &[&str]) -> Ran {
    let Output {
        status,
        stdout,
        stderr,
    } = command(broker, arguments).output().unwrap();
    let ran = Ran {
        exit: status.code().unwrap(),
        stdout: String::from_utf8(stdout).unwrap(),
        stderr: String::from_utf8(stderr).unwrap(),
    };
    schema::hold(arguments, &ran.stdout);
    ran
}

/// Killed with the test.
pub(crate) struct Process(pub(crate) Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `wayfare up`, ended with the test.
pub(crate) struct Up {
    child: Child,
    /// Of its engines.
    data: Vec<PathBuf>,
    stdout: Option<BufReader<ChildStdout>>,
    pub(crate) broker: String,
    /// Its first line.
    pub(crate) announced: Value,
}

impl Up {
    /// On a free port; returns once its dispatcher acts, where it has one. Its engines may still be on their
    /// way.
    pub(crate) fn start(data: &Path, engines: u32) -> Self {
        Self::start_with(data, engines, &[])
    }

    pub(crate) fn start_with(data: &Path, engines: u32, more: &[&str]) -> Self {
        let folders: Vec<PathBuf> = (1..=engines)
            .map(|number| data.join(format!("local-{number}")))
            .collect();
        folders.iter().for_each(|folder| compiled::lend(folder));
        let engines = engines.to_string();
        let data = data.to_str().unwrap();
        let arguments = [
            "up",
            "--json",
            "--port",
            "0",
            "--engines",
            &engines,
            "--data",
            data,
        ];
        let arguments = [&arguments, more].concat();
        let mut child = command("", &arguments).stdout(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let announced: Value = serde_json::from_str(&line).unwrap();
        let broker = announced["broker"].as_str().unwrap().to_owned();
        let up = Self {
            child,
            data: folders,
            stdout: Some(stdout),
            broker,
            announced,
        };
        if !more.contains(&"--no-dispatcher") {
            up.waits_for_dispatcher();
        }
        up
    }

    /// What happens before it acts is kept by nobody.
    fn waits_for_dispatcher(&self) {
        let deadline = Instant::now() + ENGINES_LIMIT;
        loop {
            let asked = run(&self.broker, &["app", "status"]);
            if asked.exit == 0 {
                return;
            }
            assert!(Instant::now() < deadline, "no dispatcher acts: {}", asked.stderr);
        }
    }

    /// Waits until so many engines are there.
    pub(crate) fn waits_for_engines(&self, count: usize) {
        let deadline = Instant::now() + ENGINES_LIMIT;
        loop {
            let there = run(&self.broker, &["engines", "--where", "state = online", "-q"]);
            if there.stdout.lines().count() == count {
                return;
            }
            let said = (there.stdout, there.stderr);
            assert!(Instant::now() < deadline, "engines are not there: {said:?}");
        }
    }

    /// A command that is done well.
    pub(crate) fn command(&self, arguments: &[&str]) -> Ran {
        let ran = run(&self.broker, arguments);
        assert_eq!(ran.exit, 0, "{arguments:?}: {}{}", ran.stdout, ran.stderr);
        ran
    }

    /// As service managers do it; answers the exit code and all it had to tell.
    pub(crate) fn terminate(mut self) -> (i32, String) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &pid])
                .status()
                .unwrap()
                .success()
        );
        let mut told = String::new();
        self.stdout.take().unwrap().read_to_string(&mut told).unwrap();
        (self.child.wait().unwrap().code().unwrap(), told)
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        // Ended already, or to be ended now: its engines end with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.data.iter().for_each(|folder| compiled::keep(folder));
    }
}

/// Somebody with a fleet of two engines and a folder, who types.
pub(crate) struct User {
    pub(crate) up: Up,
    folder: TempDir,
}

impl User {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let up = Up::start(&folder.path().join("up"), 2);
        Self { up, folder }
    }

    /// Waits until both engines are there.
    pub(crate) fn waits_for_engines(&self) {
        self.up.waits_for_engines(2);
    }

    /// Writes a file; answers its path.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    pub(crate) fn types(&self, exit: i32, arguments: &[&str]) -> Ran {
        let ran = run(&self.up.broker, arguments);
        assert_eq!(ran.exit, exit, "{arguments:?}: {}{}", ran.stdout, ran.stderr);
        ran
    }
}
