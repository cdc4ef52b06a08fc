//! What the mail itself has to send, beside what the program publishes: inquiries, receipts, copies of a
//! message to a set.
//!
//! ```text
//!   a provider is announced in another generation --> inquiry: which of these calls do you not know?
//!       --> unknown: sent again where the call is idempotent, otherwise the call has failed
//! ```
//! Always: nothing here takes a number of the program's, so that what the program publishes after a crash has
//! the numbers that it had; told twice, it is as if told once. Copies of a message to a set have the
//! program's number of it, and go out in its place.

use std::collections::BTreeMap;
use std::sync::Arc;

use wayfare_protocol::address::Address;
use wayfare_protocol::call::{self, Notice, Outcome, Sent};
use wayfare_protocol::ids::ProgramId;
use wayfare_protocol::limits::PAYLOAD_BYTES_MAX;
use wayfare_protocol::stamp::{Purpose, Stamp};
use wayfare_protocol::topics::Topic;

use super::open::{Delivery, Open, State};
use super::queue::{BYTES_MAX, Entry};
use crate::message::{Outgoing, ReceivedMessage};
use crate::{Mail, Refusal};

/// What of a notice is for whom.
pub(super) enum Noticed {
    /// Whoever sent it wants to know what the program has.
    Inquiry(ProgramId, Vec<u64>),
    Unknown(ProgramId, Vec<u64>),
    Delivery(ProgramId, u64, Delivery),
    Progress(ProgramId, u64),
    Barrier(Address),
    /// Somebody wants to know the schema of a service.
    Describe(ProgramId, String),
}

impl Mail {
    /// What is sent next, ahead of the program's message of this number.
    pub(crate) fn next_notice(&mut self, number: u64) -> Option<Outgoing> {
        self.calls.notices.next_before(number)
    }

    /// Whether the number is a notice's, which is with the broker then.
    pub(crate) fn notice_sent(&mut self, number: u64) -> bool {
        let is_notice = self.calls.notices.sent(number);
        if is_notice {
            self.inquire();
        }
        is_notice
    }

    pub(crate) fn notice_again(&mut self, number: u64) -> bool {
        self.calls.notices.send_again(number)
    }

    pub(crate) fn has_no_notices(&self) -> bool {
        self.calls.notices.is_empty()
    }

    pub(crate) fn begin_notices(&mut self) {
        self.calls.notices.begin_session();
        self.calls.begin_connection();
        self.ask_for_barriers();
    }

    /// To another program's inbox, or to its replies.
    fn tell(&mut self, topic: &Topic, notice: &Notice, payload: &[u8]) {
        if self.calls.notices.has_room() {
            let topic = self.home.topics.topic(topic);
            let payload = call::encode(notice, payload);
            self.calls.notices.push(None, topic, payload.into());
        }
    }

    /// One number, a message for each: in their place among what the program publishes.
    pub(super) fn send_copies(&mut self, to: &[ProgramId], payload: &[u8]) -> Result<u64, Refusal> {
        let stamp = Stamp {
            sender: self.home.program,
            number: self.published,
            purpose: Purpose::Message,
        };
        let payload: Arc<[u8]> = stamp.put_on(payload).into();
        if payload.len() > PAYLOAD_BYTES_MAX || payload.len() * to.len() > BYTES_MAX {
            return Err(Refusal::TooLarge);
        }
        if !self.calls.notices.has_room_for(to.len()) {
            return Err(Refusal::Full);
        }
        for program in to {
            let topic = self.home.topics.topic(&Topic::ProgramInbox(*program));
            self.calls
                .notices
                .push(Some(self.published), topic, payload.clone());
        }
        self.published += 1;
        Ok(self.published - 1)
    }

    /// What a message that came says of calls and messages.
    pub(super) fn noticed(&self, message: &ReceivedMessage) -> Option<Noticed> {
        if message.retained {
            return None;
        }
        let is_inbox = match self.home.topics.parse(&message.topic)? {
            Topic::ProgramInbox(program) if program == self.home.program => true,
            Topic::ProgramReply(program) if program == self.home.program => false,
            _ => return None,
        };
        let sender = match &message.stamp {
            None => None,
            Some(Stamp {
                sender,
                purpose: Purpose::Message,
                ..
            }) => Some(*sender),
            Some(_) => return None,
        };
        let (notice, payload) = call::decode::<Notice>(&message.payload)?;
        Some(match (notice, sender, is_inbox) {
            (Notice::Inquiry { from }, None, true) => Noticed::Inquiry(from, call::decode_numbers(payload)?),
            (Notice::Unknown { by }, None, false) => Noticed::Unknown(by, call::decode_numbers(payload)?),
            (Notice::Delivered { by, number }, None, false) => {
                Noticed::Delivery(by, number, Delivery::Delivered)
            }
            (Notice::Expired { by, number }, None, false) => Noticed::Delivery(by, number, Delivery::Expired),
            (Notice::Progress { call }, Some(sender), false) => Noticed::Progress(sender, call),
            (Notice::Barrier { address }, None, false) => Noticed::Barrier(address),
            (Notice::Describe { from, service }, None, true) => Noticed::Describe(from, service),
            _ => return None,
        })
    }

