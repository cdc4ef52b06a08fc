//! Programs that call each other, in some worlds: each calls the program that was begun before it about every input, and answers what it
//! is asked. Where both are on one engine, messages need not go through the broker (`wayfare_mail`'s `neighbours`).
//!
//! What must hold, whatever is lost, late or killed and wherever both are by then: of each caller a program is handed calls about one
//! input after the other, none of them twice; and every call is answered with what it was about, once. In these worlds engines are killed
//! and keep what they have written, synced or not, and the broker forgets nothing: a power cut sets programs back to before what they gave
//! each other in the last 100 ms.

pub(crate) mod state;

use std::collections::{BTreeMap, BTreeSet};

use wayfare_mail::{CallOptions, Mail, Neighbours, Outgoing, ReceivedMessage, Refusal, Way, await_sync};
use wayfare_protocol::address::{Address, Announcement};
use wayfare_protocol::call::{Outcome, Sent};
use wayfare_protocol::ids::{EngineId, Generation, ProgramId};
use wayfare_protocol::topics::{Topic, Topics};
use wayfare_protocol::wire;

use crate::broker::state::Said;
use crate::happening::Happening;
use crate::processes::job::Job;
use crate::processes::state::Process;
use crate::sessions::state::{Line, Talk};
use crate::time::MS;
use crate::world::World;

use state::{Flight, OpenSession};

/// Inputs about which a program waits for answers; it gives up those before.
const OPEN_MAX: u64 = 100;

/// The programs of an engine with a session that is open.
struct Here<'a>(&'a mut BTreeMap<ProgramId, Process>);

impl Neighbours for Here<'_> {
    type Receipt = OpenSession;
    fn with<T>(
        &mut self,
        program: ProgramId,
        look: impl FnOnce(&mut Mail) -> Option<T>,
    ) -> Option<(T, OpenSession)> {
        let process = self.0.get_mut(&program)?;
        let session = process.session()?;
        let found = look(&mut process.talk.as_mut()?.mail)?;
        Some((found, session))
    }
}

impl Process {
    /// The connection of its session, if it has one.
    fn session(&self) -> Option<OpenSession> {
        let talk = self.talk.as_ref().filter(|talk| talk.line != Line::Shut)?;
        Some(OpenSession {
            instance: self.instance,
            opened: talk.opened(),
        })
    }
}

fn address(program: ProgramId) -> Address {
    format!("program/{program}").parse().expect("an address")
}

/// Who is asked is known from the beginning.
pub(crate) fn introduce(mail: &mut Mail, partner: ProgramId, engine: &EngineId) {
    let address = address(partner);
    mail.watch(&address).expect("it is granted");
    let announcement = Announcement {
        program: partner,
        name: "partner".into(),
        engine: engine.clone(),
        generation: Generation::FIRST,
        gone: false,
    };
    let topic = Topics::default().topic(&Topic::Address(address, partner));
    mail.accept(&topic, &wire::encode(&announcement), true);
}

impl World {
    /// The program that was begun before it, for as long as both live.
    pub(super) fn partner_of(&mut self, program: ProgramId) -> Option<ProgramId> {
        let last = self.partners.last().map(|(program, _)| *program);
        let known = self.partners.iter().find(|(of, _)| *of == program);
        if let Some((_, partner)) = known {
            return *partner;
        }
        self.partners.push((program, last));
        last
    }

