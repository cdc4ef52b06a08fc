//! Placement as pure functions: fleet and applications in, plan out.
//!
//! For now first-fit: it answers "which engine?" where a command does not say. Nothing in here knows time,
//! I/O or the dispatcher; equal inputs give equal plans.
#![forbid(unsafe_code)]

use serde::{Deserialize, Serialize};
use wayfare_protocol::ids::EngineId;

/// What one engine that is online can still take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Room {
    pub engine: EngineId,
    pub programs: u32,
    pub programs_max: u32,
    pub program_memory_bytes_max: u64,
    /// Takes WebAssembly as it is.
    pub compiles: bool,
}

/// One program to be placed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Application {
    pub name: String,
    /// Linear memory that it asks for; `None` is content with any engine's default.
    pub memory_bytes: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    pub application: String,
    pub engine: EngineId,
}

/// Where each application goes, in the order they were given, and which found no room.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Plan {
    pub placements: Vec<Placement>,
    pub unplaced: Vec<String>,
}

/// First-fit, the emptiest engine first (by programs, then by name), counting what the plan itself fills.
pub fn plan(fleet: &[Room], applications: &[Application]) -> Plan {
    let mut rooms = fleet.to_vec();
    let mut plan = Plan::default();
    for application in applications {
        rooms.sort_by(|a, b| (a.programs, &a.engine).cmp(&(b.programs, &b.engine)));
        match rooms.iter_mut().find(|room| fits(room, application)) {
            Some(room) => {
                room.programs += 1;
                plan.placements.push(Placement {
                    application: application.name.clone(),
                    engine: room.engine.clone(),
                });
            }
            None => plan.unplaced.push(application.name.clone()),
        }
    }
    plan
}

fn fits(room: &Room, application: &Application) -> bool {
    room.compiles
        && room.programs < room.programs_max
        && application
            .memory_bytes
            .is_none_or(|bytes| bytes <= room.program_memory_bytes_max)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(engine: &str, programs: u32, programs_max: u32, mebibytes: u64) -> Room {
        Room {
            engine: engine.parse().unwrap(),
            programs,
            programs_max,
            program_memory_bytes_max: mebibytes << 20,
            compiles: engine != "board",
        }
    }

    #[test]
    fn the_emptiest_engine_that_fits_is_taken_and_counted() {
        let fleet = [
            room("a", 1, 4, 64),
            room("b", 0, 1, 16),
            room("c", 2, 8, 512),
            room("board", 0, 9, 512),
        ];
        type Case = (&'static [Option<u64>], &'static [&'static str], usize);
        let cases: [Case; 4] = [
            (&[None], &["b"], 0),
            (&[None, None, None], &["b", "a", "a"], 0),
            (&[Some(65 << 20)], &["c"], 0),
            (&[Some(1 << 30), None], &["b"], 1),
        ];
        for (asks, engines, unplaced) in cases {
            let applications: Vec<_> = asks
                .iter()
                .map(|memory_bytes| Application {
                    name: "p".into(),
                    memory_bytes: *memory_bytes,
                })
                .collect();
            let plan = plan(&fleet, &applications);
            let got: Vec<_> = plan.placements.iter().map(|p| p.engine.as_str()).collect();
            assert_eq!(got, engines, "{asks:?}");
            assert_eq!(plan.unplaced.len(), unplaced, "{asks:?}");
        }
    }

    #[test]
    fn an_empty_fleet_places_nothing() {
        let application = Application {
            name: "p".into(),
            memory_bytes: None,
        };
        assert_eq!(plan(&[], &[application]).unplaced, ["p"]);
    }
}
