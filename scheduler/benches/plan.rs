//! How long planning takes for a large fleet, and how much memory.
//!
//! `cargo bench -p wayfare-scheduler --bench plan` prints tables in Markdown and asserts nothing about time.
//! A number behind `--` divides the fleet: `-- 100` has 100 engines. Under `cargo test --benches` the fleet
//! is tiny.

#![expect(clippy::disallowed_methods, reason = "it measures: the library has no clock")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use wayfare_protocol::ids::{EngineId, Generation, ProgramId};
use wayfare_scheduler::application::{
    Application, Applications, Component, ComponentId, InstanceId, Resources,
};
use wayfare_scheduler::constraint::{Apart, Constraints, Domain, LabelRule, LabelTest, Spread};
use wayfare_scheduler::fleet::{Capacity, Code, Engine, Fleet, NoCode, Presence, Running, Usage};
use wayfare_scheduler::plan::{Action, Options, Plan};
use wayfare_scheduler::policy::Policy;
use wayfare_scheduler::state::State;

const ENGINES: u32 = 10_000;
const COMPONENTS_PER_ENGINE: u32 = 10;
const COMPONENTS_PER_APPLICATION: u32 = 10;
const ROUNDS: usize = 7;

#[global_allocator]
static HEAP: Counting = Counting;

static BYTES: AtomicUsize = AtomicUsize::new(0);
static BYTES_MAX: AtomicUsize = AtomicUsize::new(0);

/// Counts what is allocated.
struct Counting;

