//! Random modules, made to end by fuel: the same results, traps, memories and globals as they are, rewritten,
//! and captured at random points. The fuzzing target in `compiler/fuzz` is this without an end.
#![allow(clippy::unwrap_used)]

mod support;

use support::generated::{Coverage, compare, module, plain_module};
use support::{HAS_BASELINE, Random, STACK_BYTES, baseline_engine, engine, with_stack};

const MODULES: u64 = 300;
/// One in so many is run on the baseline tier as well.
const ON_BASELINE: u64 = 3;
/// What a module is made of.
const DATA_BYTES: usize = 4096;
const THREADS: u64 = 2;

type Make = fn(&[u8]) -> Option<Vec<u8>>;

#[test]
fn random_modules_come_to_the_same_wherever_they_are_captured() {
    let total = all(&engine(), module, 1);
    // So that no change of the generator empties the test.
    assert!(total.modules - total.refused >= 100, "{total:?}");
    assert!(total.captures >= 1_000, "{total:?}");
    if HAS_BASELINE {
        let total = all(&baseline_engine(STACK_BYTES / 2), plain_module, ON_BASELINE);
        assert!(total.modules - total.refused >= 15, "{total:?}");
        assert!(total.captures >= 150, "{total:?}");
    }
}

/// What is made of one seed in `step`.
fn all(engine: &wasmtime::Engine, make: Make, step: u64) -> Coverage {
    let total = std::sync::Mutex::new(Coverage::default());
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let total = &total;
            scope.spawn(move || {
                with_stack(|| {
                    for seed in (thread * step..MODULES).step_by((THREADS * step) as usize) {
                        let covered = one(engine, make, seed);
                        total.lock().unwrap().add(covered);
                    }
                });
            });
        }
    });
    let total = total.into_inner().unwrap();
    println!("{total:?}");
    total
}

fn one(engine: &wasmtime::Engine, make: Make, seed: u64) -> Coverage {
    let mut random = Random(seed);
    let data: Vec<u8> = (0..DATA_BYTES).map(|_| random.next() as u8).collect();
    let Some(wasm) = make(&data) else {
        return Coverage::default();
    };
    let compared = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        compare(engine, &wasm, &mut random)
    }));
    compared.unwrap_or_else(|_| panic!("seed {seed}"))
}