    /// Calls the partner about an input, once. `false`: the outbox is full.
    pub(super) fn asks_about(&mut self, index: usize, program: ProgramId, input: u64) -> bool {
        let partner = self.partner_of(program);
        let (Some(partner), Some(talk)) = (partner, self.talk(index, program)) else {
            return true;
        };
        if talk.chat.asked_below > input {
            return true;
        }
        let what = ("about", input.to_string());
        let options = CallOptions::default();
        let called = talk.mail.call(
            &address(partner),
            (what.0, what.1.as_bytes()),
            u64::MAX,
            u64::MAX,
            &options,
        );
        match called {
            Ok(Some(number)) => {
                talk.chat.asked_below = input + 1;
                talk.chat.open.insert(number, input);
                // By its own doing alone, so that it does so again after a crash.
                let given_up: Vec<u64> = talk
                    .chat
                    .open
                    .extract_if(.., |_, about| *about + OPEN_MAX <= input)
                    .map(|(number, _)| number)
                    .collect();
                given_up.into_iter().for_each(|number| talk.mail.end_call(number));
                true
            }
            Err(Refusal::Full) => false,
            other => panic!("a call ended as {other:?}"),
        }
    }

    /// A message that is first in the inbox, if it is a call. `false`: it is to be answered first what was asked before.
    pub(super) fn takes_call(&mut self, index: usize, program: ProgramId, message: &ReceivedMessage) -> bool {
        if !self.pays(index, program) {
            return false;
        }
        let Some(talk) = self.talk(index, program) else {
            return false;
        };
        let (Some((Sent::Call { .. }, payload)), Some(stamp)) =
            (talk.mail.sent_here(message), &message.stamp)
        else {
            panic!("{message:?} is no call");
        };
        let about = crate::sessions::state::number_in(payload);
        let caller = stamp.sender;
        let owed = (
            Topics::default().topic(&Topic::ProgramReply(caller)),
            stamp.number,
            about,
        );
        talk.mail.take_first();
        talk.chat.owed.push_back(owed);
        let (first, next) = *talk.chat.next_of.entry(caller).or_insert((about, about));
        if about < first {
            // Made before this program was subscribed, and again after a crash.
            return true;
        }
        talk.chat.next_of.insert(caller, (first, about + 1));
        let is_loose = |of| self.oracle.is_forced(of) || self.oracle.is_wiped(of);
        if about != next && !is_loose(program) && !is_loose(caller) {
            let wrong = format!("{caller:?} asks about {about} in place of {next}");
            self.wrong_with(program, wrong);
        }
        self.pays(index, program);
        true
    }

    /// Answers what it was asked. `false`: the outbox is full.
    pub(super) fn pays(&mut self, index: usize, program: ProgramId) -> bool {
        let Some(talk) = self.talk(index, program) else {
            return false;
        };
        while let Some((reply_to, number, about)) = talk.chat.owed.front() {
            let outcome = Outcome::Done(about.to_string().into_bytes());
            match talk.mail.answer(reply_to, *number, &outcome) {
                Err(Refusal::Full) => return false,
                // A caller that has gone too far ahead waits for it no more.
                Ok(()) | Err(Refusal::NotRepliable) => drop(talk.chat.owed.pop_front()),
                Err(other) => panic!("an answer ended as {other:?}"),
            }
        }
        true
    }

    pub(super) fn takes_answers(&mut self, index: usize, program: ProgramId) {
        let is_loose = self.oracle.is_forced(program) || self.oracle.is_wiped(program);
        let Some(talk) = self.talk(index, program) else {
            return;
        };
        let mut wrong = None;
        let mut answered = 0;
        while let Ok(Some((number, outcome))) = talk.mail.outcome(None, 0) {
            let about = talk.chat.open.remove(&number);
            let expected = about.map(|about| Outcome::Done(about.to_string().into_bytes()));
            if expected.as_ref() != Some(&outcome) {
                wrong = Some(format!("call {number} about {about:?} ended as {outcome:?}"));
            }
            talk.mail.end_call(number);
            answered += 1;
        }
        if let Some(wrong) = wrong.filter(|_| !is_loose) {
            self.wrong_with(program, wrong);
        }
        if answered > 0 {
            *self.oracle.outcomes.entry("calls answered".into()).or_default() += answered;
        }
    }

