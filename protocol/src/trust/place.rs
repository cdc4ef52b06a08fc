//! Places: that a member of the roster lets an engine have a program, as one generation of it.
//!
//! Whoever orders a program to be somewhere signs its place with the order; the engine shows it in the
//! program's status for as long as it has that generation. So an engine that reads of a newer copy elsewhere
//! can tell whether anybody has ordered that, and does not end its own for a mere claim.

use serde::{Deserialize, Serialize};

use super::signed::Detached;
use crate::code::SecretKey;
use crate::command::{Action, Command};
use crate::ids::{EngineId, Generation, ProgramId};
use crate::topics::Topics;
use crate::wire;

const DOMAIN: &[u8] = b"wayfare place 1\0";

/// Who is to have which copy of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding {
    pub program: ProgramId,
    pub generation: Generation,
    pub engine: EngineId,
}

/// A member's signature under a [`Holding`] in one fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Place(pub Detached);

impl Holding {
    /// What comes of a command to `engine` if it is carried out; `None`: no new generation.
    pub fn of(command: &Command, engine: &EngineId) -> Option<Self> {
        let (program, generation, engine) = match &command.action {
            Action::Run {
                program, generation, ..
            } => (*program, generation.unwrap_or(Generation::FIRST), engine),
            Action::Move { on, target } => (on.program, on.generation?.next(), target),
            Action::Spawn { target, copy, .. } => (*copy, Generation::FIRST, target),
            Action::Resume { on, force: true } => (on.program, on.generation?.replacing(), engine),
            Action::Resume { .. }
            | Action::Pause { .. }
            | Action::Kill { .. }
            | Action::Snapshot { .. }
            | Action::Logs { .. } => return None,
        };
        Some(Self {
            program,
            generation,
            engine: engine.clone(),
        })
    }

    fn bytes(&self, topics: &Topics) -> Vec<u8> {
        let engine = self.engine.as_str();
        [
            DOMAIN,
            &self.program.to_bytes(),
            &self.generation.0.to_le_bytes(),
            &[u8::try_from(engine.len()).unwrap_or(u8::MAX)],
            engine.as_bytes(),
            topics.to_string().as_bytes(),
        ]
        .concat()
    }
}

impl Place {
    pub fn sign(key: &SecretKey, topics: &Topics, holding: &Holding) -> Self {
        Self(Detached::sign(key, &holding.bytes(topics)))
    }

    /// Whether its key has signed exactly this.
    pub fn is_good(&self, topics: &Topics, holding: &Holding) -> bool {
        self.0.is_good(&holding.bytes(topics))
    }

    /// That of an order or status, if it shows one.
    pub fn shown_in(payload: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Showing {
            #[serde(default)]
            place: Option<Place>,
        }
        wire::from_json::<Showing>(payload).ok()?.place
    }

    /// `message`, a JSON object, which shows it.
    pub fn show_in(&self, message: &[u8]) -> Vec<u8> {
        wire::with_field(message, "place", self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_good_for_one_engine_generation_program_and_fleet() {
        let key = SecretKey::from_random([1; 32]);
        let holding = |engine: &str, generation, program| Holding {
            program: ProgramId::from_bytes([program; 16]),
            generation: Generation(generation),
            engine: engine.parse().unwrap(),
        };
        let topics = Topics::default();
        let place = Place::sign(&key, &topics, &holding("a", 3, 1));
        let again = Place(place.0.to_string().parse().unwrap());
        assert_eq!(again, place);
        assert!(again.is_good(&topics, &holding("a", 3, 1)));
        for other in [holding("b", 3, 1), holding("a", 4, 1), holding("a", 3, 2)] {
            assert!(!again.is_good(&topics, &other), "{other:?}");
        }
        assert!(!again.is_good(&"other".parse().unwrap(), &holding("a", 3, 1)));
        assert_eq!(Place::shown_in(&place.show_in(b"{\"type\":\"x\"}")), Some(place));
        assert_eq!(Place::shown_in(b"{\"place\":\"00\"}"), None);
    }
}
