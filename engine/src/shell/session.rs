//! A program's MQTT session: one task that carries messages between the broker and the program's mail.
//!
//! ```text
//!            Open, and the program talks                     Close: for a move, a pause, the engine's end
//!   [shut] -----------------------------> [open] -------------------------------------------------> [shut]
//!      |                                    |                       or the engine is not heard any more
//!      |  handle dropped: the session belongs to somebody else, or is ended elsewhere
//!      +-----------------> gone <-----------+--- Finish: the program has ended, its last messages go out, the session with it
//! ```
//! The session's name is the program's id, and the broker keeps it: on a move the target resumes it and gets
//! what was queued.
//!
//! What always holds:
//! - A message is acknowledged only after it was journaled and that was synced, and in the order of receipt.
//! - After [`Order::Close`] was answered, everything that was taken is acknowledged and everything that was
//!   sent has its answer, as far as the broker can be reached: a snapshot made then and the broker's session
//!   fit together.
//! - While the program's inbox is full, nothing more is read from the broker.
//! - There is no connection before the engine knows that the program is still its own (`fence`): a copy that
//!   has been replaced would take the session from its successor, and be handed what is meant for that.
//! - Nothing is taken from a connection before the engine has heard whoever had the session before it
//!   (`fence` too).

mod asking;
mod connection;
mod intake;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};
use wayfare_link::{BrokerUrl, Event, LinkOptions};
use wayfare_mail::ReceivedMessage;
use wayfare_protocol::ids::{Generation, ProgramId};

use super::store::{InboxJournal, Inboxes};
use asking::Asking;
use connection::Connection;
use wayfare_runtime::Mailbox;

/// What was sent and what was taken gets its answers within this, before a session is closed for a move.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// The last messages of a program that has ended.
const FINISH_TIMEOUT: Duration = Duration::from_secs(10);
/// A session that is not wanted any more is ended at the broker within this, or stays there.
const WIPE_TIMEOUT: Duration = Duration::from_secs(10);
/// After the journal could not be written.
const JOURNAL_RETRY: Duration = Duration::from_secs(1);

/// Closes a session when it is dropped, and leaves it at the broker.
pub(crate) struct Session {
    orders: mpsc::UnboundedSender<Order>,
    journal_bytes: Arc<AtomicU64>,
}

pub(crate) enum Order {
    /// The program runs here, as this generation.
    Open(Generation),
    Close(oneshot::Sender<()>),
    /// A snapshot is stored that has all messages below this number.
    ForgetBelow(u64),
    /// The program has ended.
    Finish,
}

/// What is left when a session's task has ended.
pub(crate) struct SessionEnd {
    pub(crate) program: ProgramId,
    /// The broker has forgotten it, and so may we.
    pub(crate) is_wiped: bool,
    /// The program is no more: it did not only leave this engine.
    pub(crate) has_ended: bool,
}

pub(crate) struct Task {
    program: ProgramId,
    mailbox: Mailbox,
    broker: BrokerUrl,
    inboxes: Inboxes,
    orders: mpsc::UnboundedReceiver<Order>,
    generation: Option<Generation>,
    journal: Option<InboxJournal>,
    /// Taken on a connection that ended before it was in the journal.
    unstored: Vec<ReceivedMessage>,
    journal_bytes: Arc<AtomicU64>,
    heard: Heard,
    /// The program has ended and has messages that the broker does not have.
    is_finishing: bool,
}

/// What a session needs to know of the engine's fence.
pub(crate) struct Heard {
    /// It is passed.
    pub(crate) is_heard: watch::Receiver<bool>,
    /// Told of each connection of a session, with how to answer once it is known that it is still its
    /// program's.
    pub(crate) connected: mpsc::UnboundedSender<oneshot::Sender<()>>,
}

/// What a task goes on with.
enum Next {
    Shut,
    Open,
    Finish,
    Gone,
}

impl Session {
    /// A handle, and the task to be run.
    pub(crate) fn new(
        program: ProgramId,
        mailbox: Mailbox,
        broker: BrokerUrl,
        inboxes: Inboxes,
        heard: Heard,
    ) -> (Self, Task) {
        let (sender, orders) = mpsc::unbounded_channel();
        let journal_bytes = Arc::new(AtomicU64::new(0));
        let session = Self {
            orders: sender,
            journal_bytes: journal_bytes.clone(),
        };
        let task = Task {
            program,
            mailbox,
            broker,
            inboxes,
            orders,
            generation: None,
            journal: None,
            unstored: Vec::new(),
            journal_bytes,
            heard,
            is_finishing: false,
        };
        (session, task)
    }

