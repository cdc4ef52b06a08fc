//! Applications: the service that makes what people want so, and keeps it so.
//!
//! One task owns everything: `core` decides, its records and `blobs` are kept, `timeline` tells afterwards.
//! What the core has decided is stored before it is done, and a command that was stored is given again, under
//! the same id, by whoever acts next.
//!
//! While nothing can be stored nothing is decided: what people ask is answered from what was known before,
//! changes are refused. Once there is room again a new core goes on from what is stored, as after a start.

mod ages;
mod alarms;
mod answers;
mod effects;
mod taking;
mod watches;

mod blobs;
mod known;
mod object_events;
mod timeline;

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, sleep_until, timeout};
use wayfare_client::Client;
use wayfare_client::Finished;
use wayfare_client::error::CommandError;
use wayfare_client::keys;
use wayfare_protocol::code::SecretKey;
use wayfare_protocol::error::Failure;
use wayfare_protocol::ids::{EngineId, OperationId};

use self::ages::KeptAges;
use self::alarms::Alarms;
use self::blobs::Blobs;
use self::known::KnownEngines;
use self::taking::{Came, Takings};
use self::timeline::Timeline;
use self::watches::Watches;
use crate::context::{Context, Note};
use crate::durable::{FileError, RecordLog};
use crate::options::{RECONNECT, ServiceOptions};
use crate::questions::KnownAsk;
use crate::requests::Inbox;
use wayfare_dispatcher_core::alarms::clocks::ClockReading;
use wayfare_dispatcher_core::apps::state::State;
use wayfare_dispatcher_core::apps::{
    COMMAND_MS_MAX, Core, CoreOptions, Effect, Ids, Input, LossOptions, Now, Serves,
};
use wayfare_fleet::placing::Marks;

/// What waits for time alone is looked at this often.
const TICK: Duration = Duration::from_millis(250);
/// Blobs that nobody needs any more are thrown away this often, checkpoints that others have followed among
/// them.
const SWEEP: Duration = Duration::from_secs(20);
/// News of the fleet comes in swarms: it is looked at no more often than this.
const OBSERVE_PAUSE: Duration = Duration::from_millis(50);
/// And it is left alone for so many times as long as looking and deciding took: then there is time for
/// whoever asks.
const OBSERVE_SHARE: u32 = 3;
/// Commands whose ends are taken in together: they are decided on and stored once.
const SETTLED_MAX: usize = 256;
const COMMAND_TIME_LIMIT: Duration = Duration::from_millis(COMMAND_MS_MAX);
const SNAPSHOT_TIME_LIMIT: Duration = Duration::from_secs(60);
/// A disk that could not be written to is tried again after this.
const RETRY: Duration = Duration::from_secs(1);
/// A message to ourselves that is not back by then is given up, and another sent.
const READ_TIME_LIMIT: Duration = Duration::from_secs(60);

/// What is stored here, in alarms.
const APPLICATIONS: &str = "applications";

/// Something that was waited for beside requests.
enum Done {
    Settled {
        operation: OperationId,
        result: Result<Finished, CommandError>,
    },
    /// All that was there for us at that time has been read; `None`: nobody can tell.
    Read(Option<u64>),
    /// An engine was asked for its clock.
    Clock {
        engine: EngineId,
        reading: Option<ClockReading>,
    },
    /// A blob that was pulled.
    Came(Came),
    /// What there is to say to callers of programs has been said.
    Announced,
}

struct Service {
    context: Context,
    core: Core,
    log: RecordLog,
    blobs: Blobs,
    takings: Takings,
    timeline: Timeline,
    alarms: Alarms,
    watches: Watches,
    known: KnownEngines,
    ages: KeptAges,
    work: JoinSet<Done>,
    /// Commands that the work in hand waits for.
    under_way: BTreeSet<OperationId>,
    /// What was seen of the fleet: the last news of it,
    seen: u64,
    /// and the last look at it. 0: everything is news.
    looked: u64,
    begun: Instant,
    reading: Reading,
    failing: Option<Failing>,
}

/// Whether a message of ours to ourselves is on its way, behind which everything earlier has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    Idle,
    UnderWay,
    /// And another is wanted behind it.
    AndAgain,
}

/// The core is ahead of what could be stored: nothing is decided until it is built anew.
struct Failing {
    error: FileError,
    since: Now,
    retry_at: Instant,
}

