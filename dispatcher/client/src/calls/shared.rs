//! Many calls at once in one session, for a front end that calls all the time.
//!
//! ```text
//!   SharedCaller::call --ask--> task that owns the Caller --publish--> provider
//!                     <-end---                            <--answer---
//! ```
//! What always holds: each call has one end, at its deadline at the latest. A session that breaks may have
//! lost answers, so that with it all its calls end, and the next call makes another session. Whoever gives up
//! a call has it cancelled.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::Instant;
use wayfare_link::{Event, LinkError, Message};
use wayfare_protocol::address::Address;
use wayfare_protocol::call::{self, FailureKind, Outcome, Sent};
use wayfare_protocol::ids::ProgramId;
use wayfare_protocol::stamp::{Purpose, Stamp};
use wayfare_protocol::topics::Topic;

use super::{CallError, Caller, Heard};
use crate::client::Client;
use crate::error::ConnectError;
use crate::logs::until;

/// Calls that are open at the same time.
const OPEN_MAX: usize = 1024;
/// Asks that the task has not seen yet.
const QUEUE: usize = 64;

/// Who is called, at the first of these addresses: a program that can be called at each of them.
pub type AtAll = Vec<Address>;

#[derive(Debug, Clone)]
pub struct Wanted {
    /// The first of these that anybody is at.
    pub any_of: Vec<AtAll>,
    pub function: &'static str,
    pub arguments: Vec<u8>,
    /// Where all who are announced are lost with their engines, or end before they have answered, another one
    /// is called, or waited for: what is asked may be done twice.
    pub idempotent: bool,
}

/// Why a session could not be had, or a call failed.
#[derive(Debug, thiserror::Error)]
pub enum SharedError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("{OPEN_MAX} calls are open")]
    TooMany,
}

/// A handle that many may use at once.
#[derive(Debug)]
pub struct SharedCaller {
    client: Client,
    asks: Mutex<Option<mpsc::Sender<Ask>>>,
    tickets: AtomicU64,
}

type End = Result<Vec<u8>, SharedError>;

enum Ask {
    Call {
        wanted: Wanted,
        deadline: Instant,
        ticket: u64,
        end: oneshot::Sender<End>,
    },
    GiveUp(u64),
}

/// Tells the task that nobody waits any more, when it is dropped.
struct Waiting {
    asks: mpsc::Sender<Ask>,
    ticket: u64,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // Where that is full, the call's deadline ends it.
        let _ = self.asks.try_send(Ask::GiveUp(self.ticket));
    }
}

impl SharedCaller {
    /// Connects when it is first needed.
    pub fn new(client: Client) -> Self {
        Self {
            client,
            asks: Mutex::new(None),
            tickets: AtomicU64::new(0),
        }
    }

    /// Calls, and waits for the end.
    pub async fn call(&self, wanted: Wanted, limit: Duration) -> End {
        let deadline = Instant::now() + limit;
        let asks = self.session(limit).await?;
        let ticket = self.tickets.fetch_add(1, Ordering::Relaxed);
        let (end, ended) = oneshot::channel();
        let ask = Ask::Call {
            wanted,
            deadline,
            ticket,
            end,
        };
        asks.send(ask).await.map_err(|_| CallError::Closed)?;
        let _waiting = Waiting { asks, ticket };
        ended.await.unwrap_or(Err(CallError::Closed.into()))
    }

    async fn session(&self, limit: Duration) -> Result<mpsc::Sender<Ask>, ConnectError> {
        let mut asks = self.asks.lock().await;
        if let Some(asks) = asks.as_ref().filter(|asks| !asks.is_closed()) {
            return Ok(asks.clone());
        }
        let caller = Caller::of(&self.client, None, limit).await?;
        let (sender, receiver) = mpsc::channel(QUEUE);
        tokio::spawn(Calls::new(caller).serve(receiver));
        *asks = Some(sender.clone());
        Ok(sender)
    }
}

