//! Who can be called: the engine announces each program that serves, retained, under all its addresses
//! (`wayfare_protocol::address`).
//!
//! ```text
//!   it serves, and the broker has granted its inbox     --> announced; a copy: with the next sweep
//!   its generation changed, or there is a new connection --> announced again
//!   it has ended before this process began, and is announced --> withdrawn
//!   the dispatcher has set it a tombstone                --> withdrawn
//!   it has ended, and its last messages are with the broker; it was killed; it begins anew and does not serve --> withdrawn
//!   somebody has announced that it is gone, and it is here --> announced again
//! ```
//! A program that moves away is not withdrawn: its next engine announces the same, and withdraws what was
//! only true of the last one, such as `engine/NAME`, which it finds by listening for what is announced of the
//! program; so does an engine that was started again with other labels. At an address of an engine's, which
//! programs leave by moving too, one that has ended is first announced as gone. What always holds: a
//! program's last answers are with the broker before it is withdrawn, so that who has called it gets the
//! answer rather than that it is gone.

use std::collections::{BTreeMap, BTreeSet};

use wayfare_protocol::address::{Address, Announcement};
use wayfare_protocol::ids::{EngineId, Generation, ProgramId};
use wayfare_protocol::labels::Labels;

use super::outbound::Outbound;
use super::programs::Hosted;
use super::subscriptions::Subscriptions;

#[derive(Debug)]
pub(super) struct Announced {
    /// The engine's.
    labels: Labels,
    programs: BTreeMap<ProgramId, Known>,
    /// Programs that serve and are to be announced again: whose inbox is not granted yet, or for which the
    /// outbox had no room.
    unannounced: BTreeSet<ProgramId>,
    /// Programs that have ended, of which an earlier process of this engine may have announced something that
    /// it did not withdraw.
    ended: BTreeMap<ProgramId, Generation>,
}

#[derive(Debug, PartialEq, Eq)]
struct Known {
    name: String,
    generation: Generation,
    addresses: BTreeSet<Address>,
    /// On this connection.
    is_published: bool,
}

impl Known {
    fn announcement(&self, program: ProgramId, engine: &EngineId) -> Announcement {
        Announcement {
            program,
            name: self.name.clone(),
            engine: engine.clone(),
            generation: self.generation,
            gone: false,
        }
    }
}

impl Announced {
    pub(super) fn new(labels: Labels) -> Self {
        Self {
            labels,
            programs: BTreeMap::new(),
            unannounced: BTreeSet::new(),
            ended: BTreeMap::new(),
        }
    }

    /// There is a new connection: what was published on the one before may not have arrived.
    pub(super) fn begin_connection(&mut self) {
        self.programs
            .values_mut()
            .for_each(|known| known.is_published = false);
    }

    /// Announces what a program serves, where that is not known.
    pub(super) fn announce(
        &mut self,
        program: ProgramId,
        hosted: &Hosted,
        out: &Outbound,
        subscriptions: &mut Subscriptions,
    ) {
        let Some(process) = hosted.process().filter(|_| !hosted.log.has_ended) else {
            return;
        };
        let (services, is_there, is_granted) = process.mailbox().with(|mail| {
            let services = mail.services().clone();
            (services, mail.can_be_reached(), mail.is_serving() == Some(true))
        });
        if is_there && !is_granted {
            self.unannounced.insert(program);
            return;
        }
        let addresses = match is_there {
            false => BTreeSet::new(),
            true => Address::of_program(program, &hosted.name, &services)
                .into_iter()
                .chain(Address::of_engine(&out.engine, &self.labels))
                .collect(),
        };
        let mut now = Known {
            name: hosted.name.clone(),
            generation: hosted.generation,
            addresses,
            is_published: true,
        };
        let before = self.programs.get(&program);
        if before == Some(&now) || before.is_none() && !is_there {
            return;
        }
        let is_first = before.is_none();
        let not_any_more = before.map(|before| before.addresses.difference(&now.addresses));
        for address in not_any_more.into_iter().flatten() {
            out.withdraw(address, program);
        }
        let announcement = now.announcement(program, &out.engine);
        let mut addresses = now.addresses.iter();
        now.is_published = addresses.all(|address| out.announce(address, &announcement));
        if !now.is_published {
            self.unannounced.insert(program);
        }
        self.programs.insert(program, now);
        if is_first {
            subscriptions.listen_for(program);
        }
    }