pub(crate) async fn run(context: Context, mut inbox: Inbox) {
    let mut service = loop {
        let error = match Service::open(context.clone()) {
            Ok(service) => break service,
            Err(error) => error,
        };
        tracing::error!(%error, "no applications: the dispatcher's folder cannot be read");
        let until = Instant::now() + RETRY;
        while let Ok(asked) = tokio::time::timeout_at(until, inbox.recv()).await {
            let Some(asked) = asked else { return };
            let reason = format!("the dispatcher keeps no applications: {error}");
            asked.answer(Err(Failure::Internal { reason }));
        }
    };
    let mut notes = service.context.notes.receiver().await;
    let mut lists = service.context.known.receiver().await;
    service.serve(&mut inbox, &mut notes, &mut lists).await;
    service.work.shutdown().await;
}

impl Service {
    fn open(context: Context) -> Result<Self, FileError> {
        let log = RecordLog::open(&context.place, context.term)?;
        let blobs = Blobs::open(&context.place.join("blobs"))?;
        let timeline = Timeline::open(&context.place.join("events"), context.term)?;
        let begun = Instant::now();
        let ages = KeptAges::open(&context.place.join("programs"), context.term)?;
        let (mut core, effects) = new_core(&context, &log, begun);
        core.recall_programs(ages.all());
        let mut service = Self {
            core,
            log,
            blobs,
            takings: Takings::default(),
            timeline,
            alarms: Alarms::open(&context.place.join("alarms"), context.term)?,
            watches: Watches::new(&context.options),
            known: KnownEngines::open(&context.place.join("engines"), context.term)?,
            ages,
            work: JoinSet::new(),
            under_way: BTreeSet::new(),
            seen: 0,
            looked: 0,
            begun,
            reading: Reading::Idle,
            failing: None,
            context,
        };
        service.stored(APPLICATIONS, &Ok(()));
        if let Some(outage) = service.context.outage {
            service.broker_was_lost(outage);
        }
        service.carry_out_or_fail(effects);
        Ok(service)
    }

