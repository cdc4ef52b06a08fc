//! The mail in a snapshot. What was written is checked as if it came from anywhere, because a snapshot can.

use std::collections::BTreeSet;

use wayfare_protocol::grants::{is_filter, is_topic};
use wayfare_protocol::ids::ProgramId;
use wayfare_protocol::qos::Qos;
use wayfare_protocol::topics::Topic;

use crate::calls::Layout;
use crate::message::{Outgoing, Reader, ReceivedMessage, bounded, count, put};
use crate::seen::Seen;
use crate::{
    Calls, Mail, OUTBOX_BYTES_MAX, OUTBOX_MESSAGES_MAX, REPLIABLE_MAX, Replies, SUBSCRIPTIONS_MAX,
    Subscription,
};

const VERSION: u8 = 2;
/// With calls behind all else: only where there are any, so that engines of earlier releases take all other
/// programs.
const VERSION_WITH_CALLS: u8 = 3;
/// With calls in a layout that engines of earlier releases do not know: only while there is something that
/// they would lose.
const VERSION_WITH_MORE: u8 = 4;
/// The same with what a caller chooses providers by: only where it does.
const VERSION_WITH_CHOICES: u8 = 5;
/// Beside any of these with calls: schemas of services stand behind all else. Engines of earlier releases do
/// not take it.
const WITH_SCHEMAS: u8 = 1 << 7;
/// After a crash the inbox also holds what the journal had, which may be more than it takes otherwise.
const RESTORED_MESSAGES_MAX: usize = 1 << 18;
const RESTORED_BYTES_MAX: usize = 64 << 20;

impl Mail {
    /// A few bytes for a program that never talked.
    pub fn save(&self) -> Vec<u8> {
        let has_calls = !self.calls.is_unused();
        let version = match (has_calls, self.calls.layout()) {
            (false, _) => VERSION,
            (true, Layout::Earlier) => VERSION_WITH_CALLS,
            (true, Layout::Full) => VERSION_WITH_MORE,
            (true, Layout::Choosing) => VERSION_WITH_CHOICES,
        };
        let schemas = match self.calls.has_schemas() {
            true => WITH_SCHEMAS,
            false => 0,
        };
        let mut out = vec![version | schemas];
        out.extend(self.home.program.to_bytes());
        put(&mut out, self.home.engine.as_bytes());
        out.push(u8::from(self.was_moved) | u8::from(self.has_session) << 1);
        for number in [self.arrived, self.published] {
            out.extend(number.to_le_bytes());
        }
        count(&mut out, self.subscriptions.len());
        for (filter, one) in &self.subscriptions {
            put(&mut out, filter.as_bytes());
            out.push(one.qos.bit() | u8::from(one.is_granted) << 1);
        }
        count(&mut out, self.unsubscribed.len());
        for filter in self.unsubscribed.keys() {
            put(&mut out, filter.as_bytes());
        }
        count(&mut out, self.inbox.len());
        self.inbox.iter().for_each(|message| message.encode(&mut out));
        // Where it goes on, nobody knows how often that was sent: it is sent once more, and is a repeat for
        // whoever has it.
        let has_room = self.outbox.len() < OUTBOX_MESSAGES_MAX;
        let asked = self
            .asked
            .iter()
            .filter(|_| has_room && self.unanswered().is_some());
        let outbox: Vec<&Outgoing> = asked.chain(&self.outbox).collect();
        count(&mut out, outbox.len());
        outbox.iter().for_each(|outgoing| outgoing.encode(&mut out));
        self.replies.save(&mut out);
        count(&mut out, self.repliable.len());
        for (number, topic) in &self.repliable {
            out.extend(number.to_le_bytes());
            put(&mut out, topic.as_bytes());
        }
        self.seen.save(&mut out);
        if has_calls {
            self.calls.save(&mut out);
        }
        if schemas != 0 {
            self.calls.save_schemas(&mut out);
        }
        out
    }

    /// Goes on from a snapshot. A copy of a program, which has an id of its own, leaves the original's
    /// session and outbox to it.
    pub fn restore(&mut self, bytes: &[u8]) -> Result<(), String> {
        if bytes.is_empty() {
            return Ok(());
        }
        let mut from = Reader(bytes);
        self.read(&mut from)
            .filter(|()| from.0.is_empty())
            .ok_or_else(|| "its messages are malformed".to_owned())
    }

