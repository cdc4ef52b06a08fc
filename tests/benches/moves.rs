//! What a move costs, through a real broker on one machine: `cargo bench -p wayfare-tests --bench moves`.
//!
//! Two engines, each a process of its own; programs that compute without ever yielding and that sleep; moved
//! to and fro a hundred times. Printed, never asserted:
//! * *downtime*: from the moment that the program stood still to the target's word that it runs, by the
//!   source's clock;
//! * *move*: from the source's acceptance to the same moment;
//! * *command*: what the caller of `move_program` waits;
//! * *gap*: the longest pause between two of its log lines around a move, as a subscriber sees it.
//!
//! Options behind `--`: `--moves N` (100), `--broker embedded|mosquitto` (mosquitto if installed).

mod common;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use common::{Broker, all_online, engine, machine};
use tokio::process::Child;
use wayfare_client::{Client, ClientOptions, CommandOptions, Follow, LogItem, Order, Run};
use wayfare_protocol::event::Outcome;

struct Case {
    name: &'static str,
    sample: &'static str,
    args: &'static [&'static str],
    about: &'static str,
}

const CASES: [Case; 3] = [
    Case {
        name: "counter 1 MiB",
        sample: "counter",
        args: &["1000000", "10", "1024"],
        about: "1 MiB of heap, all of it touched; sleeps 10 ms between steps and prints a line each",
    },
    Case {
        name: "primes",
        sample: "primes",
        args: &["2000000000"],
        about: "computes in nested loops, never yields",
    },
    Case {
        name: "counter 16 MiB",
        sample: "counter",
        args: &["1000000", "10", "16384"],
        about: "16 MiB of heap, all of it touched",
    },
];

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse(std::env::args().skip(1))?;
    let broker = Broker::start(&options.broker).await?;
    println!(
        "{} moves of each program, {}, {}",
        options.moves,
        broker.name(),
        machine()
    );
    println!();
    println!(
        "| program | downtime p50 | p99 | move p50 | p99 | command p50 | p99 | gap p50 | p99 | bytes ahead | at the end |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for case in &CASES {
        measure(case, &broker, options.moves)
            .await
            .with_context(|| case.name)?;
    }
    println!();
    for case in &CASES {
        println!(
            "{}: `{} {}`, {}.",
            case.name,
            case.sample,
            case.args.join(" "),
            case.about
        );
    }
    Ok(())
}

struct Options {
    moves: usize,
    broker: String,
}

impl Options {
    fn parse(args: impl Iterator<Item = String>) -> Result<Self> {
        let mut options = Self {
            moves: 100,
            broker: "mosquitto".into(),
        };
        let mut args = args.filter(|arg| arg != "--bench");
        while let Some(arg) = args.next() {
            let value = args.next().with_context(|| format!("{arg} needs a value"))?;
            match arg.as_str() {
                "--moves" => options.moves = value.parse().context("--moves needs a number")?,
                "--broker" => options.broker = value,
                _ => bail!("unknown option {arg}"),
            }
        }
        Ok(options)
    }
}

async fn measure(case: &Case, broker: &Broker, moves: usize) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let _engines: Vec<Child> = ["bench-a", "bench-b"]
        .iter()
        .map(|id| engine(id, broker, folder.path()))
        .collect::<Result<_>>()?;
    let client = Client::connect(ClientOptions::new(broker.url())).await?;
    all_online(&client, 2).await?;
    let options = CommandOptions::default();
    let sample = wayfare_samples::find(case.sample).context("a sample")?;
    let run = Run {
        name: "moved".into(),
        module: sample.wasm.to_vec(),
        args: case.args.iter().map(ToString::to_string).collect(),
        on: Some("bench-a".into()),
        ..Run::default()
    };
    let Outcome::Running { program, .. } = client
        .apply(Order::run(run), &options)
        .await?
        .wait()
        .await?
        .outcome
    else {
        bail!("did not run");
    };
    let mut logs = client.logs(program, 0, Follow::UntilEnded).await?;
    let program = program.to_string();
    let arrivals = tokio::spawn(async move {
        let mut arrivals = Vec::new();
        while let Some(item) = logs.next().await {
            if matches!(item, Ok(LogItem::Line(_))) {
                arrivals.push(Instant::now());
            }
        }
        arrivals
    });

    let mut figures = Figures::default();
    // The first two moves compile the module on either side.
    for number in 0..moves + 2 {
        let target = if number % 2 == 0 { "bench-b" } else { "bench-a" };
        let begun = Instant::now();
        let outcome = client
            .apply(Order::move_to(&program, target), &options)
            .await?
            .wait()
            .await?;
        let waited = begun.elapsed();
        let Outcome::Moved { report, .. } = outcome.outcome else {
            bail!("did not move")
        };
        if number >= 2 {
            figures.downtime.push(Duration::from_micros(report.downtime_us));
            figures.total.push(Duration::from_micros(report.total_us));
            figures.command.push(waited);
            figures.moments.push((begun, Instant::now()));
            figures.ahead = figures.ahead.max(report.precopied_bytes);
            figures.last = figures.last.max(report.final_bytes);
        }
    }
    client
        .apply(Order::kill(&program), &options)
        .await?
        .wait()
        .await?;
    client.close().await;
    let arrivals = arrivals.await?;
    figures.print(case.name, &arrivals);
    Ok(())
}

#[derive(Default)]
struct Figures {
    downtime: Vec<Duration>,
    total: Vec<Duration>,
    command: Vec<Duration>,
    /// When each move was asked for and done.
    moments: Vec<(Instant, Instant)>,
    ahead: u64,
    last: u64,
}

impl Figures {
    fn print(mut self, name: &str, arrivals: &[Instant]) {
        let mut gaps: Vec<Duration> = self
            .moments
            .iter()
            .filter_map(|(begun, done)| {
                let around: Vec<&Instant> = arrivals
                    .iter()
                    .filter(|at| {
                        **at + Duration::from_millis(100) > *begun
                            && **at < *done + Duration::from_millis(100)
                    })
                    .collect();
                around.windows(2).map(|pair| *pair[1] - *pair[0]).max()
            })
            .collect();
        let mut row = format!("| {name} |");
        for figures in [&mut self.downtime, &mut self.total, &mut self.command, &mut gaps] {
            figures.sort();
            for quantile in [50, 99] {
                row += &match figures
                    .get((figures.len() * quantile / 100).min(figures.len().saturating_sub(1)))
                {
                    Some(figure) => format!(" {:.1} ms |", figure.as_secs_f64() * 1e3),
                    None => " - |".into(),
                };
            }
        }
        println!(
            "{row} {:.0} KiB | {:.1} KiB |",
            self.ahead as f64 / 1024.0,
            self.last as f64 / 1024.0
        );
    }
}