    /// Everything that a program has asked of another that is there is answered at the end.
    pub(super) fn check_chat(&mut self, index: usize, program: ProgramId) -> Result<(), String> {
        let Some(partner) = self.partner_of(program) else {
            return Ok(());
        };
        let is_loose = |of| self.oracle.is_forced(of) || self.oracle.is_wiped(of);
        if is_loose(program) || is_loose(partner) {
            return Ok(());
        }
        let runs = |index: &usize| self.engines[*index].running().any(|(id, _)| id == partner);
        let theirs = (0..self.engines.len()).find(runs);
        let known = theirs.and_then(|index| {
            let talk = self.talk(index, partner)?;
            talk.chat.next_of.get(&program).copied()
        });
        let (Some((first, next)), Some(talk)) = (known, self.talk(index, program)) else {
            return Ok(());
        };
        let asked = talk.chat.asked_below;
        // What was asked before the partner was subscribed nobody has.
        let open: Vec<u64> = talk
            .chat
            .open
            .values()
            .copied()
            .filter(|about| *about >= first)
            .collect();
        if next != asked || !open.is_empty() {
            return Err(format!(
                "{program:?} has asked about {asked} inputs, {partner:?} was asked about {next}, and {open:?} have no answer"
            ));
        }
        Ok(())
    }

    /// Sends one message of a program's: what is to be said to the broker. `None`: a neighbour was given it, or it is sent later.
    pub(super) fn sends(&mut self, index: usize, program: ProgramId, outgoing: Outgoing) -> Option<Said> {
        let way = self.way(index, program, &outgoing)?;
        let talk = self.talk(index, program)?;
        match way {
            Way::Broker => {
                talk.in_flight.push_back(Flight::Broker {
                    outgoing: outgoing.clone(),
                    is_acknowledged: false,
                });
                Some(Said::Publish(outgoing))
            }
            Way::Given(to, below, session) => {
                talk.in_flight.push_back(Flight::Given {
                    outgoing,
                    to,
                    below,
                    session,
                });
                self.count("messages given to neighbours");
                // Likelier where what is on its way takes both ways.
                if self.faults.crash_per_effect > 0 && self.broker.random.per_mille(5) {
                    let at = self.now + self.broker.random.below(150 * MS);
                    self.at(at, Happening::Crash { engine: index });
                }
                self.job_at(self.now, index, Job::SessionTurn { program: to });
                None
            }
            Way::Later => {
                talk.mail.send_again(outgoing.number);
                talk.waits_for_neighbours = true;
                self.neighbours_turn(index);
                self.count("messages that waited for neighbours");
                None
            }
        }
    }

    fn way(&mut self, index: usize, program: ProgramId, outgoing: &Outgoing) -> Option<Way<OpenSession>> {
        if !self.has_neighbours {
            return Some(Way::Broker);
        }
        let up = self.engines[index].up.as_mut()?;
        let talk = up.processes.get_mut(&program)?.talk.as_mut()?;
        let mut ways = std::mem::take(&mut talk.ways);
        let (home, is_ours) = (talk.mail.home().clone(), talk.is_ours());
        let way = ways.way(outgoing, (&home, is_ours), &mut Here(&mut up.processes));
        up.processes.get_mut(&program)?.talk.as_mut()?.ways = ways;
        Some(way)
    }

    /// What is at the front of what is on its way and has arrived is done with; what a neighbour has lost goes through the broker.
    pub(super) fn settle(&mut self, index: usize, program: ProgramId) {
        self.hurries_neighbours(index, program);
        loop {
            let Some(front) = self
                .talk(index, program)
                .and_then(|talk| talk.in_flight.front().cloned())
            else {
                return;
            };
            match front {
                Flight::Broker {
                    is_acknowledged: false,
                    ..
                } => return,
                Flight::Broker { outgoing, .. } => self.is_sent(index, program, outgoing.number),
                Flight::Given {
                    outgoing,
                    to,
                    below,
                    session,
                } => match self.has_synced(index, to, session, below) {
                    Some(true) => {
                        if let Some(talk) = self.talk(index, program) {
                            talk.ways.synced(to);
                        }
                        self.is_sent(index, program, outgoing.number);
                    }
                    Some(false) => return,
                    None => return self.is_lost(index, program, to, outgoing),
                },
            }
        }
    }

