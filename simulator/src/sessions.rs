//! Programs' sessions as engines have them: the real mail and the real intake, with a journal made of chance
//! between them and the broker, and a program that is handed numbers and says what each was.
//!
//! What must hold: whatever is lost, late, cut off or killed, a program is handed every input once and in
//! order, as far as its own state goes; and what it publishes under a number is always the same.

pub(crate) mod state;

use std::time::{Duration, Instant};

use wayfare_mail::{Intake, Outgoing};
use wayfare_protocol::ids::{Generation, ProgramId};
use wayfare_protocol::qos::Qos;
use wayfare_protocol::stamp::{Purpose, Stamp};

use crate::broker::state::{Said, Told};
use crate::processes::job::Job;
use crate::time::{MS, SECOND};
use crate::world::World;

use state::{Line, Talk};

/// As in the session.
const CLOSE_TIMEOUT: u64 = 2 * SECOND;
const HANG_UP_TIMEOUT: u64 = 500 * MS;
const IN_FLIGHT_MAX: usize = 8;

impl World {
    fn instant(&self) -> Instant {
        self.begun + Duration::from_micros(self.now)
    }

    pub(super) fn talk(&mut self, index: usize, program: ProgramId) -> Option<&mut Talk> {
        self.process(index, program)?.talk.as_mut()
    }

    fn boot_of(&self, index: usize) -> u64 {
        self.engines[index].up.as_ref().map_or(0, |up| up.boot)
    }

    pub(super) fn open_session(&mut self, index: usize, program: ProgramId, generation: Option<Generation>) {
        if let Some(talk) = self.talk(index, program) {
            talk.generation = generation.unwrap_or(talk.generation);
            talk.may_open = true;
            self.turn(index, program);
        }
    }

    /// Answers with the capture if there is no session to be closed first.
    pub(super) fn close_session(&mut self, index: usize, program: ProgramId, capture: Job) -> Option<Job> {
        let now = self.now;
        let Some(talk) = self.talk(index, program) else {
            return Some(capture);
        };
        if talk.line == Line::Shut {
            talk.may_open = false;
            return Some(capture);
        }
        talk.closing = Some((capture, now + CLOSE_TIMEOUT));
        self.wake_session(index, program, now + CLOSE_TIMEOUT);
        self.turn(index, program);
        None
    }

    /// Its process is gone, and with it whoever held the session.
    pub(super) fn leave_session(&mut self, talk: &Talk) {
        if let Some(wire) = talk.wire() {
            self.say(wire, Said::Disconnect);
        }
    }

    /// The engine's connection is lost: no session before the fence is passed again.
    pub(super) fn sessions_not_heard(&mut self, index: usize) {
        let Some(up) = &mut self.engines[index].up else {
            return;
        };
        up.is_heard = false;
        up.connection += 1;
        let programs: Vec<ProgramId> = up.processes.keys().copied().collect();
        for program in programs {
            let Some(talk) = self.talk(index, program).filter(|talk| talk.closing.is_none()) else {
                continue;
            };
            let wire = talk.wire();
            talk.line = Line::Shut;
            if let Some(wire) = wire {
                self.say(wire, Said::Disconnect);
            }
        }
    }

    /// It is gone for good.
    pub(super) fn wipe_session(&mut self, index: usize, program: ProgramId) {
        if let Some(kept) = self.broker.kept.get_mut(&program) {
            kept.forget_session();
        }
        self.engines[index].inboxes.retain(|(of, _), _| *of != program);
    }

    fn wake_session(&mut self, index: usize, program: ProgramId, at: u64) {
        let job = Job::SessionTurn { program };
        self.job_at(at, index, job);
    }

