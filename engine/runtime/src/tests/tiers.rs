//! Programs that begin on the baseline tier and change over to optimised code where they stand.

use wayfare_protocol::limits::LOG_WINDOW_LINES;

use super::*;
use crate::{Budget, Tier};

/// More than a program can print while nobody acknowledges it: until then it does not end.
const LINES: usize = LOG_WINDOW_LINES as usize + 500;

/// Prints a number in a line, counting up, after a loop and a call that sleeps. As large as what is worth the
/// baseline tier.
fn counting() -> Vec<u8> {
    let text = r#"(module
        (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 4)
        (global $count (mut i32) (i32.const 0))
        (data (i32.const 64) "\50\00\00\00\07\00\00\00")
        (data (i32.const 65536) "PADDING")
        (func $digits (param $at i32) (param $left i32) (param $value i32)
            (if (i32.eqz (local.get $left)) (then (return)))
            (i32.store8 (local.get $at) (i32.add (i32.const 48) (i32.rem_u (local.get $value) (i32.const 10))))
            (call $digits (i32.sub (local.get $at) (i32.const 1)) (i32.sub (local.get $left) (i32.const 1))
                (i32.div_u (local.get $value) (i32.const 10))))
        (func $work (local $left i32)
            (local.set $left (i32.const 1000))
            (loop $l (br_if $l (local.tee $left (i32.sub (local.get $left) (i32.const 1))))))
        (func (export "_start")
            (loop $l
                (global.set $count (i32.add (global.get $count) (i32.const 1)))
                (call $work)
                (call $digits (i32.const 85) (i32.const 6) (global.get $count))
                (i32.store8 (i32.const 86) (i32.const 10))
                (drop (call $write (i32.const 1) (i32.const 64) (i32.const 1) (i32.const 128)))
                (i64.store (i32.const 280) (i64.const 20000))
                (i32.store (i32.const 272) (i32.const 1))
                (drop (call $poll (i32.const 256) (i32.const 512) (i32.const 1) (i32.const 128)))
                (br_if $l (i32.lt_u (global.get $count) (i32.const LINES))))))"#;
    let text = text.replace("PADDING", &"padding ".repeat(9 << 10));
    wat::parse_str(text.replace("LINES", &LINES.to_string())).unwrap()
}

fn runtime(budget: Arc<Budget>) -> Arc<Runtime> {
    let runtime = Runtime::new(RuntimeOptions {
        budget,
        ..RuntimeOptions::default()
    });
    Arc::new(runtime.unwrap())
}

struct Begun {
    runtime: Arc<Runtime>,
    wasm: Vec<u8>,
    plan: Plan,
}

impl Begun {
    /// What is loaded for the first time.
    fn new(runtime: Arc<Runtime>) -> Self {
        let wasm = counting();
        let (loaded, compiled) = runtime.compile_first(Digest::of(&wasm), &wasm).unwrap();
        assert_eq!(loaded.tier(), Tier::Baseline);
        assert!(compiled.is_none(), "nothing of it is kept");
        let mut plan = Plan::new(loaded);
        plan.runtime = Some(runtime.clone());
        Self { runtime, wasm, plan }
    }

    fn compile_resuming(&self) {
        let kept = self.runtime.compile_resuming(&self.plan.loaded, &self.wasm);
        assert!(kept.unwrap().is_none());
        assert!(self.plan.loaded.can_resume());
    }

    fn optimise(&self) -> Arc<Loaded> {
        let mut kept = 0;
        let keep = |_| kept += 1;
        self.runtime
            .optimise(&self.plan.loaded, &self.wasm, keep)
            .unwrap();
        assert_eq!(kept, 2, "both pieces");
        self.plan.loaded.better().expect("it is here")
    }
}

fn expected() -> String {
    (1..=LINES).map(|count| format!("{count:06}\n")).collect()
}

/// All that it prints from here on; says how often it changed over.
fn to_the_end(run: &Run, mut lines: Vec<LogLine>) -> (String, usize) {
    let mut changes = 0;
    // It has told of those already, perhaps, and does so once.
    lines.extend(run.process.take_lines(usize::MAX));
    run.process.acknowledge_log(u64::MAX);
    loop {
        let event = run.next();
        lines.extend(run.process.take_lines(usize::MAX));
        run.process.acknowledge_log(u64::MAX);
        match event {
            ProcessEvent::Changed => changes += 1,
            ProcessEvent::Ended(state) => {
                assert_eq!(state, ProgramState::Exited { code: 0 });
                return (stdout(&lines), changes);
            }
            _ => {}
        }
    }
}

#[test]
fn a_program_changes_over_where_it_stands_and_nobody_can_tell() {
    let begun = Begun::new(runtime(Arc::default()));
    let run = begun.plan.start();
    let lines = run.lines(3);
    begun.compile_resuming();
    begun.optimise();
    assert_eq!(to_the_end(&run, lines), (expected(), 1));
    // It is known that there is better code, before the program begins.
    let late = begun.plan.start();
    assert_eq!(to_the_end(&late, Vec::new()), (expected(), 1));
    begun
        .runtime
        .optimise(&begun.plan.loaded, &begun.wasm, |_| panic!("it is made once"))
        .unwrap();
}