    fn read(&mut self, from: &mut Reader<'_>) -> Option<()> {
        let first = from.u8()?;
        let version = first & !WITH_SCHEMAS;
        (VERSION..=VERSION_WITH_CHOICES)
            .contains(&version)
            .then_some(())?;
        let program = ProgramId::from_bytes(from.array()?);
        let engine = from.text()?;
        let flags = from.u8()?;
        (self.arrived, self.published) = (from.u64()?, from.u64()?);
        self.subscriptions = (0..bounded(from, SUBSCRIPTIONS_MAX)?)
            .map(|_| {
                let (filter, flags) = (from.text().filter(|filter| is_filter(filter))?, from.u8()?);
                let subscription = Subscription {
                    qos: Qos::from_bit(flags & 1 != 0),
                    is_granted: flags & 2 != 0,
                };
                Some((filter, subscription))
            })
            .collect::<Option<_>>()?;
        self.unsubscribed = (0..bounded(from, SUBSCRIPTIONS_MAX)?)
            .map(|_| Some((from.text().filter(|filter| is_filter(filter))?, ())))
            .collect::<Option<_>>()?;
        self.inbox = (0..bounded(from, RESTORED_MESSAGES_MAX)?)
            .map(|_| ReceivedMessage::decode(from))
            .collect::<Option<_>>()?;
        self.outbox = (0..bounded(from, OUTBOX_MESSAGES_MAX)?)
            .map(|_| Outgoing::decode(from).filter(|outgoing| is_topic(&outgoing.topic)))
            .collect::<Option<_>>()?;
        self.replies = Replies::read(from)?;
        self.repliable = (0..bounded(from, REPLIABLE_MAX)?)
            .map(|_| Some((from.u64()?, from.text()?)))
            .collect::<Option<_>>()?;
        self.seen = Seen::read(from)?;
        match version {
            VERSION_WITH_CALLS => self.calls = Calls::read(from, Layout::Earlier)?,
            VERSION_WITH_MORE => self.calls = Calls::read(from, Layout::Full)?,
            VERSION_WITH_CHOICES => self.calls = Calls::read(from, Layout::Choosing)?,
            _ => {}
        }
        if first & WITH_SCHEMAS != 0 {
            self.calls.read_schemas(from)?;
        }
        self.was_moved = flags & 1 != 0 || engine != self.home.engine;
        self.has_session = flags & 2 != 0;
        self.settle(program)
    }

    /// What was read fits together, and is this program's.
    fn settle(&mut self, program: ProgramId) -> Option<()> {
        // Between those from before a life and those of it are numbers of others.
        let sent = || self.outbox.iter().map(|one| one.number);
        (sent().is_sorted_by(|one, next| one < next) && sent().all(|number| number < self.published))
            .then_some(())?;
        self.inbox
            .iter()
            .all(|message| message.number < self.arrived)
            .then_some(())?;
        if program != self.home.program {
            self.outbox.clear();
            self.replies = Replies::default();
            self.repliable.clear();
            self.has_session = false;
            self.published = 0;
            let theirs = self.home.topics.topic(&Topic::ProgramReply(program));
            self.subscriptions.remove(&theirs);
            self.leave_calls_to(program);
            self.session_lost();
        }
        // A snapshot may come from a file, which anybody may have written.
        self.outbox.iter().all(|one| self.may_hold(one)).then_some(())?;
        self.may_tell_all().then_some(())?;
        let is_reply = |topic: &str| matches!(self.home.topics.parse(topic), Some(Topic::ProgramReply(_)));
        self.calls.is_sound(is_reply).then_some(())?;
        self.calls.keep_listening(self.may_listen());
        let grants = &self.grants;
        self.calls.keep_services(|service| grants.may_serve(service));
        self.calls.keep_addresses(|address| grants.may_send(address));
        self.leave_what_may_not_be_heard();
        let repliable = std::mem::take(&mut self.repliable);
        self.repliable = repliable
            .into_iter()
            .filter(|(_, topic)| self.may_reply_to(topic))
            .collect();
        self.inbox_bytes = self.inbox.iter().map(ReceivedMessage::bytes).sum();
        self.outbox_bytes = self.outbox.iter().map(Outgoing::bytes).sum();
        (self.inbox_bytes <= RESTORED_BYTES_MAX && self.outbox_bytes <= 2 * OUTBOX_BYTES_MAX).then_some(())?;
        self.submitted = self.outbox.front().map_or(self.published, |first| first.number);
        Some(())
    }

    /// A subscription of a snapshot that its grants do not have is given up, at the broker too: a session may
    /// have it from before.
    fn leave_what_may_not_be_heard(&mut self) {
        let inbox = self.may_listen().then(|| self.inbox_topic());
        let own = inbox.into_iter().chain([self.reply_topic()]);
        let topics = &self.home.topics;
        let mut may_hear: BTreeSet<String> = self.calls.addresses().map(|at| topics.all_at(at)).collect();
        may_hear.extend(own);
        let grants = &self.grants;
        let is_wrong = |filter: &String| !grants.may_subscribe(filter) && !may_hear.contains(filter);
        let wrong: Vec<String> = self
            .subscriptions
            .keys()
            .filter(|filter| is_wrong(filter))
            .cloned()
            .collect();
        for filter in wrong {
            self.subscriptions.remove(&filter);
            self.unsubscribed.insert(filter, ());
        }
    }
}
