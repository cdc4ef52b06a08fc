//! Programs where address space is scarce.

use super::super::AddressSpace;
use super::*;

/// Set in a process that runs one of these tests with a limit.
const LIMITED: &str = "WAYFARE_TEST_LIMITED";
const PROGRAMS: usize = 12;

/// Sixteen reservations of wasmtime's are 64 GiB; twelve programs with two memories each would need more.
#[test]
fn a_dozen_programs_run_in_64_gib_of_address_space() {
    if std::env::var_os(LIMITED).is_none() {
        let test = "tests::address_space::a_dozen_programs_run_in_64_gib_of_address_space";
        let limited = std::process::Command::new("sh")
            .args(["-c", "ulimit -v 67108864 && exec \"$0\" --exact \"$1\""])
            .arg(std::env::current_exe().unwrap())
            .arg(test)
            .env(LIMITED, "1")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&limited.stdout);
        assert!(limited.status.success(), "{said}");
        return;
    }
    assert_eq!(AddressSpace::probe(), AddressSpace::Scarce);
    let wasm = wayfare_samples::find("counter").unwrap().wasm;
    let runtime = Arc::new(Runtime::new(RuntimeOptions::default()).unwrap());
    let mut plan = Plan::sample("counter");
    plan.loaded = runtime.load(Digest::of(wasm), wasm).unwrap();
    plan.runtime = Some(runtime);
    let runs: Vec<Run> = (0..PROGRAMS).map(|_| plan.start()).collect();
    for run in runs {
        assert_eq!(
            run.end_well(),
            wayfare_samples::find("counter").unwrap().quick_stdout
        );
    }
}

/// Code for one knows nothing of the other, snapshots know neither.
#[test]
fn a_program_moves_between_scarce_and_ample() {
    let wasm = wayfare_samples::find("fib").unwrap().wasm;
    let plans = [AddressSpace::Scarce, AddressSpace::Ample].map(|address_space| {
        let runtime = Arc::new(
            Runtime::new(RuntimeOptions {
                address_space,
                ..RuntimeOptions::default()
            })
            .unwrap(),
        );
        let mut plan = Plan::sample("fib");
        plan.loaded = runtime.load(Digest::of(wasm), wasm).unwrap();
        plan.runtime = Some(runtime);
        plan
    });
    let mut run = plans[0].start();
    for plan in plans.iter().cycle().skip(1).take(6) {
        let Ok((snapshot, _)) = run.try_capture(false) else {
            return;
        };
        run = plan.restore(through_the_wire(&snapshot));
    }
    assert_eq!(run.end().1, ProgramState::Exited { code: 0 });
}
