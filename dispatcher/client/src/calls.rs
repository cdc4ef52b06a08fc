//! Calls of programs' services from outside, and who can be called: a session of its own, with the id of a
//! program that there is not, for as long as it is needed.
//!
//! ```text
//!   connect --> what is retained about the addresses is read, up to a message to ourselves --> providers, call, send
//! ```
//! What always holds: a call is sent once, and ends with its answer, with the provider's end or with its
//! deadline, which bounds its sending too.

mod choosing;
mod schema;
mod shared;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use thiserror::Error;
use tokio::time::{Instant, timeout, timeout_at};
use wayfare_link::{BrokerUrl, Event, Incoming, Link, LinkError, LinkEvents, LinkOptions, Message, Qos};
use wayfare_protocol::address::{Address, Announcement};
use wayfare_protocol::call::{self, About, FailureKind, Notice, Outcome, Sent};
use wayfare_protocol::ids::ProgramId;
use wayfare_protocol::limits::NAME_BYTES_MAX;
use wayfare_protocol::stamp::{Purpose, Stamp};
use wayfare_protocol::topics::{Topic, Topics};
use wayfare_protocol::wire;

use crate::client::Client;
use crate::error::ConnectError;
pub use choosing::CallOptions;
pub use shared::{AtAll, SharedCaller, SharedError, Wanted};

/// Attempts to connect that may fail.
const ATTEMPTS_MAX: u32 = 3;
/// Sending a message has failed if the broker does not have it within this.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);
/// How long it may take to leave.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// Announcements that are kept.
const PROVIDERS_MAX: usize = 100_000;

/// One program that can be called at an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Provider {
    pub address: Address,
    #[serde(flatten)]
    pub announcement: Announcement,
}

#[derive(Debug, Error)]
pub enum CallError {
    #[error("nobody serves '{0}'")]
    Nobody(Address),
    #[error("none of those at '{0}' fits what is to be chosen")]
    NoneFits(Address),
    #[error("'{0}' was to pick a provider, and named none of the candidates")]
    Unpicked(Address),
    #[error("'{0}' is not a function: 1 to {max} bytes without spaces, quotes and backslashes", max = call::FUNCTION_BYTES_MAX)]
    Function(String),
    #[error("a type or key is 1 to {max} bytes without spaces, quotes and backslashes", max = call::WORD_BYTES_MAX)]
    Word,
    #[error("{text}")]
    Failed { kind: FailureKind, text: String },
    #[error("the broker has not taken it within {} s", SEND_TIMEOUT.as_secs())]
    NotTaken,
    #[error("the broker did not take it: {0}")]
    Link(#[from] LinkError),
    #[error("the connection to the broker is over")]
    Closed,
}

/// A call that was made.
#[derive(Debug)]
pub struct OpenCall {
    address: Address,
    provider: ProgramId,
    number: u64,
    deadline: Instant,
}

/// A message that was sent.
#[derive(Debug)]
pub struct SentMessage {
    address: Address,
    /// Whom it goes to.
    pub to: Vec<ProgramId>,
    number: u64,
}

/// What came for who calls, and from whom, about which number.
enum Heard {
    Answer(ProgramId, u64, Outcome),
    Progress(ProgramId, u64, Vec<u8>),
    /// Whether it was taken; otherwise it came too late.
    Receipt(ProgramId, u64, bool),
    /// The schema of this service of the program's; empty: there is none.
    Schema(ProgramId, String, String),
}

/// Somebody who calls.
pub struct Caller {
    link: Link,
    events: LinkEvents,
    topics: Topics,
    /// As whom: no program has this id.
    id: ProgramId,
    next: u64,
    providers: BTreeMap<(Address, ProgramId), Announcement>,
    /// Programs that were announced as gone: they have ended, or their engine is lost.
    gone: BTreeSet<ProgramId>,
}

impl Caller {
    /// In the fleet of a client, in a session of its own; see [`Caller::connect`].
    pub async fn of(
        client: &Client,
        address: Option<&Address>,
        limit: Duration,
    ) -> Result<Self, ConnectError> {
        let (broker, topics) = (client.broker().clone(), client.topics().clone());
        Self::connect(broker, topics, address, limit).await
    }

