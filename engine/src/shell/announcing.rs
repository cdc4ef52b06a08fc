//! Who can be called: the engine announces each program that serves, retained, under all its addresses (`wayfare_protocol::address`).
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

use wayfare_link::Qos;
use wayfare_protocol::address::{Address, Announcement};
use wayfare_protocol::ids::{EngineId, Generation, ProgramId};
use wayfare_protocol::status::ProgramStatus;

use super::agent::Agent;

#[derive(Debug, Default)]
pub(super) struct Announced {
    programs: BTreeMap<ProgramId, Known>,
    /// Programs that serve and whose inbox is not granted yet.
    ungranted: BTreeSet<ProgramId>,
    /// Programs that have ended, of which an earlier process of this engine may have announced something that it did not withdraw.
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
    /// There is a new connection: what was published on the one before may not have arrived.
    pub(super) fn begin_connection(&mut self) {
        self.programs
            .values_mut()
            .for_each(|known| known.is_published = false);
    }
}

impl Agent {
    /// Announces what a program serves, where that is not known.
    pub(super) fn announce(&mut self, program: ProgramId) {
        let Some(hosted) = self.programs.current(program).filter(|_| self.fence.is_passed()) else {
            return;
        };
        let Some(process) = hosted.process().filter(|_| !hosted.log.has_ended) else {
            return;
        };
        let (services, is_there, is_granted) = process.mailbox().with(|mail| {
            let services = mail.services().clone();
            (services, mail.can_be_reached(), mail.is_serving() == Some(true))
        });
        if is_there && !is_granted {
            self.announced.ungranted.insert(program);
            return;
        }
        let addresses = match is_there {
            false => BTreeSet::new(),
            true => Address::of_program(program, &hosted.name, &services)
                .into_iter()
                .chain(Address::of_engine(&self.out.engine, &self.about.labels))
                .collect(),
        };
        let now = Known {
            name: hosted.name.clone(),
            generation: hosted.generation,
            addresses,
            is_published: true,
        };
        let before = self.announced.programs.get(&program);
        if before == Some(&now) || before.is_none() && !is_there {
            return;
        }
        let is_first = before.is_none();
        let not_any_more = before.map(|before| before.addresses.difference(&now.addresses));
        for address in not_any_more.into_iter().flatten() {
            self.out.withdraw(address, program);
        }
        let announcement = now.announcement(program, &self.out.engine);
        for address in &now.addresses {
            self.out.announce(address, &announcement);
        }
        self.announced.programs.insert(program, now);
        if is_first {
            self.listen_for(program);
        }
    }

    /// Announces programs whose inbox is granted by now: a copy, which serves already, does not ask to.
    pub(super) fn announce_granted(&mut self) {
        for program in std::mem::take(&mut self.announced.ungranted) {
            self.announce(program);
        }
    }

    /// Listens for what is announced of a program that has ended, where this process does not know what that was: the one before may
    /// have died before it withdrew it.
    pub(super) fn look_for_stale(&mut self, status: &ProgramStatus) {
        let program = status.program;
        let current = self.programs.current(program);
        let is_known = current.is_some_and(|hosted| !hosted.log.has_ended)
            || self.announced.programs.contains_key(&program);
        if !is_known {
            self.look_for(program, status.generation);
        }
    }

    fn look_for(&mut self, program: ProgramId, generation: Generation) {
        if self.announced.ended.insert(program, generation).is_none() {
            self.listen_for(program);
        }
    }

    /// For what is announced of the program.
    fn listen_for(&mut self, program: ProgramId) {
        let filter = self.out.topics.all_addresses_of(program);
        let link = self.out.link.clone();
        self.subscribing.spawn(async move {
            if let Err(error) = link.subscribe(&filter, Qos::AtLeastOnce).await {
                tracing::debug!(filter, %error, "cannot see whether an ended program is announced");
            }
        });
    }

    pub(super) fn announcement_seen(&mut self, address: &Address, announcement: &Announcement) {
        let program = announcement.program;
        let ended = self.announced.ended.get(&program);
        let is_stale = ended.is_some_and(|generation| announcement.generation <= *generation);
        let current = self.programs.current(program);
        let has_ended = current.is_none_or(|hosted| hosted.log.has_ended);
        let known = self.announced.programs.get(&program);
        if let Some(known) = known
            && announcement.gone
            && announcement.generation <= known.generation
            && known.addresses.contains(address)
            && !has_ended
        {
            return self
                .out
                .announce(address, &known.announcement(program, &self.out.engine));
        }
        let has_left = known.is_some_and(|known| {
            let is_older = announcement.generation < known.generation;
            // By an earlier process of this engine, which had other labels.
            let was_here =
                announcement.generation == known.generation && announcement.engine == self.out.engine;
            (is_older || was_here) && address.is_of_engine() && !known.addresses.contains(address)
        });
        if is_stale && has_ended {
            self.out.withdraw_ended(address, announcement);
        } else if has_left {
            self.out.withdraw(address, program);
        }
    }

    /// Programs that are gone from here.
    pub(super) fn forget_announced(&mut self, known: &BTreeSet<ProgramId>) {
        let left: Vec<ProgramId> = self.announced.programs.keys().copied().collect();
        for program in left.into_iter().filter(|program| !known.contains(program)) {
            self.announced.programs.remove(&program);
            self.hear_no_more(self.out.topics.all_addresses_of(program));
        }
        let ended = self.announced.ended.keys();
        let gone: Vec<ProgramId> = ended
            .filter(|program| !known.contains(program))
            .copied()
            .collect();
        for program in gone {
            self.announced.ended.remove(&program);
            self.hear_no_more(self.out.topics.all_addresses_of(program));
        }
    }

    /// It is no more, neither here, where it was this generation, nor elsewhere.
    pub(super) fn withdraw_ended(&mut self, program: ProgramId, generation: Generation) {
        match self.announced.programs.contains_key(&program) {
            true => self.withdraw(program),
            false => self.look_for(program, generation),
        }
    }

    /// It cannot be called any more.
    pub(super) fn withdraw(&mut self, program: ProgramId) {
        let Some(known) = self.announced.programs.remove(&program) else {
            return;
        };
        let announcement = known.announcement(program, &self.out.engine);
        // Whoever is told at its engine's addresses that it is gone finds it nowhere else any more.
        let (last, first): (Vec<&Address>, Vec<&Address>) =
            known.addresses.iter().partition(|address| address.is_of_engine());
        for address in first.into_iter().chain(last) {
            self.out.withdraw_ended(address, &announcement);
        }
        self.hear_no_more(self.out.topics.all_addresses_of(program));
    }
}
