//! Looks at the fleet for everybody: one task that has the latest view, tells watchers what changes, and asks
//! the acting dispatcher no more often than somebody wants to know.
//!
//! ```text
//!                 nobody watches            a change, and a pause
//!    (view is made when asked for)  <--->  (view is made, and what differs is sent to all)
//! ```
//! What always holds: a change costs one look for all watchers together; a look that took long is followed by
//! a longer pause; who does not keep up is told to begin anew, and nothing is kept for it beyond one queue
//! that all share.

mod known;
pub(crate) mod view;

use std::collections::VecDeque;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use serde_json::{Value, json};
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use wayfare_client::app::ask::Decision;
use wayfare_client::problem::Problem;
use wayfare_client::{Client, CommandError, Report, documents};
use wayfare_protocol::event::Event;

use self::known::Known;
use self::view::View;

const QUEUE_MAX: usize = 256;
/// Messages that a watcher may be behind: one that does not read holds these.
const BEHIND_MAX: usize = 256;
/// Messages that are kept for a watcher that comes back,
const KEPT_MAX: usize = 1024;
/// and their bytes.
const KEPT_BYTES_MAX: usize = 8 << 20;
/// Changes of this time are told together.
const PAUSE_MIN: Duration = Duration::from_millis(40);
/// A look may take this part of the time.
const LOOK_SHARE: u32 = 5;
/// What the dispatcher knows is asked for again after this, if somebody wants to know,
const KNOWN_FRESH: Duration = Duration::from_secs(2);
/// or watches.
const KNOWN_PERIOD: Duration = Duration::from_secs(10);
/// Engines are asked whether they are there this often, while somebody watches,
const REPORT_PERIOD: Duration = Duration::from_secs(10);
/// and may take so long.
const REPORT_TIMEOUT: Duration = Duration::from_secs(3);

/// The handle; the task ends when nobody has one.
#[derive(Debug, Clone)]
pub(crate) struct Hub {
    queue: mpsc::Sender<ToHub>,
}

#[derive(Debug)]
enum ToHub {
    Look(oneshot::Sender<Arc<View>>),
    Watch {
        /// The last message that it had.
        last: Option<Id>,
        answer: oneshot::Sender<Watching>,
    },
    /// An order was given: what the dispatcher knows may be something else now.
    Stale,
}

/// Names a message: of which hub, and the how many-th.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Id {
    pub(crate) hub: u64,
    pub(crate) number: u64,
}

#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) id: Id,
    pub(crate) event: &'static str,
    pub(crate) data: Arc<str>,
}

/// What a watcher begins with.
#[derive(Debug)]
pub(crate) enum Beginning {
    /// Everything, as it was after this message.
    Anew(Id, Arc<View>),
    /// What it has missed.
    Missed(Vec<Message>),
}

#[derive(Debug)]
pub(crate) struct Watching {
    pub(crate) beginning: Beginning,
    pub(crate) next: broadcast::Receiver<Message>,
}

impl Hub {
    pub(crate) async fn start(client: Client) -> Result<Self, Problem> {
        let (queue, queue_end) = mpsc::channel(QUEUE_MAX);
        let events = client.events().await?;
        let decisions = client.decisions().await?;
        let mut id = [0; 8];
        getrandom::fill(&mut id).map_err(|error| Problem::new("random", error.to_string()))?;
        let task = Task {
            last: Id {
                // Numbers that JavaScript keeps whole.
                hub: u64::from_le_bytes(id) >> 12,
                number: 0,
            },
            client,
            view: Arc::default(),
            kept: VecDeque::new(),
            kept_bytes: 0,
            next: broadcast::channel(BEHIND_MAX).0,
            known: Known::default(),
            known_at: None,
            asking: None,
            reporting: None,
            report: None,
            asks: 0,
            looks: Vec::new(),
            watches: Vec::new(),
            due: None,
            rest: Instant::now(),
        };
        tokio::spawn(task.run(queue_end, events, decisions));
        Ok(Self { queue })
    }

    /// The fleet as it is now.
    pub(crate) async fn look(&self) -> Result<Arc<View>, Problem> {
        let (answer, view) = oneshot::channel();
        self.tell(ToHub::Look(answer)).await?;
        view.await.map_err(|_| closed())
    }

