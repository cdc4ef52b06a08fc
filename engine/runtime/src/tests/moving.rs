//! The samples, moved at random instants through chains of processes, print what they print unmoved.

use super::*;

/// Runs a program to its end, moving it whenever a random time is over. Returns its output, and how many
/// moves found it further on than the one before.
fn run_moved(plan: &Plan, random: &mut Random, pause_us_max: u64, moves_max: usize) -> (String, usize) {
    let mut lines: BTreeMap<u64, LogLine> = BTreeMap::new();
    let mut run = plan.start();
    let (mut moves, mut moves_further) = (0, 0);
    let mut last: Option<Snapshot> = None;
    loop {
        let moving = moves < moves_max;
        if moving {
            let pause = Duration::from_micros(random.below(pause_us_max));
            let until = Instant::now() + pause;
            while Instant::now() < until {
                std::thread::yield_now();
            }
        }
        // Some lines are acknowledged, some only taken, some neither: all must arrive in the end.
        if random.below(2) == 0 || !moving {
            for line in run.process.take_lines(usize::MAX) {
                let before = lines.insert(line.line, line.clone());
                assert!(
                    before.is_none_or(|before| before == line),
                    "a line changed when said again"
                );
            }
            let known = lines.keys().next_back().map_or(0, |last| last + 1);
            run.process.acknowledge_log(random.below(known + 1));
        }
        let captured = match (moving, random.below(4)) {
            (false, _) => {
                let (rest, state) = run.end();
                lines.extend(rest.into_iter().map(|line| (line.line, line)));
                Err(state)
            }
            // A pause in place, or a copy that is thrown away, come before the move.
            (true, 0) => run.try_freeze().and_then(|_| {
                run.process.unfreeze();
                run.try_capture(false)
            }),
            (true, 1) => run.try_capture(true).and_then(|_| run.try_capture(false)),
            (true, _) => run.try_capture(false),
        };
        match captured {
            Ok((snapshot, _)) => {
                run.process.discard();
                run = plan.restore(through_the_wire(&snapshot));
                let body = |s: &Snapshot| (s.frames.clone(), s.globals.clone(), s.memories.clone());
                if !snapshot.frames.is_empty() && last.is_none_or(|last| body(&last) != body(&snapshot)) {
                    moves_further += 1;
                }
                last = Some(snapshot);
                moves += 1;
            }
            Err(state) => {
                assert_eq!(state, ProgramState::Exited { code: 0 });
                lines.extend(
                    run.process
                        .take_lines(usize::MAX)
                        .into_iter()
                        .map(|line| (line.line, line)),
                );
                let all: Vec<LogLine> = lines.into_values().collect();
                assert!(
                    all.iter().zip(0..).all(|(line, number)| line.line == number),
                    "a line is missing"
                );
                return (stdout(&all), moves_further);
            }
        }
    }
}

/// `moves` altogether, in chains of random length.
fn moved_runs_print_what_unmoved_runs_print(name: &str, moves: usize) {
    let expected = wayfare_samples::find(name).unwrap().quick_stdout;
    moved_runs_print(name, &Plan::sample(name), expected, moves);
}

pub(super) fn moved_runs_print(name: &str, plan: &Plan, expected: &str, moves: usize) {
    let began = Instant::now();
    assert_eq!(plan.start().end_well(), expected);
    let unmoved_us = began.elapsed().as_micros() as u64;
    let mut done = 0;
    for seed in 1u64.. {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        // From captures before the first resumed frame has returned, to one move somewhere in the whole run.
        let pause_us_max = (unmoved_us >> random.below(10)).max(2);
        let moves_max = 1 + random.below(24) as usize;
        let (output, moved) = run_moved(plan, &mut random, pause_us_max, moves_max);
        assert!(
            output == expected,
            "{name} moved {moved} times with seed {seed} printed\n{output}"
        );
        done += moved;
        if done >= moves {
            return;
        }
        assert!(seed < 2000, "too few moves succeed: {done}");
    }
}

/// Boards interpret, and are emulated where this is tested.
pub(super) const MOVES: usize = if cfg!(feature = "compiler") { 200 } else { 5 };

#[test]
fn counter_moves() {
    moved_runs_print_what_unmoved_runs_print("counter", MOVES);
}

#[test]
fn factorial_moves() {
    moved_runs_print_what_unmoved_runs_print("factorial", MOVES);
}

#[test]
fn fib_moves() {
    moved_runs_print_what_unmoved_runs_print("fib", MOVES);
}

#[test]
fn primes_moves() {
    moved_runs_print_what_unmoved_runs_print("primes", MOVES);
}

#[test]
fn sort_moves() {
    moved_runs_print_what_unmoved_runs_print("sort", MOVES);
}

#[test]
fn wordfreq_moves() {
    moved_runs_print_what_unmoved_runs_print("wordfreq", MOVES);
}

/// Its files move with it, open ones in the middle of being written.
#[test]
fn scribe_moves() {
    let wasm = wayfare_samples::find_talker("scribe").unwrap().wasm;
    let loaded = load_wasm(wasm).unwrap();
    let mut plan = Plan::new(loaded);
    plan.spec.args = vec!["200".into()];
    moved_runs_print("scribe", &plan, wayfare_samples::SCRIBE_STDOUT, MOVES);
}
