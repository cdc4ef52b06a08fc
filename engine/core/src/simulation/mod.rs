//! Whole fleets of cores in one thread, under lost, late, doubled and reordered messages, damaged chunks, crashes
//! between any two effects, restarts and partitions; then a time without faults, at whose end every program is
//! in its place exactly once and every command is answered. In every eighth world the programs talk, each through a session at a
//! modelled broker: at the end each was handed everything that was published for it, once and in order. In half of these worlds programs are
//! begun anew under their ids, from the beginning or from old snapshots: nothing that a life publishes is taken for another's.
//!
//! A run is a function of its seed. To see one: `SEED=123 cargo test -p wayfare-core one_seed -- --nocapture`.
//! For a long hunt: `SEEDS=100000 cargo test -p wayfare-core --release fleets`.

mod broker;
mod client;
mod oracle;
mod processes;
pub(super) mod random;
mod sessions;
mod shell;
mod stored;
mod talking;
mod world;

use std::collections::BTreeMap;

use world::World;

/// Seeds that found something once.
const REGRESSIONS: &[u64] = &[
    // A forced resume raised the generation by two; the other copy moved on before it heard of that.
    22982,
    // A copy that another life had replaced began again, and took the session before it heard of that.
    6187, 7627, 15627, 6843, 16299, 76187,
];
const SEEDS: u64 = 1000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn run(seed: u64) -> (Result<(), String>, BTreeMap<String, u64>) {
    let mut world = World::new(seed, false);
    (world.run(), world.oracle.outcomes)
}

#[test]
fn fleets_keep_every_program_exactly_once() {
    let seeds = number("SEEDS").unwrap_or(SEEDS);
    let mut outcomes: BTreeMap<String, u64> = BTreeMap::new();
    let mut failed = Vec::new();
    let regressions = REGRESSIONS.iter().copied();
    let (even, odd): (Vec<_>, Vec<_>) = regressions.chain(0..seeds).partition(|seed| seed % 2 == 0);
    let runs = std::thread::scope(|scope| {
        let other = scope.spawn(|| odd.into_iter().map(run).collect::<Vec<_>>());
        let mut runs: Vec<_> = even.into_iter().map(run).collect();
        runs.extend(other.join().expect("a run reports, it does not panic"));
        runs
    });
    for (result, seen) in runs {
        failed.extend(result.err());
        for (outcome, count) in seen {
            *outcomes.entry(outcome).or_default() += count;
        }
    }
    for (outcome, count) in &outcomes {
        println!("{count:>8} {outcome}");
    }
    assert!(
        failed.is_empty(),
        "{} failed:\n{}",
        failed.len(),
        failed[..failed.len().min(10)].join("\n")
    );
    // A world in which nothing works would break no rule.
    for outcome in [
        "run done",
        "move done",
        "spawn done",
        "kill done",
        "snapshot done",
        "pause done",
        "resume done",
        "inputs handled",
        "lives begun anew",
    ] {
        assert!(
            outcomes.get(outcome).is_some_and(|count| *count > seeds / 40),
            "too few: {outcome}"
        );
    }
}

#[test]
fn one_seed() {
    let Some(seed) = number("SEED") else {
        return;
    };
    World::new(seed, true).run().expect("the seed breaks no rule");
}
