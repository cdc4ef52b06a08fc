//! The loop: one task owns the core, the store and the programs. Whatever happens becomes an input, the core
//! decides, and the effects are carried out in order before the next input is looked at.
//!
//! ```text
//!   link ------\                                   /--> store (durable before the next effect)
//!   programs ---+--> input --> core --> effects --+---> link's outbox
//!   work -------+                                 +---> programs
//!   clock -----/                                   \--> work on threads, which comes back as an input
//! ```
//! What always holds:
//! - The loop waits for nothing but its inputs; a small synced write is the longest thing it does itself.
//! - When the store cannot store, effects wait, in order, and are tried again; nothing is said that is not
//!   stored. What is to be discarded ends meanwhile.
//! - A command is acknowledged to the broker after its effects were carried out.

mod arriving;
mod asked;
mod assembly;
mod captures;
mod effects;
mod ending;
mod launching;
mod programs_said;
mod saying;
mod transfers;

use std::collections::{BTreeSet, VecDeque};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use wayfare_core::Core;
use wayfare_core::types::{Effect, Input, Now, Saved};
use wayfare_devices::StatusLed;
use wayfare_link::{AcknowledgeToken, Event, LinkEvents};
use wayfare_protocol::ids::{Blob, BootId, ProgramId};
use wayfare_protocol::snapshot::Snapshot;
use wayfare_protocol::status::{EngineAbout, Rival};

use super::announcing::Announced;
use super::claim::Claim;
use super::fence::Fence;
use super::fetches::Fetches;
use super::inbound::Border;
use super::leaving::Leaving;
use super::logs::{Logs, Published};
use super::metrics::{Scrape, Scrapes};
use super::numbers::Numbers;
use super::occasional::Occasional;
use super::outbound::Outbound;
use super::programs::{Programs, Said};
use super::questions::DeviceQuestions;
use super::service_requests::ServiceRequests;
use super::sessions::{SessionNews, Sessions};
use super::snapshots::Snapshots;
use super::spans;
use super::statuses::PublishedStatuses;
use super::store::Store;
use super::subscriptions::Subscriptions;
use super::supervisor::{Supervisor, Told};
use super::trust::Trust;
use super::work::{Done, Workshop};

/// How often what nobody needs is thrown away, memory in use is looked at, and the service manager hears that
/// we live: often enough for the unit's `WatchdogSec=`.
const SWEEP_INTERVAL: Duration = Duration::from_secs(5);
/// How long the store waits after it could not store.
const STORE_RETRY: Duration = Duration::from_secs(1);
/// Programs that print wait for the broker at most this long before their oldest lines are dropped instead.
const DISCONNECTED_GRACE: Duration = Duration::from_secs(10);

/// The loop and its parts. Each part owns what it knows and answers with what follows from it; only what
/// several of them take part in stands here, in the modules below.
pub(crate) struct Agent {
    core: Core,
    store: Store,
    out: Outbound,
    border: Border,
    trust: Trust,
    boot: BootId,
    about: EngineAbout,
    device_questions: DeviceQuestions,
    status_led: Option<StatusLed>,
    numbers: Numbers,
    scrapes: Scrapes,
    programs: Programs,
    snapshots: Snapshots,
    /// The last verified snapshot: usually a program starts from it at once.
    verified: Option<(Saved, Arc<Snapshot>)>,
    workshop: Workshop,
    fetches: Fetches,
    service_requests: ServiceRequests,
    work: JoinSet<Done>,
    logs: Logs,
    subscriptions: Subscriptions,
    sessions: Sessions,
    announced: Announced,
    statuses: PublishedStatuses,
    /// Inputs that effects have brought about.
    inputs: VecDeque<Input>,
    steps: VecDeque<Step>,
    /// Something was put into the store and is not committed.
    uncommitted: bool,
    times: Times,
    /// The last try to store something failed.
    is_stalled: bool,
    fence: Fence,
    claim: Claim,
    /// Who has our id and is the newer one: we end.
    taken: Option<Rival>,
    leaving: Leaving,
    /// Warnings about what others send.
    nonsense: Occasional,
    /// Why there is no broker was said since the last connection.
    no_broker_said: bool,
    /// Nothing new is begun, and the loop ends when nothing is under way.
    is_stopping: bool,
    supervisor: Supervisor,
}

