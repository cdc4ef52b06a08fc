//! A program that somebody starts and an application of one instance are given the same engine.

use std::collections::BTreeMap;

use wayfare_fleet::app::ask::Ask;
use wayfare_fleet::fleet::{EngineView, FleetChanges, Heard, Presence, ProgramView};
use wayfare_fleet::placing;
use wayfare_protocol::code::CodeTarget;
use wayfare_protocol::command::Action;
use wayfare_protocol::device::{Backend, DeviceAbout, DeviceKind};
use wayfare_protocol::ids::{BootId, Digest, EngineId, Generation, OperationId, ProgramId};
use wayfare_protocol::status::{EngineAbout, MachineLoad, ProgramState, ProgramStatus};

use super::world::{app, component, options};
use crate::apps::state::State;
use crate::apps::{Core, Effect, Ids, Input, Now};

/// Chance that can be had again.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

fn engine(name: EngineId, chance: &mut Chance, programs: u32) -> EngineView {
    let led = DeviceAbout {
        kind: DeviceKind::GpioOut,
        backend: Backend::Simulated,
    };
    let has_led = chance.below(2) == 0;
    EngineView {
        online: true,
        heard: Heard::Live,
        stopped: false,
        leaving: (chance.below(8) == 0).then(|| OperationId::from_random([1; 16])),
        mark: None,
        messages: 1,
        offline_for_ms: None,
        load: (chance.below(2) == 0).then(|| MachineLoad {
            memory_available_bytes: chance.below(1 << 30),
            processor_millicores: chance.below(2_000),
            disk: None,
        }),
        programs,
        rival: None,
        identity: None,
        boot: None,
        about: Some(EngineAbout {
            version: "1".into(),
            platform: "x86_64-linux".into(),
            code: CodeTarget {
                architecture: "x86_64".into(),
                wasmtime: "9".into(),
                abi: "2".into(),
            },
            compiles: chance.below(4) > 0,
            tells_health: true,
            signs_statuses: false,
            processors: 2,
            memory_bytes: 1 << 30,
            programs_max: 1 + chance.below(4) as u32,
            program_memory_bytes_max: (16 << 20) << chance.below(4),
            host: name.to_string(),
            labels: BTreeMap::new(),
            trusts: Vec::new(),
            devices: has_led
                .then(|| ("led".parse().unwrap(), led))
                .into_iter()
                .collect(),
        }),
        engine: name,
    }
}

fn program(number: u8, engine: &EngineId, chance: &mut Chance) -> ProgramView {
    ProgramView {
        status: ProgramStatus {
            program: ProgramId::from_random([number; 16]),
            name: format!("p{number}"),
            engine: engine.clone(),
            boot: BootId::from_random([1; 16]),
            generation: Generation::FIRST,
            sequence: 1,
            state: ProgramState::Running,
            module: Digest([0; 32]),
            memory_bytes: chance.below(256 << 20),
            ports: Default::default(),
            place: None,
            health: None,
            hold: None,
        },
        presence: Presence::Known,
    }
}

#[test]
fn a_program_that_somebody_starts_goes_where_an_application_would() {
    let (mut alike, mut waiting) = (0, 0);
    for seed in 0..400 {
        let mut chance = Chance(seed);
        let (mut engines, mut programs) = (Vec::new(), Vec::new());
        for number in 0..1 + chance.below(5) {
            let name: EngineId = format!("e{number}").parse().unwrap();
            let count = chance.below(3) as u32;
            for _ in 0..count {
                programs.push(program(programs.len() as u8, &name, &mut chance));
            }
            engines.push(engine(name, &mut chance, count));
        }
        let mut part = component(1, "web");
        part.memory_bytes = (chance.below(2) == 0).then(|| chance.below(128 << 20));
        part.constraints.requirements.code = true;
        if chance.below(3) == 0 {
            part.grants.devices = ["led".parse().unwrap()].into();
            part.constraints.requirements.devices = ["led".to_owned()].into();
        }
        let spec = part.program("web".into());
        let chosen = placing::choose(&engines, &programs, &spec).map(|view| view.engine.clone());
        let now = Now {
            ms: 1_000,
            wall_ms: 1_000,
        };
        let (mut core, _) = Core::new(options(), State::default(), Ids::new([7; 32]), now);
        core.handle(
            Input::Observed(FleetChanges {
                is_whole: true,
                engines: engines.clone(),
                programs,
                ..FleetChanges::default()
            }),
            now,
        );
        let spec = app(&[("web", part)]);
        let (answer, effects) = core.ask(Ask::Apply { spec, expects: None }, None, now);
        answer.unwrap();
        let started = effects.into_iter().find_map(|effect| match effect {
            Effect::Begin { engine, action, .. } if matches!(*action, Action::Run { .. }) => Some(engine),
            _ => None,
        });
        match started {
            Some(engine) => {
                alike += 1;
                assert_eq!(chosen, Ok(engine), "seed {seed}: {engines:?}");
            }
            // It waits for room; a person's program is refused as well, or is given an engine above its
            // marks.
            None => waiting += usize::from(chosen.is_ok()),
        }
    }
    assert!(alike > 200, "{alike}");
    assert!(waiting < 100, "{waiting}");
}
