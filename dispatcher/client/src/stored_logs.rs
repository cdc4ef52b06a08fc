//! What the dispatcher's service for logs is asked: lines of programs that its store keeps, also of those
//! that have ended, were killed or ran on an engine that is gone.

use serde::{Deserialize, Serialize};
use wayfare_protocol::ids::{EngineId, ProgramId};
use wayfare_protocol::log::LogLine;
use wayfare_protocol::status::ProgramState;

/// The service's name.
pub const SERVICE: &str = "logs";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum LogAsk {
    /// Programs of which lines are kept, whose name or id begins like this: answered with a [`ProgramsPage`].
    Programs {
        wanted: String,
        /// The last of the page before.
        #[serde(default)]
        after: Option<ProgramId>,
    },
    /// Lines of a program: answered with a [`LinesPage`].
    Lines(LinesWanted),
}

/// Which lines of a program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinesWanted {
    pub program: ProgramId,
    /// Number of the first line.
    #[serde(default)]
    pub from: u64,
    /// Of all that follow these many at the end, if there are more.
    #[serde(default)]
    pub last: Option<u32>,
    /// Written at this time or later, in milliseconds since 1970 by the clock of the engine.
    #[serde(default)]
    pub since_ms: Option<u64>,
    /// Written before this time.
    #[serde(default)]
    pub until_ms: Option<u64>,
}

impl LinesWanted {
    /// All that are kept.
    pub fn of(program: ProgramId) -> Self {
        Self {
            program,
            from: 0,
            last: None,
            since_ms: None,
            until_ms: None,
        }
    }
}

/// A program of which lines are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredProgram {
    pub program: ProgramId,
    pub name: String,
    /// Where it was last.
    pub engine: EngineId,
    /// When its first and its last line came that are kept, in milliseconds since 1970 by the dispatcher's
    /// clock.
    pub first_ms: u64,
    pub last_ms: u64,
    /// Number of the line after the last.
    pub next: u64,
    pub end: StoredEnd,
}

/// How a program ended, as far as the dispatcher has seen it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "end", rename_all = "kebab-case")]
pub enum StoredEnd {
    /// It has not been seen to end.
    #[default]
    None,
    /// By itself.
    Ended {
        #[serde(flatten)]
        state: ProgramState,
    },
    /// It was killed, or is forgotten.
    Gone,
}

/// As many programs as a message holds, in the order of their ids.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramsPage {
    pub programs: Vec<StoredProgram>,
    /// There are more, after the last of these.
    pub more: bool,
}

/// As many lines as a message holds, in order. Numbers that are left out are kept nowhere, or not wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinesPage {
    pub lines: Vec<LogLine>,
    /// Where the next page begins; `None`: this is the last.
    pub next: Option<u64>,
    /// Number of the line after the last that is kept.
    pub end: u64,
}
