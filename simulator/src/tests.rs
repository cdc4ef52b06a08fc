//! Many seeds, and those that found something once.

use std::collections::BTreeMap;

use super::{Run, run, run_with_dispatcher, show, show_with_dispatcher};

/// Seeds that found something once.
const REGRESSIONS: &[u64] = &[
    // A forced resume raised the generation by two; the other copy moved on before it heard of that.
    22982,
    // A copy that another life had replaced began again, and took the session before it heard of that.
    6187, 7627, 15627, 6843, 16299, 76187,
    // A life that was ordered before an engine's crash came up at its next start, though another engine had a newer one
    // meanwhile: nobody had listened for that before it came up.
    89531,
    // A copy that another life had replaced, and that had not heard of it yet, took the session while that life's engine was away.
    12379, 23163,
    // A blob was whole only after its arrival had been refused: it was counted as here, and nobody kept it.
    6580,
];
const SEEDS: u64 = 1000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Seeds of worlds with a dispatcher that found something once.
const DISPATCHED_REGRESSIONS: &[u64] = &[];
const DISPATCHED_SEEDS: u64 = 60;

/// On two threads. How often what happened; fails with the first rules that were broken.
fn run_all(run: fn(u64) -> Run, seeds: impl Iterator<Item = u64>) -> BTreeMap<String, u64> {
    let mut outcomes: BTreeMap<String, u64> = BTreeMap::new();
    let mut failed = Vec::new();
    let (even, odd): (Vec<_>, Vec<_>) = seeds.partition(|seed| seed % 2 == 0);
    let runs = std::thread::scope(|scope| {
        let other = scope.spawn(|| odd.into_iter().map(run).collect::<Vec<_>>());
        let mut runs: Vec<_> = even.into_iter().map(run).collect();
        runs.extend(other.join().expect("a run reports, it does not panic"));
        runs
    });
    for run in runs {
        failed.extend(run.result.err());
        for (outcome, count) in run.outcomes {
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
    outcomes
}

/// A world in which nothing works would break no rule.
fn must_have_happened(outcomes: &BTreeMap<String, u64>, what: &[&str], seeds: u64) {
    for outcome in what {
        assert!(
            outcomes.get(*outcome).is_some_and(|count| *count > seeds / 40),
            "too few: {outcome}"
        );
    }
}

#[test]
fn fleets_keep_every_program_exactly_once() {
    let seeds = number("SEEDS").unwrap_or(SEEDS);
    let all = REGRESSIONS.iter().copied().chain(0..seeds);
    let outcomes = run_all(run, all);
    must_have_happened(
        &outcomes,
        &[
            "run done",
            "move done",
            "spawn done",
            "kill done",
            "snapshot done",
            "pause done",
            "resume done",
            "inputs handled",
            "lives begun anew",
            "disks lost",
            "records kept waiting",
            "run refused for the disk",
            "strangers' words",
        ],
        seeds,
    );
}

#[test]
fn dispatched_fleets_run_what_is_wanted_each_instance_once() {
    let seeds = number("SEEDS").unwrap_or(DISPATCHED_SEEDS);
    let all = DISPATCHED_REGRESSIONS.iter().copied().chain(0..seeds);
    let outcomes = run_all(run_with_dispatcher, all);
    must_have_happened(
        &outcomes,
        &[
            "applications as wanted",
            "dispatchers killed",
            "dispatcher: engine-lost",
            "dispatcher: engine-back",
            "dispatcher: start",
            "move done",
            "programs trapped",
            "snapshot done",
        ],
        seeds,
    );
}

#[test]
fn one_seed() {
    let Some(seed) = number("SEED") else {
        return;
    };
    show(seed).expect("the seed breaks no rule");
}

#[test]
fn one_dispatched_seed() {
    let Some(seed) = number("SEED") else {
        return;
    };
    show_with_dispatcher(seed).expect("the seed breaks no rule");
}
