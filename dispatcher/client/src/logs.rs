//! Following a program's log across moves, and the events of all engines.

use std::collections::VecDeque;
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout_at};
use wayfare_protocol::command::Action;
use wayfare_protocol::event::{Event, Outcome};
use wayfare_protocol::ids::ProgramId;
use wayfare_protocol::log::{Follower, LogBatch};
use wayfare_protocol::status::ProgramState;

use crate::client::Client;
use crate::core::{Finished, SETTLE_MS};
use crate::error::CommandError;
use crate::fleet::{Presence, ProgramView};
use crate::following::{self, Following};
use crate::log_merge::{LogItem, LogMerge};
use crate::lookup::LookupError;
use crate::operation::Operation;
use crate::order::{self, CommandOptions};

/// Times that a follower asks for the tail before it goes on with live lines alone.
const TAIL_TRIES_MAX: u32 = 5;
/// A follower waits so long for a program that its engine has lost: an instance of an application begins
/// anew.
const ANEW_MAX: Duration = Duration::from_secs(10);
/// Between two such tries.
const TAIL_RETRY: Duration = Duration::from_secs(1);

/// How long a [`LogStream`] goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follow {
    /// What there is now.
    No,
    /// Until the program has ended or is gone.
    UntilEnded,
}

/// A program's lines in order. Pull them with [`LogStream::next`]; nothing happens in between.
#[derive(Debug)]
pub struct LogStream {
    client: Client,
    program: ProgramId,
    /// `None`: it ends with what there is now.
    following: Option<Following>,
    batches: mpsc::Receiver<LogBatch>,
    merge: LogMerge,
    ready: VecDeque<LogItem>,
    tail: Tail,
    tail_failures: u32,
    fleet_seen: u64,
    /// Since when its engine is known not to have it any more.
    lost_at: Option<Instant>,
    end: End,
}

#[derive(Debug)]
enum Tail {
    Idle,
    /// The answer is on its way.
    Asked(Box<Operation>),
    RetryAt(Instant),
}

#[derive(Debug)]
enum End {
    NotYet,
    /// It has ended as this says: one more look at the tail, and that is all.
    Last {
        state: Option<ProgramState>,
        asked: bool,
    },
    Done {
        state: Option<ProgramState>,
    },
}

impl LogStream {
    pub(crate) fn new(
        client: Client,
        program: ProgramId,
        since: u64,
        following: Option<Following>,
        batches: mpsc::Receiver<LogBatch>,
    ) -> Self {
        Self {
            client,
            program,
            following,
            batches,
            merge: LogMerge::new(since),
            ready: VecDeque::new(),
            tail: Tail::Idle,
            tail_failures: 0,
            fleet_seen: 0,
            lost_at: None,
            end: End::NotYet,
        }
    }

    /// How the program ended, once [`LogStream::next`] has said `None`: `None` if it is gone or was not
    /// followed to its end.
    pub fn ended(&self) -> Option<&ProgramState> {
        match &self.end {
            End::Done { state } => state.as_ref(),
            End::NotYet | End::Last { .. } => None,
        }
    }

    /// Lines that were lost while it was followed. Those that nobody kept when that began do not count.
    pub fn missing(&self) -> u64 {
        self.following.as_ref().map_or(0, Following::missing)
    }

    /// The next line or gap; `None` at the end. Safe to give up and call again. Who calls it has done with
    /// the one before.
    pub async fn next(&mut self) -> Option<Result<LogItem, CommandError>> {
        if let Some(following) = &mut self.following {
            following.receive();
        }
        loop {
            self.ready.extend(self.merge.drain());
            if let Err(error) = self.glance().await {
                self.end = End::Done { state: None };
                return Some(Err(error));
            }
            if self.following.as_mut().is_some_and(Following::is_due) {
                self.tell().await;
            }
            if let Some(item) = self.ready.pop_front() {
                if let Some(following) = &mut self.following {
                    following.give(&item);
                }
                return Some(Ok(item));
            }
            if matches!(self.end, End::Done { .. }) {
                self.leave().await;
                return None;
            }
            if let Err(error) = self.step().await {
                self.end = End::Done { state: None };
                return Some(Err(error));
            }
        }
    }