    async fn serve(
        &mut self,
        inbox: &mut Inbox,
        notes: &mut mpsc::Receiver<Note>,
        lists: &mut mpsc::Receiver<KnownAsk>,
    ) {
        let mut ticks = tokio::time::interval(TICK);
        let mut sweeps = tokio::time::interval(SWEEP);
        for timer in [&mut ticks, &mut sweeps] {
            timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        let client = self.context.client.clone();
        let mut observe_at = Instant::now();
        loop {
            let decides = self.failing.is_none();
            tokio::select! {
                asked = inbox.recv() => match asked {
                    Some(asked) => {
                        // Who asks may have seen more of the fleet than this has looked at.
                        if decides {
                            self.observe().await;
                        }
                        self.asked(asked);
                    }
                    None => return,
                },
                // Those who want something told are there as long as this is.
                Some(note) = notes.recv() => self.noted(note),
                Some(ask) = lists.recv() => {
                    let is_first = matches!(&ask, KnownAsk::Programs { look, .. } if look.is_first);
                    if decides && is_first {
                        self.observe().await;
                    }
                    self.tell_what_is_known(ask);
                }
                changed = changed(&client, &mut self.seen, observe_at), if decides => match changed {
                    Ok(()) => {
                        let begun = Instant::now();
                        self.observe().await;
                        observe_at = Instant::now() + OBSERVE_PAUSE.max(begun.elapsed() * OBSERVE_SHARE);
                    }
                    Err(_) => return,
                },
                Some(done) = self.work.join_next(), if decides && !self.work.is_empty() => {
                    self.all_done(done).await;
                }
                _ = ticks.tick() => match &self.failing {
                    None => self.tick(),
                    Some(failing) if failing.error.is_succeeded() => {
                        return tracing::warn!("another dispatcher has the applications now");
                    }
                    Some(failing) if failing.retry_at <= Instant::now() => self.try_again(),
                    Some(_) => {}
                },
                _ = sweeps.tick(), if decides => {
                    self.sweep();
                }
            }
        }
    }

    fn tell_what_is_known(&self, ask: KnownAsk) {
        // Whoever asked may have given up.
        match ask {
            KnownAsk::Programs { look, answer } => {
                let programs = self
                    .core
                    .programs_after(look.after, look.count, look.recent_at_ms);
                let counted = look.recent_at_ms.filter(|_| look.is_first);
                let hidden = counted.map_or(0, |now_ms| self.core.ended_long_ago(now_ms));
                let _ = answer.send((programs, hidden));
            }
            KnownAsk::Marks { answer } => drop(answer.send(self.core.marks().clone())),
        }
    }

    /// Throws away blobs that nobody needs, as long as nobody else has the store: another may need them.
    fn sweep(&mut self) {
        let needed = self.core.blobs_in_use();
        let log = &mut self.log;
        let swept = self
            .blobs
            .sweep(|digest| needed.contains(&digest), || log.probe());
        if let Err(error) = swept {
            tracing::warn!(%error, "blobs that nobody needs stay");
        }
    }

    async fn observe(&mut self) {
        // Where it is closed, the next change is its end.
        if let Ok(changes) = self.context.client.fleet_changes(self.looked).await {
            self.looked = changes.revision;
            self.see_who_joined(&changes.engines);
            self.feed(Input::Observed(changes));
        }
    }

    fn tick(&mut self) {
        self.feed(Input::Tick);
        self.see_to_alarms();
        self.timeline.tidy();
        if let Err(error) = self.ages.keep(&mut self.core) {
            tracing::warn!(%error, "since when programs are there is not kept yet");
        }
        if self.core.awaits_reading() && self.reading == Reading::Idle {
            self.read();
        }
    }

    /// Finds out what has been read, behind whatever was asked by now.
    fn read(&mut self) {
        if self.reading != Reading::Idle {
            self.reading = Reading::AndAgain;
            return;
        }
        self.reading = Reading::UnderWay;
        let client = self.context.client.clone();
        let sent_ms = now(self.begun).ms;
        self.work.spawn(async move {
            let read = timeout(READ_TIME_LIMIT, client.read_all()).await;
            Done::Read(matches!(read, Ok(Ok(()))).then_some(sent_ms))
        });
    }

    fn feed(&mut self, input: Input) {
        self.feed_all([input]);
    }

    fn feed_all(&mut self, inputs: impl IntoIterator<Item = Input>) {
        let effects = self.core.handle_all(inputs, now(self.begun));
        self.carry_out_or_fail(effects);
    }

    fn carry_out_or_fail(&mut self, effects: Vec<Effect>) {
        if let Err(error) = self.carry_out(effects) {
            self.fail(error);
        }
    }

    fn fail(&mut self, error: FileError) {
        self.stored(APPLICATIONS, &Err(error.clone()));
        tracing::error!(%error, "applications cannot be stored: nothing is decided, and changes are refused");
        let since = self
            .failing
            .as_ref()
            .map_or_else(|| now(self.begun), |failing| failing.since);
        self.failing = Some(Failing {
            error,
            since,
            retry_at: Instant::now() + RETRY,
        });
    }

    /// Goes on from what is stored, if the disk can be written to again.
    fn try_again(&mut self) {
        if let Err(error) = self.log.probe() {
            return self.fail(error);
        }
        tracing::info!("applications can be stored again");
        self.stored(APPLICATIONS, &Ok(()));
        let (core, effects) = new_core(&self.context, &self.log, self.begun);
        self.core = core;
        self.core.recall_programs(self.ages.all());
        self.failing = None;
        // All that happened meanwhile is news.
        (self.seen, self.looked) = (0, 0);
        self.carry_out_or_fail(effects);
    }
}

/// Goes on from what is stored.
fn new_core(context: &Context, log: &RecordLog, begun: Instant) -> (Core, Vec<Effect>) {
    let options = &context.options;
    let core_options = CoreOptions {
        term: context.term,
        policy: options.policy,
        loss: LossOptions {
            poll_ms: millis(options.poll),
            late_ms: millis(options.late_after),
            lost_ms: millis(options.lost_after),
            grace_ms: millis(options.grace),
            reconnect_ms: millis(RECONNECT),
        },
        marks: Marks {
            memory_percent: options.memory_mark_percent,
            processor_percent: options.processor_mark_percent,
        },
        serves: serves(options),
    };
    Core::new(core_options, State::read(log.records()), new_ids(), now(begun))
}

/// Ids that no core before has drawn.
fn new_ids() -> Ids {
    let halves = [OperationId::random(), OperationId::random()].map(|id| id.to_bytes());
    let mut seed = [0; 32];
    seed.as_chunks_mut().0.copy_from_slice(&halves);
    Ids::new(seed)
}

/// What the registry serves to engines that do not compile.
fn serves(options: &ServiceOptions) -> Option<Serves> {
    if options.compilers.is_empty() {
        return None;
    }
    match keys::load_or_init(&keys::key_path(&options.data)) {
        Ok(keys) => Some(Serves {
            compilers: options.compilers.abouts(),
            keys: keys.iter().map(SecretKey::public).collect(),
        }),
        Err(error) => {
            tracing::warn!(%error, "applications: engines without a compiler get nothing");
            None
        }
    }
}

/// The next change, not before its time.
async fn changed(client: &Client, seen: &mut u64, at: Instant) -> Result<(), CommandError> {
    sleep_until(at).await;
    client.changed(seen).await
}

fn now(begun: Instant) -> Now {
    let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Now {
        ms: millis(begun.elapsed()),
        wall_ms: wall.map_or(0, millis),
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
