//! Which of several providers a call goes to, where its caller chooses, and calls whose provider a service
//! picks.
//!
//! ```text
//!   call, of number n + 1 --> the service is called with the candidates, as n --> it answers with one of them --> the call is sent to that
//!                                                                 '--> it fails, or names none of them: so does the call
//! ```
//! Always: such a call takes two numbers, whatever comes of it, and is sent by the mail itself: so a program
//! that a crash set back makes both under the numbers that they had. Who is called was a candidate, whatever
//! has been heard of the address since; and a call that its provider would take for a repeat, because so much
//! was sent since it was begun, is not sent, and has failed.

use std::collections::BTreeSet;

use wayfare_protocol::address::Address;
use wayfare_protocol::call::{self, Sent};
use wayfare_protocol::choice::{self, Candidate, Choice, EngineAndLoad, PICK, PickAsk, Picked};
use wayfare_protocol::ids::{EngineId, ProgramId};
use wayfare_protocol::life;
use wayfare_protocol::qos::Qos;
use wayfare_protocol::stamp::{Purpose, Stamp};
use wayfare_protocol::topics::Topic;

use super::making::KEPT_BYTES_MAX;
use super::open::{Delivery, Keys, Open, State};
use super::picking::{PICKED_WITHIN, Picking};
use super::{AT_LEAST_ONCE, CallOptions, Calls, Known, is_from};
use crate::{Mail, Refusal};

impl Mail {
    /// The engines of those who can be called at the address, by which the dispatcher can be asked about
    /// them; `None`: nobody is known there.
    pub fn candidates(
        &mut self,
        address: &Address,
        choice: &Choice,
    ) -> Result<Option<BTreeSet<EngineId>>, Refusal> {
        self.watch(address)?;
        if !self.knows_engines(address, choice)? {
            return Ok(None);
        }
        let all = self.calls.there(address);
        let engines: BTreeSet<EngineId> = all.iter().map(|one| one.engine.clone()).collect();
        Ok((!engines.is_empty()).then_some(engines))
    }

    /// Who is called.
    pub(super) fn choose(
        &mut self,
        address: &Address,
        options: &CallOptions,
    ) -> Result<Option<ProgramId>, Refusal> {
        let choice = &options.choose;
        let number = self.published;
        if choice.is_none() {
            return Ok(self.calls.chosen(address, number));
        }
        if !self.knows_engines(address, choice)? {
            return Ok(None);
        }
        let known = choice::Known {
            here: Some(&self.home.engine),
            number,
            last: self.calls.last.get(address).copied(),
            loads: &options.loads,
        };
        Ok(choice.pick(&self.calls.there(address), &known))
    }

    /// Whom the next call of those that go round does not go to.
    pub(super) fn note_chosen(&mut self, address: &Address, chosen: ProgramId, choice: &Choice) {
        if choice.is_round_robin() {
            self.calls.last.insert(address.clone(), chosen);
        }
    }

    /// Whether everybody at the address is known, and where each is: of two callers that choose the first
    /// both call the same. What snapshots of programs that chose nothing do not have is asked of the broker,
    /// once, by subscribing again.
    fn knows_engines(&mut self, address: &Address, choice: &Choice) -> Result<bool, Refusal> {
        if choice.is_none() {
            return Ok(true);
        }
        self.calls.has_chosen = true;
        let reply_to = self.reply_topic();
        self.subscribe_to(&reply_to, Qos::AtLeastOnce)?;
        self.calls.chosen_at.insert(address.clone());
        let providers = self.calls.providers.get(address);
        let is_unknown = providers
            .into_iter()
            .flatten()
            .any(|(_, known)| known.generation.is_none());
        let filter = self.home.topics.all_at(address);
        if is_unknown
            && self.calls.renewed.insert(address.clone())
            && let Some(subscription) = self.subscriptions.get_mut(&filter)
        {
            subscription.is_granted = false;
        }
        self.ask_for_barriers();
        Ok(self.is_granted(&filter) == Some(true) && !self.calls.is_incomplete(address))
    }

