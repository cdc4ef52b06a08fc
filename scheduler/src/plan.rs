//! What is to be done, in order, and what cannot be.
//!
//! Carried out one after the other in the order given, no action needs room that an earlier one has not made.
//! An instance occurs once, but for the rare one that is moved a second time because its first source has
//! been filled meanwhile.

use std::fmt;

use serde::{Deserialize, Serialize};
use wayfare_protocol::ids::{EngineId, Generation, ProgramId};

use crate::application::{ComponentId, InstanceId};
use crate::lack::{Lack, NoneFits};
use crate::policy::Policy;

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Plan {
    pub actions: Vec<Action>,
    pub unplaced: Vec<Unplaced>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "action")]
pub enum Action {
    /// Begin an instance that runs nowhere.
    Run { instance: InstanceId, engine: EngineId },
    /// Take up an instance from its latest checkpoint, because its engine is lost, above the generation seen.
    Restart {
        instance: InstanceId,
        seen: Option<Seen>,
        lost: EngineId,
        target: EngineId,
    },
    Move {
        instance: InstanceId,
        seen: Option<Seen>,
        source: EngineId,
        target: EngineId,
        why: MoveReason,
    },
    Kill {
        /// What it claims to be.
        instance: InstanceId,
        seen: Option<Seen>,
        engine: EngineId,
        why: KillReason,
    },
}

/// The program that an instance was last seen as. Not known of those that an earlier plan from the same
/// [`State`](crate::state::State) has begun, unless it was [told](crate::state::State::seen).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    pub program: ProgramId,
    pub generation: Generation,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "reason")]
pub enum MoveReason {
    /// Its engine is to be emptied.
    Drain,
    /// Its engine does not fit it, or not any more.
    Misplaced,
    /// The target ranks better by `gain`, in the policy's unit ([`Policy::unit`]), which is more than a move
    /// costs.
    Rebalance { gain: u64 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KillReason {
    /// No application asks for it.
    Unwanted,
    /// Another program has taken its place.
    Superseded,
}

/// Instances of one component that are not where they should be, all for the same reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unplaced {
    pub component: ComponentId,
    pub ordinals: Vec<u32>,
    pub why: Obstacle,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "obstacle")]
pub enum Obstacle {
    /// They do not run.
    NoneFits(NoneFits),
    /// They do not run: each has one engine that it may run on, and that lacks this. `engine` is the first of
    /// them.
    NotThere {
        engine: EngineId,
        engines: u32,
        lack: Lack,
    },
    /// They run on `engine`, should leave it for the reason given, and no other fits.
    CannotLeave {
        engine: EngineId,
        why: MoveReason,
        none: NoneFits,
    },
    /// They run on `engine`, should leave it for the reason given, and are pinned.
    Pinned { engine: EngineId, why: MoveReason },
}

/// How to plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    pub policy: Policy,
    /// A running instance is moved for balance only if the target then ranks better than the source does now
    /// by more than this, in the policy's unit ([`Policy::unit`]).
    pub move_cost: u64,
}

impl Options {
    /// With the policy's own cost for a move.
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            move_cost: policy.move_cost(),
        }
    }
}

impl Action {
    pub fn instance(&self) -> &InstanceId {
        match self {
            Self::Run { instance, .. }
            | Self::Restart { instance, .. }
            | Self::Move { instance, .. }
            | Self::Kill { instance, .. } => instance,
        }
    }
}

impl fmt::Display for Unplaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.component)?;
        match self.ordinals.as_slice() {
            [] => {}
            [one] => write!(f, "/{one}")?,
            all => write!(f, ", {} instances", all.len())?,
        }
        write!(f, ": {}", self.why)
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoneFits(none) => none.fmt(f),
            Self::NotThere {
                engine,
                engines,
                lack,
            } => {
                let more = engines.saturating_sub(1);
                match more {
                    0 => write!(f, "engine {engine} ")?,
                    _ => write!(f, "engine {engine} and {more} more ")?,
                }
                lack.predicate(f, more == 0)
            }
            Self::CannotLeave { engine, why, none } => {
                write!(f, "should leave engine {engine}, {}: {none}", why.clause())
            }
            Self::Pinned { engine, why } => {
                write!(f, "should leave engine {engine}, {}, but is pinned", why.clause())
            }
        }
    }
}

impl MoveReason {
    fn clause(self) -> &'static str {
        match self {
            Self::Drain => "which is draining",
            Self::Misplaced => "which does not fit it",
            Self::Rebalance { .. } => "for balance",
        }
    }
}