#[test]
fn snapshots_are_the_same_on_both_tiers() {
    let begun = Begun::new(runtime(Arc::default()));
    begun.compile_resuming();
    let optimised = begun.runtime.load(Digest::of(&begun.wasm), &begun.wasm).unwrap();
    assert_eq!(optimised.tier(), Tier::Optimised);
    let mut plans = [begun.plan.clone(), begun.plan.clone()];
    plans[1].loaded = optimised;
    let mut run = plans[0].start();
    for plan in plans.iter().cycle().skip(1).take(8) {
        let (snapshot, _) = run.try_capture(false).unwrap();
        run = plan.restore(through_the_wire(&snapshot));
    }
    let (lines, _) = to_the_end(&run, Vec::new());
    assert!(expected().ends_with(&lines) && !lines.is_empty(), "{lines}");
}

#[test]
fn what_is_asked_of_a_program_goes_before_its_change() {
    let begun = Begun::new(runtime(Arc::default()));
    begun.compile_resuming();
    let run = begun.plan.start();
    run.lines(2);
    run.freeze();
    let still = run.capture(false);
    begun.optimise();
    // It stands still for as long as it was told to.
    let frozen = run.capture(false);
    assert_eq!(frozen.frames, still.frames);
    run.process.unfreeze();
    let event = run.next_but_lines();
    assert!(matches!(event, ProcessEvent::Changed), "{event:?}");
    let moved = through_the_wire(&run.capture(true));
    run.process.acknowledge_log(u64::MAX);
    let (lines, changes) = to_the_end(&run, Vec::new());
    assert!(expected().ends_with(&lines) && changes == 0);
    // What was stored on the one tier goes on, on the other and then here.
    for snapshot in [through_the_wire(&still), moved] {
        let (lines, _) = to_the_end(&begun.plan.restore(snapshot), Vec::new());
        assert!(expected().ends_with(&lines) && !lines.is_empty());
    }
}

/// There is no room for copies of it until others have ended.
#[test]
fn a_program_that_cannot_change_over_goes_on_and_tries_again() {
    let all = Arc::new(Budget::default());
    let one = Begun::new(runtime(all.clone())).plan.launch(None, true);
    one.expect_started();
    let used_bytes = Budget::default().left_bytes() - all.left_bytes();
    drop(one);

    let budget = Arc::new(Budget::new(3 * used_bytes + 1));
    let begun = Begun::new(runtime(budget.clone()));
    begun.compile_resuming();
    let run = begun.plan.start();
    let others = [(); 2].map(|()| begun.plan.launch(None, true));
    others.iter().for_each(Run::expect_started);
    assert!(budget.left_bytes() < used_bytes);
    begun.optimise();
    // Neither would see it change over and go on.
    let lines = run.lines(20);
    run.capture(true);

    drop(others);
    let since = Instant::now();
    while budget.left_bytes() < used_bytes {
        assert!(since.elapsed() < PATIENCE, "others end");
        std::thread::yield_now();
    }
    run.capture(true);
    let event = run.next_but_lines();
    assert!(matches!(event, ProcessEvent::Changed), "{event:?}");
    assert_eq!(to_the_end(&run, lines), (expected(), 0));
}

/// As where the baseline compiler lacks what resuming code needs.
#[test]
fn a_program_changes_over_that_could_not_go_on_as_it_is() {
    let begun = Begun::new(runtime(Arc::default()));
    let run = begun.plan.start();
    let lines = run.lines(3);
    assert!(!begun.plan.loaded.can_resume());
    begun.optimise();
    assert!(begun.plan.loaded.can_resume());
    assert_eq!(to_the_end(&run, lines), (expected(), 1));
}

#[test]
fn what_needs_what_the_baseline_compiler_lacks_is_optimised_at_once() {
    let padding = "padding ".repeat(9 << 10);
    let text = format!(
        r#"(module (memory 2) (data (i32.const 0) "{padding}")
            (func $f (return_call $g)) (func $g) (func (export "_start") (return_call $f)))"#
    );
    let wasm = wat::parse_str(text).unwrap();
    let (loaded, compiled) = RUNTIME.compile_first(Digest::of(&wasm), &wasm).unwrap();
    assert_eq!((loaded.tier(), compiled.is_some()), (Tier::Optimised, true));
    let off = Runtime::new(RuntimeOptions {
        baseline: false,
        ..RuntimeOptions::default()
    });
    let wasm = counting();
    let (loaded, _) = off.unwrap().compile_first(Digest::of(&wasm), &wasm).unwrap();
    assert_eq!(loaded.tier(), Tier::Optimised);
}