    pub(crate) async fn watch(&self, last: Option<Id>) -> Result<Watching, Problem> {
        let (answer, watching) = oneshot::channel();
        self.tell(ToHub::Watch { last, answer }).await?;
        watching.await.map_err(|_| closed())
    }

    /// An order was given.
    pub(crate) async fn stale(&self) -> Result<(), Problem> {
        self.tell(ToHub::Stale).await
    }

    async fn tell(&self, message: ToHub) -> Result<(), Problem> {
        self.queue.send(message).await.map_err(|_| closed())
    }
}

fn closed() -> Problem {
    CommandError::Closed.into()
}

struct Task {
    client: Client,
    last: Id,
    /// As watchers have it, while there are any.
    view: Arc<View>,
    kept: VecDeque<Message>,
    kept_bytes: usize,
    next: broadcast::Sender<Message>,
    known: Known,
    known_at: Option<Instant>,
    asking: Option<BoxFuture<'static, Option<Known>>>,
    reporting: Option<BoxFuture<'static, Option<Report>>>,
    report: Option<Report>,
    /// How often it has been asked,
    asks: u64,
    /// and who waits, each for the answer to this or a later one: to no earlier than the last order.
    looks: Vec<(u64, oneshot::Sender<Arc<View>>)>,
    watches: Vec<(u64, Option<Id>, oneshot::Sender<Watching>)>,
    /// When the next look is to be told.
    due: Option<Instant>,
    /// No earlier than this: the last one took its time.
    rest: Instant,
}

impl Task {
    async fn run(
        mut self,
        mut queue: mpsc::Receiver<ToHub>,
        mut events: wayfare_client::EventStream,
        mut decisions: mpsc::Receiver<Decision>,
    ) {
        let mut reports = interval(REPORT_PERIOD);
        reports.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut seen = 0;
        loop {
            let is_watched = self.is_watched();
            let due = self.due.unwrap_or_else(Instant::now);
            tokio::select! {
                message = queue.recv() => match message {
                    Some(message) => self.message(message).await,
                    None => return,
                },
                known = polled(&mut self.asking) => self.was_answered(known).await,
                report = polled(&mut self.reporting) => {
                    (self.reporting, self.report) = (None, report);
                    self.is_due(Duration::ZERO);
                }
                changed = self.client.changed(&mut seen), if is_watched && self.due.is_none() => match changed {
                    Ok(()) => self.is_due(PAUSE_MIN),
                    Err(_) => return,
                },
                () = sleep_until(due), if self.due.is_some() => self.publish_changes().await,
                event = events.next() => match event {
                    Some(event) if is_watched => self.publish_event(&event),
                    Some(_) => {}
                    None => return,
                },
                decision = decisions.recv() => match decision {
                    Some(decision) if is_watched => {
                        self.publish("decision", &documents::decision(&decision));
                        self.known_at = None;
                        self.ask();
                    }
                    Some(_) => self.known_at = None,
                    None => return,
                },
                _ = reports.tick(), if is_watched && self.reporting.is_none() => self.ask_for_reports(),
            }
        }
    }

    async fn message(&mut self, message: ToHub) {
        let is_asked = self.asking.is_some() && self.known_at.is_some();
        let ask = self.asks + u64::from(!is_asked && !self.is_known());
        match message {
            ToHub::Look(answer) => self.looks.push((ask, answer)),
            ToHub::Watch { last, answer } => self.watches.push((ask, last, answer)),
            ToHub::Stale => {
                self.known_at = None;
                if self.is_watched() {
                    self.ask();
                }
                return;
            }
        }
        if self.is_known() {
            self.answer().await;
        } else {
            self.ask();
        }
    }

    fn is_watched(&self) -> bool {
        self.next.receiver_count() > 0
    }

    /// What the dispatcher has said is as good as new.
    fn is_known(&self) -> bool {
        let fresh = if self.is_watched() {
            KNOWN_PERIOD
        } else {
            KNOWN_FRESH
        };
        self.asking.is_none() && self.known_at.is_some_and(|at| at.elapsed() < fresh)
    }