    /// Knows everybody who can be called at this address, or anywhere, when it returns.
    pub async fn connect(
        broker: BrokerUrl,
        topics: Topics,
        address: Option<&Address>,
        limit: Duration,
    ) -> Result<Self, ConnectError> {
        let id = ProgramId::random();
        let filter = address.map_or_else(|| topics.all_addresses(), |address| topics.all_at(address));
        let reply = topics.topic(&Topic::ProgramReply(id));
        let mut options = LinkOptions::new(broker.clone(), id.to_string());
        options.subscriptions = vec![(reply.clone(), Qos::AtLeastOnce), (filter, Qos::AtLeastOnce)];
        let failed = |reason| ConnectError::Link {
            broker: broker.clone(),
            reason,
        };
        let (link, events) = wayfare_link::connect(options).map_err(failed)?;
        let mut caller = Self {
            link,
            events,
            topics,
            id,
            next: 0,
            providers: BTreeMap::new(),
            gone: BTreeSet::new(),
        };
        caller.read_retained(&reply, &broker, limit).await?;
        Ok(caller)
    }

    /// What the broker retains comes before a message to ourselves that is sent behind the subscriptions.
    async fn read_retained(
        &mut self,
        reply: &str,
        broker: &BrokerUrl,
        limit: Duration,
    ) -> Result<(), ConnectError> {
        let deadline = Instant::now() + limit;
        let (mut attempts, mut last) = (0, None);
        loop {
            let event = timeout_at(deadline, self.events.next()).await;
            match event {
                Ok(Some(Event::Connected { .. })) => {
                    let barrier = Message::new(reply.to_owned(), Bytes::new());
                    self.link
                        .try_publish(barrier)
                        .map_err(|reason| ConnectError::Link {
                            broker: broker.clone(),
                            reason,
                        })?;
                }
                Ok(Some(Event::Received(incoming))) if incoming.topic == reply => return Ok(()),
                Ok(Some(Event::Received(incoming))) => drop(self.heard(&incoming)),
                Ok(Some(Event::Oversized(_))) => {}
                Ok(Some(Event::Disconnected { reason, .. })) if attempts < ATTEMPTS_MAX => {
                    attempts += 1;
                    last = Some(reason);
                }
                Err(_) if last.is_none() => {
                    return Err(ConnectError::NoEcho {
                        broker: broker.clone(),
                        waited_ms: u64::try_from(limit.as_millis()).unwrap_or(u64::MAX),
                    });
                }
                Ok(Some(Event::Disconnected { reason, .. })) => {
                    let (broker, reason) = (broker.clone(), Some(reason));
                    return Err(ConnectError::NoBroker { broker, reason });
                }
                Ok(None) | Err(_) => {
                    let (broker, reason) = (broker.clone(), last);
                    return Err(ConnectError::NoBroker { broker, reason });
                }
            }
        }
    }

    /// Everybody who can be called, by address.
    pub fn providers(&self) -> Vec<Provider> {
        let all = self
            .providers
            .iter()
            .map(|((address, _), announcement)| Provider {
                address: address.clone(),
                announcement: announcement.clone(),
            });
        all.collect()
    }

    /// Waits until something comes, such as that somebody can be called, or cannot any more.
    pub async fn listen(&mut self) -> Result<(), CallError> {
        if let Event::Received(incoming) = self.events.next().await.ok_or(CallError::Closed)? {
            self.heard(&incoming);
        }
        Ok(())
    }

    /// Calls a function of a program that can be called at the address, and waits for its end.
    pub async fn call(
        &mut self,
        address: &Address,
        function: &str,
        arguments: &[u8],
        limit: Duration,
    ) -> Result<Vec<u8>, CallError> {
        let open = self.begin(address, function, arguments, limit).await?;
        self.end(&open, |_| {}).await
    }

    /// Calls a function, and returns once the broker has the call.
    pub async fn begin(
        &mut self,
        address: &Address,
        function: &str,
        arguments: &[u8],
        limit: Duration,
    ) -> Result<OpenCall, CallError> {
        self.begin_with(address, (function, arguments), limit, &CallOptions::default())
            .await
    }

    /// The same for a call of which more is said.
    pub async fn begin_with(
        &mut self,
        address: &Address,
        (function, arguments): (&str, &[u8]),
        limit: Duration,
        options: &CallOptions,
    ) -> Result<OpenCall, CallError> {
        if !call::is_function(function) {
            return Err(CallError::Function(function.to_owned()));
        }
        let (provider, limit) = self.choose((address, function), options, limit).await?;
        self.begin_at(
            (address, provider),
            (function, arguments),
            limit,
            options.progress,
        )
        .await
    }

    async fn begin_at(
        &mut self,
        (address, provider): (&Address, ProgramId),
        (function, arguments): (&str, &[u8]),
        limit: Duration,
        progress: bool,
    ) -> Result<OpenCall, CallError> {
        let open = OpenCall {
            address: address.clone(),
            provider,
            number: self.next,
            deadline: Instant::now() + limit,
        };
        let header = Sent::Call {
            to: address.clone(),
            function: function.to_owned(),
            deadline_ms: u64::try_from(limit.as_millis()).unwrap_or(u64::MAX),
            progress,
        };
        let reply_to = self.topics.topic(&Topic::ProgramReply(self.id));
        let sent = self.publish(open.provider, &header, arguments, Purpose::Request { reply_to });
        match timeout_at(open.deadline, sent).await {
            Ok(sent) => sent.map(|()| open),
            Err(_) => Err(CallError::Failed {
                kind: FailureKind::DeadlineExceeded,
                text: "the broker has not taken the call in time".into(),
            }),
        }
    }

