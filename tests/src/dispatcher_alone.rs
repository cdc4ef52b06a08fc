//! The fleet's dispatcher as a process of its own, which can be stopped as an overloaded machine stops it. It
//! ends when standard input closes.

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;
use tokio::io::AsyncReadExt;
use wayfare_link::BrokerUrl;
use wayfare_tests::registry::Registry;

#[derive(Parser)]
struct Arguments {
    #[arg(long)]
    broker: BrokerUrl,
    #[arg(long)]
    data: PathBuf,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let registry = Registry::start(arguments.broker, arguments.data);
    let mut ignored = Vec::new();
    tokio::io::stdin().read_to_end(&mut ignored).await?;
    registry.stop().await;
    Ok(())
}