// SAFETY: everything is handed on to the system's allocator as it came; counting does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let bytes = BYTES.fetch_add(layout.size(), Relaxed) + layout.size();
        BYTES_MAX.fetch_max(bytes, Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

fn main() {
    // Cargo passes `--bench` when it is asked to measure, and nothing when it is asked to test.
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let measures = arguments.iter().any(|argument| argument == "--bench");
    let divisor = arguments.iter().find_map(|argument| argument.parse::<u32>().ok());
    let divisor = divisor
        .unwrap_or(if measures { 1 } else { 500 })
        .clamp(1, ENGINES);
    let (engines, rounds) = (ENGINES / divisor, if measures { ROUNDS } else { 1 });
    let components = engines * COMPONENTS_PER_ENGINE;
    println!(
        "{engines} engines, {components} components, {rounds} rounds; milliseconds are min / median, MiB are at most\n"
    );
    println!(
        "| policy | from nothing | MiB | left out | engine lost, kept state | actions | all given anew | MiB |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    for policy in Policy::ALL {
        measure(engines, policy, rounds);
    }
}

fn measure(engines: u32, policy: Policy, rounds: usize) {
    let options = Options::new(policy);
    let applications = applications(engines * COMPONENTS_PER_ENGINE);
    let mut fleet = fleet(engines);
    let mut planned = Plan::default();
    let (nothing, nothing_bytes) = repeat(rounds, || {
        let started = Instant::now();
        planned = wayfare_scheduler::plan(&fleet, &applications, options);
        started.elapsed().as_secs_f64()
    });
    carry_out(&planned, &mut fleet);
    let left_out: usize = planned
        .unplaced
        .iter()
        .map(|unplaced| unplaced.ordinals.len())
        .sum();

    let mut state = State::new(&fleet, &applications, options);
    assert_eq!(
        state.plan().actions,
        [],
        "a plan carried out and planned again is empty"
    );
    let names: Vec<EngineId> = fleet.engines.keys().cloned().collect();
    let mut actions = 0;
    let mut next = 0;
    let (kept, _) = repeat(rounds, || {
        // Another one each time, from all over the fleet.
        let lost = &names[next * names.len() / rounds];
        next += 1;
        let started = Instant::now();
        state.lost(lost).expect("the engine is known");
        let plan = state.plan();
        let elapsed = started.elapsed().as_secs_f64();
        actions = actions.max(plan.actions.len());
        elapsed
    });
    drop(state);
    let lost = &names[names.len() / 2];
    if let Some(engine) = fleet.engines.get_mut(lost) {
        engine.presence = Presence::Lost;
    }
    let (anew, anew_bytes) = repeat(rounds, || {
        let started = Instant::now();
        let plan = wayfare_scheduler::plan(&fleet, &applications, options);
        let elapsed = started.elapsed().as_secs_f64();
        drop(plan);
        elapsed
    });
    println!(
        "| {policy:?} | {nothing} | {nothing_bytes} | {left_out} | {kept} | {actions} | {anew} | {anew_bytes} |"
    );
}

/// The least and the median time in milliseconds; and the most memory, in MiB above what was there before.
fn repeat(rounds: usize, mut work: impl FnMut() -> f64) -> (String, String) {
    let before = BYTES.load(Relaxed);
    BYTES_MAX.store(before, Relaxed);
    let mut seconds: Vec<f64> = (0..rounds).map(|_| work()).collect();
    let bytes = BYTES_MAX.load(Relaxed) - before;
    seconds.sort_by(f64::total_cmp);
    let (min, median) = (seconds[0] * 1e3, seconds[rounds / 2] * 1e3);
    (format!("{min:.2} / {median:.2}"), format!("{}", bytes >> 20))
}

/// Boards of four sizes on hosts of two engines, in eight zones; every fourth has a led.
fn fleet(engines: u32) -> Fleet {
    let engine = |number: u32| Engine {
        host: format!("host-{}", number / 2),
        presence: Presence::Open,
        capacity: Capacity {
            memory_bytes: Some((512 << (number % 4)) << 20),
            program_memory_bytes_max: Some(512 << 20),
            processor_millicores: Some(4000),
            programs_max: Some(64),
        },
        other: Usage::default(),
        code: match number % 10 {
            9 => Code::None(NoCode::NotServed),
            _ => Code::Own,
        },
        labels: BTreeMap::from([
            ("zone".to_owned(), format!("zone-{}", number % 8)),
            (
                "arch".to_owned(),
                if number.is_multiple_of(4) {
                    "armv7"
                } else {
                    "aarch64"
                }
                .to_owned(),
            ),
        ]),
        devices: (number % 4 == 1).then(|| "led".to_owned()).into_iter().collect(),
    };
    let name = |number| format!("engine-{number:05}").parse().expect("a good name");
    Fleet {
        engines: (0..engines)
            .map(|number| (name(number), engine(number)))
            .collect(),
        running: Vec::new(),
    }
}

/// Applications of ten components, each with one instance: of many sizes, half of them with constraints of
/// all kinds.
fn applications(components: u32) -> Applications {
    let mut applications = Applications::new();
    for number in 0..components {
        let name = format!("app-{:05}", number / COMPONENTS_PER_APPLICATION);
        let application: &mut Application = applications.entry(name.clone()).or_default();
        let part = number % COMPONENTS_PER_APPLICATION;
        let component = Component {
            count: 1,
            demand: Resources {
                memory_bytes: u64::from(16 + number * 7919 % 113) << 20,
                processor_millicores: u64::from(50 + number * 104_729 % 301),
            },
            constraints: constraints(part, &name),
            ..Component::default()
        };
        application.components.insert(format!("part-{part}"), component);
    }
    applications
}

fn constraints(part: u32, application: &str) -> Constraints {
    let mut constraints = Constraints::default();
    let label = |key: &str, test: LabelTest| LabelRule {
        key: key.to_owned(),
        test,
    };
    match part {
        0 => {
            constraints.requirements.devices = BTreeSet::from(["led".to_owned()]);
        }
        1 => {
            let aarch64 = LabelTest::Equals("aarch64".to_owned());
            constraints.requirements.labels = BTreeSet::from([label("arch", aarch64)]);
        }
        2 => {
            let zones = ["zone-1", "zone-2", "zone-5"].map(str::to_owned);
            let zones = LabelTest::In(BTreeSet::from(zones));
            constraints.requirements.labels = BTreeSet::from([label("zone", zones)]);
        }
        3 => {
            let from = ComponentId::new(application, "part-4");
            let by = Domain::Host;
            constraints.apart_from = BTreeSet::from([Apart { from, by }]);
        }
        4 => {
            let by = Domain::Label("zone".to_owned());
            constraints.spread = Some(Spread { by, skew_max: 1 });
            constraints.per_engine_max = Some(1);
        }
        _ => {}
    }
    constraints
}

fn carry_out(plan: &Plan, fleet: &mut Fleet) {
    for (number, action) in (0_u128..).zip(&plan.actions) {
        if let Action::Run { instance, engine } = action {
            fleet.running.push(Running {
                instance: InstanceId::clone(instance),
                engine: engine.clone(),
                program: ProgramId::from_random(number.to_be_bytes()),
                generation: Generation::FIRST,
                memory_bytes: 0,
            });
        }
    }
}