struct Open {
    wanted: Wanted,
    deadline: Instant,
    /// At which address whom, under which number; `None`: it waits for somebody.
    at: Option<(Address, ProgramId, u64)>,
    end: oneshot::Sender<End>,
}

struct Calls {
    caller: Caller,
    open: BTreeMap<u64, Open>,
}

impl Calls {
    fn new(caller: Caller) -> Self {
        Self {
            caller,
            open: BTreeMap::new(),
        }
    }

    /// Until nobody has the handle any more, or the session breaks.
    async fn serve(mut self, mut asks: mpsc::Receiver<Ask>) {
        loop {
            let due = self.open.values().map(|open| open.deadline).min();
            tokio::select! {
                ask = asks.recv() => match ask {
                    Some(ask) => self.asked(ask),
                    None => break,
                },
                event = self.caller.events.next() => match event {
                    Some(Event::Received(incoming)) => {
                        let is_address = matches!(self.caller.topics.parse(&incoming.topic), Some(Topic::Address(..)));
                        if let Some(Heard::Answer(sender, number, outcome)) = self.caller.heard(&incoming) {
                            self.answered(sender, number, outcome);
                        }
                        if is_address {
                            self.look_again();
                        }
                    }
                    Some(Event::Oversized(_) | Event::Connected { .. }) => {}
                    Some(Event::Disconnected { .. }) | None => break,
                },
                () = until(due) => self.expire(),
            }
        }
        for (_, open) in std::mem::take(&mut self.open) {
            let text =
                "the connection to the broker broke: whether the call was done is not known".to_owned();
            fail(open.end, FailureKind::Unavailable, text);
        }
        self.caller.close().await;
    }

    fn asked(&mut self, ask: Ask) {
        match ask {
            Ask::Call { end, .. } if self.open.len() >= OPEN_MAX => {
                // Whoever asked may be gone.
                let _ = end.send(Err(SharedError::TooMany));
            }
            Ask::Call {
                wanted,
                deadline,
                ticket,
                end,
            } => {
                let open = Open {
                    wanted,
                    deadline,
                    at: None,
                    end,
                };
                self.begin(ticket, open);
            }
            Ask::GiveUp(ticket) => {
                if let Some(Open {
                    at: Some((to, provider, call)),
                    ..
                }) = self.open.remove(&ticket)
                {
                    let cancel = Sent::Cancel { to, call };
                    // It ends by its deadline otherwise.
                    let _ = self.publish(provider, &cancel, &[], Purpose::Message);
                }
            }
        }
    }

    /// Gives the call to somebody, or has it wait where that is allowed.
    fn begin(&mut self, ticket: u64, mut open: Open) {
        match self.pick(&open.wanted.any_of) {
            Ok((address, provider)) => {
                let left = open.deadline.saturating_duration_since(Instant::now());
                let header = Sent::Call {
                    to: address.clone(),
                    function: open.wanted.function.to_owned(),
                    deadline_ms: u64::try_from(left.as_millis()).unwrap_or(u64::MAX),
                    progress: false,
                };
                let reply_to = self.caller.topics.topic(&Topic::ProgramReply(self.caller.id));
                let number = self.caller.next;
                let purpose = Purpose::Request { reply_to };
                match self.publish(provider, &header, &open.wanted.arguments, purpose) {
                    Ok(()) => {
                        open.at = Some((address, provider, number));
                        self.open.insert(ticket, open);
                    }
                    Err(error) => {
                        let _ = open.end.send(Err(CallError::from(error).into()));
                    }
                }
            }
            Err(CallError::Failed { .. }) if open.wanted.idempotent => {
                open.at = None;
                self.open.insert(ticket, open);
            }
            Err(error) => {
                let _ = open.end.send(Err(error.into()));
            }
        }
    }