    /// Waits for a call's end; `progress` is told how far it is. Answers to others that come meanwhile are
    /// dropped.
    pub async fn end(
        &mut self,
        open: &OpenCall,
        mut progress: impl FnMut(&[u8]),
    ) -> Result<Vec<u8>, CallError> {
        let failed = |kind, how: &str| {
            let text = format!("program {} {how}", open.provider.short());
            Err(CallError::Failed { kind, text })
        };
        loop {
            let Ok(event) = timeout_at(open.deadline, self.events.next()).await else {
                return failed(FailureKind::DeadlineExceeded, "has not answered in time");
            };
            let Event::Received(incoming) = event.ok_or(CallError::Closed)? else {
                continue;
            };
            match self.heard(&incoming) {
                Some(Heard::Answer(sender, answers, outcome))
                    if (sender, answers) == (open.provider, open.number) =>
                {
                    return match outcome {
                        Outcome::Done(result) => Ok(result),
                        Outcome::Failed(kind, text) => Err(CallError::Failed { kind, text }),
                    };
                }
                Some(Heard::Progress(sender, call, payload))
                    if (sender, call) == (open.provider, open.number) =>
                {
                    progress(&payload);
                }
                _ => {}
            }
            if self.gone.contains(&open.provider) || !self.may_answer(&open.address, open.provider) {
                return failed(
                    FailureKind::Unavailable,
                    "has ended, was killed, or is lost with its engine, and has not answered",
                );
            }
        }
    }

    /// Tells the provider that nobody waits for the call's end any more. It may have been done.
    pub async fn cancel(&mut self, open: OpenCall) -> Result<(), CallError> {
        let header = Sent::Cancel {
            to: open.address,
            call: open.number,
        };
        let sent = self.publish(open.provider, &header, &[], Purpose::Message);
        match timeout(SEND_TIMEOUT, sent).await {
            Ok(sent) => sent.map(drop),
            Err(_) => Err(CallError::NotTaken),
        }
    }

    /// Sends a message to a program that can be reached at the address, or to each of a set, and returns once
    /// the broker has it, with those that it goes to.
    pub async fn send(
        &mut self,
        address: &Address,
        payload: &[u8],
        about: &About,
    ) -> Result<SentMessage, CallError> {
        if !about.is_sound() {
            return Err(CallError::Word);
        }
        let to = match address.is_set() {
            false => vec![self.receiver(address)?],
            true => self.members(address),
        };
        if to.is_empty() {
            return Err(CallError::Nobody(address.clone()));
        }
        let header = Sent::Message {
            to: address.clone(),
            about: about.clone(),
        };
        let deadline = Instant::now() + SEND_TIMEOUT;
        let number = self.next;
        for program in &to {
            self.next = number;
            let sent = self.publish(*program, &header, payload, Purpose::Message);
            match timeout_at(deadline, sent).await {
                Ok(sent) => sent?,
                Err(_) => return Err(CallError::NotTaken),
            }
        }
        let address = address.clone();
        Ok(SentMessage { address, to, number })
    }

    /// Waits until all receivers of a message that was sent for a receipt have taken it; those that have not
    /// by then, and why.
    pub async fn delivered(
        &mut self,
        sent: &SentMessage,
        limit: Duration,
    ) -> Result<Vec<(ProgramId, FailureKind)>, CallError> {
        let deadline = Instant::now() + limit;
        let mut waiting: BTreeSet<ProgramId> = sent.to.iter().copied().collect();
        let mut failed = Vec::new();
        while !waiting.is_empty() {
            let Ok(event) = timeout_at(deadline, self.events.next()).await else {
                break;
            };
            let Event::Received(incoming) = event.ok_or(CallError::Closed)? else {
                continue;
            };
            if let Some(Heard::Receipt(by, number, is_taken)) = self.heard(&incoming)
                && number == sent.number
                && waiting.remove(&by)
                && !is_taken
            {
                failed.push((by, FailureKind::Expired));
            }
            let is_there = |program: &ProgramId| self.may_answer(&sent.address, *program);
            let (still, gone): (BTreeSet<_>, BTreeSet<_>) = waiting.into_iter().partition(is_there);
            waiting = still;
            failed.extend(gone.into_iter().map(|program| (program, FailureKind::Ended)));
        }
        failed.extend(
            waiting
                .into_iter()
                .map(|program| (program, FailureKind::DeadlineExceeded)),
        );
        Ok(failed)
    }

