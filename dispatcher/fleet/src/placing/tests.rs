use std::collections::BTreeMap;

use wayfare_protocol::code::CodeTarget;
use wayfare_protocol::device::{Backend, DeviceAbout, DeviceKind};
use wayfare_protocol::ids::{Blob, BootId, Digest, Generation, ProgramId};
use wayfare_protocol::status::{ProgramState, ProgramStatus};

use super::*;
use crate::fleet::{self, Heard};

fn spec() -> ProgramSpec {
    ProgramSpec {
        name: "p".into(),
        module: Blob {
            digest: Digest([0; 32]),
            bytes: 0,
        },
        args: Vec::new(),
        env: BTreeMap::new(),
        stdin: None,
        memory_bytes_max: None,
        grants: Default::default(),
        ports: Default::default(),
        health_every_ms: None,
    }
}

fn engine(name: &str, programs: u32, programs_max: u32, mebibytes: u64) -> EngineView {
    EngineView {
        engine: name.parse().unwrap(),
        online: name != "away",
        heard: Heard::Live,
        rival: None,
        identity: None,
        boot: None,
        stopped: false,
        leaving: None,
        mark: None,
        messages: 1,
        offline_for_ms: None,
        load: None,
        about: Some(EngineAbout {
            version: "1".into(),
            platform: "x86_64-linux".into(),
            code: CodeTarget {
                architecture: "x86_64".into(),
                wasmtime: "1".into(),
                abi: "2".into(),
            },
            compiles: name != "board",
            tells_health: true,
            signs_statuses: false,
            processors: 1,
            memory_bytes: 1 << 30,
            programs_max,
            program_memory_bytes_max: mebibytes << 20,
            host: name.into(),
            labels: BTreeMap::new(),
            trusts: Vec::new(),
            devices: if name == "lit" { lit() } else { BTreeMap::new() },
        }),
        programs,
    }
}

fn lit() -> BTreeMap<Alias, DeviceAbout> {
    let led = DeviceAbout {
        kind: DeviceKind::GpioOut,
        backend: Backend::Simulated,
    };
    BTreeMap::from([("led".parse().unwrap(), led)])
}

#[test]
fn a_program_that_is_granted_a_device_goes_to_where_that_is() {
    let mut spec = spec();
    spec.grants.devices = lit().into_keys().collect();
    let engines = [engine("a", 0, 4, 64), engine("lit", 3, 4, 64)];
    assert_eq!(choose(&engines, &[], &spec).unwrap().engine.as_str(), "lit");
    let error = choose(&engines[..1], &[], &spec).unwrap_err();
    assert!(error.contains("lacks device 'led'"), "{error}");
}

#[test]
fn the_engine_with_the_fewest_programs_that_fits_is_chosen() {
    let engines = [
        engine("a", 1, 4, 64),
        engine("b", 0, 1, 16),
        engine("c", 2, 8, 512),
        engine("d", 1, 4, 64),
        engine("full", 0, 0, 512),
        engine("board", 0, 9, 512),
        engine("away", 0, 9, 512),
    ];
    let choose = |engines: &[EngineView], memory_bytes_max: Option<u64>| {
        let mut spec = spec();
        spec.memory_bytes_max = memory_bytes_max;
        super::choose(engines, &[], &spec).map(|view| view.engine.to_string())
    };
    for (memory, chosen) in [(None, "b"), (Some(17 << 20), "a"), (Some(65 << 20), "c")] {
        assert_eq!(choose(&engines, memory).as_deref(), Ok(chosen), "{memory:?}");
    }
    let error = choose(&engines, Some(1 << 30)).unwrap_err();
    let why = "0 of 6 engines fit: 5 lack 1 GiB, 1 lacks a compiler";
    assert!(error.contains(why), "{error}");
    let error = choose(&engines[6..], None).unwrap_err();
    assert!(error.contains("no engines online"), "{error}");
}

/// An application would wait; a person's program goes to the engine that is least taken all the same.
#[test]
fn an_engine_above_its_marks_is_taken_only_where_no_other_is_left() {
    let load = |available_bytes| MachineLoad {
        memory_available_bytes: available_bytes,
        processor_millicores: 0,
        disk: None,
    };
    let mut engines = [engine("a", 0, 4, 64), engine("b", 3, 4, 64)];
    engines[0].load = Some(load(1 << 20));
    engines[1].load = Some(load(1 << 29));
    let mut spec = spec();
    spec.memory_bytes_max = Some(1 << 20);
    assert_eq!(choose(&engines, &[], &spec).unwrap().engine.as_str(), "b");
    engines[1].load = Some(load(0));
    assert_eq!(choose(&engines, &[], &spec).unwrap().engine.as_str(), "a");
}

/// Engines say themselves how much memory their programs have.
#[test]
fn more_memory_than_there_can_be_only_fills_its_engine() {
    let mut engines = [engine("a", 2, 4, 64), engine("b", 3, 4, 64)];
    engines[0].load = Some(MachineLoad {
        memory_available_bytes: 1 << 20,
        processor_millicores: 0,
        disk: None,
    });
    let program = |number: u8| ProgramView {
        status: ProgramStatus {
            program: ProgramId::from_random([number; 16]),
            name: "liar".into(),
            engine: "a".parse().unwrap(),
            boot: BootId::from_random([1; 16]),
            generation: Generation::FIRST,
            sequence: 1,
            state: ProgramState::Running,
            module: Digest([0; 32]),
            memory_bytes: u64::MAX,
            ports: Default::default(),
            place: None,
            health: None,
            hold: None,
        },
        presence: fleet::Presence::Known,
    };
    let programs = [program(1), program(2)];
    let mut spec = spec();
    spec.memory_bytes_max = Some(1 << 20);
    assert_eq!(choose(&engines, &programs, &spec).unwrap().engine.as_str(), "b");
}