    /// `Nobody`, or `Failed` where all who are announced are gone.
    fn pick(&self, any_of: &[AtAll]) -> Result<(Address, ProgramId), CallError> {
        let mut failure = None;
        for at_all in any_of {
            let Some((address, others)) = at_all.split_first() else {
                continue;
            };
            let at_others = |program: ProgramId| {
                others
                    .iter()
                    .all(|other| self.caller.providers.contains_key(&(other.clone(), program)))
            };
            let announced = || {
                let all = self.caller.providers.iter().filter(|((of, _), _)| of == address);
                all.filter(|((_, program), _)| at_others(*program))
            };
            let there = || announced().filter(|(_, announcement)| !announcement.gone);
            let count = there().count();
            if let Some(at) = self.caller.drawn().checked_rem(count as u128)
                && let Some(((_, program), _)) = there().nth(usize::try_from(at).unwrap_or_default())
            {
                return Ok((address.clone(), *program));
            }
            failure = failure.or_else(|| {
                let ((_, program), _) = announced().next()?;
                Some(CallError::Failed {
                    kind: FailureKind::Unavailable,
                    text: format!("program {} is lost with its engine", program.short()),
                })
            });
        }
        let nobody = || any_of.first().and_then(|all| all.first());
        Err(failure
            .or_else(|| nobody().cloned().map(CallError::Nobody))
            .unwrap_or(CallError::Closed))
    }

    fn publish(
        &mut self,
        provider: ProgramId,
        header: &Sent,
        payload: &[u8],
        purpose: Purpose,
    ) -> Result<(), LinkError> {
        let stamp = Stamp {
            sender: self.caller.id,
            number: self.caller.next,
            purpose,
        };
        self.caller.next += 1;
        let topic = self.caller.topics.topic(&Topic::ProgramInbox(provider));
        let message = Message::new(topic, stamp.put_on(&call::encode(header, payload)));
        self.caller.link.try_publish(message)
    }

    fn answered(&mut self, sender: ProgramId, number: u64, outcome: Outcome) {
        let is_it = |open: &Open| matches!(open.at, Some((_, by, of)) if (by, of) == (sender, number));
        let Some(ticket) = self
            .open
            .iter()
            .find(|(_, open)| is_it(open))
            .map(|(ticket, _)| *ticket)
        else {
            return;
        };
        let Some(open) = self.open.remove(&ticket) else {
            return;
        };
        match outcome {
            Outcome::Done(result) => {
                let _ = open.end.send(Ok(result));
            }
            Outcome::Failed(kind, text) => fail(open.end, kind, text),
        }
    }

    /// Somebody came, or went.
    fn look_again(&mut self) {
        let is_lost = |caller: &Caller, open: &Open| match &open.at {
            None => true,
            Some((address, provider, _)) => {
                caller.gone.contains(provider) || !caller.may_answer(address, *provider)
            }
        };
        let caller = &self.caller;
        let lost: Vec<(u64, Open)> = self
            .open
            .extract_if(.., |_, open| is_lost(caller, open))
            .collect();
        for (ticket, open) in lost {
            match open.wanted.idempotent {
                true => self.begin(ticket, open),
                false => {
                    let text =
                        "the program has ended, was killed, or is lost with its engine, and has not answered";
                    fail(open.end, FailureKind::Unavailable, text.to_owned());
                }
            }
        }
    }

    fn expire(&mut self) {
        let now = Instant::now();
        let late: Vec<(u64, Open)> = self.open.extract_if(.., |_, open| open.deadline <= now).collect();
        for (_, open) in late {
            match open.at {
                None => {
                    let text =
                        "those who could be called are gone, and nobody has come in their place in time";
                    fail(open.end, FailureKind::Unavailable, text.to_owned());
                }
                Some((_, provider, _)) => {
                    let text = format!("program {} has not answered in time", provider.short());
                    fail(open.end, FailureKind::DeadlineExceeded, text);
                }
            }
        }
    }
}

fn fail(end: oneshot::Sender<End>, kind: FailureKind, text: String) {
    // Whoever asked may be gone.
    let _ = end.send(Err(CallError::Failed { kind, text }.into()));
}