    /// What the session does next: everything that can be done now.
    pub(super) fn turn(&mut self, index: usize, program: ProgramId) {
        let (boot, now) = (self.boot_of(index), self.now);
        let instant = self.instant();
        let is_heard = self.is_heard(index);
        let Some(talk) = self.talk(index, program) else {
            return;
        };
        let is_closing = talk.closing.is_some();
        match talk.line {
            Line::Shut
                if is_heard && talk.may_open && talk.mail.wants_session() && now >= talk.rests_until =>
            {
                talk.mail.begin_session();
                talk.intake = Intake::with_unstored(talk.intake.take_unstored(), instant);
                talk.opened += 1;
                talk.in_flight.clear();
                self.dial_again(index, program, boot);
            }
            Line::Lost if !is_closing => self.dial_again(index, program, boot),
            Line::Up(wire) if !is_closing => {
                self.pump(index, program, wire);
                self.take_in(index, program, wire);
            }
            Line::Shut | Line::Lost | Line::Dialled(_) | Line::Up(_) | Line::HangingUp(_) => {}
        }
        self.store_fresh(index, program, is_closing);
        let Some(talk) = self.talk(index, program) else {
            return;
        };
        if let Some((_, deadline)) = talk.closing {
            let is_settled = talk.intake.is_settled() && talk.in_flight.is_empty();
            let is_over = is_settled || now >= deadline;
            match (talk.line, talk.wire()) {
                (Line::HangingUp(_), _) if now >= deadline => self.closed(index, program),
                (Line::HangingUp(_), _) => {}
                (_, Some(wire)) if is_over => {
                    talk.line = Line::HangingUp(wire);
                    let until = now + HANG_UP_TIMEOUT;
                    talk.closing
                        .iter_mut()
                        .for_each(|(_, deadline)| *deadline = until);
                    self.say(wire, Said::Disconnect);
                    self.wake_session(index, program, until);
                }
                (_, None) if is_over => self.closed(index, program),
                (_, _) => {}
            }
        }
    }

    fn dial_again(&mut self, index: usize, program: ProgramId, boot: u64) {
        let Some(generation) = self.talk(index, program).map(|talk| talk.generation) else {
            return;
        };
        let wire = self.dial((program, generation), index, boot);
        if let Some(talk) = self.talk(index, program) {
            talk.line = Line::Dialled(wire);
            talk.has_asked = false;
        }
    }

    fn pump(&mut self, index: usize, program: ProgramId, wire: usize) {
        let Some(talk) = self.talk(index, program) else {
            return;
        };
        let mut words = Vec::new();
        if !talk.mail.to_subscribe().is_empty() && !std::mem::replace(&mut talk.has_asked, true) {
            words.push(Said::Subscribe);
        }
        while talk.in_flight.len() < IN_FLIGHT_MAX
            && let Some(outgoing) = talk.mail.next_to_send()
        {
            talk.in_flight.push_back(outgoing.clone());
            words.push(Said::Publish(outgoing));
        }
        for word in words {
            self.say(wire, word);
        }
    }

    fn take_in(&mut self, index: usize, program: ProgramId, wire: usize) {
        let now = self.instant();
        let source = ProgramId::from_bytes([9; 16]);
        let Some(talk) = self.talk(index, program).filter(|talk| talk.owned == Some(wire)) else {
            return;
        };
        let mut next = talk.intake.take_held();
        if next.is_none() && talk.intake.takes_more() {
            next = talk.unread.pop_front();
        }
        while let Some(number) = next {
            let stamp = Stamp {
                sender: source,
                number,
                purpose: Purpose::Message,
            };
            let payload = stamp.put_on(number.to_string().as_bytes());
            let accepted = talk.mail.accept("in", &payload, false);
            let token = (wire, number);
            talk.intake
                .received(number, (token, Qos::AtLeastOnce), accepted, now);
            next = talk
                .intake
                .takes_more()
                .then(|| talk.unread.pop_front())
                .flatten();
        }
    }

    fn store_fresh(&mut self, index: usize, program: ProgramId, at_once: bool) {
        let (now, begun) = (self.instant(), self.begun);
        let Some(talk) = self.talk(index, program) else {
            return;
        };
        let generation = talk.generation;
        let opened = talk.opened;
        if let Some(fresh) = talk.intake.begin_sync(now, at_once) {
            talk.writing.clone_from(&fresh);
            let instance = self.process(index, program).map_or(0, |process| process.instance);
            let (now, disk) = (self.now, &self.engines[index].disk);
            if disk.refuses_blob(now, &mut self.random) {
                return self.journal_failed(index, program);
            }
            let inbox = self.engines[index]
                .inboxes
                .entry((program, generation))
                .or_default();
            inbox.messages.extend(fresh);
            let job = Job::Synced {
                program,
                instance,
                opened,
            };
            let at = self.now + self.broker.random.below(30 * MS);
            self.job_at(at, index, job);
        } else if let Some(due) = talk.intake.due() {
            let at = due.duration_since(begun).as_micros() as u64;
            if at > self.now {
                self.wake_session(index, program, at);
            }
        }
    }