    /// A session that is closed waits for no more than it must.
    fn hurries_neighbours(&mut self, index: usize, program: ProgramId) {
        let Some(talk) = self.talk(index, program).filter(|talk| talk.closing.is_some()) else {
            return;
        };
        let given = talk.in_flight.iter().filter_map(|one| match one {
            Flight::Given { to, .. } => Some(*to),
            Flight::Broker { .. } => None,
        });
        let given: BTreeSet<ProgramId> = given.collect();
        for to in given {
            if let Some(up) = &mut self.engines[index].up {
                await_sync(to, &mut Here(&mut up.processes));
                self.job_at(self.now, index, Job::SessionTurn { program: to });
            }
        }
    }

    fn is_sent(&mut self, index: usize, program: ProgramId, number: u64) {
        if let Some(talk) = self.talk(index, program) {
            talk.in_flight.pop_front();
            talk.mail.sent(number);
        }
    }

    /// `None`: the session in which it was given has ended.
    fn has_synced(&mut self, index: usize, to: ProgramId, session: OpenSession, below: u64) -> Option<bool> {
        let process = self.process(index, to)?;
        if process.session() != Some(session) {
            return None;
        }
        Some(process.talk.as_ref()?.synced_below >= below)
    }

    fn is_lost(&mut self, index: usize, program: ProgramId, to: ProgramId, outgoing: Outgoing) {
        let Some(talk) = self.talk(index, program) else {
            return;
        };
        let Some(wire) = talk.wire() else {
            return; // It is sent on the next connection.
        };
        talk.ways.lost(to, &outgoing);
        if let Some(front) = talk.in_flight.front_mut() {
            *front = Flight::Broker {
                outgoing: outgoing.clone(),
                is_acknowledged: false,
            };
        }
        self.count("messages that neighbours lost");
        self.say(wire, Said::Publish(outgoing));
    }

    /// Sessions that a neighbour waits for look.
    fn neighbours_turn(&mut self, index: usize) {
        let processes = self.engines[index].up.iter().flat_map(|up| up.processes.iter());
        let awaited = processes.filter(|(_, process)| {
            let talk = process.talk.as_ref();
            talk.is_some_and(|talk| talk.mail.has_news_of_neighbours())
        });
        let awaited: Vec<ProgramId> = awaited.map(|(program, _)| *program).collect();
        for program in awaited {
            self.job_at(self.now, index, Job::SessionTurn { program });
        }
    }

    /// A neighbour has synced what it was given, or takes no more.
    pub(super) fn neighbours_look(&mut self, index: usize) {
        let Some(up) = self.engines[index].up.as_ref().filter(|_| self.has_neighbours) else {
            return;
        };
        let gave = |process: &Process| {
            let talk = process.talk.as_ref();
            talk.is_some_and(|talk| {
                talk.waits_for_neighbours
                    || talk
                        .in_flight
                        .iter()
                        .any(|one| matches!(one, Flight::Given { .. }))
            })
        };
        let gave: Vec<ProgramId> = up
            .processes
            .iter()
            .filter(|(_, process)| gave(process))
            .map(|(program, _)| *program)
            .collect();
        for program in gave {
            self.job_at(self.now, index, Job::SessionTurn { program });
        }
    }

    /// Where a program's message goes from the broker; `false`: it is no other program's.
    pub(super) fn route(&mut self, outgoing: &Outgoing) -> bool {
        let to = match Topics::default().parse(&outgoing.topic) {
            Some(Topic::ProgramInbox(to) | Topic::ProgramReply(to)) => to,
            _ => return false,
        };
        self.broker.keep_for(to, outgoing);
        self.serve(to);
        true
    }
}

impl Talk {
    fn is_ours(&self) -> bool {
        self.closing.is_none() && matches!(self.line, Line::Up(wire) if self.owned == Some(wire))
    }
}