    /// Whether anything follows from it.
    pub(super) fn is_of_use(&self, noticed: &Noticed) -> bool {
        let waits = |program: ProgramId, number: u64| {
            let mut open = self.calls.open.values();
            open.any(|one| one.sent_as == number && one.waits_for(program))
        };
        match noticed {
            Noticed::Inquiry(from, numbers) => {
                numbers.iter().any(|number| !self.seen.has_seen(*from, *number))
            }
            Noticed::Unknown(by, numbers) => numbers.iter().any(|number| waits(*by, *number)),
            Noticed::Delivery(by, number, _) | Noticed::Progress(by, number) => waits(*by, *number),
            Noticed::Barrier(address) => {
                self.calls.providers.contains_key(address) && !self.calls.complete.contains(address)
            }
            Noticed::Describe(_, service) => self.calls.serves.contains(service),
        }
    }

    pub(super) fn take_notice(&mut self, noticed: Noticed, message: &ReceivedMessage) {
        match noticed {
            Noticed::Inquiry(from, mut numbers) => {
                numbers.retain(|number| !self.seen.has_seen(from, *number));
                let notice = Notice::Unknown {
                    by: self.home.program,
                };
                if !numbers.is_empty() {
                    self.tell(
                        &Topic::ProgramReply(from),
                        &notice,
                        &call::encode_numbers(numbers),
                    );
                }
            }
            Noticed::Unknown(by, numbers) => numbers.into_iter().for_each(|number| self.unknown(by, number)),
            Noticed::Delivery(by, number, delivery) => {
                let open = self.calls.open.values_mut();
                open.filter(|one| one.sent_as == number)
                    .for_each(|one| one.end(by, State::Waiting, delivery));
            }
            Noticed::Progress(by, number) => {
                let Some((_, payload)) = call::decode::<Notice>(&message.payload) else {
                    return;
                };
                let open = self.calls.open.values_mut();
                open.filter(|one| one.sent_as == number && one.wants_progress && one.waits_for(by))
                    .for_each(|one| one.put_progress(payload));
            }
            Noticed::Barrier(address) => {
                self.calls.complete.insert(address);
            }
            Noticed::Describe(from, service) => {
                let schema = self.calls.schemas.iter().find(|(of, _)| *of == service);
                let schema = schema.map_or_else(Vec::new, |(_, schema)| schema.clone().into_bytes());
                let by = self.home.program;
                let notice = Notice::Description { by, service };
                self.tell(&Topic::ProgramReply(from), &notice, &schema);
            }
        }
    }

    /// The program that had this never received it, as far as it knows by now.
    fn unknown(&mut self, by: ProgramId, number: u64) {
        let waits = |one: &&mut Open| one.sent_as == number && one.waits_for(by);
        let again = self
            .calls
            .open
            .values_mut()
            .filter(waits)
            .find_map(|one| one.again.clone());
        match again {
            // Whoever has joined the call waits for the same answer.
            Some(payload) => {
                let topic = self.home.topics.topic(&Topic::ProgramInbox(by));
                self.calls.notices.push_once(topic, payload);
            }
            None => {
                let open = self.calls.open.values_mut().filter(waits);
                open.for_each(|one| one.end(by, State::Forgotten, Delivery::Forgotten));
            }
        }
        self.relay_ends();
    }

    /// Asks programs that may have forgotten what they were sent, once that is with the broker: so the
    /// question comes behind it.
    pub(crate) fn inquire(&mut self) {
        let first = self.outbox.front().map_or(u64::MAX, |first| first.number);
        let unsent = first.min(self.calls.notices.first_copy());
        let mut doubted: BTreeMap<ProgramId, Vec<u64>> = BTreeMap::new();
        for one in self.calls.open.values_mut() {
            if !one.in_doubt || one.sent_as >= unsent {
                continue;
            }
            let receivers = one.receivers();
            if !self.calls.notices.has_room_for(doubted.len() + receivers.len()) {
                // Asked again when the broker has more of what waits.
                break;
            }
            one.in_doubt = false;
            for program in receivers {
                if one.waits_for(program) {
                    doubted.entry(program).or_default().push(one.sent_as);
                }
            }
        }
        for (program, mut numbers) in doubted {
            numbers.dedup();
            let notice = Notice::Inquiry {
                from: self.home.program,
            };
            self.tell(
                &Topic::ProgramInbox(program),
                &notice,
                &call::encode_numbers(numbers),
            );
        }
    }