    /// Looks where the program is if the fleet has changed, also while there are lines enough.
    async fn glance(&mut self) -> Result<(), CommandError> {
        if self.following.is_none() || !matches!(self.end, End::NotYet) {
            return Ok(());
        }
        match self.client.changed(&mut self.fleet_seen).now_or_never() {
            Some(changed) => {
                changed?;
                self.look().await
            }
            None => Ok(()),
        }
    }

    /// Follows no more: the program need not wait. Without it, it waits for no longer than the lease.
    pub async fn leave(&mut self) {
        if let Some(following) = &mut self.following {
            let farewell = following.farewell();
            // Whoever has the program now, or nobody.
            let _ = self.say(farewell).await;
        }
    }

    /// Tells the engine how far this reader is.
    async fn tell(&mut self) {
        let Some(following) = &mut self.following else {
            return;
        };
        let words = following.words();
        let sent = self.say(words).await;
        if let Some(following) = &mut self.following {
            following.telling(sent);
        }
    }

    /// To the engine that has the program, if that can be reached now.
    async fn say(&self, follower: Follower) -> Option<Operation> {
        let fleet = self.client.fleet_of(self.program).await.ok()?;
        let view = fleet.programs.first()?;
        if view.presence != Presence::Known {
            return None;
        }
        let action = Action::Logs {
            on: order::target(view),
            since: u64::MAX,
            follower: Some(follower),
        };
        let options = CommandOptions::default();
        self.client.command(view, action, &options).await.ok()
    }

    /// One wait and what follows from it.
    async fn step(&mut self) -> Result<(), CommandError> {
        if matches!(self.tail, Tail::Idle) && self.must_ask() {
            return self.ask().await;
        }
        if self.following.is_none() && matches!(self.tail, Tail::Idle) {
            self.end = End::Done { state: None };
            return Ok(());
        }
        if matches!(self.end, End::Last { asked: true, .. }) && matches!(self.tail, Tail::Idle) {
            return self.last_batches().await;
        }
        let is_followed = self.following.is_some();
        let lost_until = self.lost_at.map(|lost_at| lost_at + ANEW_MAX);
        let tail = match &mut self.tail {
            Tail::Asked(operation) => TailWait::Answer(operation),
            Tail::RetryAt(at) => TailWait::Until(*at),
            Tail::Idle => TailWait::Nothing,
        };
        tokio::select! {
            () = tail.done() => self.tail_done().await,
            () = until(lost_until), if matches!(self.end, End::NotYet) => self.look().await,
            batch = self.batches.recv() => {
                self.merge.live(batch.ok_or(CommandError::Closed)?);
                Ok(())
            }
            () = following::wait(self.following.as_mut()) => Ok(()),
            changed = self.client.changed(&mut self.fleet_seen),
                if is_followed && matches!(self.end, End::NotYet) =>
            {
                changed?;
                self.look().await
            }
        }
    }

    fn must_ask(&self) -> bool {
        match &self.end {
            End::Last { asked: false, .. } => true,
            // Who is gone has no tail to be asked for.
            End::Last { state: None, .. } => false,
            End::NotYet | End::Last { .. } | End::Done { .. } => self.merge.wants_tail(),
        }
    }

    /// Asks the engine that has the program for the lines from the next on.
    async fn ask(&mut self) -> Result<(), CommandError> {
        if let End::Last { asked, .. } = &mut self.end {
            *asked = true;
        }
        let options = CommandOptions::default();
        let operation = async {
            let view = self.client.program(&self.program.to_string()).await?;
            let view = self.client.reachable(view, &options).await?;
            if let Some(following) = &mut self.following {
                following.at(&view.status);
            }
            let action = Action::Logs {
                on: order::target(&view),
                since: self.merge.ask(),
                follower: self.following.as_mut().map(Following::words),
            };
            self.client.command(&view, action, &options).await
        };
        match operation.await {
            Ok(operation) => self.tail = Tail::Asked(Box::new(operation)),
            Err(error) => self.tail_failed(error)?,
        }
        Ok(())
    }