    pub(crate) fn order(&self, order: Order) {
        // The task is gone only when the program is.
        let _ = self.orders.send(order);
    }

    /// Answered when the session is closed.
    pub(crate) fn close(&self) -> oneshot::Receiver<()> {
        let (answer, closed) = oneshot::channel();
        self.order(Order::Close(answer));
        closed
    }

    pub(crate) fn journal_bytes(&self) -> u64 {
        self.journal_bytes.load(Ordering::Relaxed)
    }
}

impl Task {
    pub(crate) async fn run(mut self) -> SessionEnd {
        let mut next = Next::Shut;
        loop {
            next = match next {
                Next::Shut => self.shut().await,
                Next::Open => self.open().await,
                Next::Finish => return self.finish().await,
                Next::Gone => {
                    return SessionEnd {
                        program: self.program,
                        is_wiped: false,
                        has_ended: self.is_finishing,
                    };
                }
            };
        }
    }

    /// Until it may open and the program wants it to.
    async fn shut(&mut self) -> Next {
        let given_up = tokio::time::sleep(FINISH_TIMEOUT);
        tokio::pin!(given_up);
        loop {
            if self.wants_connection() && *self.heard.is_heard.borrow_and_update() {
                return Next::Open;
            }
            let was_finishing = self.is_finishing;
            tokio::select! {
                biased;
                order = self.orders.recv() => if let Some(next) = self.obey_shut(order) {
                    return next;
                },
                () = self.mailbox.changed(), if self.generation.is_some() && !self.is_finishing => {}
                Ok(()) = self.heard.is_heard.changed() => {}
                () = &mut given_up, if self.is_finishing => return Next::Finish,
            }
            if self.is_finishing && !was_finishing {
                given_up.as_mut().reset(Instant::now() + FINISH_TIMEOUT);
            }
        }
    }

    fn wants_connection(&self) -> bool {
        self.generation.is_some() && self.mailbox.with(|mail| mail.wants_session())
    }

    /// What an order asks of a session without a connection.
    fn obey_shut(&mut self, order: Option<Order>) -> Option<Next> {
        match order {
            None => return Some(Next::Gone),
            Some(Order::Finish) if self.wants_connection() => self.is_finishing = true,
            Some(Order::Finish) => return Some(Next::Finish),
            Some(Order::Open(generation)) => self.begin(generation),
            Some(Order::ForgetBelow(next)) => self.forget_below(next),
            Some(Order::Close(answer)) => {
                self.generation = None;
                // Whoever asked may have given up waiting.
                let _ = answer.send(());
                return Some(Next::Shut);
            }
        }
        None
    }

    fn begin(&mut self, generation: Generation) {
        if self.generation.replace(generation) != Some(generation) {
            self.journal = None;
        }
    }

    fn forget_below(&mut self, next: u64) {
        if let Some(journal) = &mut self.journal {
            journal.forget_below(next);
            self.journal_bytes.store(journal.bytes(), Ordering::Relaxed);
        }
    }

    /// The journal is there before the first message can be.
    fn open_journal(&mut self, generation: Generation) -> std::io::Result<()> {
        if self.journal.is_none() {
            self.journal = Some(self.inboxes.journal(self.program, generation)?);
        }
        Ok(())
    }

    async fn open(&mut self) -> Next {
        let Some(generation) = self.generation else {
            return Next::Shut;
        };
        if let Err(error) = self.open_journal(generation) {
            let program = self.program;
            tracing::warn!(%program, %error, "no journal for a program's messages: it is sent none");
            return self.rest().await;
        }
        let connected = self.heard.connected.clone();
        let opened = Connection::open(
            self.program,
            &self.mailbox,
            &self.broker,
            &mut self.unstored,
            connected,
        );
        let mut connection = match opened {
            Ok(connection) => connection,
            Err(error) => {
                self.mailbox
                    .tell(&format!("wayfare: no session at the broker: {error}"));
                return self.rest().await;
            }
        };
        let next = self.serve(&mut connection).await;
        connection.hang_up().await;
        self.unstored = connection.take_unstored();
        match next {
            // The journal could not be written: what was not acknowledged comes again.
            Next::Open => self.rest().await,
            next => next,
        }
    }

