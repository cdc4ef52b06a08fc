//! The sessions of this engine's programs: opened when a program runs here, closed before it is captured to stand still, ended when
//! it has ended or was killed. What happens to each is decided by the core's effects; this only carries it along.

use std::collections::BTreeMap;
use std::time::Instant;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use wayfare_core::types::{Input, Record};
use wayfare_link::BrokerUrl;
use wayfare_mail::{Home, ReceivedMessage};
use wayfare_protocol::ids::{Blob, ProgramId};
use wayfare_protocol::snapshot::Snapshot;

use super::agent::Agent;
use super::programs::Capturing;
use super::session::{self, Heard, Order, Session, SessionEnd};

/// A checkpoint is made early when a program was sent this much since the last one.
const JOURNAL_BYTES_LARGE: u64 = 4 << 20;
/// Captures of a program whose messages are remembered until one of them is stored.
const MAIL_POINTS_MAX: usize = 8;

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
    /// Sessions that are being ended at the broker. A life under the same id that began meanwhile would lose its session to that.
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
}

impl Agent {
    /// What a program about to be launched needs for its messages: where it is, and what it was sent since its snapshot.
    pub(super) fn mail_of(
        &self,
        program: ProgramId,
        snapshot: Option<&Snapshot>,
    ) -> (Home, Vec<ReceivedMessage>) {
        let next = snapshot.map_or(0, |snapshot| snapshot.host.mail_arrived);
        let generation = self.programs.current(program).map(|hosted| hosted.generation);
        let journaled = generation.map_or_else(Vec::new, |generation| {
            self.store.inboxes.read(program, generation, next)
        });
        let home = Home {
            program,
            engine: self.out.engine.to_string(),
            topics: self.out.topics.clone(),
        };
        (home, journaled)
    }

    /// Its program was launched. It opens when that runs.
    pub(super) fn begin_session(&mut self, program: ProgramId, incarnation: u64) {
        let Some(hosted) = self.programs.get_mut(program, incarnation) else {
            return;
        };
        let Some(mailbox) = hosted.process().map(|process| process.mailbox()) else {
            return;
        };
        let (broker, inboxes) = (self.sessions.broker.clone(), self.store.inboxes.clone());
        let heard = Heard {
            is_heard: self.sessions.is_heard.subscribe(),
            connected: self.sessions.connected.0.clone(),
        };
        let (session, task) = Session::new(program, mailbox, broker, inboxes, heard);
        hosted.session = Some(session);
        self.sessions.running.spawn(task.run());
        if !hosted.is_frozen {
            self.open_session(program);
        }
    }

    pub(super) fn open_session(&mut self, program: ProgramId) {
        if let Some(ending) = self.sessions.ending.get_mut(&program) {
            ending.is_awaited = true;
            return;
        }
        if let Some(hosted) = self.programs.current(program)
            && let Some(session) = &hosted.session
        {
            session.order(Order::Open(hosted.generation));
        }
    }

    pub(super) fn close_session(&mut self, program: ProgramId, capturing: Capturing) {
        if let Some(ending) = self.sessions.ending.get_mut(&program) {
            ending.is_awaited = false;
        }
        let session = self.programs.current(program).and_then(|hosted| {
            let session = hosted.session.as_ref()?;
            Some((hosted.incarnation, session.close()))
        });
        let Some((incarnation, closed)) = session else {
            return self.capture_now(program, capturing);
        };
        let wait = |closed: oneshot::Receiver<()>| async move {
            // A task that is gone has closed it.
            let _ = closed.await;
            (program, incarnation, capturing)
        };
        self.sessions.closing.spawn(wait(closed));
    }

    pub(super) fn session_news(&mut self, news: SessionNews) {
        match news {
            SessionNews::Connected(answer) => self.fence.session_connected(answer, &self.out),
            SessionNews::Closed(program, incarnation, capturing) => {
                if self.programs.get(program, incarnation).is_some() {
                    self.capture_now(program, capturing);
                }
            }
            SessionNews::Ended(SessionEnd {
                program,
                is_wiped,
                has_ended,
            }) => {
                if has_ended {
                    self.session_ended(program);
                }
                // It may live again meanwhile: restored under the id that it had.
                if !self.programs.has_ended(program) {
                    return;
                }
                if has_ended {
                    self.withdraw(program);
                }
                if is_wiped {
                    self.store.inboxes.remove(program);
                }
            }
        }
    }

    /// One of the tasks that end it is done.
    fn session_ended(&mut self, program: ProgramId) {
        let Some(ending) = self.sessions.ending.get_mut(&program) else {
            return;
        };
        ending.tasks = ending.tasks.saturating_sub(1);
        if ending.tasks == 0 {
            let is_awaited = ending.is_awaited;
            self.sessions.ending.remove(&program);
            if is_awaited {
                self.open_session(program);
            }
        }
    }

    /// The program has ended: its last messages go out.
    pub(super) fn finish_session(&mut self, program: ProgramId) {
        if let Some(session) = self
            .programs
            .current(program)
            .and_then(|hosted| hosted.session.as_ref())
        {
            session.order(Order::Finish);
            self.sessions.ending.entry(program).or_default().tasks += 1;
        }
    }

    /// The program is gone for good: the broker forgets what it keeps for it.
    pub(super) fn wipe_session(&mut self, program: ProgramId) {
        if self.store.inboxes.has(program) {
            let broker = self.sessions.broker.clone();
            self.sessions.running.spawn(session::wipe(program, broker));
            self.sessions.ending.entry(program).or_default().tasks += 1;
        }
    }

    pub(super) fn note_captured(&mut self, program: ProgramId, blob: Blob, mail_arrived: u64) {
        if let Some(hosted) = self.programs.current_mut(program) {
            hosted.mail_points.push_back((blob.digest, mail_arrived));
            while hosted.mail_points.len() > MAIL_POINTS_MAX {
                hosted.mail_points.pop_front();
            }
        }
    }

    pub(super) fn note_stored(&mut self, record: &Record) {
        let Record::Program(record) = record else { return };
        let Some(saved) = record.saved else { return };
        let points = self
            .programs
            .current(record.program)
            .map(|hosted| &hosted.mail_points);
        let point = points
            .into_iter()
            .flatten()
            .find(|(digest, _)| *digest == saved.snapshot.digest);
        if let Some((_, next)) = point {
            self.sessions.stored.push((record.program, *next));
        }
    }

    /// What was put is committed.
    pub(super) fn forget_stored_mail(&mut self) {
        for (program, next) in std::mem::take(&mut self.sessions.stored) {
            let Some(hosted) = self.programs.current_mut(program) else {
                continue;
            };
            hosted.stored_at = Some(Instant::now());
            if let Some(session) = &hosted.session {
                session.order(Order::ForgetBelow(next));
            }
        }
    }

    pub(super) fn want_checkpoints(&mut self) {
        for program in self.programs.with_large_journals(JOURNAL_BYTES_LARGE) {
            self.inputs.push_back(Input::CheckpointWanted { program });
        }
    }
}