    /// What was not acknowledged comes again, over another connection; what is in the inbox already is
    /// written then.
    fn journal_failed(&mut self, index: usize, program: ProgramId) {
        let (now, instant) = (self.now, self.instant());
        let Some(talk) = self.talk(index, program) else {
            return;
        };
        let generation = talk.generation;
        let mut unstored = std::mem::take(&mut talk.writing);
        unstored.extend(talk.intake.take_unstored());
        talk.intake = Intake::with_unstored(unstored, instant);
        talk.rests_until = now + SECOND;
        let wire = talk.wire();
        if let Some((_, deadline)) = &mut talk.closing {
            *deadline = now;
        } else {
            talk.line = Line::Shut;
        }
        // A sync that is under way is for nothing.
        talk.opened += 1;
        if let Some(inbox) = self.engines[index].inboxes.get_mut(&(program, generation)) {
            inbox.messages.truncate(inbox.synced);
        }
        if let Some(wire) = wire {
            self.say(wire, Said::Disconnect);
        }
        self.wake_session(index, program, now + SECOND);
    }

    /// Everything that was written when it was asked for is on the disk.
    pub(super) fn synced(&mut self, index: usize, program: ProgramId, instance: u64, opened: u64) {
        if self
            .process(index, program)
            .is_none_or(|process| process.instance != instance)
        {
            return;
        }
        let Some(talk) = self.talk(index, program) else {
            return;
        };
        if talk.opened != opened {
            return; // It was for a connection that ended.
        }
        let (now, disk) = (self.now, &self.engines[index].disk);
        if disk.refuses_blob(now, &mut self.random) {
            return self.journal_failed(index, program);
        }
        let Some(talk) = self.talk(index, program) else {
            return;
        };
        talk.writing.clear();
        let (tokens, line, generation) = (talk.intake.synced(), talk.line, talk.generation);
        if let Some(inbox) = self.engines[index].inboxes.get_mut(&(program, generation)) {
            inbox.synced = inbox.messages.len();
        }
        for (wire, number) in tokens {
            if line == Line::Up(wire) {
                self.say(wire, Said::Acknowledge(number));
            }
        }
        self.turn(index, program);
    }

    pub(super) fn session_told(
        &mut self,
        index: usize,
        boot: u64,
        program: ProgramId,
        wire: usize,
        told: Told,
    ) {
        if self.boot_of(index) != boot {
            return;
        }
        let Some(talk) = self.talk(index, program).filter(|talk| talk.wire() == Some(wire)) else {
            return;
        };
        match told {
            Told::Connected { is_known } => {
                talk.line = Line::Up(wire);
                if !is_known {
                    talk.mail.session_lost();
                }
                talk.unread.clear();
                talk.intake.reconnected();
                let again: Vec<Outgoing> = talk.in_flight.iter().cloned().collect();
                for outgoing in again {
                    self.say(wire, Said::Publish(outgoing));
                }
                self.ask_whose(index, program, wire);
            }
            Told::Granted => talk.mail.granted("in", Qos::AtLeastOnce),
            Told::Input(number) => talk.unread.push_back(number),
            Told::Published(number) => {
                talk.in_flight.retain(|outgoing| outgoing.number > number);
                talk.mail.sent(number);
            }
            Told::Closed => {}
        }
        self.turn(index, program);
    }

    /// As the shell has it: once the session's connection stands, another message goes through the broker, on
    /// the engine's own.
    fn ask_whose(&mut self, index: usize, program: ProgramId, wire: usize) {
        let at = self.now + self.broker.random.below(20 * MS);
        self.job_at(at, index, Job::WhoseSession { program, wire });
    }

    /// It is back: whoever had the session before this connection has been heard.
    pub(super) fn session_is_ours(&mut self, index: usize, program: ProgramId, wire: usize) {
        if self.is_cut_off(index) || !self.is_heard(index) {
            return; // The session is shut, and asks again.
        }
        self.hear_retained(index, program);
        if let Some(talk) = self.talk(index, program).filter(|talk| talk.wire() == Some(wire)) {
            talk.owned = Some(wire);
            self.turn(index, program);
        }
    }

    pub(super) fn session_lost(&mut self, index: usize, boot: u64, program: ProgramId, wire: usize) {
        if self.boot_of(index) != boot {
            return;
        }
        let now = self.now;
        let Some(talk) = self.talk(index, program).filter(|talk| talk.wire() == Some(wire)) else {
            return;
        };
        if let Line::HangingUp(_) = talk.line {
            return self.closed(index, program);
        }
        talk.line = Line::Lost;
        // Connects again after a while, as the link does.
        let at = now + 50 * MS + self.broker.random.below(SECOND);
        self.wake_session(index, program, at);
    }

    /// Now it can be captured.
    fn closed(&mut self, index: usize, program: ProgramId) {
        let Some(talk) = self.talk(index, program) else {
            return;
        };
        talk.line = Line::Shut;
        talk.may_open = false;
        if let Some((capture, _)) = talk.closing.take() {
            self.job_in(20 * MS, index, capture);
        }
    }
}