/// One thing to be done, in its turn.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are effects, and few wait at a time"
)]
enum Step {
    Effect(Effect),
    /// [`Effect::KeepChunk`] with the chunk's bytes.
    Keep {
        blob: Blob,
        offset: u64,
        chunk: Bytes,
    },
    Acknowledge(AcknowledgeToken),
    /// Publish what was held back until the fence was passed, and let programs have their sessions.
    SpeakAgain,
    /// Let sessions take what comes that were connected before this message of the fence was sent.
    SessionsHeard(u64),
}

struct Times {
    begun: Instant,
    sweep: Instant,
    /// Nothing could be stored: try again then.
    retry: Option<Instant>,
    /// No broker: let programs go on printing without one from then on.
    give_up_logs: Option<Instant>,
}

impl Times {
    fn begin(now: Instant) -> Self {
        Self {
            begun: now,
            sweep: now + SWEEP_INTERVAL,
            retry: None,
            give_up_logs: Some(now + DISCONNECTED_GRACE),
        }
    }
}

/// What the loop wakes up for.
enum Happening {
    Link(Option<Event>),
    Program(Said),
    Work(Done),
    Published(Published),
    Session(SessionNews),
    Scrape(Scrape),
    Clock,
    Stop,
}

impl Agent {
    /// Runs until `stop` is ready, or everything is done after a stop has begun. The link must still be
    /// closed then.
    pub(super) async fn run(
        &mut self,
        link: &mut LinkEvents,
        said: &mut mpsc::UnboundedReceiver<Said>,
        stop: impl Future<Output = ()>,
    ) {
        let mut stop = pin!(stop);
        let mut link_is_open = true;
        self.settle();
        while !self.is_over() {
            let wake = tokio::time::Instant::from_std(self.next_wake());
            let happening = tokio::select! {
                () = &mut stop => Happening::Stop,
                event = link.next(), if link_is_open => Happening::Link(event),
                Some(said) = said.recv() => Happening::Program(said),
                Some(done) = self.work.join_next(), if !self.work.is_empty() => match done {
                    Ok(done) => Happening::Work(done),
                    Err(error) => std::panic::resume_unwind(error.into_panic()),
                },
                Some(published) = self.logs.next() => Happening::Published(published),
                news = self.sessions.next() => Happening::Session(news),
                Some(scrape) = self.scrapes.next() => Happening::Scrape(scrape),
                Some(()) = self.subscriptions.next() => {
                    self.fence.ask(&self.subscriptions, &self.out);
                    continue;
                }
                () = tokio::time::sleep_until(wake) => Happening::Clock,
            };
            match happening {
                Happening::Link(Some(event)) => self.link_event(event),
                // What is left to be done when we have yielded to another needs none.
                Happening::Link(None) if self.taken.is_some() => link_is_open = false,
                Happening::Link(None) | Happening::Stop => return,
                Happening::Program(said) => self.program_said(said),
                Happening::Work(done) => self.work_done(done),
                Happening::Published(published) => {
                    let (logs, mut ends) = self.lines();
                    logs.published(&published, &mut ends);
                }
                Happening::Session(news) => self.session_news(news),
                Happening::Scrape(scrape) => self.scraped(scrape),
                Happening::Clock => self.clock(),
            }
            self.settle();
        }
    }

    /// It was told to stop, and what it does before that is done; or another has its id.
    fn is_over(&self) -> bool {
        if self.is_stopping {
            self.is_quiet() && !self.hands_over()
        } else {
            self.taken.is_some() || self.leaving.is_over()
        }
    }

