//! Engines without a compiler: code from the registry, what is refused, and moves to and from a processor of
//! another kind.

use wayfare_client::{CommandOptions, IdChoice, Order, Restore};
use wayfare_dispatcher::compilers::Compiler;
use wayfare_protocol::code;
use wayfare_protocol::event::Outcome;
use wayfare_protocol::status::ProgramState;
use wayfare_tests::broker::Kind;
use wayfare_tests::fleet::{Fleet, Setup, done, failed};
use wayfare_tests::job::Job;
use wayfare_tests::registry::{own_compiler, pretend, registry_key, secret_key};
use wayfare_tests::watched::{Watched, must_equal};

use crate::fleet;
use crate::moving::DEEP;

/// Modules of this size are asked for before they are compiled.
const LARGE_BYTES: usize = 200 << 10;

/// A host, and an engine that loads only what the registry signs.
fn host_and_board() -> Setup {
    let key = registry_key();
    let setup = fleet(Kind::Mosquitto).engines(&["host"]);
    setup.engine("board", &["--signed-only", "--trust", &key])
}

async fn to_the_board_and_back(fleet: &Fleet, job: Job, lines: usize) {
    let expected = fleet.expected(&job, "host").await;
    let watched = fleet.run(&job, "host").await;
    watched.printed(lines).await;
    for _ in 0..2 {
        fleet.moves(watched.program, "board").await;
        watched.goes_on().await;
        assert_eq!(fleet.settled(watched.program).await.0, "board");
        fleet.moves(watched.program, "host").await;
        watched.goes_on().await;
    }
    watched.must_print(&expected).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_is_moved_to_a_board_which_gets_code_meanwhile() {
    let fleet = host_and_board().registry().start().await;
    to_the_board_and_back(&fleet, Job::sample("primes", &["10000000"]), 3).await;
    fleet.spy.check_history();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_board_goes_on_from_its_disk_after_a_crash_when_no_dispatcher_is_there() {
    let mut fleet = host_and_board().registry().start().await;
    let job = Job::endless(64);
    let expected = fleet.expected(&job, "host").await;
    let watched = fleet.run(&job, "board").await;
    watched.printed(3).await;
    if let Some(registry) = fleet.registry.take() {
        registry.stop().await;
    }
    fleet.start_again(&["board"]).await;
    assert_eq!(fleet.runs_once(&watched, &expected).await, "board");
    fleet.kills(watched).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_dispatcher_a_board_refuses_and_names_the_way_out() {
    let fleet = host_and_board().start().await;
    let job = Job::endless(64);
    let expected = fleet.expected(&job, "host").await;
    let watched = fleet.run(&job, "host").await;
    let refused = failed(fleet.start_move(watched.program, "board").await).await;
    assert!(refused.to_string().contains("wayfare dispatcher"), "{refused}");
    assert_eq!(fleet.runs_once(&watched, &expected).await, "host");
    fleet.kills(watched).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_does_not_trust_the_fleets_key_is_told_which_that_is() {
    let other = secret_key(2).public().to_string();
    let setup = fleet(Kind::Mosquitto).engine("board", &["--signed-only", "--trust", &other]);
    let fleet = setup.registry().start().await;
    let order = Job::counter(3, 0, 1).order("board");
    let refused = failed(fleet.apply(Order::run(order)).await).await;
    assert!(refused.to_string().contains(&registry_key()), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_no_compiler_makes_is_refused_with_those_that_there_are_and_the_way_out() {
    let mut older = own_compiler();
    let ours = std::mem::replace(&mut older.about.wasmtime, "47.0.4".into());
    let setup = fleet(Kind::Mosquitto).engine("board", &["--signed-only", "--trust", &registry_key()]);
    let fleet = setup.registry_of(vec![Compiler::Own(older)]).start().await;
    let order = Job::counter(3, 0, 1).order("board");
    let refused = failed(fleet.apply(Order::run(order)).await).await;
    for part in [
        format!("for wasmtime {ours}, only for 47.0.4"),
        "--compiler".into(),
    ] {
        assert!(refused.to_string().contains(&part), "{refused}");
    }
}

/// Engines that compile ask for it first, where they trust the fleet's key: the first one lends the
/// dispatcher the module and starts by itself, and the next one gets the code.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_dispatcher_compiles_once_no_other_engine_compiles() {
    let key = registry_key();
    // Told so, they are lent no code that other tests' engines have compiled.
    let setup = fleet(Kind::Mosquitto).engine("first", &["--tiered-compilation", "--trust", &key]);
    let setup = setup.engine("second", &["--tiered-compilation", "--trust", &key]);
    let mut fleet = setup.registry().start().await;
    let job = Job::endless(64).padded(LARGE_BYTES);
    let expected = fleet.expected(&job, "first").await;
    let watched = fleet.run(&job, "first").await;
    watched.printed(3).await;
    fleet.moves(watched.program, "second").await;
    watched.goes_on().await;
    let module = wayfare_protocol::ids::Digest::of(&job.module).to_string();
    let has = |engine: &str, folder: &str| fleet.folder().join(engine).join(folder).join(&module).exists();
    assert!(!has("first", "signed"), "it compiled it itself");
    assert!(has("second", "signed") && !has("second", "compiled"));
    assert_eq!(fleet.runs_once(&watched, &expected).await, "second");
    fleet.kills(watched).await;

    // Without a dispatcher each compiles what it needs; what has come is kept.
    if let Some(registry) = fleet.registry.take() {
        registry.stop().await;
    }
    fleet.start_again(&["second"]).await;
    for job in [job, Job::endless(64).padded(LARGE_BYTES + 1)] {
        let watched = fleet.run(&job, "second").await;
        watched.printed(1).await;
        fleet.kills(watched).await;
    }
}

/// Whatever somebody sends who has taken the dispatcher's place, no engine loads it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn code_that_is_not_rightly_signed_never_runs() {
    type Make = fn(wayfare_protocol::ids::Digest, &code::CodeTarget) -> Vec<u8>;
    let cases: [(&str, Make); 6] = [
        ("what its header says", |module, target| {
            let mut code = code::sign(module, target, "c", b"code", &secret_key(1)).unwrap();
            *code.last_mut().unwrap() ^= 1;
            code
        }),
        ("not signed code", |_, _| b"\x7fELF, unsigned".to_vec()),
        ("does not trust", |module, target| {
            code::sign(module, target, "c", b"code", &secret_key(2)).unwrap()
        }),
        ("it is for target", |module, target| {
            let target = code::CodeTarget {
                architecture: "z80".into(),
                ..target.clone()
            };
            code::sign(module, &target, "c", b"code", &secret_key(1)).unwrap()
        }),
        ("it is for wasmtime", |module, target| {
            let target = code::CodeTarget {
                wasmtime: "1.0.0".into(),
                ..target.clone()
            };
            code::sign(module, &target, "c", b"code", &secret_key(1)).unwrap()
        }),
        ("it is for module", |_, target| {
            let other = wayfare_protocol::ids::Digest::of(b"another");
            code::sign(other, target, "c", b"code", &secret_key(1)).unwrap()
        }),
    ];
    let fleet = host_and_board().start().await;
    for (reason, make) in cases {
        let pretender = pretend(fleet.broker.url(), make);
        let order = Job::counter(3, 0, 1).order("board");
        let refused = failed(fleet.apply(Order::run(order)).await).await;
        assert!(refused.to_string().contains(reason), "{reason}: {refused}");
        pretender.abort();
        let _ = pretender.await;
    }
}

/// A board of 32 bits that interprets Pulley's bytecode.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_move_between_processors_and_so_do_snapshot_files() {
    to_another_processor("WAYFARE_BOARD_ENGINE", "deploy/build-armv7").await;
}

/// A board that runs native code, which a dispatcher on another processor has made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_move_to_64_bit_arm_and_back_and_so_do_snapshot_files() {
    to_another_processor("WAYFARE_ARM64_ENGINE", "deploy/build-arm64").await;
}

/// Needs an engine for that: a variable with the words of a command that runs one, such as
/// `qemu-arm-static -L /usr/arm-linux-gnueabihf target/armv7-unknown-linux-gnueabihf/board/wayfare-engine`.
async fn to_another_processor(variable: &str, builds: &str) {
    let Ok(command) = std::env::var(variable) else {
        eprintln!("SKIPPED: no engine for another processor: build one with {builds}, and set {variable}");
        return;
    };
    let command: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
    let key = registry_key();
    let setup = fleet(Kind::Mosquitto).engines(&["host"]).registry();
    let setup = setup.other_engine("board", &command, &["--trust", &key]);
    let fleet = setup.start().await;
    // In the middle of loops, ten thousand calls deep, and in a sleep with a full heap.
    for (job, lines) in [
        (Job::sample("primes", &["20000000"]), 3),
        (Job::text("deep", DEEP), 3),
        (Job::counter(400, 20, 256), 3),
    ] {
        fleet.loads(&job, &["host", "board"]).await;
        to_the_board_and_back(&fleet, job, lines).await;
    }
    for (from, to) in [("host", "board"), ("board", "host")] {
        captured_here_goes_on_there(&fleet, Job::counter(50, 20, 64), from, to).await;
    }
    fleet.spy.check_history();
}

async fn captured_here_goes_on_there(fleet: &Fleet, job: Job, from: &str, to: &str) {
    let expected = fleet.expected(&job, "host").await;
    let watched = fleet.run(&job, from).await;
    watched.printed(5).await;
    let options = CommandOptions::default();
    let taken = fleet.client.apply(Order::snapshot(&watched.id()), &options).await;
    let file = done(taken).await.into_bundle().expect("a snapshot's bytes");
    let restore = Restore {
        file,
        on: Some(to.into()),
        name: Some("restored".into()),
        id: IdChoice::New,
    };
    let restored = fleet.client.apply(Order::Restore(restore), &options).await;
    let Outcome::Running { program, .. } = done(restored).await.outcome else {
        panic!("it does not run");
    };
    let collected = Watched::follow(&fleet.client, program).await.finish().await;
    assert_eq!(collected.state, Some(ProgramState::Exited { code: 0 }));
    let mut lines = expected.split_inclusive(|byte| *byte == b'\n');
    lines.by_ref().take(collected.missing as usize).for_each(drop);
    must_equal(&collected.stdout, &lines.collect::<Vec<_>>().concat());
    watched.must_print(&expected).await;
}
