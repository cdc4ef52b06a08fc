//! Calls that wait for a device, left for a capture and issued again where another device is, and what holds
//! of outputs.

use std::collections::BTreeSet;

use wayfare_devices::{DeviceTables, Devices};
use wayfare_protocol::device::{Alias, Reading, Setting};

use super::*;

/// Waits for a rising edge of `button`, lights `led`, prints what `port` receives and sends it back.
const WATCHER: &str = r#"
(module
  (import "wayfare_v1" "gpio_wait" (func $wait (param i32 i32 i32 i64 i32) (result i32)))
  (import "wayfare_v1" "gpio_write" (func $light (param i32 i32 i32) (result i32)))
  (import "wayfare_v1" "serial_read" (func $read (param i32 i32 i64 i32 i32 i32) (result i32)))
  (import "wayfare_v1" "serial_write" (func $write (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "button")
  (data (i32.const 16) "led")
  (data (i32.const 32) "port")
  (data (i32.const 64) "lit\n")
  (func $check (param $errno i32)
    (if (local.get $errno) (then (call $exit (local.get $errno)))))
  (func $print (param $at i32) (param $bytes i32)
    (i32.store (i32.const 100) (local.get $at))
    (i32.store (i32.const 104) (local.get $bytes))
    (drop (call $fd_write (i32.const 1) (i32.const 100) (i32.const 1) (i32.const 108))))
  (func (export "_start")
    (call $check (call $wait (i32.const 0) (i32.const 6) (i32.const 1) (i64.const -1) (i32.const 200)))
    (call $check (i32.sub (i32.load (i32.const 200)) (i32.const 1)))
    (call $check (call $light (i32.const 16) (i32.const 3) (i32.const 1)))
    (call $print (i32.const 64) (i32.const 4))
    (call $check (call $read (i32.const 32) (i32.const 4) (i64.const -1) (i32.const 1000) (i32.const 100) (i32.const 204)))
    (call $print (i32.const 1000) (i32.load (i32.const 204)))
    (call $check (call $write (i32.const 32) (i32.const 4) (i32.const 1000) (i32.load (i32.const 204)) (i32.const 208)))))
"#;

fn alias(text: &str) -> Alias {
    text.parse().unwrap()
}

/// A board of its own.
struct Board(Arc<Devices>);

impl Board {
    fn new() -> Self {
        let tables: DeviceTables = toml::from_str(
            "[devices.button]\nkind = 'gpio-in'\nbackend = 'simulated'
             [devices.led]\nkind = 'gpio-out'\nbackend = 'simulated'
             [devices.port]\nkind = 'serial'\nbackend = 'simulated'",
        )
        .unwrap();
        Self(Arc::new(Devices::open(&tables.check().unwrap())))
    }

    fn launch(&self, granted: &[&str], snapshot: Option<Snapshot>) -> Run {
        let options = RuntimeOptions {
            devices: self.0.clone(),
            ..RuntimeOptions::default()
        };
        let mut plan = Plan::of(WATCHER);
        plan.spec.grants.devices = granted.iter().map(|text| alias(text)).collect::<BTreeSet<_>>();
        plan.runtime = Some(Arc::new(Runtime::new(options).unwrap()));
        let run = plan.launch(snapshot, false);
        run.expect_started();
        run
    }

    fn press(&self, active: bool) {
        let setting = Setting::Level { active };
        self.0.set(&alias("button"), &setting).unwrap();
    }

    fn receives(&self, bytes: &[u8]) {
        let bytes = bytes.to_vec();
        self.0.set(&alias("port"), &Setting::Received { bytes }).unwrap();
    }

    fn levels(&self) -> Vec<Option<bool>> {
        match self.0.reading(&alias("led")) {
            Ok(Reading::Output { last, .. }) => last,
            other => panic!("{other:?}"),
        }
    }

    fn sent(&self) -> Vec<u8> {
        match self.0.reading(&alias("port")) {
            Ok(Reading::Bytes { bytes }) => bytes,
            other => panic!("{other:?}"),
        }
    }
}

const ALL: [&str; 3] = ["button", "led", "port"];

/// Presses until the program, which may not wait yet, has seen it.
fn press_until_lit(board: &Board, run: &Run) {
    while board.levels().last() != Some(&Some(true)) {
        board.press(true);
        board.press(false);
        std::thread::yield_now();
    }
    assert_eq!(stdout(&run.lines(1)), "lit\n");
    run.process.acknowledge_log(1);
}

#[test]
fn a_program_waits_for_the_device_of_the_board_that_it_is_on() {
    let (first, second, third) = (Board::new(), Board::new(), Board::new());
    let run = first.launch(&ALL, None);
    let waiting_for_an_edge = run.capture(false);
    first.press(true);
    assert!(first.levels().is_empty(), "it stands still, and hears nothing");

    let run = second.launch(&ALL, Some(through_the_wire(&waiting_for_an_edge)));
    press_until_lit(&second, &run);
    let waiting_for_bytes = run.capture(false);
    assert_eq!(
        second.levels(),
        [Some(true), None],
        "released when it is said to stand still"
    );
    assert_eq!(waiting_for_bytes.host.outputs, [(alias("led"), true)].into());
    second.receives(b"lost\n");

    let run = third.launch(&ALL, Some(through_the_wire(&waiting_for_bytes)));
    while third.sent().is_empty() {
        third.receives(b"x");
        std::thread::yield_now();
    }
    let (lines, state) = run.end();
    assert_eq!(state, ProgramState::Exited { code: 0 });
    assert!(!stdout(&lines).contains("lost"), "{lines:?}");
    assert_eq!(
        third.levels(),
        [Some(true), None],
        "lit before it ran, and released at its end"
    );
}

#[test]
fn a_program_that_goes_on_in_place_has_its_outputs_again_and_a_checkpoint_leaves_them_alone() {
    let board = Board::new();
    let run = board.launch(&ALL, None);
    press_until_lit(&board, &run);
    run.capture(true);
    assert_eq!(board.levels(), [Some(true)]);
    run.freeze();
    assert_eq!(board.levels(), [Some(true), None]);
    run.process.unfreeze();
    while board.sent().is_empty() {
        board.receives(b"x");
        std::thread::yield_now();
    }
    run.end_well();
    assert_eq!(board.levels(), [Some(true), None, Some(true), None]);
}

#[test]
fn what_is_not_granted_is_refused_and_named() {
    let board = Board::new();
    let (lines, state) = board.launch(&["led"], None).end();
    assert_eq!(state, ProgramState::Exited { code: 76 });
    let said = String::from_utf8_lossy(lines[0].text.as_bytes()).into_owned();
    assert!(said.contains("device 'button'; --allow-device"), "{said}");
}

#[test]
fn a_device_that_the_engine_lost_is_an_error_of_the_call() {
    let mut plan = Plan::of(WATCHER);
    plan.spec.grants.devices = [alias("button")].into();
    let (_, state) = plan.start().end();
    assert_eq!(state, ProgramState::Exited { code: 43 });
}