    pub async fn close(self) {
        self.link.close_within(CLOSE_TIMEOUT).await;
    }

    /// Whether a program that was reached at an address can still answer. One that leaves an engine may have
    /// moved.
    fn may_answer(&self, address: &Address, program: ProgramId) -> bool {
        address.is_of_engine() || self.providers.contains_key(&(address.clone(), program))
    }

    fn members(&self, address: &Address) -> Vec<ProgramId> {
        let all = self.providers.keys().filter(|(of, _)| of == address);
        all.map(|(_, program)| *program).collect()
    }

    /// Who is called.
    fn provider(&self, address: &Address) -> Result<ProgramId, CallError> {
        let chosen = self.chosen(address, |announcement| !announcement.gone);
        chosen.ok_or_else(|| match self.members(address).first() {
            None => CallError::Nobody(address.clone()),
            Some(program) => CallError::Failed {
                kind: FailureKind::Unavailable,
                text: format!("program {} is lost with its engine", program.short()),
            },
        })
    }

    /// Who is sent a message to one program: it is kept for one that is gone.
    fn receiver(&self, address: &Address) -> Result<ProgramId, CallError> {
        self.chosen(address, |announcement| !announcement.gone)
            .or_else(|| self.chosen(address, |_| true))
            .ok_or_else(|| CallError::Nobody(address.clone()))
    }

    /// One after the other, beginning anywhere: the first may be one that is lost, where nobody has said so.
    fn chosen(&self, address: &Address, is_good: impl Fn(&Announcement) -> bool) -> Option<ProgramId> {
        let there = || {
            let all = self.providers.iter().filter(|((of, _), _)| of == address);
            all.filter(|(_, announcement)| is_good(announcement))
                .map(|((_, program), _)| *program)
        };
        let at = self.drawn().checked_rem(there().count() as u128);
        at.and_then(|at| there().nth(usize::try_from(at).ok()?))
    }

    fn drawn(&self) -> u128 {
        u128::from_le_bytes(self.id.to_bytes()).wrapping_add(self.next.into())
    }

    async fn publish(
        &mut self,
        provider: ProgramId,
        header: &Sent,
        payload: &[u8],
        purpose: Purpose,
    ) -> Result<(), CallError> {
        let stamp = Stamp {
            sender: self.id,
            number: self.next,
            purpose,
        };
        self.next += 1;
        let topic = self.topics.topic(&Topic::ProgramInbox(provider));
        let message = Message::new(topic, stamp.put_on(&call::encode(header, payload)));
        Ok(self.link.publish_acknowledged(message).await?)
    }

    fn heard(&mut self, incoming: &Incoming) -> Option<Heard> {
        match self.topics.parse(&incoming.topic)? {
            Topic::Address(address, program) if incoming.payload.is_empty() => {
                self.providers.remove(&(address, program));
            }
            Topic::Address(address, program) => {
                let announcement = wire::decode::<Announcement>(&incoming.payload).ok()?;
                let is_sound = announcement.program == program && announcement.name.len() <= NAME_BYTES_MAX;
                let is_known = self.providers.contains_key(&(address.clone(), program));
                if is_sound && (is_known || self.providers.len() < PROVIDERS_MAX) {
                    match announcement.gone {
                        true if self.gone.len() < PROVIDERS_MAX => self.gone.insert(program),
                        true => false,
                        false => self.gone.remove(&program),
                    };
                    self.providers.insert((address, program), announcement);
                }
            }
            Topic::ProgramReply(program) if program == self.id => {
                let (stamp, payload) = Stamp::take_off(&incoming.payload);
                if let Some(Stamp {
                    sender,
                    purpose: Purpose::Reply { answers },
                    ..
                }) = stamp
                {
                    return Some(Heard::Answer(sender, answers, Outcome::decode(payload)));
                }
                let (notice, payload) = call::decode(payload)?;
                return match (notice, stamp) {
                    (Notice::Delivered { by, number }, None) => Some(Heard::Receipt(by, number, true)),
                    (Notice::Expired { by, number }, None) => Some(Heard::Receipt(by, number, false)),
                    (Notice::Description { by, service }, None) => {
                        let schema = String::from_utf8(payload.to_vec()).ok()?;
                        Some(Heard::Schema(by, service, schema))
                    }
                    (Notice::Progress { call }, Some(stamp)) => {
                        Some(Heard::Progress(stamp.sender, call, payload.to_vec()))
                    }
                    _ => None,
                };
            }
            _ => {}
        }
        None
    }
}