    async fn tail_done(&mut self) -> Result<(), CommandError> {
        let Tail::Asked(operation) = std::mem::replace(&mut self.tail, Tail::Idle) else {
            return Ok(());
        };
        match operation.wait().await {
            Ok(Finished {
                outcome: Outcome::Logs { lines, next },
                ..
            }) => {
                self.tail_failures = 0;
                if let Some(following) = &mut self.following {
                    following.attach(lines.first().map_or(next, |first| first.line));
                }
                // What came live before the answer is no gap, though nobody has looked at it yet.
                while let Ok(batch) = self.batches.try_recv() {
                    self.merge.live(batch);
                }
                self.merge.tail(lines, next);
                Ok(())
            }
            Ok(Finished { engine, outcome, .. }) => Err(CommandError::Unexpected {
                engine,
                verb: "logs",
                answer: format!("{outcome:?}"),
            }),
            Err(error) => self.tail_failed(error),
        }
    }

    /// A follower can do without; who wants what there is cannot.
    fn tail_failed(&mut self, error: CommandError) -> Result<(), CommandError> {
        if self.following.is_none() || error == CommandError::Closed {
            return Err(error);
        }
        if matches!(self.end, End::Last { .. }) {
            self.merge.without_tail();
            return Ok(());
        }
        self.tail_failures += 1;
        if self.tail_failures >= TAIL_TRIES_MAX {
            self.merge.without_tail();
            self.tail_failures = 0;
            self.tail = Tail::Idle;
        } else {
            self.tail = Tail::RetryAt(Instant::now() + TAIL_RETRY);
        }
        Ok(())
    }

    /// Whether the program has ended, now that the fleet view has changed.
    async fn look(&mut self) -> Result<(), CommandError> {
        let found = self.client.program(&self.program.to_string()).await;
        let state = match found {
            Ok(ProgramView { status, presence }) if status.state.is_ended() || self.is_lost(presence) => {
                Some(status.state).filter(ProgramState::is_ended)
            }
            Ok(ProgramView { status, .. }) => {
                if let Some(following) = &mut self.following {
                    following.at(&status);
                }
                return Ok(());
            }
            Err(CommandError::Lookup(LookupError::NoProgram { .. })) => None,
            Err(error) => return Err(error),
        };
        let asked = state.is_none();
        if asked {
            self.tail = Tail::Idle;
        }
        self.end = End::Last { state, asked };
        Ok(())
    }

    /// Whether its engine does not have it any more, and nobody has had it for long.
    fn is_lost(&mut self, presence: Presence) -> bool {
        self.lost_at = match presence {
            Presence::Lost => self.lost_at.or_else(|| Some(Instant::now())),
            Presence::Known | Presence::EngineOffline => None,
        };
        self.lost_at.is_some_and(|lost_at| lost_at.elapsed() >= ANEW_MAX)
    }

    /// What was on its way when the program ended.
    async fn last_batches(&mut self) -> Result<(), CommandError> {
        let deadline = Instant::now() + Duration::from_millis(SETTLE_MS);
        let gone = matches!(&self.end, End::Last { state: None, .. });
        // The tail of an ended program is complete: only one that is gone can have lines on their way.
        if gone {
            while let Ok(batch) = timeout_at(deadline, self.batches.recv()).await {
                self.merge.live(batch.ok_or(CommandError::Closed)?);
            }
            // The word of who has it now may have come after the word of who had it.
            self.end = End::NotYet;
            self.look().await?;
            if !matches!(self.end, End::Last { state: None, .. }) {
                return Ok(());
            }
        }
        self.merge.without_tail();
        if let End::Last { state, .. } = std::mem::replace(&mut self.end, End::Done { state: None }) {
            self.end = End::Done { state };
        }
        Ok(())
    }
}

/// Never, if there is no such time.
pub(crate) async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// What the tail waits for.
enum TailWait<'a> {
    Answer(&'a mut Operation),
    Until(Instant),
    Nothing,
}

impl TailWait<'_> {
    async fn done(self) {
        match self {
            Self::Answer(operation) => while operation.progressed().await.is_some() {},
            Self::Until(at) => sleep_until(at).await,
            Self::Nothing => std::future::pending().await,
        }
    }
}

/// Every event of every engine, as it comes.
#[derive(Debug)]
pub struct EventStream {
    events: mpsc::Receiver<Event>,
}

impl EventStream {
    pub(crate) fn new(events: mpsc::Receiver<Event>) -> Self {
        Self { events }
    }

    /// `None` once the client is closed. Safe to give up and call again.
    pub async fn next(&mut self) -> Option<Event> {
        self.events.recv().await
    }
}
