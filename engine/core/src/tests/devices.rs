//! Who comes to an engine with which devices.

use std::collections::BTreeMap;

use wayfare_protocol::command::{Action, ProgramSpec};
use wayfare_protocol::device::{Alias, DeviceKind};
use wayfare_protocol::error::Failure;
use wayfare_protocol::peer::PeerMessage;

use super::bench::*;
use crate::types::{Effect, Input};

fn alias(text: &str) -> Alias {
    text.parse().unwrap()
}

/// Engine `e2` with an output and a sensor.
fn equipped() -> Bench {
    let mut bench = Bench::new("e2");
    bench.core.identity.devices = BTreeMap::from([
        (alias("led"), DeviceKind::GpioOut),
        (alias("light"), DeviceKind::Adc),
    ]);
    bench
}

fn granted(devices: &[&str]) -> ProgramSpec {
    let mut spec = spec();
    spec.grants.devices = devices.iter().copied().map(alias).collect();
    spec
}

/// Operation `number` runs program `number`.
fn runs(number: u8, devices: &[&str]) -> Input {
    let run = Action::Run {
        program: program(number),
        spec: granted(devices),
        snapshot: None,
        generation: None,
        follower: None,
    };
    command(number, run)
}

/// Operation 2 brings program 1, with its devices of these kinds where it is.
fn arrives(devices: &[(&str, DeviceKind)]) -> Input {
    let PeerMessage::Prepare {
        program,
        generation,
        memory_bytes,
        paused,
        blobs,
        ..
    } = prepare(2)
    else {
        unreachable!("it is made as one");
    };
    let names: Vec<&str> = devices.iter().map(|(name, _)| *name).collect();
    let message = PeerMessage::Prepare {
        program,
        generation,
        spec: granted(&names),
        memory_bytes,
        paused,
        devices: devices.iter().map(|(name, kind)| (alias(name), *kind)).collect(),
        blobs,
    };
    says("e1", 2, message)
}

#[test]
fn a_program_runs_only_where_all_its_devices_are() {
    let mut bench = equipped();
    bench.feed(runs(1, &["led", "relay"]));
    let failure = Failure::NoDevice {
        engine: peer("e2"),
        alias: alias("relay"),
    };
    assert_eq!(bench.failure(), failure);
    assert_eq!(
        bench.words(runs(2, &["led", "light"]))[..2],
        ["store accepted", "reply accepted"]
    );
}

#[test]
fn an_output_is_one_programs_and_a_sensor_everybodys() {
    let mut bench = equipped();
    bench.feed(runs(1, &["led", "light"]));
    let taken = Failure::DeviceTaken {
        engine: peer("e2"),
        alias: alias("led"),
        program: program(1),
    };
    bench.feed(runs(2, &["led"]));
    assert_eq!(bench.failure(), taken, "it is on its way");
    for input in [
        chunk("client", 1, "module"),
        complete("module"),
        loaded(1),
        started(),
    ] {
        bench.feed(input);
    }
    bench.feed(runs(3, &["led"]));
    assert_eq!(bench.failure(), taken, "it is here");
    assert_eq!(bench.words(runs(4, &["light"]))[0], "store accepted");
    bench.feed(command(5, Action::Kill { on: on(1) }));
    assert_eq!(bench.words(runs(6, &["led"]))[0], "store accepted");
}

#[test]
fn a_move_to_an_engine_without_the_device_is_refused_by_its_name() {
    let refusal = |bench: &Bench| {
        bench.effects.iter().find_map(|effect| match effect {
            Effect::Peer {
                message: PeerMessage::Refused { failure },
                ..
            } => Some(failure.to_string()),
            _ => None,
        })
    };
    for (devices, refused) in [
        (
            &[("led", DeviceKind::GpioOut), ("light", DeviceKind::Adc)][..],
            None,
        ),
        (
            &[("relay", DeviceKind::GpioOut)],
            Some("engine e2 has no device 'relay'"),
        ),
        (
            &[("led", DeviceKind::Serial)],
            Some("device 'led' of engine e2 is of kind gpio-out, not serial"),
        ),
    ] {
        let mut bench = equipped();
        bench.feed(arrives(devices));
        assert_eq!(refusal(&bench).as_deref(), refused, "{devices:?}");
    }
    let mut bench = equipped();
    bench.feed(runs(3, &["led"]));
    bench.feed(arrives(&[("led", DeviceKind::GpioOut)]));
    let said = refusal(&bench).unwrap();
    assert!(said.contains("belongs to program"), "{said}");
}
