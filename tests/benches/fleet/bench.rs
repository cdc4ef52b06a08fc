//! One size of fleet, measured from its start to its end.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::process::Child;
use wayfare_client::app::ask::{Ask, Decision, EventsWanted};
use wayfare_client::app::manifest;
use wayfare_client::{Client, ClientOptions};
use wayfare_link::BrokerUrl;
use wayfare_link::mosquitto::{MosquittoOptions, MosquittoProcess, Persistence};
use wayfare_protocol::dispatcher::LeaseState;
use wayfare_protocol::ids::{EngineId, Term};

use crate::processes::{BrokerCounters, FakesProcess, Wayfare, processor_s, resident_bytes, signal};

/// For one step.
const STEP_TIMEOUT: Duration = Duration::from_secs(120);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// A new client has everything that is retained within this.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(60);
/// After all that was started and before nothing is measured: polls are under way then.
const REST: Duration = Duration::from_secs(5);

/// What was measured, in order.
#[derive(Default)]
pub(crate) struct Measured(Vec<(String, String)>);

impl Measured {
    pub(crate) fn rows(&self) -> &[(String, String)] {
        &self.0
    }

    fn put(&mut self, what: &str, cell: String) {
        eprintln!("  {what}: {cell}");
        self.0.push((what.to_owned(), cell));
    }

    /// How long it takes, or that it does not end.
    async fn time<T>(&mut self, what: &str, step: impl Future<Output = Result<T>>) {
        let begun = Instant::now();
        let cell = match tokio::time::timeout(STEP_TIMEOUT, step).await {
            Ok(Ok(_)) => format!("{:.2} s", begun.elapsed().as_secs_f64()),
            Ok(Err(error)) => {
                eprintln!("  {what}: {error:#}");
                "fails".to_owned()
            }
            Err(_) => format!("not in {} s", STEP_TIMEOUT.as_secs()),
        };
        self.put(what, cell);
    }
}

pub(crate) struct Bench<'a> {
    pub(crate) wayfare: &'a Path,
    pub(crate) engines: usize,
    pub(crate) programs: usize,
    pub(crate) only_looks: bool,
    pub(crate) stopped: Duration,
}

impl Bench<'_> {
    pub(crate) async fn run(&self, measured: &mut Measured) -> Result<()> {
        let options = MosquittoOptions {
            persistence: Persistence::Folder,
            ..MosquittoOptions::default()
        };
        let mut mosquitto = MosquittoProcess::start(options)?.context("Mosquitto is needed")?;
        let url: BrokerUrl = mosquitto.local_addr().into();
        let folder = tempfile::tempdir()?;
        let wayfare = Wayfare {
            path: self.wayfare,
            folder: folder.path(),
            url: &url,
        };
        let mut fakes = FakesProcess::start(self.engines, self.programs, &url)?;
        let client = connect(&url).await?;
        measured
            .time("fake engines online", sees(&client, self.engines))
            .await;
        let mut dispatcher = Err(anyhow::anyhow!("it was not started"));
        let starts = async {
            dispatcher = wayfare.start_dispatcher();
            acts(&client, Term(0)).await
        };
        measured.time("start to acting", starts).await;
        let dispatcher = dispatcher?;
        client.close().await;
        self.idle("idle", &url, &dispatcher, measured).await?;
        self.looks(&wayfare, &url, measured).await?;
        if self.only_looks {
            return Ok(());
        }

        let client = connect(&url).await?;
        let (engines, dropped) = (self.engines, self.engines.div_ceil(100));
        let applied = async {
            apply(&client, engines).await?;
            fakes.all_run(engines).await
        };
        measured
            .time("apply, one instance an engine, all run", applied)
            .await;
        let killed = async {
            fakes.drop_first(dropped).await?;
            fakes.all_run(engines).await
        };
        measured.time("1 % killed, all run again", killed).await;
        let mut lease = client.watch_lease().await.context("the lease")?;
        let term = lease.latest().map_or(Term(0), |lease| lease.term);
        mosquitto.stop()?;
        mosquitto.restart()?;
        let restarted = async {
            acts(&client, term).await?;
            sees(&client, engines - dropped).await
        };
        measured
            .time("broker restarted, acts and sees all", restarted)
            .await;
        let pid = pid(&dispatcher)?;
        for round in ["first", "second"] {
            signal(pid, "-STOP").await?;
            tokio::time::sleep(self.stopped).await;
            signal(pid, "-CONT").await?;
            let what = format!("stopped for {} s, {round}", self.stopped.as_secs());
            measured.time(&what, answers(&client)).await;
            tokio::time::sleep(REST).await;
        }
        client.close().await;
        self.idle("idle with all instances", &url, &dispatcher, measured)
            .await?;
        let client = connect(&url).await?;
        let lost = lost(&client).await?;
        let dropped: BTreeSet<EngineId> = (0..dropped)
            .map(|number| format!("fake-{number}").parse())
            .collect::<Result<_, _>>()?;
        let falsely = lost.iter().filter(|engine| !dropped.contains(*engine)).count();
        measured.put("falsely lost", falsely.to_string());
        client.close().await;
        Ok(())
    }

    /// Nobody looks but at the broker's own counters.
    async fn idle(
        &self,
        what: &str,
        url: &BrokerUrl,
        dispatcher: &Child,
        measured: &mut Measured,
    ) -> Result<()> {
        let pid = pid(dispatcher)?;
        tokio::time::sleep(REST).await;
        let mut counters = BrokerCounters::watch(url)?;
        let begin = counters.next_packets().await?;
        let (begun, busy_s) = (Instant::now(), processor_s(pid)?);
        // Two periods of polls at least.
        counters.next_packets().await?;
        let packets = counters.next_packets().await? - begin;
        let (seconds, busy_s) = (begun.elapsed().as_secs_f64(), processor_s(pid)? - busy_s);
        measured.put(&format!("{what}: cores"), format!("{:.3}", busy_s / seconds));
        let mb = resident_bytes(pid)? / 1_000_000;
        measured.put(&format!("{what}: MB"), mb.to_string());
        let rate = packets as f64 / seconds / self.engines as f64;
        measured.put(
            &format!("{what}: packets a second and engine"),
            format!("{rate:.2}"),
        );
        Ok(())
    }

    async fn looks(&self, wayfare: &Wayfare<'_>, url: &BrokerUrl, measured: &mut Measured) -> Result<()> {
        let client = connect(url).await?;
        let polled = async {
            let report = client.request_status_reports(STEP_TIMEOUT).await?;
            ensure!(report.silent.is_empty(), "{} are silent", report.silent.len());
            anyhow::Ok(())
        };
        measured.time("poll, all answer", polled).await;
        client.close().await;
        let all = self.engines * self.programs;
        let first = ["--limit", "50"];
        for (what, words, lines) in [
            ("`ps --limit 50`", vec![], all.min(50)),
            (
                "`ps --sort -memory --limit 50`",
                vec!["--sort", "-memory"],
                all.min(50),
            ),
            ("`ps --sort name --limit 50`", vec!["--sort", "name"], all.min(50)),
            (
                "`ps --where 'name = idle-3 and engine = fake-7'`",
                vec!["--where", "name = idle-3 and engine = fake-7"],
                0,
            ),
            (
                "`ps --where 'memory > 6M' --limit 50`",
                vec!["--where", "memory > 6M"],
                0,
            ),
        ] {
            let ps = [&["ps"][..], &words, &first].concat();
            measured.time(what, wayfare.timed(&ps, lines)).await;
        }
        measured
            .time("`ps`, all of it", wayfare.timed(&["ps"], all))
            .await;
        let engines = wayfare.timed(&["engines", "--where", "engine = fake-7"], 1);
        measured
            .time("`engines --where 'engine = fake-7'`", engines)
            .await;
        Ok(())
    }
}

