//! Lines that are published, and whether their publisher has the program by all that is known.
//!
//! ```text
//!   nobody is known to have the program ---------------------------------------> passed on to who follows this program alone
//!   who has it printed them, or an older generation did -----------------------> passed on: readers put lines in order
//!   another engine says so of the same generation -----------------------------> dropped
//!   a generation that is not known yet printed them ---------------------------> held until a status says who has that
//! ```
//! Any engine's login may publish any program's lines. So what always holds: lines of a generation that no
//! status has named reach no reader, who would take what the program prints from then on for an older copy's;
//! and who keeps the lines of all programs is not given those of programs that are not, of which there can be
//! any number. How many are held is bounded; one that was held and let go of is missing, and asked for, as
//! any line that was lost on its way.

use std::collections::VecDeque;

use wayfare_protocol::ids::{EngineId, Generation};
use wayfare_protocol::log::LogBatch;

use crate::fleet::Fleet;

/// Batches that are held, of all programs: a status is published before what its program prints, so they wait
/// for moments.
const HELD_MAX: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Printed {
    held: VecDeque<LogBatch>,
}

/// To whom lines are passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Readers {
    All,
    /// Those who follow this very program.
    Followers,
}

/// What becomes of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Passed(Readers),
    Held,
    Dropped,
}

impl Printed {
    /// A batch that came: itself, and for whom, if it is to be passed on.
    pub(super) fn judge(&mut self, batch: LogBatch, fleet: &Fleet) -> Option<(LogBatch, Readers)> {
        match fate(&batch, fleet) {
            Fate::Passed(readers) => return Some((batch, readers)),
            Fate::Dropped => {}
            Fate::Held => {
                if self.held.len() == HELD_MAX {
                    self.held.pop_front();
                }
                self.held.push_back(batch);
            }
        }
        None
    }

    /// What can be passed on now that statuses have come, in the order of its coming. Of a program that is no
    /// more nothing is.
    pub(super) fn look_again(&mut self, fleet: &Fleet) -> Vec<(LogBatch, Readers)> {
        let mut passed = Vec::new();
        for batch in std::mem::take(&mut self.held) {
            if fleet.program(batch.program).is_some() {
                passed.extend(self.judge(batch, fleet));
            }
        }
        passed
    }
}

fn fate(batch: &LogBatch, fleet: &Fleet) -> Fate {
    let of = |engine: &EngineId, generation: Generation| match batch.generation.cmp(&generation) {
        std::cmp::Ordering::Less => Fate::Passed(Readers::All),
        std::cmp::Ordering::Equal if batch.engine == *engine => Fate::Passed(Readers::All),
        std::cmp::Ordering::Equal => Fate::Dropped,
        std::cmp::Ordering::Greater => Fate::Held,
    };
    // Its own status knows in nearly every case, and costs nothing to look at.
    let own = fleet.own_status(batch.program);
    if own.is_some_and(|own| of(&own.engine, own.generation) == Fate::Passed(Readers::All)) {
        return Fate::Passed(Readers::All);
    }
    let known = fleet.program(batch.program);
    known.map_or(Fate::Passed(Readers::Followers), |known| {
        of(&known.status.engine, known.status.generation)
    })
}
