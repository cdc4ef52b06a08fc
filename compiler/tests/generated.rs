//! Random modules, made to end by fuel: the same results, traps, memories and globals as they are, rewritten, and captured
//! at random points. The fuzzing target in `compiler/fuzz` is this without an end.
#![allow(clippy::unwrap_used)]

mod support;

use support::generated::{Coverage, compare, module};
use support::{Random, engine, with_stack};

const MODULES: u64 = 300;
/// What a module is made of.
const DATA_BYTES: usize = 4096;
const THREADS: u64 = 2;

#[test]
fn random_modules_come_to_the_same_wherever_they_are_captured() {
    let engine = engine();
    let total = std::sync::Mutex::new(Coverage::default());
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (engine, total) = (&engine, &total);
            scope.spawn(move || {
                with_stack(|| {
                    for seed in (thread..MODULES).step_by(THREADS as usize) {
                        let covered = one(engine, seed);
                        total.lock().unwrap().add(covered);
                    }
                });
            });
        }
    });
    let total = total.into_inner().unwrap();
    println!("{total:?}");
    // So that no change of the generator empties the test.
    assert!(total.modules - total.refused >= 100, "{total:?}");
    assert!(total.captures >= 1_000, "{total:?}");
}

fn one(engine: &wasmtime::Engine, seed: u64) -> Coverage {
    let mut random = Random(seed);
    let data: Vec<u8> = (0..DATA_BYTES).map(|_| random.next() as u8).collect();
    let Some(wasm) = module(&data) else {
        return Coverage::default();
    };
    let compared = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        compare(engine, &wasm, &mut random)
    }));
    compared.unwrap_or_else(|_| panic!("seed {seed}"))
}