    /// Asks the service for a provider, and makes the call when that was picked. `None`: nobody is known at
    /// the address, or none who picks.
    pub(super) fn call_picked(
        &mut self,
        address: &Address,
        (header, arguments): (&Sent, &[u8]),
        (service, until_ns): (&Address, u64),
        (keys, options): (Keys, &CallOptions),
    ) -> Result<Option<u64>, Refusal> {
        self.watch(service)?;
        if !self.knows_engines(address, &options.choose)? {
            return Ok(None);
        }
        let known = choice::Known {
            here: Some(&self.home.engine),
            number: self.published,
            last: None,
            loads: &options.loads,
        };
        let admitted = options.choose.admitted(&self.calls.there(address), &known);
        let candidates: Vec<Picked> = admitted
            .iter()
            .filter_map(|one| {
                let engine = one.engine.clone();
                let load = *options.loads.get(&engine)?;
                let at = EngineAndLoad { engine, load };
                Some(Picked {
                    program: one.program,
                    at,
                })
            })
            .take(choice::ENGINES_MAX)
            .collect();
        let (Some(picker), false) = (self.calls.chosen(service, self.published), candidates.is_empty())
        else {
            return Ok(None);
        };
        let Sent::Call {
            function,
            deadline_ms,
            ..
        } = header
        else {
            return Err(Refusal::Malformed);
        };
        let superseded = self.calls.superseded(address, &keys);
        self.has_room_to_send(superseded.len() + 1)?;
        let reply_to = self.reply_topic();
        self.subscribe_to(&reply_to, Qos::AtLeastOnce)?;
        let (asked, number) = (self.published, self.published + 1);
        let stamp = Stamp {
            sender: self.home.program,
            number,
            purpose: Purpose::Request {
                reply_to: reply_to.clone(),
            },
        };
        let payload = stamp.put_on(&call::encode(header, arguments));
        if payload.len() > wayfare_protocol::limits::PAYLOAD_BYTES_MAX {
            return Err(Refusal::TooLarge);
        }
        let waiting = self
            .calls
            .bytes_of(|one| one.picking.as_ref().map(|picking| &picking.payload));
        if waiting > KEPT_BYTES_MAX {
            return Err(Refusal::Full);
        }
        let programs = candidates.iter().map(|one| one.program).collect();
        let ask = PickAsk {
            address: address.clone(),
            function: function.clone(),
            candidates,
        };
        let asks = Sent::Call {
            to: service.clone(),
            function: PICK.to_owned(),
            deadline_ms: *deadline_ms,
            progress: false,
        };
        let topic = self.home.topics.topic(&Topic::ProgramInbox(picker));
        let asks = call::encode(&asks, &wayfare_protocol::wire::to_json(&ask));
        self.send(&topic, &asks, AT_LEAST_ONCE, Purpose::Request { reply_to })?;
        self.published += 1;
        for earlier in superseded {
            self.cancel_as(earlier, State::Superseded)?;
        }
        let mut open = Open::call(address.clone(), picker, asked, until_ns);
        open.keys = keys;
        open.since_ms = self.now_ms;
        open.wants_progress = options.progress;
        open.picking = Some(Picking {
            service: service.clone(),
            candidates: programs,
            payload: payload.into(),
            is_idempotent: options.idempotent,
        });
        // Who picks has begun nothing by that: one that was set back is asked again.
        open.again = self.kept(asked);
        if let Some(message) = self
            .replies
            .take_early(asked)
            .filter(|message| is_from(picker, message))
        {
            open.end(picker, State::Answered(message), Delivery::Delivered);
        }
        self.calls.open.insert(number, open);
        self.send_picked();
        Ok(Some(number))
    }

    /// Calls whose provider was picked are sent to it.
    pub(crate) fn send_picked(&mut self) {
        for one in self.calls.open.values_mut() {
            if !one.is_waiting() && one.answer().is_none() {
                // It has failed, as the call of the service has.
                one.picking = None;
            }
        }
        let is_ready = |one: &Open| one.picking.is_some() && !one.is_waiting();
        while let Some(asked) = self
            .calls
            .open
            .values()
            .find(|one| is_ready(one))
            .map(|one| one.sent_as)
        {
            self.was_picked(asked);
        }
    }

    /// The service that was called as this number has answered. Whoever has joined the call waits for the
    /// same.
    fn was_picked(&mut self, asked: u64) {
        let (mut answer, mut picking, mut address) = (None, None, None);
        for one in self.calls.open.values_mut().filter(|one| one.sent_as == asked) {
            if let Some(done) = one.answer()
                && one.picking.is_some()
            {
                answer = Some(done);
                picking = one.picking.take();
                address = Some(one.address.clone());
            }
        }
        let (Some(answer), Some(picking), Some(address)) = (answer, picking, address) else {
            return;
        };
        let found = picked(&answer).filter(|found| {
            picking.candidates.contains(found) && !self.calls.is_known_gone(&address, *found)
        });
        let (Some(stamp), _) = Stamp::take_off(&picking.payload) else {
            return;
        };
        let number = stamp.number;
        let early = self.replies.take_early(number);
        // How much of another life was sent nobody knows. What was answered before a crash had been sent in
        // time.
        let is_late = life::first_number_of(number) == self.life()
            && self.published.saturating_sub(number) > PICKED_WITHIN
            && early.is_none();
        for one in self.calls.open.values_mut().filter(|one| one.sent_as == asked) {
            let Some(found) = found else {
                one.set_call(State::Unpicked, None);
                continue;
            };
            if is_late {
                one.set_call(State::PickedLate, None);
                continue;
            }
            one.set_call(State::Waiting, Some(found));
            (one.sent_as, one.in_doubt) = (number, false);
            one.again = Some(&picking.payload).filter(|_| picking.is_idempotent).cloned();
            if let Some(message) = early.clone().filter(|message| is_from(found, message)) {
                one.end(found, State::Answered(message), Delivery::Delivered);
            }
        }
        let Some(found) = found.filter(|_| !is_late) else {
            return;
        };
        self.traffic.sent(picking.payload.len());
        let topic = self.home.topics.topic(&Topic::ProgramInbox(found));
        self.calls.notices.push(None, topic, picking.payload);
    }
}

fn picked(answer: &[u8]) -> Option<ProgramId> {
    let text = std::str::from_utf8(answer).ok()?;
    text.trim().trim_matches('"').parse().ok()
}

impl Calls {
    /// Whether nobody answers for the program any more; of one that was not heard of since the broker has
    /// lost the session, that is not known.
    fn is_known_gone(&self, address: &Address, program: ProgramId) -> bool {
        let known = self.providers.get(address).and_then(|all| all.get(&program));
        known.is_some_and(Known::is_gone)
    }

    /// Nobody picks who cannot be called any more.
    pub(super) fn cannot_be_picked(&mut self, address: &Address, program: ProgramId) {
        let open = self.open.values_mut().filter(|one| one.address == *address);
        for picking in open.filter_map(|one| one.picking.as_mut()) {
            picking.candidates.remove(&program);
        }
    }

    /// Who can be called there, in the order of their ids, where it is known on which engine they are.
    fn there(&self, address: &Address) -> Vec<Candidate<'_>> {
        let all = self.providers.get(address).into_iter().flatten();
        let there = all.filter_map(|(program, known)| {
            Some(Candidate {
                program: *program,
                engine: known.engine.as_ref()?,
            })
        });
        there.collect()
    }
}