    /// Its time to leave is over, and programs are still on their way to engines that answer.
    fn hands_over(&self) -> bool {
        self.leaving.is_over() && self.core.hands_over(self.now())
    }

    fn is_quiet(&self) -> bool {
        self.work.is_empty()
            && self.steps.is_empty()
            && !self.programs.is_capturing()
            && !self.sessions.are_closing()
            && (self.logs.are_published() || !self.out.is_connected)
    }

    /// There is a broker, and programs are known to be ours.
    fn is_heard(&self) -> bool {
        self.out.is_connected && self.fence.is_passed()
    }

    fn now(&self) -> Now {
        Now(u64::try_from(self.times.begun.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    fn next_wake(&self) -> Instant {
        // What the core does in its time would only wait behind what cannot be stored.
        let core = self
            .core
            .next_wakeup()
            .filter(|_| !self.is_stalled)
            .map(|at| self.times.begun + Duration::from_micros(at.0));
        [
            core,
            self.times.retry,
            self.times.give_up_logs,
            self.logs.next_wake(),
            self.fetches.next_wake(),
            self.service_requests.next_wake(),
            self.leaving.next_wake(),
        ]
        .into_iter()
        .flatten()
        .fold(self.times.sweep, Instant::min)
    }

    /// Feeds the core and carries out what it decides until nothing is left to do.
    fn settle(&mut self) {
        loop {
            self.carry_out();
            let Some(input) = self.inputs.pop_front() else {
                return;
            };
            self.feed(input);
        }
    }

    fn feed(&mut self, input: Input) {
        let _entered = spans::of_input(&input).entered();
        tracing::trace!(?input, "input");
        let effects = self.core.handle(input, self.now());
        self.steps.extend(effects.into_iter().map(Step::Effect));
    }

    fn clock(&mut self) {
        let now = Instant::now();
        if self.times.retry.is_some_and(|at| at <= now) {
            self.times.retry = None;
        }
        if self.times.give_up_logs.is_some_and(|at| at <= now) {
            self.times.give_up_logs = None;
            self.programs.set_connected(false);
        }
        if self.logs.next_wake().is_some_and(|at| at <= now) {
            let (logs, mut ends) = self.lines();
            logs.expire_followers(now, &mut ends);
        }
        let (fetches, mut means) = self.fetches();
        let outcomes = fetches.due(now, &mut means);
        self.fetched(outcomes);
        self.fence.ask_for_sessions(&self.out);
        self.service_requests_due(now);
        self.leaving.due(now);
        if self.times.sweep <= now {
            self.times.sweep = now + SWEEP_INTERVAL;
            self.sweep(now);
        }
        if !self.is_stalled {
            self.feed(Input::Tick);
        }
    }

    fn sweep(&mut self, now: Instant) {
        self.supervisor.tell(Told::Alive);
        if !self.is_stalled {
            for (program, bytes) in self.programs.memory_changes() {
                self.inputs.push_back(Input::MemoryBytes { program, bytes });
            }
        }
        self.want_checkpoints();
        self.announce_again();
        self.snapshots.sweep(now);
        self.verified = None;
        self.workshop.modules.sweep();
        if self.work.is_empty() && self.steps.is_empty() {
            self.store.blobs.sweep(&self.core.blobs_in_use(), now);
            self.store.keep_room();
            let known: BTreeSet<ProgramId> = self
                .core
                .statuses()
                .into_iter()
                .map(|status| status.program)
                .collect();
            self.store.tails.retain(&known);
            self.forget_programs(&known);
        }
    }

    fn stall(&mut self, error: &std::io::Error) {
        self.workshop.modules.give_way(error);
        if !std::mem::replace(&mut self.is_stalled, true) {
            tracing::error!(%error, "cannot store records: everything that depends on them waits");
        }
        self.times.retry = Some(Instant::now() + STORE_RETRY);
    }

    fn stored(&mut self) {
        if std::mem::take(&mut self.is_stalled) {
            tracing::info!("records can be stored again");
        }
    }
}
