//! Fake engines as a process of their own: what they cost is not the dispatcher's.
//!
//! Lines on standard input tell it what to do: `drop N` breaks the connections of the first N, as a power cut
//! would; `await N` has it print `N` as soon as so many programs run that were started by an order. It ends
//! when standard input closes.

use anyhow::Result;
use clap::Parser;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::watch;
use wayfare_link::BrokerUrl;
use wayfare_tests::fakes::{FakeFleet, Fakes};

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    fleet: FakeFleet,
    #[arg(long)]
    broker: BrokerUrl,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let mut fakes = Fakes::start(&arguments.fleet, &arguments.broker)?;
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let (mut awaited, mut ordered) = (None, fakes.ordered());
    loop {
        tokio::select! {
            line = lines.next_line() => match line?.as_deref().and_then(|line| line.split_once(' ')) {
                Some(("drop", count)) => fakes.drop_first(count.parse()?).await?,
                Some(("await", count)) => awaited = Some(count.parse()?),
                Some(_) | None => return Ok(()),
            },
            count = reached(&mut ordered, awaited) => {
                println!("{count}");
                awaited = None;
            }
            ended = fakes.next_end() => return ended,
        }
    }
}

/// Returns once so many run; never if nobody waits for that.
async fn reached(ordered: &mut watch::Receiver<usize>, awaited: Option<usize>) -> usize {
    match awaited {
        Some(awaited) if ordered.wait_for(|count| *count >= awaited).await.is_ok() => awaited,
        _ => std::future::pending().await,
    }
}
