//! The broker's side of programs' sessions: a queue for each, a window, acknowledgements, and what connecting
//! again with the same name does. Connections keep their order, may break at any word, and are half open
//! until the broker hears of it.

pub(crate) mod state;

use wayfare_mail::{Accepted, Outgoing};
use wayfare_protocol::ids::{Generation, ProgramId};
use wayfare_protocol::life::first_number_of;

use crate::happening::Happening;
use crate::sessions::state::number_in;
use crate::time::{MS, SECOND};
use crate::world::World;

use state::{Kept, Said, Told, Wire};

/// Sent and not acknowledged, as brokers with small windows have it.
const WINDOW: usize = 16;
/// A word's time on the wire, at most.
const WIRE_US: u64 = 20 * MS;
/// Sources fall silent then, so that everything can come right.
const SOURCES_UNTIL: u64 = 60 * SECOND;

impl World {
    pub(super) fn dial(
        &mut self,
        (program, generation): (ProgramId, Generation),
        engine: usize,
        boot: u64,
    ) -> usize {
        let wire = self.broker.wires.len();
        self.broker.wires.push(Wire {
            program,
            engine,
            boot,
            generation,
            is_up: true,
            last_said: 0,
            last_told: 0,
        });
        self.say(wire, Said::Connect);
        wire
    }

    pub(super) fn say(&mut self, wire: usize, said: Said) {
        let at = self.now + self.broker.random.below(WIRE_US);
        let last = &mut self.broker.wires[wire].last_said;
        *last = at.max(*last);
        let at = *last;
        self.at(at, Happening::Said { wire, said });
    }

    fn tell(&mut self, wire: usize, told: Told) {
        let at = self.now + self.broker.random.below(WIRE_US);
        let last = &mut self.broker.wires[wire].last_told;
        *last = at.max(*last);
        let at = *last;
        self.at(at, Happening::Told { wire, told });
    }

    /// Whether this word is the one at which the connection breaks.
    fn breaks(&mut self, wire: usize) -> bool {
        let share = self.faults.lost / 10;
        let engine = self.broker.wires[wire].engine;
        self.is_broker_down() || self.is_cut_off(engine) || self.broker.random.per_mille(share)
    }

    pub(super) fn cut(&mut self, wire: usize) {
        if !std::mem::replace(&mut self.broker.wires[wire].is_up, false) {
            return;
        }
        let Wire {
            program,
            engine,
            boot,
            ..
        } = self.broker.wires[wire];
        self.note(|| format!("wire {wire} of {program:?} breaks"));
        self.session_lost(engine, boot, program, wire);
    }

    pub(super) fn said(&mut self, wire: usize, said: Said) {
        if !self.broker.wires[wire].is_up {
            return;
        }
        if self.breaks(wire) {
            return self.cut(wire);
        }
        let program = self.broker.wires[wire].program;
        self.note(|| format!("wire {wire} -> broker: {said:?}"));
        if let Said::Connect = said {
            return self.connected_to_broker(program, wire);
        }
        let Some(kept) = self.broker.kept.get_mut(&program) else {
            return;
        };
        if kept.wire != Some(wire) {
            return; // Somebody else has the session.
        }
        match said {
            Said::Connect => {}
            Said::Subscribe => {
                if !std::mem::replace(&mut kept.is_subscribed, true) {
                    self.at(self.now, Happening::SourcePublishes { program });
                }
                self.tell(wire, Told::Granted);
            }
            Said::Acknowledge(number) => {
                kept.unacknowledged.retain(|sent| *sent != number);
                self.check_whose(wire);
                self.serve(program);
            }
            Said::Publish(outgoing) => {
                let number = outgoing.number;
                self.hear(program, &outgoing);
                self.tell(wire, Told::Published(number));
            }
            Said::Disconnect => {
                kept.give_back();
                self.tell(wire, Told::Closed);
            }
        }
    }

    fn connected_to_broker(&mut self, program: ProgramId, wire: usize) {
        let kept = self.broker.kept.entry(program).or_insert_with(Kept::new);
        let before = kept.wire;
        let is_known = kept.is_subscribed;
        kept.give_back();
        kept.wire = Some(wire);
        if let Some(before) = before {
            self.tell(before, Told::Closed);
        }
        self.tell(wire, Told::Connected { is_known });
        self.serve(program);
    }

