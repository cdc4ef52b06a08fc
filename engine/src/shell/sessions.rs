//! The sessions of this engine's programs: opened when a program runs here, closed before it is captured to
//! stand still, ended when it has ended or was killed. What happens to each is decided by the core's effects;
//! this only carries it along.

use std::collections::BTreeMap;
use std::time::Instant;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use wayfare_core::types::Record;
use wayfare_link::BrokerUrl;
use wayfare_protocol::ids::ProgramId;

use super::programs::{Capturing, Hosted, Programs};
use super::session::{self, Heard, Order, Session, SessionEnd};
use super::store::Inboxes;

pub(crate) struct Sessions {
    broker: BrokerUrl,
    /// Sessions are open only then: whether programs are still ours is known.
    is_heard: watch::Sender<bool>,
    /// Each was connected, and asks whether it is still its program's.
    connected: (
        mpsc::UnboundedSender<oneshot::Sender<()>>,
        mpsc::UnboundedReceiver<oneshot::Sender<()>>,
    ),
    running: JoinSet<SessionEnd>,
    /// Sessions that are being ended at the broker. A life under the same id that began meanwhile would lose
    /// its session to that.
    ending: BTreeMap<ProgramId, Ending>,
    /// Captures that wait for a session to be closed.
    closing: JoinSet<(ProgramId, u64, Capturing)>,
    /// Messages that a snapshot has which is put and not yet committed.
    stored: Vec<(ProgramId, u64)>,
}

#[derive(Default)]
struct Ending {
    /// So many tasks do so.
    tasks: usize,
    /// The program lives again, and its session opens then.
    is_awaited: bool,
}

pub(crate) enum SessionNews {
    Connected(oneshot::Sender<()>),
    Ended(SessionEnd),
    Closed(ProgramId, u64, Capturing),
}

impl Sessions {
    pub(crate) fn new(broker: BrokerUrl) -> Self {
        Self {
            broker,
            is_heard: watch::Sender::new(false),
            connected: mpsc::unbounded_channel(),
            running: JoinSet::new(),
            ending: BTreeMap::new(),
            closing: JoinSet::new(),
            stored: Vec::new(),
        }
    }

    /// Safe to give up and call again.
    pub(crate) async fn next(&mut self) -> SessionNews {
        let joined = tokio::select! {
            Some(answer) = self.connected.1.recv() => return SessionNews::Connected(answer),
            Some(closed) = self.closing.join_next(), if !self.closing.is_empty() => {
                closed.map(|(program, incarnation, capturing)| {
                    SessionNews::Closed(program, incarnation, capturing)
                })
            }
            Some(ended) = self.running.join_next(), if !self.running.is_empty() => ended.map(SessionNews::Ended),
            else => std::future::pending().await,
        };
        match joined {
            Ok(news) => news,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    /// The engine's fence was passed, or is to be passed again.
    pub(crate) fn set_heard(&self, is_heard: bool) {
        self.is_heard.send_replace(is_heard);
    }

    pub(crate) fn are_closing(&self) -> bool {
        !self.closing.is_empty()
    }

    /// Its program was launched. It opens when that runs.
    pub(crate) fn begin(&mut self, program: ProgramId, hosted: &mut Hosted, inboxes: &Inboxes) {
        let Some(mailbox) = hosted.process().map(|process| process.mailbox()) else {
            return;
        };
        let heard = Heard {
            is_heard: self.is_heard.subscribe(),
            connected: self.connected.0.clone(),
        };
        let (session, task) = Session::new(program, mailbox, self.broker.clone(), inboxes.clone(), heard);
        hosted.session = Some(session);
        self.running.spawn(task.run());
        if !hosted.is_frozen {
            self.open(program, hosted);
        }
    }

    pub(crate) fn open(&mut self, program: ProgramId, hosted: &Hosted) {
        if let Some(ending) = self.ending.get_mut(&program) {
            ending.is_awaited = true;
        } else if let Some(session) = &hosted.session {
            session.order(Order::Open(hosted.generation));
        }
    }

    /// Closes it for a capture, which [`SessionNews::Closed`] brings back; `false`: there is none to be
    /// closed.
    pub(crate) fn close(
        &mut self,
        program: ProgramId,
        hosted: Option<&Hosted>,
        capturing: Capturing,
    ) -> bool {
        if let Some(ending) = self.ending.get_mut(&program) {
            ending.is_awaited = false;
        }
        let session = hosted.and_then(|hosted| Some((hosted.incarnation, hosted.session.as_ref()?.close())));
        let Some((incarnation, closed)) = session else {
            return false;
        };
        self.closing.spawn(async move {
            // A task that is gone has closed it.
            let _ = closed.await;
            (program, incarnation, capturing)
        });
        true
    }

    /// One of the tasks that end it is done; whether it is to be opened again.
    pub(crate) fn note_ended(&mut self, program: ProgramId) -> bool {
        let Some(ending) = self.ending.get_mut(&program) else {
            return false;
        };
        ending.tasks = ending.tasks.saturating_sub(1);
        ending.tasks == 0
            && self
                .ending
                .remove(&program)
                .is_some_and(|ending| ending.is_awaited)
    }

    /// The program has ended: its last messages go out.
    pub(crate) fn finish(&mut self, program: ProgramId, hosted: &Hosted) {
        if let Some(session) = &hosted.session {
            session.order(Order::Finish);
            self.ending.entry(program).or_default().tasks += 1;
        }
    }

    /// The program is gone for good: the broker forgets what it keeps for it.
    pub(crate) fn wipe(&mut self, program: ProgramId, inboxes: &Inboxes) {
        if inboxes.has(program) {
            self.running.spawn(session::wipe(program, self.broker.clone()));
            self.ending.entry(program).or_default().tasks += 1;
        }
    }

    /// A record is put: if it names a snapshot, the messages that this has need not be kept once it is
    /// committed.
    pub(crate) fn note_put(&mut self, record: &Record, programs: &Programs) {
        if let Record::Program(record) = record
            && let Some(saved) = record.saved
            && let Some(hosted) = programs.current(record.program)
            && let Some(next) = hosted.mail_arrived_in(saved.snapshot.digest)
        {
            self.stored.push((record.program, next));
        }
    }

    /// What was put is committed.
    pub(crate) fn forget_stored(&mut self, programs: &mut Programs) {
        for (program, next) in self.stored.drain(..) {
            let Some(hosted) = programs.current_mut(program) else {
                continue;
            };
            hosted.stored_at = Some(Instant::now());
            if let Some(session) = &hosted.session {
                session.order(Order::ForgetBelow(next));
            }
        }
    }
}
