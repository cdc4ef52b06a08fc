//! Whether this process is the only one with the engine's id. Two boards with copies of one card would take
//! the session from each other for ever, and run every program twice. So whoever was taken over looks who it
//! was, and yields.
//!
//! A broker that ends a connection publishes its last will. So from its second connection on, an engine finds
//! itself in its own retained status, unless another process has connected under the id since, and that is
//! the newer one.
//!
//! ```text
//!  first process:   connects ... is taken over, comes back, finds the status of the second: holds still
//!  second process:       connects ........................ is taken over, comes back, finds that it yields
//! ```
//! What always holds: the newest process stays, so that a restart is never held up by what is left of the
//! process before; and a process never yields to one that used its own folder before it, whatever old status
//! the broker brings back.

use std::collections::BTreeSet;

use wayfare_protocol::ids::BootId;
use wayfare_protocol::status::{EngineState, EngineStatus, Rival};

/// Times that the engine which was here before us may be found again before it must be alive.
const SIGHTINGS_MAX: u32 = 3;

#[derive(Debug)]
pub(crate) struct Claim {
    boot: BootId,
    /// Processes that used this folder.
    earlier: BTreeSet<BootId>,
    /// Whose status was there when we first connected, and how often it was found since.
    before: Option<(BootId, u32)>,
    is_first_connection: bool,
    rival: Option<Rival>,
}

/// What follows from a retained status of the own engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Finding {
    Nothing,
    /// Another process has the id too, and holds still.
    Yielded(Rival),
    /// Another process has the id, and is the newer one.
    Taken(Rival),
}

impl Claim {
    pub(crate) fn new(boot: BootId, earlier: BTreeSet<BootId>) -> Self {
        Self {
            boot,
            earlier,
            before: None,
            is_first_connection: true,
            rival: None,
        }
    }

    pub(crate) fn connected(&mut self, connection: u64) {
        self.is_first_connection = connection <= 1;
    }

    /// Who holds still because of us.
    pub(crate) fn rival(&self) -> Option<&Rival> {
        self.rival.as_ref()
    }

    pub(crate) fn found(&mut self, status: &EngineStatus, is_retained: bool) -> Finding {
        let boot = status.boot;
        if boot == self.boot {
            return Finding::Nothing;
        }
        let rival = Rival {
            boot,
            host: status.about.as_ref().map(|about| about.host.clone()),
        };
        let yields_to = status
            .rival
            .as_ref()
            .filter(|_| status.state == EngineState::Offline);
        if yields_to.is_some_and(|to| to.boot == self.boot) {
            let is_news = self.rival.as_ref() != Some(&rival);
            self.rival = Some(rival.clone());
            return match is_news {
                true => Finding::Yielded(rival),
                false => Finding::Nothing,
            };
        }
        // What comes while we are connected is late: the session is ours.
        if !is_retained || self.earlier.contains(&boot) {
            return Finding::Nothing;
        }
        if self.is_first_connection {
            self.before = Some((boot, 1));
            return Finding::Nothing;
        }
        match &mut self.before {
            Some((before, sightings)) if *before == boot => {
                *sightings += 1;
                if *sightings <= SIGHTINGS_MAX {
                    return Finding::Nothing;
                }
            }
            _ => {}
        }
        Finding::Taken(yields_to.cloned().unwrap_or(rival))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boot(number: u8) -> BootId {
        BootId::from_random([number; 16])
    }

    fn status(number: u8, state: EngineState) -> EngineStatus {
        EngineStatus::new("a".parse().unwrap(), boot(number), state)
    }

    fn rival(number: u8) -> Rival {
        Rival {
            boot: boot(number),
            host: None,
        }
    }

    fn claim(number: u8, connection: u64) -> Claim {
        let mut claim = Claim::new(boot(number), BTreeSet::from([boot(1)]));
        claim.connected(connection);
        claim
    }

    use EngineState::{Offline, Online};

    #[test]
    fn the_newest_process_stays_and_the_one_before_yields_to_it() {
        // Two boards with copies of one card, on which the first process was: 2 runs, then 3 is switched on.
        let (mut older, mut newer) = (claim(2, 1), claim(3, 1));
        assert_eq!(older.found(&status(1, Offline), true), Finding::Nothing);
        assert_eq!(newer.found(&status(2, Offline), true), Finding::Nothing);
        older.connected(2);
        assert_eq!(older.found(&status(3, Offline), true), Finding::Taken(rival(3)));
        newer.connected(2);
        let yields = EngineStatus {
            rival: Some(rival(3)),
            ..status(2, Offline)
        };
        assert_eq!(newer.found(&yields, true), Finding::Yielded(rival(2)));
        assert_eq!(newer.found(&yields, true), Finding::Nothing, "once");
        assert_eq!(newer.rival(), Some(&rival(2)));
    }

    #[test]
    fn one_that_was_taken_over_before_it_had_looked_yields_all_the_same() {
        let mut older = claim(2, 2);
        assert_eq!(older.found(&status(3, Online), true), Finding::Taken(rival(3)));
    }

    #[test]
    fn no_process_yields_to_itself_or_to_what_is_left_of_the_one_before() {
        for (connection, found, state) in [
            // A flap, and a restart with the connection of the process before half open.
            (2, 2, Offline),
            (3, 2, Online),
            (1, 9, Online),
            // A broker that comes back with what it had stored half an hour ago.
            (2, 1, Online),
            (5, 1, Offline),
        ] {
            let mut claim = claim(2, connection);
            assert_eq!(
                claim.found(&status(found, state), true),
                Finding::Nothing,
                "{connection} {found}"
            );
        }
        // Of another folder, but here before us: its will may come late, or come back with an old broker.
        let mut claim = claim(2, 1);
        claim.found(&status(9, Online), true);
        claim.connected(2);
        assert_eq!(claim.found(&status(9, Offline), true), Finding::Nothing);
        assert_eq!(claim.found(&status(8, Offline), false), Finding::Nothing, "late");
    }

    /// An engine of an earlier release takes the session back for ever.
    #[test]
    fn one_that_is_found_again_and_again_is_alive_and_is_yielded_to() {
        let mut claim = claim(2, 1);
        claim.found(&status(9, Online), true);
        let mut connection = 1;
        let taken = std::iter::from_fn(|| {
            connection += 1;
            claim.connected(connection);
            Some(claim.found(&status(9, Offline), true))
        });
        let count = taken
            .take_while(|finding| *finding == Finding::Nothing)
            .take(10)
            .count();
        assert_eq!(count, 2);
    }
}