    /// Programs that serve, and can be announced by now: a copy, which serves already, does not ask to be.
    pub(super) fn take_unannounced(&mut self) -> BTreeSet<ProgramId> {
        std::mem::take(&mut self.unannounced)
    }

    /// Listens for what is announced of a program that has ended, where this process does not know what that
    /// was: the one before may have died before it withdrew it.
    pub(super) fn look_for(
        &mut self,
        program: ProgramId,
        generation: Generation,
        subscriptions: &mut Subscriptions,
    ) {
        if !self.programs.contains_key(&program) && self.ended.insert(program, generation).is_none() {
            subscriptions.listen_for(program);
        }
    }

    /// Somebody has announced a program that concerns this engine; `has_ended`: it does not run here.
    pub(super) fn seen(
        &self,
        address: &Address,
        announcement: &Announcement,
        has_ended: bool,
        out: &Outbound,
    ) {
        let program = announcement.program;
        let ended = self.ended.get(&program);
        let is_stale = ended.is_some_and(|generation| announcement.generation <= *generation);
        let known = self.programs.get(&program);
        if let Some(known) = known
            && announcement.gone
            && announcement.generation <= known.generation
            && known.addresses.contains(address)
            && !has_ended
        {
            out.announce(address, &known.announcement(program, &out.engine));
            return;
        }
        let has_left = known.is_some_and(|known| {
            let is_older = announcement.generation < known.generation;
            // By an earlier process of this engine, which had other labels.
            let was_here = announcement.generation == known.generation && announcement.engine == out.engine;
            (is_older || was_here) && address.is_of_engine() && !known.addresses.contains(address)
        });
        if is_stale && has_ended {
            out.withdraw_ended(address, announcement);
        } else if has_left {
            out.withdraw(address, program);
        }
    }

    /// Forgets programs that are gone from here: all but these.
    pub(super) fn keep_only(&mut self, known: &BTreeSet<ProgramId>, subscriptions: &mut Subscriptions) {
        let announced = self
            .programs
            .extract_if(.., |program, _| !known.contains(program));
        let ended = self.ended.extract_if(.., |program, _| !known.contains(program));
        let gone = announced.map(|(program, _)| program);
        for program in gone.chain(ended.map(|(program, _)| program)) {
            subscriptions.listen_no_more_for(program);
        }
    }

    /// It is no more, neither here, where it was this generation, nor elsewhere.
    pub(super) fn withdraw_ended(
        &mut self,
        program: ProgramId,
        generation: Generation,
        out: &Outbound,
        subscriptions: &mut Subscriptions,
    ) {
        match self.programs.contains_key(&program) {
            true => self.withdraw(program, out, subscriptions),
            false => self.look_for(program, generation, subscriptions),
        }
    }

    /// It cannot be called any more.
    pub(super) fn withdraw(&mut self, program: ProgramId, out: &Outbound, subscriptions: &mut Subscriptions) {
        let Some(known) = self.programs.remove(&program) else {
            return;
        };
        let announcement = known.announcement(program, &out.engine);
        // Whoever is told at its engine's addresses that it is gone finds it nowhere else any more.
        let (last, first): (Vec<&Address>, Vec<&Address>) =
            known.addresses.iter().partition(|address| address.is_of_engine());
        for address in first.into_iter().chain(last) {
            out.withdraw_ended(address, &announcement);
        }
        subscriptions.listen_no_more_for(program);
    }
}
