//! What the benchmarks share: a broker, engines as processes of their own, and what machine it is.
#![allow(unreachable_pub, reason = "each benchmark is a crate of its own")]

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::process::{Child, Command};
use wayfare_client::Client;
use wayfare_link::BrokerUrl;
use wayfare_link::broker::{BrokerOptions, EmbeddedBroker};
use wayfare_link::mosquitto::{MosquittoOptions, MosquittoProcess};

pub enum Broker {
    Mosquitto(MosquittoProcess),
    Embedded(EmbeddedBroker),
}

impl Broker {
    pub async fn start(kind: &str) -> Result<Self> {
        if kind == "mosquitto"
            && let Some(process) = MosquittoProcess::start(MosquittoOptions::default())?
        {
            return Ok(Self::Mosquitto(process));
        }
        Ok(Self::Embedded(
            EmbeddedBroker::start(BrokerOptions::loopback()).await?,
        ))
    }

    pub fn url(&self) -> BrokerUrl {
        self.address().into()
    }

    pub fn address(&self) -> SocketAddr {
        match self {
            Self::Mosquitto(process) => process.local_addr(),
            Self::Embedded(broker) => broker.local_addr(),
        }
    }

    pub fn name(&self) -> &'static str {
        match self {
            Self::Mosquitto(_) => "Mosquitto",
            Self::Embedded(_) => "the embedded broker",
        }
    }
}

/// Waits until so many engines are there.
pub async fn all_online(client: &Client, count: usize) -> Result<()> {
    let mut seen = 0;
    let online = async {
        while client
            .engines()
            .await?
            .iter()
            .filter(|engine| engine.online)
            .count()
            < count
        {
            client.changed(&mut seen).await?;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(Duration::from_secs(20), online)
        .await
        .context("the engines did not come up")?
}

pub fn engine(id: &str, broker: &Broker, folder: &std::path::Path) -> Result<Child> {
    Command::new(env!("CARGO_BIN_EXE_wayfare-test-engine"))
        .args([
            "--id",
            id,
            "--broker",
            &broker.url().to_string(),
            "--log-level",
            "warn",
        ])
        .arg("--data")
        .arg(folder.join(id))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context("cannot start an engine")
}

pub fn machine() -> String {
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    format!("{processors} processors, {}", model.unwrap_or("unknown model"))
}
