//! What a large fleet costs its dispatcher: `cargo bench -p wayfare-tests --bench fleet`, or, built to be
//! debugged, `cargo build -p wayfare && cargo test -p wayfare-tests --bench fleet`.
//!
//! Engines that pretend (`wayfare-test-fakes`), Mosquitto, and the command `wayfare` as dispatcher and front
//! end, each a process of its own, for one size of fleet after the other. Printed, never asserted:
//! * *start to acting*: from the dispatcher's start to its first answer, with all engines there already;
//! * *idle*: processors and memory of the dispatcher, and packets at the broker, while nothing happens and
//!   nobody looks;
//! * *poll*: every engine is asked and has answered;
//! * `ps`, `engines`: the command, from its start to its end; all of `ps` too, for which it looks itself;
//! * *apply*: an application of as many instances as there are engines, until all run;
//! * *killed*: every hundredth engine is gone as in a power cut, until what it had runs elsewhere;
//! * *broker restarted*: until the dispatcher acts, and sees every engine;
//! * *stopped*: the dispatcher stands still, twice, as on a machine that is overloaded; from then to its
//!   answer;
//! * *falsely lost*: engines that were given up although they were there.
//!
//! Options behind `--`: `--engines N,N` (100,300,1000), `--programs N` (10) of each, `--stopped-s N` (20),
//! `--only-looks` (nothing behind the lists is measured, as for 100,000 programs: `--engines 100 --programs
//! 1000`), `--wayfare PATH` (beside the benchmark). A step ends after 120 s, and a size after 15 minutes.

#[expect(dead_code, reason = "brokers and engines of other benchmarks")]
mod common;

#[path = "fleet/bench.rs"]
mod bench;
#[path = "fleet/processes.rs"]
mod processes;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use common::machine;

use bench::{Bench, Measured};

/// For one size of fleet.
const SIZE_TIMEOUT: Duration = Duration::from_secs(900);

#[derive(Parser)]
struct Options {
    #[arg(long, value_delimiter = ',', default_value = "100,300,1000")]
    engines: Vec<usize>,
    /// Programs that run on each engine from the start.
    #[arg(long, default_value_t = 10)]
    programs: usize,
    /// For how long the dispatcher is stopped.
    #[arg(long, default_value_t = 20)]
    stopped_s: u64,
    /// Nothing that is behind the lists.
    #[arg(long)]
    only_looks: bool,
    /// The command [default: beside the benchmark].
    #[arg(long)]
    wayfare: Option<PathBuf>,
    /// As cargo says.
    #[arg(long, hide = true)]
    bench: bool,
}

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse();
    let wayfare = match options.wayfare {
        Some(path) => path,
        None => beside_this()?,
    };
    let build = match cfg!(debug_assertions) {
        true => "built to be debugged",
        false => "optimised",
    };
    println!(
        "{} programs an engine, {}, {build}, {}\n",
        options.programs,
        wayfare.display(),
        machine()
    );
    let mut columns: Vec<Measured> = Vec::new();
    for engines in &options.engines {
        eprintln!("{engines} engines");
        let mut measured = Measured::default();
        let bench = Bench {
            wayfare: &wayfare,
            engines: *engines,
            programs: options.programs,
            only_looks: options.only_looks,
            stopped: Duration::from_secs(options.stopped_s),
        };
        let ended = tokio::time::timeout(SIZE_TIMEOUT, bench.run(&mut measured)).await;
        if let Err(error) = ended.context("it took too long").and_then(|ended| ended) {
            eprintln!("given up: {error:#}");
        }
        columns.push(measured);
    }
    print(&options.engines, &columns);
    Ok(())
}

/// In `target/debug`, where the benchmark is in `target/debug/deps`.
fn beside_this() -> Result<PathBuf> {
    let this = std::env::current_exe()?;
    let folder = this.parent().and_then(|deps| deps.parent());
    let path = folder.context("a folder")?.join("wayfare");
    anyhow::ensure!(
        path.is_file(),
        "{} is not there: build it with `cargo build -p wayfare`, or name one with --wayfare",
        path.display()
    );
    Ok(path)
}

fn print(sizes: &[usize], columns: &[Measured]) {
    let heads: Vec<String> = sizes.iter().map(|size| format!("{size} engines")).collect();
    println!("| | {} |", heads.join(" | "));
    println!("| --- |{}", " --: |".repeat(sizes.len()));
    // One that was given up has fewer.
    let Some(longest) = columns.iter().max_by_key(|column| column.rows().len()) else {
        return;
    };
    for (at, (what, _)) in longest.rows().iter().enumerate() {
        let cell = |column: &Measured| column.rows().get(at).map_or("-", |(_, cell)| cell).to_owned();
        let cells: Vec<String> = columns.iter().map(cell).collect();
        println!("| {what} | {} |", cells.join(" | "));
    }
}
