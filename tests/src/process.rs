//! One engine as a process: started, killed, asked to stop, started again on the same folder.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use wayfare_link::BrokerUrl;
use wayfare_protocol::ids::ProgramId;

use crate::compiled;

/// How an engine comes to a module's code is what a test with these is about.
const ON_CODE: [&str; 2] = ["--tiered-compilation", "--signed-only"];

#[derive(Debug)]
pub struct EngineProcess {
    name: String,
    command: EngineCommand,
    child: Option<Child>,
}

#[derive(Debug)]
struct EngineCommand {
    words: Vec<String>,
    arguments: Vec<String>,
    log: PathBuf,
    /// The folder of an engine that shares compiled code with those of other tests.
    shares: Option<PathBuf>,
}

impl EngineProcess {
    /// `words` begin the command: an engine's binary, perhaps behind an emulator. `arguments` come after
    /// those that every engine gets; a folder of its own (`--data`) stands last among them.
    pub(crate) fn start(
        words: &[String],
        name: &str,
        broker: &BrokerUrl,
        folder: &Path,
        arguments: &[String],
    ) -> Self {
        let mut arguments = arguments.to_vec();
        let data = take(&mut arguments, "--data").unwrap_or_else(|| folder.join(name).display().to_string());
        // What this machine's own engine is told is not for them.
        let config = take(&mut arguments, "--config").unwrap_or_else(|| "/dev/null".into());
        let broker = broker.to_string();
        let mut all: Vec<String> = [
            "--config", &config, "--id", name, "--broker", &broker, "--data", &data,
        ]
        .map(str::to_owned)
        .into();
        // Only the tests' own binary knows this; another is killed when its value is dropped.
        let is_ours = words.len() == 1;
        if is_ours {
            all.push("--until-stdin-closes".into());
        }
        all.append(&mut arguments);
        let shares = is_ours && !all.iter().any(|argument| ON_CODE.contains(&argument.as_str()));
        let shares = shares.then(|| PathBuf::from(&data));
        if let Some(data) = &shares {
            compiled::lend(data);
        }
        let command = EngineCommand {
            words: words.to_vec(),
            arguments: all,
            log: folder.join(format!("{name}.log")),
            shares,
        };
        let child = Some(command.spawn());
        Self {
            name: name.to_owned(),
            command,
            child,
        }
    }

    /// Another process with the same id, on a folder of its own, which exists: `more` replaces flags of this
    /// one's.
    pub fn twin(&self, data: &Path, more: &[&str]) -> Self {
        let mut arguments = self.command.arguments.clone();
        take(&mut arguments, "--data");
        for flag in more.iter().step_by(2) {
            take(&mut arguments, flag);
        }
        arguments.extend(["--data".to_owned(), data.display().to_string()]);
        arguments.extend(more.iter().map(|&argument| argument.to_owned()));
        let command = EngineCommand {
            words: self.command.words.clone(),
            arguments,
            log: data.with_extension("log"),
            shares: None,
        };
        Self {
            name: self.name.clone(),
            child: Some(command.spawn()),
            command,
        }
    }

    pub fn is_up(&self) -> bool {
        self.child.is_some()
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have died already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// SIGKILL, and its disk is replaced: started again, it knows nothing but the compiled code that all
    /// share. Killed, and what it has noted is as if the kernel had done it for want of memory.
    ///
    /// # Panics
    /// If it has noted nothing.
    pub fn kill_for_want_of_memory(&mut self) {
        self.kill();
        let path = self.data().join("begun");
        let begun = std::fs::read_to_string(&path).expect("it notes that it begins");
        let mut fields: Vec<&str> = begun.split_whitespace().collect();
        // How many the kernel had ended then.
        fields[2] = "1000000";
        std::fs::write(&path, fields.join(" ")).expect("the folder can be written");
    }

    pub fn lose_disk(&mut self) {
        self.kill();
        let data = self.data();
        std::fs::remove_dir_all(&data).expect("a test's folder can be removed");
        if self.command.shares.is_some() {
            compiled::lend(&data);
        }
    }

    fn data(&self) -> PathBuf {
        let data = take(&mut self.command.arguments.clone(), "--data");
        data.expect("each engine has a folder").into()
    }

    /// SIGTERM, and waits until it has stored what it has and ended in good order.
    pub async fn stop(&mut self) {
        self.signal("-TERM");
        let Some(mut child) = self.child.take() else {
            return;
        };
        // `wait` would close it, which ends the engine in another way.
        let stdin = child.stdin.take();
        let name = self.name.clone();
        let ended = tokio::task::spawn_blocking(move || child.wait());
        let status = crate::within(&format!("engine {name} to stop"), ended).await;
        let status = status
            .expect("waiting does not panic")
            .expect("it was a child of ours");
        drop(stdin);
        assert!(status.success(), "engine {name} stopped in bad order: {status}");
    }

    /// # Panics
    /// If it has ended.
    pub fn signal(&self, signal: &str) {
        if let Some(child) = &self.child {
            let sent = Command::new("kill")
                .arg(signal)
                .arg(child.id().to_string())
                .status();
            assert!(
                sent.expect("kill runs").success(),
                "engine {} had ended",
                self.name
            );
        }
    }

    /// Kills it first where it still runs. Nobody waits until it is there: see
    /// [`Fleet::start_again`](crate::fleet::Fleet::start_again).
    pub fn start_again(&mut self) {
        self.kill();
        self.child = Some(self.command.spawn());
    }

    /// Live copies of a program, by the names of the process's threads.
    pub fn threads_of(&self, program: ProgramId) -> usize {
        let Some(child) = &self.child else { return 0 };
        let wanted = format!("wasm-{}", program.short());
        let threads = std::fs::read_dir(format!("/proc/{}/task", child.id()));
        let threads = threads.into_iter().flatten().flatten();
        threads
            .filter_map(|thread| std::fs::read_to_string(thread.path().join("comm")).ok())
            .filter(|name| name.trim_end() == wanted)
            .count()
    }

    /// What it said on standard error, in all its lives.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.command.log).unwrap_or_default()
    }
}

/// The value of a flag, which an engine takes once: a test's own wins.
fn take(arguments: &mut Vec<String>, flag: &str) -> Option<String> {
    let at = arguments.iter().position(|argument| argument == flag)?;
    arguments.drain(at..arguments.len().min(at + 2)).nth(1)
}

impl EngineCommand {
    fn spawn(&self) -> Child {
        let log = File::options().create(true).append(true).open(&self.log);
        let child = Command::new(&self.words[0])
            .args(&self.words[1..])
            .args(&self.arguments)
            .env_remove("RUST_LOG")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log.expect("the fleet's folder can be written"))
            .spawn();
        child.unwrap_or_else(|error| panic!("{:?}: {error}", self.words))
    }
}

impl Drop for EngineProcess {
    fn drop(&mut self) {
        self.kill();
        if let Some(data) = &self.command.shares {
            compiled::keep(data);
        }
    }
}