    fn is_due(&mut self, pause: Duration) {
        let at = (Instant::now() + pause).max(self.rest);
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    fn ask(&mut self) {
        if self.asking.is_none() {
            let client = self.client.clone();
            self.asks += 1;
            // What is ordered from now on may come too late for this answer.
            self.known_at = Some(Instant::now());
            self.asking = Some(Box::pin(async move { Known::ask(&client).await }));
        }
    }

    fn ask_for_reports(&mut self) {
        let client = self.client.clone();
        self.reporting = Some(Box::pin(async move {
            client.request_status_reports(REPORT_TIMEOUT).await.ok()
        }));
        if !self.is_known() {
            self.ask();
        }
    }

    async fn was_answered(&mut self, known: Option<Known>) {
        self.asking = None;
        self.known = known.unwrap_or_default();
        self.answer().await;
        // Those who have come after an order that was given meanwhile.
        if !(self.looks.is_empty() && self.watches.is_empty()) {
            self.ask();
        }
        if self.is_watched() {
            self.is_due(Duration::ZERO);
        }
    }

    async fn answer(&mut self) {
        if self.looks.is_empty() && self.watches.is_empty() {
            return;
        }
        let Some(view) = self.look().await else { return };
        let asks = self.asks;
        for (_, look) in self.looks.extract_if(.., |(ask, _)| *ask <= asks) {
            // It has gone away.
            let _ = look.send(view.clone());
        }
        let watches: Vec<_> = self.watches.extract_if(.., |(ask, ..)| *ask <= asks).collect();
        for (_, last, answer) in watches {
            if !self.is_watched() {
                // Nobody was told what has changed until now: who was here before begins anew.
                (self.view, self.kept, self.kept_bytes) = (view.clone(), VecDeque::new(), 0);
                self.last.number += 1;
            }
            let beginning = match last.and_then(|last| self.missed(last)) {
                Some(missed) => Beginning::Missed(missed),
                None => Beginning::Anew(self.last, self.view.clone()),
            };
            let next = self.next.subscribe();
            let _ = answer.send(Watching { beginning, next });
        }
        self.is_due(PAUSE_MIN);
    }

    /// What came after this message, if all of it is kept.
    fn missed(&self, last: Id) -> Option<Vec<Message>> {
        let is_kept = self
            .kept
            .front()
            .is_some_and(|first| first.id.number <= last.number + 1);
        (last == self.last || last.hub == self.last.hub && is_kept && last.number < self.last.number).then(
            || {
                let after = |message: &&Message| message.id.number > last.number;
                self.kept.iter().filter(after).cloned().collect()
            },
        )
    }

    async fn look(&mut self) -> Option<Arc<View>> {
        let fleet = self.client.fleet().await.ok()?;
        Some(Arc::new(View::new(fleet, &self.known, self.report.as_ref())))
    }

    async fn publish_changes(&mut self) {
        let begun = Instant::now();
        self.due = None;
        if !self.is_watched() {
            return;
        }
        let Some(view) = self.look().await else { return };
        for change in self.view.changes(&view) {
            self.publish("change", &change);
        }
        self.view = view;
        self.rest = Instant::now() + begun.elapsed() * LOOK_SHARE;
    }

    /// Of orders; what is asked about logs and reports is nobody's order.
    fn publish_event(&mut self, event: &Event) {
        if !matches!(event.verb.as_str(), "logs" | "report") {
            self.publish("operation", &json!(event));
        }
    }

    fn publish(&mut self, event: &'static str, document: &Value) {
        self.last.number += 1;
        let message = Message {
            id: self.last,
            event,
            data: document.to_string().into(),
        };
        self.kept_bytes += message.data.len();
        self.kept.push_back(message.clone());
        while self.kept.len() > KEPT_MAX || self.kept_bytes > KEPT_BYTES_MAX {
            let Some(oldest) = self.kept.pop_front() else {
                break;
            };
            self.kept_bytes -= oldest.data.len();
        }
        // The last watcher may have gone away meanwhile.
        let _ = self.next.send(message);
    }
}

async fn polled<T>(future: &mut Option<BoxFuture<'static, T>>) -> T {
    match future {
        Some(future) => future.await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests;
