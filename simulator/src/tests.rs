//! Many seeds, and those that found something once.

use std::collections::BTreeMap;
use std::sync::Mutex;

use super::{Run, run, run_with_dispatcher, show, show_with_dispatcher};

/// Seeds that found something once.
const REGRESSIONS: &[u64] = &[
    // A forced resume raised the generation by two; the other copy moved on before it heard of that.
    22982,
    // A copy that another life had replaced began again, and took the session before it heard of that.
    6187, 7627, 15627, 6843, 16299, 76187,
    // A life that was ordered before an engine's crash came up at its next start, though another engine had a
    // newer one meanwhile: nobody had listened for that before it came up.
    89531,
    // A copy that another life had replaced, and that had not heard of it yet, took the session while that
    // life's engine was away.
    12379, 23163,
    // A blob was whole only after its arrival had been refused: it was counted as here, and nobody kept it.
    6580,
    // The disk was full of an engine whose copy another life had replaced: the copy went on, and took the
    // session.
    57595,
    // A late answer of a life that another had been ordered to replace was taken for one of that.
    23467,
];
const SEEDS: u64 = 1000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Seeds of worlds with a dispatcher that found something once.
const DISPATCHED_REGRESSIONS: &[u64] = &[
    // A copy that was given up ran again: its engine was back between the end of the newer one and the acting
    // dispatcher's hearing of it.
    419,
    // Set back to a checkpoint whose later inputs were lost, programs published under numbers that they had
    // used.
    99, 139, 307, 459, 507, 627,
    // Given an order once more after it had lost its disk, an engine carried it out again, in the same
    // numbers.
    11, 571,
    // A tombstone was gone from the broker when an order that was given before it was carried out.
    550,
    // A broker that was set back brought back the status of a program that its engine had ended since, in the
    // same process: the dispatcher took it for running for good.
    2116,
];
const DISPATCHED_SEEDS: u64 = 16;

/// What came of many runs.
#[derive(Default)]
struct Runs {
    seeds: u64,
    seconds: u64,
    outcomes: BTreeMap<String, u64>,
    failed: Vec<String>,
}

impl Runs {
    fn add(&mut self, run: Run) {
        self.seconds += run.seconds;
        self.failed.extend(run.result.err());
        for (outcome, count) in run.outcomes {
            *self.outcomes.entry(outcome).or_default() += count;
        }
    }
}

/// On two threads: the regressions, then seeds from `FROM` on (0) until there are enough, or have been enough
/// hours. How often what happened; fails with the first rules that were broken.
fn run_all(run: fn(u64) -> Run, regressions: &[u64], (seeds, hours): (u64, u64)) -> BTreeMap<String, u64> {
    let runs = Mutex::new(Runs::default());
    let from = number("FROM").unwrap_or(0);
    let all = || runs.lock().expect("a run reports, it does not panic");
    let next = || {
        let mut runs = all();
        let number = runs.seeds;
        let is_enough = number >= seeds + regressions.len() as u64 && runs.seconds >= hours * 3600;
        runs.seeds += u64::from(!is_enough);
        let seed = regressions.get(number as usize).copied();
        let seed = seed.unwrap_or_else(|| from + number - regressions.len() as u64);
        (!is_enough).then_some(seed)
    };
    let work = || {
        while let Some(seed) = next() {
            let run = run(seed);
            all().add(run);
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(work);
        work();
    });
    let Runs {
        seeds,
        seconds,
        outcomes,
        mut failed,
    } = runs.into_inner().expect("a run reports, it does not panic");
    println!("{seeds:>8} seeds, {} hours of a fleet", seconds / 3600);
    for (outcome, count) in &outcomes {
        println!("{count:>8} {outcome}");
    }
    failed.sort();
    assert!(
        failed.is_empty(),
        "{} failed:\n{}",
        failed.len(),
        failed[..failed.len().min(30)].join("\n")
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
    let outcomes = run_all(run, REGRESSIONS, (seeds, 0));
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
    let hours = number("HOURS").unwrap_or(0);
    let outcomes = run_all(run_with_dispatcher, DISPATCHED_REGRESSIONS, (seeds, hours));
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
