//! The processes of the benchmark, and what the system and the broker say of them.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use wayfare_link::{BrokerUrl, Event, Link, LinkEvents, LinkOptions, Qos};

/// Clock ticks of a process's times, a second: what Linux shows on every machine.
const TICKS_A_SECOND: f64 = 100.0;

/// The fake engines.
pub(crate) struct FakesProcess {
    _child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl FakesProcess {
    pub(crate) fn start(engines: usize, programs: usize, url: &BrokerUrl) -> Result<Self> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_wayfare-test-fakes"))
            .args(["--engines", &engines.to_string()])
            .args(["--programs", &programs.to_string()])
            .args(["--broker", &url.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("cannot start the fake engines")?;
        let stdin = child.stdin.take().context("a pipe")?;
        let lines = BufReader::new(child.stdout.take().context("a pipe")?).lines();
        Ok(Self {
            _child: child,
            stdin,
            lines,
        })
    }

    /// The first of them are gone as in a power cut.
    pub(crate) async fn drop_first(&mut self, count: usize) -> Result<()> {
        let line = format!("drop {count}\n");
        Ok(self.stdin.write_all(line.as_bytes()).await?)
    }

    /// Waits until so many programs run that were started by an order.
    pub(crate) async fn all_run(&mut self, count: usize) -> Result<()> {
        let line = format!("await {count}\n");
        self.stdin.write_all(line.as_bytes()).await?;
        let reached = self.lines.next_line().await?;
        reached.map(drop).context("the fake engines have ended")
    }
}

/// The command under test, with nothing of this machine's own configuration.
pub(crate) struct Wayfare<'a> {
    pub(crate) path: &'a Path,
    pub(crate) folder: &'a Path,
    pub(crate) url: &'a BrokerUrl,
}

impl Wayfare<'_> {
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(self.path);
        command
            .args(words)
            .env("XDG_CONFIG_HOME", self.folder)
            .env("XDG_STATE_HOME", self.folder)
            .env("WAYFARE_BROKER", self.url.to_string())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    pub(crate) fn start_dispatcher(&self) -> Result<Child> {
        let log = std::fs::File::create(self.folder.join("dispatcher.log"))?;
        let mut command = self.command(&["dispatcher"]);
        command.arg("--data").arg(self.folder.join("dispatcher"));
        command.stdout(log.try_clone()?).stderr(log);
        command.spawn().context("cannot start the dispatcher")
    }

    /// How long a verb took that prints at least so many lines.
    pub(crate) async fn timed(&self, words: &[&str], lines_min: usize) -> Result<Duration> {
        let begun = Instant::now();
        let output = self.command(words).output().await?;
        let took = begun.elapsed();
        let lines = output.stdout.iter().filter(|byte| **byte == b'\n').count();
        ensure!(
            output.status.success() && lines >= lines_min,
            "{words:?} printed {lines} lines and {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(took)
    }
}

/// Processor time of a process so far, in seconds, user and system.
pub(crate) fn processor_s(pid: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat.rsplit_once(") ").context("a process's stat")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    let field = |at: usize| anyhow::Ok(fields.get(at).context("a process's stat")?.parse::<u64>()?);
    Ok((field(11)? + field(12)?) as f64 / TICKS_A_SECOND)
}

pub(crate) fn resident_bytes(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line
        .and_then(|line| line.split_whitespace().next())
        .context("a process's memory")?;
    Ok(kib.parse::<u64>()? << 10)
}

pub(crate) async fn signal(pid: u32, signal: &str) -> Result<()> {
    let status = Command::new("kill")
        .args([signal, &pid.to_string()])
        .status()
        .await?;
    ensure!(status.success(), "cannot send {signal}");
    Ok(())
}

/// What Mosquitto counts of itself, every ten seconds.
pub(crate) struct BrokerCounters {
    _link: Link,
    events: LinkEvents,
}

impl BrokerCounters {
    pub(crate) fn watch(url: &BrokerUrl) -> Result<Self> {
        let options = LinkOptions {
            subscriptions: ["received", "sent"]
                .map(|what| (format!("$SYS/broker/messages/{what}"), Qos::AtMostOnce))
                .into(),
            ..LinkOptions::new(url.clone(), "bench-counters")
        };
        let (link, events) = wayfare_link::connect(options)?;
        Ok(Self { _link: link, events })
    }

    /// Packets that came and went until now: the next figures that are published, as they come.
    pub(crate) async fn next_packets(&mut self) -> Result<u64> {
        let (mut received, mut sent) = (None, None);
        loop {
            let event = self.events.next().await.context("the link has ended")?;
            let Event::Received(message) = event else { continue };
            if message.retain {
                continue;
            }
            let count = String::from_utf8_lossy(&message.payload).trim().parse::<u64>()?;
            match message.topic.ends_with("sent") {
                true => sent = Some(count),
                false => received = Some(count),
            }
            if let (Some(received), Some(sent)) = (received, sent) {
                return Ok(received + sent);
            }
        }
    }
}