    /// A message that came is in the program's hands, or never will be.
    pub(crate) fn tell_delivery(&mut self, message: &ReceivedMessage, is_expired: bool) {
        let Some((Sent::Message { about, .. }, _)) = self.sent_here(message) else {
            return;
        };
        let Some(stamp) = message.stamp.as_ref().filter(|_| about.receipt) else {
            return;
        };
        let (by, number) = (self.home.program, stamp.number);
        let notice = match is_expired {
            true => Notice::Expired { by, number },
            false => Notice::Delivered { by, number },
        };
        self.tell(&Topic::ProgramReply(stamp.sender), &notice, &[]);
    }

    /// What is retained about a set comes before what is sent to ourselves after it was subscribed.
    pub(crate) fn ask_for_barriers(&mut self) {
        let reply = self.reply_topic();
        if self.is_granted(&reply) != Some(true) {
            return;
        }
        let watched: Vec<Address> = self.calls.providers.keys().cloned().collect();
        for address in watched {
            let is_asked = |one: &Entry| {
                one.topic == reply
                    && call::decode(&one.payload).is_some_and(
                        |(notice, _)| matches!(&notice, Notice::Barrier { address: of } if *of == address),
                    )
            };
            if self.calls.is_incomplete(&address)
                && self.is_granted(&self.home.topics.all_at(&address)) == Some(true)
                && !self.calls.notices.entries().iter().any(is_asked)
            {
                let own = Topic::ProgramReply(self.home.program);
                self.tell(&own, &Notice::Barrier { address }, &[]);
            }
        }
    }

    /// Calls that were handed on and have ended are answered, with the number that was kept for that.
    pub(crate) fn relay_ends(&mut self) {
        let open = self.calls.open.iter();
        let ended = open.filter(|(_, one)| one.relay.is_some() && !one.is_waiting());
        let ended: Vec<u64> = ended.map(|(call, _)| *call).collect();
        for call in ended {
            self.relay(call);
        }
    }

    /// The same of those whose time is over by the program's clock: the program does not wait for their ends
    /// itself.
    pub fn end_overdue(&mut self, now_ns: u64) {
        let open = self.calls.open.iter();
        let overdue = open.filter(|(_, one)| one.relay.is_some() && one.until_ns <= now_ns);
        let overdue: Vec<u64> = overdue.map(|(call, _)| *call).collect();
        for call in overdue {
            self.relay(call);
        }
    }

    fn relay(&mut self, call: u64) {
        let Some(one) = self.calls.open.remove(&call) else {
            return;
        };
        let (Some(relay), Some(outcome)) = (&one.relay, one.outcome(u64::MAX)) else {
            return;
        };
        let stamp = Stamp {
            sender: self.home.program,
            number: relay.number,
            purpose: Purpose::Reply {
                answers: relay.answers,
            },
        };
        let payload = stamp.put_on(&Outcome::encode(&outcome));
        self.calls
            .notices
            .push(None, relay.reply_to.clone(), payload.into());
    }

    /// Whether a snapshot may have what is to be sent.
    pub(crate) fn may_tell_all(&self) -> bool {
        let open = self.calls.open.values();
        let again = open.flat_map(|one| {
            one.again
                .iter()
                .chain(one.picking.as_ref().map(|one| &one.payload))
        });
        self.calls
            .notices
            .entries()
            .iter()
            .all(|entry| self.may_tell(entry))
            && again.into_iter().all(|payload| self.may_have_sent(payload))
    }

    /// Only what is written here.
    fn may_tell(&self, entry: &Entry) -> bool {
        let own = self.home.program;
        let is_inbox = match self.home.topics.parse(&entry.topic) {
            Some(Topic::ProgramInbox(_)) => true,
            Some(Topic::ProgramReply(_)) => false,
            _ => return false,
        };
        if let (Some(stamp), payload) = Stamp::take_off(&entry.payload) {
            return match stamp.purpose {
                Purpose::Message | Purpose::Request { .. } => is_inbox && self.may_have_sent(&entry.payload),
                Purpose::Reply { .. } => {
                    !is_inbox && stamp.sender == own && call::decode::<call::Answered>(payload).is_some()
                }
            };
        }
        match call::decode::<Notice>(&entry.payload) {
            Some((Notice::Inquiry { from }, _)) => is_inbox && from == own,
            Some((
                Notice::Unknown { by }
                | Notice::Delivered { by, .. }
                | Notice::Expired { by, .. }
                | Notice::Description { by, .. },
                _,
            )) => !is_inbox && by == own,
            Some((Notice::Barrier { .. }, _)) => !is_inbox,
            Some((Notice::Progress { .. } | Notice::Describe { .. }, _)) | None => false,
        }
    }
}
