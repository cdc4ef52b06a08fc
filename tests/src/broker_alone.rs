//! The embedded broker as a process of its own, as `wayfare up` has it apart from its engines: nothing of
//! what a test does beside it holds it up. Says where it listens, and ends when its standard input closes.

use std::io::{Read, Write};

use anyhow::Context;
use wayfare_link::{BrokerOptions, EmbeddedBroker};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let broker = EmbeddedBroker::start(BrokerOptions::loopback()).await?;
    let mut out = std::io::stdout();
    writeln!(out, "{}", broker.local_addr())?;
    out.flush()?;
    let closed =
        tokio::task::spawn_blocking(|| while matches!(std::io::stdin().lock().read(&mut [0]), Ok(1..)) {});
    closed.await.context("waiting for the end")?;
    broker.shutdown().await?;
    Ok(())
}
