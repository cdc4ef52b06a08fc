//! Every sample, captured at 200 random points and resumed in a new instance on the other tier, through
//! chains, and again before the first resumed frame has returned: prints what the original prints.
#![allow(clippy::unwrap_used)]

mod support;

use support::*;
use wasmtime::Module;

/// Arguments that make some ten thousand checks: every check calls back.
fn arguments(name: &str) -> &'static [&'static str] {
    match name {
        "primes" => &["1500"],
        "factorial" => &["150"],
        "counter" => &["10", "1", "4"],
        "fib" => &["13", "300"],
        "sort" => &["4", "1"],
        "wordfreq" => &["20"],
        _ => panic!("a new sample needs arguments here: {name}"),
    }
}

fn differential(name: &str) {
    let sample = wayfare_samples::find(name).unwrap();
    let world = World {
        args: std::iter::once(name)
            .chain(arguments(name).iter().copied())
            .map(String::from)
            .collect(),
        stdin: sample
            .stdin
            .map_or(Vec::new(), |text| text[..text.len().min(6000)].to_vec()),
        ..World::default()
    };
    let engine = engine();
    let expected = outcome(run_raw(
        &engine,
        &Module::new(&engine, sample.wasm).unwrap(),
        world.clone(),
    ));
    assert!(!expected.0.is_empty());
    let program = Program::split(&engine, sample.wasm);
    let baseline = HAS_BASELINE.then(|| Program::split(&baseline_engine(STACK_BYTES / 2), sample.wasm));
    // Across tiers with every capture, from one or the other.
    let programs: Vec<&Program> = [Some(&program), baseline.as_ref()]
        .into_iter()
        .flatten()
        .collect();
    let unmoved = run(&program, Err(world.clone()), None);
    let End::Finished(end) = unmoved else {
        panic!("did not finish")
    };
    let checks = end.checks;
    assert_eq!((end.stdout, end.exit, None), expected, "rewritten, unmoved");

    let mut random = Random(42);
    let mut captured = 0;
    for point in 0..200 {
        let first = 1 + random.below(checks);
        let chain = point % 4;
        // Odd chains capture again after very few checks: before the first resumed frame has returned.
        let turned: Vec<&Program> = programs
            .iter()
            .cycle()
            .skip(point)
            .take(programs.len())
            .copied()
            .collect();
        let (end, captures, _) = run_captured(&turned, world.clone(), first, |done| {
            (done <= chain).then(|| {
                if chain % 2 == 1 {
                    1 + random.below(3)
                } else {
                    1 + random.below(checks / 3)
                }
            })
        });
        captured += captures;
        assert_eq!(
            outcome(end),
            expected,
            "{name}: first capture at {first} of {checks}, chain of {chain}"
        );
    }
    println!(
        "{name}: {checks} checks, {captured} captures, {:?}",
        program.report
    );
    assert!(captured >= 300, "only {captured} captures");
}

macro_rules! samples {
    ($($name:ident)*) => { $( #[test] fn $name() { with_stack(|| differential(stringify!($name))); } )* };
}
samples!(primes factorial counter fib sort wordfreq);

#[test]
fn recursion_ten_thousand_deep_is_captured_and_resumed() {
    with_stack(deep_recursion);
}

fn deep_recursion() {
    let sample = wayfare_samples::find("fib").unwrap();
    let world = World {
        args: ["fib", "3", "10000"].map(String::from).to_vec(),
        ..World::default()
    };
    let engine = engine();
    let expected = outcome(run_raw(
        &engine,
        &Module::new(&engine, sample.wasm).unwrap(),
        world.clone(),
    ));
    let program = Program::split(&engine, sample.wasm);
    let baseline = HAS_BASELINE.then(|| Program::split(&baseline_engine(STACK_BYTES / 2), sample.wasm));
    let programs: Vec<&Program> = baseline.iter().chain([&program]).collect();
    let End::Finished(end) = run(&program, Err(world.clone()), None) else {
        panic!()
    };
    let mut deepest = 0;
    for tenth in 1..10 {
        let (ended, captures, largest) =
            run_captured(&programs, world.clone(), end.checks * tenth / 10, |done| {
                (done < 4).then_some(2)
            });
        assert_eq!(outcome(ended), expected);
        assert!(captures >= 4);
        deepest = deepest.max(largest);
    }
    assert!(deepest > 10_000 * 8, "frames came to {deepest} bytes only");
}