fn pid(child: &Child) -> Result<u32> {
    child.id().context("the dispatcher has ended")
}

async fn connect(url: &BrokerUrl) -> Result<Client> {
    let options = ClientOptions {
        connect_timeout: CONNECT_TIMEOUT,
        ..ClientOptions::new(url.clone())
    };
    Ok(Client::connect(options).await?)
}

async fn apply(client: &Client, instances: usize) -> Result<()> {
    let text = format!(
        "name = \"many\"\n[component.one]\nmodule = \"counter\"\ncount = {instances}\nargs = [\"1000000\"]\n"
    );
    let wasm = wayfare_samples::find("counter")
        .context("a sample")?
        .wasm
        .to_vec();
    let make = |_: &str| Ok(manifest::Made::from(wasm.clone()));
    let no_file = |name: &str| Err(format!("{name}: no such file"));
    let resolved = manifest::resolve(&text, make, no_file)?;
    client.upload(&resolved.blobs, STEP_TIMEOUT, |_, _| {}).await?;
    let ask = Ask::Apply {
        spec: resolved.spec,
        expects: None,
    };
    let _: serde_json::Value = client.ask_apps(&ask, STEP_TIMEOUT).await?;
    Ok(())
}

/// Waits until so many engines are online.
async fn sees(client: &Client, count: usize) -> Result<()> {
    let mut seen = 0;
    loop {
        let engines = client.engines().await?;
        if engines.iter().filter(|engine| engine.online).count() >= count {
            return Ok(());
        }
        client.changed(&mut seen).await?;
    }
}

/// Waits until somebody acts in a later term, and answers.
async fn acts(client: &Client, after: Term) -> Result<()> {
    let mut lease = client.watch_lease().await.context("the lease")?;
    loop {
        let latest = lease.latest();
        if latest.is_some_and(|lease| lease.term > after && lease.state == LeaseState::Held) {
            return answers(client).await;
        }
        lease.changed().await.context("the client is closed")?;
    }
}

async fn answers(client: &Client) -> Result<()> {
    let status = client.app_status(None, STEP_TIMEOUT).await;
    status.map(drop).context("nobody answers")
}

/// Engines that were given up, each as often as it was.
async fn lost(client: &Client) -> Result<Vec<EngineId>> {
    let (mut lost, mut after) = (Vec::new(), None);
    loop {
        let ask = Ask::Events {
            since_ms: 0,
            after,
            wanted: EventsWanted {
                kind: Some("engine-lost".to_owned()),
                ..EventsWanted::default()
            },
        };
        let page: Vec<Decision> = client.ask_apps(&ask, ANSWER_TIMEOUT).await?;
        let Some(last) = page.last() else { return Ok(lost) };
        after = Some((last.term, last.sequence));
        lost.extend(page.into_iter().filter_map(|decision| decision.engine));
    }
}