    /// Shut for a moment.
    async fn rest(&mut self) -> Next {
        let woken = tokio::time::sleep(JOURNAL_RETRY);
        tokio::pin!(woken);
        loop {
            tokio::select! {
                () = &mut woken => return Next::Shut,
                order = self.orders.recv() => if let Some(next) = self.obey_shut(order) {
                    return next;
                },
            }
        }
    }

    async fn serve(&mut self, connection: &mut Connection) -> Next {
        let Some(mut journal) = self.journal.take() else {
            return Next::Shut;
        };
        let mut asking = Asking::default();
        let next = loop {
            self.journal_bytes.store(journal.bytes(), Ordering::Relaxed);
            if self.is_finishing {
                break self.send_last(connection).await;
            }
            connection.pump(&self.mailbox);
            if let Err(error) = connection.journal(&mut journal) {
                self.journal_failed(&mut journal, &error);
                break Next::Open;
            }
            let unanswered = self.mailbox.with(|mail| mail.unanswered());
            let ask_at = asking.due(unanswered, Instant::now());
            tokio::select! {
                biased;
                order = self.orders.recv() => match order {
                    None => break Next::Gone,
                    Some(Order::Open(_)) => {}
                    Some(Order::ForgetBelow(next)) => journal.forget_below(next),
                    Some(Order::Finish) => break self.send_last(connection).await,
                    Some(Order::Close(answer)) => {
                        let settled = connection.settle(&self.mailbox, &mut journal);
                        if tokio::time::timeout(CLOSE_TIMEOUT, settled).await.is_err() {
                            let program = self.program;
                            tracing::warn!(%program, "a session was closed with messages that have no answer yet");
                        }
                        connection.hang_up().await;
                        self.generation = None;
                        let _ = answer.send(());
                        break Next::Shut;
                    }
                },
                // What was not acknowledged comes again.
                () = not_heard(&mut self.heard.is_heard) => break Next::Shut,
                () = sleep_until(ask_at.unwrap_or_else(Instant::now)), if ask_at.is_some() => {
                    asking.asked(Instant::now());
                    self.mailbox.with(|mail| mail.ask_again());
                }
                happened = connection.next(&self.mailbox, &journal) => {
                    if let Err(error) = happened {
                        self.journal_failed(&mut journal, &error);
                        break Next::Open;
                    }
                }
            }
        };
        self.journal = Some(journal);
        next
    }

    async fn send_last(&self, connection: &mut Connection) -> Next {
        let all_sent = connection.finish(&self.mailbox);
        if tokio::time::timeout(FINISH_TIMEOUT, all_sent).await.is_err() {
            let program = self.program;
            tracing::warn!(%program, "the broker did not take a program's last messages");
        }
        Next::Finish
    }

    fn journal_failed(&self, journal: &mut InboxJournal, error: &std::io::Error) {
        journal.take_back();
        let program = self.program;
        tracing::warn!(%program, %error, "cannot store messages: the broker sends them again");
    }

    async fn finish(self) -> SessionEnd {
        let is_wiped = if self.mailbox.with(|mail| mail.has_session()) {
            wipe(self.program, self.broker).await.is_wiped
        } else {
            true
        };
        SessionEnd {
            program: self.program,
            is_wiped,
            has_ended: true,
        }
    }
}

/// Returns when the engine is not heard, or has ended.
async fn not_heard(is_heard: &mut watch::Receiver<bool>) {
    // An error is the engine's end.
    let _ = is_heard.wait_for(|heard| !heard).await;
}

/// The session's name at the broker.
fn client_id(program: ProgramId) -> String {
    program.to_string()
}

/// Connects once with a clean session: the broker would keep its queue for ever otherwise.
pub(crate) async fn wipe(program: ProgramId, broker: BrokerUrl) -> SessionEnd {
    let wiped = async {
        let (link, mut events) = wayfare_link::connect(LinkOptions::new(broker, client_id(program))).ok()?;
        while !matches!(events.next().await?, Event::Connected { .. }) {}
        link.close_within(Duration::ZERO).await;
        Some(())
    };
    let is_wiped = matches!(tokio::time::timeout(WIPE_TIMEOUT, wiped).await, Ok(Some(())));
    if !is_wiped {
        tracing::warn!(%program, "could not end a program's session at the broker");
    }
    SessionEnd {
        program,
        is_wiped,
        has_ended: true,
    }
}
