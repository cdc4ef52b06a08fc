//! What the cache of compiled modules saves: `cargo bench -p wayfare-engine --bench starts`.
//!
//! For each sample, and for QuickJS as an example of a large module, from the module's digest to what
//! programs are launched from. Printed in Markdown, never asserted; the median of so many rounds as the first
//! argument says (5). Under `cargo test --benches` it is one round of the samples, to see that it works.
//! * *rewrite* and *compile*: the two halves of a first start; they are done while somebody waits;
//! * *keep*: writing and syncing, which nobody waits for;
//! * *start again*: from the file on, in an engine that has just begun (its file is in the page cache, as
//!   after `run`, not as after a reboot).

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use wayfare_compiler::{Entry, Form, Options};
use wayfare_engine::shell::Cache;
use wayfare_protocol::ids::Digest;
use wayfare_runtime::{Piece, Runtime, RuntimeOptions};

const ROUNDS: usize = 5;
const CACHE_BYTES_MAX: u64 = 256 << 20;
const QUICKJS: &[u8] = include_bytes!("../../compiler/benches/wasm/quickjs.wasm");

fn main() -> Result<(), Box<dyn Error>> {
    let is_bench = std::env::args().any(|argument| argument == "--bench");
    let argument = std::env::args().skip(1).find(|argument| argument != "--bench");
    let rounds = if is_bench { ROUNDS } else { 1 };
    let rounds: usize = argument.map_or(Ok(rounds), |argument| argument.parse())?;
    let large = is_bench.then_some(("quickjs", QUICKJS));
    let samples = wayfare_samples::ALL
        .iter()
        .map(|sample| (sample.name, sample.wasm));
    println!("Milliseconds, medians of {rounds} rounds");
    println!();
    println!("| module | KiB | compiled KiB | rewrite | compile | keep | start again |");
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    for (name, wasm) in samples.chain(large) {
        measure(name, wasm, rounds)?;
    }
    Ok(())
}

fn measure(name: &str, wasm: &[u8], rounds: usize) -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let (mut rewrite, mut compile, mut keep, mut again) = (vec![], vec![], vec![], vec![]);
    for _ in 0..rounds.max(1) {
        let options = Options {
            blocking: &wayfare_abi::calls::may_block,
            entry: Entry::Command,
            form: Form::Program,
        };
        let (took, rewritten) = time(|| wayfare_compiler::rewrite(wasm, &options));
        drop(rewritten?);
        rewrite.push(took);
        let runtime = Runtime::new(RuntimeOptions::default())?;
        let (both, compiled) = time(|| runtime.compile(Digest::of(wasm), wasm));
        compile.push(both.saturating_sub(took));
        let (_, compiled) = compiled?;
        let cache = open(folder.path(), &runtime)?;
        let (took, ()) = time(|| {
            cache.keep(compiled);
            drop(cache);
        });
        keep.push(took);
        // Another engine, as after a start.
        let runtime = Runtime::new(RuntimeOptions::default())?;
        let cache = open(folder.path(), &runtime)?;
        let (took, revived) = time(|| {
            let found = cache
                .find(Digest::of(wasm), Piece::Program)
                .ok_or("nothing in the cache")?;
            runtime.revive(&found).map_err(Box::<dyn Error>::from)
        });
        drop(revived?);
        again.push(took);
        assert_eq!(runtime.compilations(), 0, "{name} was compiled again");
    }
    let file = std::fs::metadata(folder.path().join(Digest::of(wasm).to_string()))?;
    println!(
        "| {name} | {} | {} | {:.1} | {:.1} | {:.1} | {:.1} |",
        wasm.len() >> 10,
        file.len() >> 10,
        median_ms(&mut rewrite),
        median_ms(&mut compile),
        median_ms(&mut keep),
        median_ms(&mut again),
    );
    Ok(())
}

fn open(folder: &Path, runtime: &Runtime) -> Result<Cache, &'static str> {
    Cache::open(folder, CACHE_BYTES_MAX, runtime.provenance()).ok_or("no cache")
}

fn time<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let begun = Instant::now();
    let result = work();
    (begun.elapsed(), result)
}

fn median_ms(times: &mut [Duration]) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1e3
}