    /// No copy takes anything after one that replaces it has.
    fn check_whose(&mut self, wire: usize) {
        let Wire {
            program, generation, ..
        } = self.broker.wires[wire];
        let Some(kept) = self.broker.kept.get_mut(&program) else {
            return;
        };
        let newest = kept.newest;
        kept.newest = newest.max(generation);
        if generation < newest && !self.broker.has_forgotten {
            self.oracle.violation(format!(
                "{program:?}: generation {generation} takes messages after {newest} has"
            ));
        }
    }

    fn serve(&mut self, program: ProgramId) {
        let Some(kept) = self.broker.kept.get_mut(&program) else {
            return;
        };
        let Some(wire) = kept.wire else { return };
        let free = WINDOW.saturating_sub(kept.unacknowledged.len());
        let sent: Vec<u64> = (0..free).map_while(|_| kept.waiting.pop_front()).collect();
        kept.unacknowledged.extend(&sent);
        for number in sent {
            self.tell(wire, Told::Input(number));
        }
    }

    /// Under its number an output is always the same, in whatever lives and copies; none of a life is left
    /// out, and whoever is subscribed gets each once.
    fn hear(&mut self, program: ProgramId, outgoing: &Outgoing) {
        let about = number_in(&outgoing.payload);
        let kept = self.broker.kept.entry(program).or_insert_with(Kept::new);
        let number = outgoing.number;
        let is_new = !kept.heard.contains_key(&number);
        let is_first = first_number_of(number) == number;
        let wrong = match kept.heard.get(&number) {
            Some(before) if *before == about => None,
            // A program does not wait until what it was handed is on the disk, which would cost each answer a
            // sync. So where engine and broker have both lost the last inputs, it is handed others in their
            // place, and publishes about these under the numbers that it had used: receivers take them for
            // repeats.
            Some(before) if kept.is_nowhere(*before) => {
                kept.lost.insert(about);
                kept.unstored.insert(about);
                self.count("outputs that were taken for repeats");
                return;
            }
            Some(before) => Some(format!(
                "output {number} was about {before}, and now about {about}"
            )),
            None if is_first || kept.heard.contains_key(&(number - 1)) => {
                kept.heard.insert(number, about);
                None
            }
            None => Some(format!("output {number} came after {} others", kept.heard.len())),
        };
        let accepted = kept.sink.accept("out", &outgoing.payload, false);
        kept.sink.take_first();
        let wrong = wrong.or_else(|| match (accepted, is_new) {
            (Accepted::Taken(_), true) | (Accepted::Dropped, false) => None,
            (accepted, _) => Some(format!("a subscriber has {accepted:?} output {number}")),
        });
        if let Some(wrong) = wrong {
            self.oracle.violation(format!("{program:?}: {wrong}"));
        }
    }

    pub(super) fn wrong_with(&mut self, program: ProgramId, wrong: String) {
        if !self.oracle.is_forced(program) {
            self.oracle.violation(format!("{program:?}: {wrong}"));
        }
    }

    pub(super) fn told(&mut self, wire: usize, told: Told) {
        if !self.broker.wires[wire].is_up {
            return;
        }
        if self.breaks(wire) {
            return self.cut(wire);
        }
        if let Told::Closed = told {
            return self.cut(wire);
        }
        let Wire {
            program,
            engine,
            boot,
            ..
        } = self.broker.wires[wire];
        self.note(|| format!("wire {wire} -> e{engine}: {told:?}"));
        self.session_told(engine, boot, program, wire, told);
    }

    pub(super) fn source_publishes(&mut self, program: ProgramId) {
        if self.now > self.base + SOURCES_UNTIL {
            return;
        }
        let count = 1 + self.broker.random.below(2 * WINDOW as u64);
        let Some(kept) = self
            .broker
            .kept
            .get_mut(&program)
            .filter(|kept| kept.is_subscribed)
        else {
            return;
        };
        kept.waiting.extend(kept.published..kept.published + count);
        kept.published += count;
        let at = self.now + self.broker.random.below(4 * SECOND);
        self.at(at, Happening::SourcePublishes { program });
        self.serve(program);
    }
}
