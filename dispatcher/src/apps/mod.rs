//! Applications: the service that makes what people want so, and keeps it so.
//!
//! One task owns everything: `core` decides, its records and `blobs` are kept, `timeline` tells afterwards. What the core has
//! decided is stored before it is done, and a command that was stored is given again, under the same id, by whoever acts
//! next.
//!
//! While nothing can be stored nothing is decided: what people ask is answered from what was known before, changes are
//! refused. Once there is room again a new core goes on from what is stored, as after a start.

mod blobs;
mod core;
mod object_events;
mod timeline;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, sleep_until, timeout};
use wayfare_client::Client;
use wayfare_client::Content;
use wayfare_client::Finished;
use wayfare_client::app::ask::Ask;
use wayfare_client::error::CommandError;
use wayfare_client::keys;
use wayfare_protocol::code::SecretKey;
use wayfare_protocol::command::Action;
use wayfare_protocol::dispatcher::{Answer, Answered};
use wayfare_protocol::error::Failure;
use wayfare_protocol::event::Outcome;
use wayfare_protocol::ids::{Digest, EngineId, OperationId};

use self::blobs::Blobs;
use self::core::state::State;
use self::core::{Core, CoreOptions, Effect, Ids, Input, LossOptions, Now, Serves, Trouble};
use self::timeline::Timeline;
use crate::context::Context;
use crate::durable::{FileError, RecordLog, cannot_store};
use crate::options::{RECONNECT, ServiceOptions};
use crate::requests::{Asked, Inbox};

/// What waits for time alone is looked at this often.
const TICK: Duration = Duration::from_millis(250);
/// Blobs that nobody needs any more are thrown away this often, checkpoints that others have followed among them.
const SWEEP: Duration = Duration::from_secs(20);
/// News of the fleet comes in swarms: it is looked at no more often than this.
const OBSERVE_PAUSE: Duration = Duration::from_millis(50);
/// How long one command may take: a module may have to be sent and compiled.
const COMMAND_TIME_LIMIT: Duration = Duration::from_secs(120);
const SNAPSHOT_TIME_LIMIT: Duration = Duration::from_secs(60);
/// A disk that could not be written to is tried again after this.
const RETRY: Duration = Duration::from_secs(1);
/// A message to ourselves that is not back by then is given up, and another sent.
const READ_TIME_LIMIT: Duration = Duration::from_secs(60);

/// Something that was waited for beside requests.
#[expect(clippy::large_enum_variant, reason = "one at a time, and taken apart at once")]
enum Done {
    Settled {
        operation: OperationId,
        result: Result<Finished, CommandError>,
    },
    /// All that was there for us at that time has been read; `None`: nobody can tell.
    Read(Option<u64>),
}

struct Service {
    context: Context,
    core: Core,
    log: RecordLog,
    blobs: Blobs,
    timeline: Timeline,
    work: JoinSet<Done>,
    /// Commands that the work in hand waits for.
    under_way: BTreeSet<OperationId>,
    /// What was seen of the fleet.
    seen: u64,
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
    service.serve(&mut inbox).await;
    service.work.shutdown().await;
}

impl Service {
    fn open(context: Context) -> Result<Self, FileError> {
        let log = RecordLog::open(&context.place, context.term)?;
        let blobs = Blobs::open(&context.place.join("blobs"))?;
        let timeline = Timeline::open(&context.place.join("events"), context.term)?;
        let begun = Instant::now();
        let (core, effects) = new_core(&context, &log, begun);
        let mut service = Self {
            core,
            log,
            blobs,
            timeline,
            work: JoinSet::new(),
            under_way: BTreeSet::new(),
            seen: 0,
            begun,
            reading: Reading::Idle,
            failing: None,
            context,
        };
        service.carry_out_or_fail(effects);
        Ok(service)
    }

    async fn serve(&mut self, inbox: &mut Inbox) {
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
                    Some(asked) => self.asked(asked),
                    None => return,
                },
                changed = changed(&client, &mut self.seen, observe_at), if decides => match changed {
                    Ok(()) => {
                        self.observe().await;
                        observe_at = Instant::now() + OBSERVE_PAUSE;
                    }
                    Err(_) => return,
                },
                Some(done) = self.work.join_next(), if decides && !self.work.is_empty() => match done {
                    Ok(done) => self.done(done).await,
                    Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                    Err(_) => {}
                },
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
        if let Ok(fleet) = self.context.client.fleet().await {
            self.feed(Input::Observed {
                engines: fleet.engines,
                programs: fleet.programs,
            });
        }
    }

    fn tick(&mut self) {
        self.feed(Input::Tick);
        self.timeline.tidy();
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
        let effects = self.core.handle(input, now(self.begun));
        self.carry_out_or_fail(effects);
    }

    fn carry_out_or_fail(&mut self, effects: Vec<Effect>) {
        if let Err(error) = self.carry_out(effects) {
            self.fail(error);
        }
    }

    /// Everything that is to be stored is durable before anything is done, or nothing is done.
    fn carry_out(&mut self, effects: Vec<Effect>) -> Result<(), FileError> {
        for effect in &effects {
            match effect {
                Effect::Store { key, json } => self.log.put(key, json.clone()),
                // Whoever forgets that there was one must not leave it behind.
                Effect::Tombstone {
                    program,
                    stands: false,
                } => self.context.client.set_tombstone(*program, false),
                _ => {}
            }
        }
        self.log.commit()?;
        for effect in effects {
            match effect {
                Effect::Store { .. } | Effect::Tombstone { stands: false, .. } => {}
                Effect::Begin {
                    operation,
                    engine,
                    action,
                } => self.begin(operation, engine, *action),
                Effect::Tombstone {
                    program,
                    stands: true,
                } => self.context.client.set_tombstone(program, true),
                Effect::Left {
                    engine,
                    request,
                    left,
                } => {
                    let answer = Answer {
                        request,
                        term: self.context.term,
                        answer: Answered::Done(serde_json::json!({ "left": left })),
                    };
                    self.context.client.try_answer(engine, &answer);
                }
                Effect::Ask { engines } => {
                    self.context.client.ask_reports(engines);
                    self.read();
                }
                Effect::Tell(mut decision) => {
                    if let Err(error) = self.timeline.add(&mut decision) {
                        tracing::warn!(%error, "an event is not kept");
                    }
                    tracing::info!(kind = decision.kind, "{}", decision.text);
                    self.context.client.say_decision(&decision);
                }
            }
        }
        // Before anybody is answered.
        self.timeline.flush();
        Ok(())
    }

    fn fail(&mut self, error: FileError) {
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
        let (core, effects) = new_core(&self.context, &self.log, self.begun);
        self.core = core;
        self.failing = None;
        // All that happened meanwhile is news.
        self.seen = 0;
        self.carry_out_or_fail(effects);
    }

    fn begin(&mut self, operation: OperationId, engine: EngineId, action: Action) {
        if !self.under_way.insert(operation) {
            // Its answer is still waited for.
            return;
        }
        let (blobs, known, limit) = match &action {
            Action::Run { spec, snapshot, .. } => {
                let wanted = spec.blobs().chain(*snapshot);
                let found = wanted.filter_map(|blob| Some((blob.digest, self.blobs.read(blob.digest)?)));
                (found.collect(), BTreeSet::new(), COMMAND_TIME_LIMIT)
            }
            // What its program is made of is here, or it would not run.
            Action::Snapshot { .. } => (BTreeMap::new(), self.core.blobs_in_use(), SNAPSHOT_TIME_LIMIT),
            _ => (BTreeMap::new(), BTreeSet::new(), COMMAND_TIME_LIMIT),
        };
        let blobs: BTreeMap<Digest, Content> = blobs;
        let client = self.context.client.clone();
        self.work.spawn(async move {
            let order = client.order(operation, engine, action, blobs, known, limit).await;
            let result = match order {
                Ok(order) => order.wait().await,
                Err(error) => Err(error),
            };
            Done::Settled { operation, result }
        });
    }

    async fn done(&mut self, done: Done) {
        let (operation, result) = match done {
            Done::Read(sent_ms) => {
                if std::mem::replace(&mut self.reading, Reading::Idle) == Reading::AndAgain {
                    self.read();
                }
                let Some(sent_ms) = sent_ms else { return };
                // What was read is in the view by now, and must be seen before anything is made of what is not.
                self.observe().await;
                if self.failing.is_none() {
                    self.feed(Input::Read { sent_ms });
                }
                return;
            }
            Done::Settled { operation, result } => (operation, result),
        };
        self.under_way.remove(&operation);
        let result = match result {
            Ok(finished) => match self.keep_snapshot(&finished) {
                Ok(()) => Ok(finished.outcome),
                Err(error) => Err(Trouble::Unknown(format!("its snapshot cannot be kept: {error}"))),
            },
            Err(CommandError::Failed { failure, .. } | CommandError::Refused(failure)) => {
                // It was not done, and is told again in the term that follows.
                if let Failure::StaleTerm { actual, .. } = failure
                    && self.context.has_heard_of(actual)
                {
                    return;
                }
                Err(Trouble::Failed(failure))
            }
            Err(other) => Err(Trouble::Unknown(other.to_string())),
        };
        self.feed(Input::Settled { operation, result });
    }

    fn keep_snapshot(&mut self, finished: &Finished) -> Result<(), FileError> {
        if let Outcome::Captured { snapshot, .. } = &finished.outcome
            && let Some(bytes) = finished.blobs.get(&snapshot.digest)
        {
            self.blobs.keep(snapshot.digest, bytes)?;
        }
        Ok(())
    }

    fn asked(&mut self, asked: Asked) {
        let answer = match asked.read::<Ask>() {
            Err(failure) => Err(failure),
            Ok(Ask::Lacks { blobs }) => {
                for blob in &blobs {
                    self.blobs.spare(blob.digest);
                }
                let lacking: Vec<_> = blobs
                    .into_iter()
                    .filter(|blob| !self.blobs.has(blob.digest))
                    .collect();
                Ok(serde_json::json!(lacking))
            }
            Ok(Ask::Put { blob, offset, hex }) => self.blobs.put(blob, offset, &hex).map(Into::into),
            Ok(Ask::Events { since_ms, after }) => {
                let read = self.timeline.read(since_ms, after);
                read.map(|decisions| serde_json::json!(decisions))
                    .map_err(|error| Failure::Internal {
                        reason: format!("the dispatcher cannot read its events: {error}"),
                    })
            }
            Ok(Ask::Apply { spec, .. }) if self.lacks_any(&spec).is_some() => {
                let missing = self
                    .lacks_any(&spec)
                    .map_or_else(String::new, |digest| digest.short());
                Err(Failure::BadRequest {
                    reason: format!("the dispatcher has no blob {missing}: send it first"),
                })
            }
            Ok(ask) => self.asked_core(ask),
        };
        asked.answer(answer);
    }

    fn asked_core(&mut self, ask: Ask) -> Result<serde_json::Value, Failure> {
        let is_change = ask.is_change();
        match &self.failing {
            Some(failing) if is_change => return Err(cannot_store(&failing.error)),
            // As it was known when something could still be decided.
            Some(failing) => return self.core.clone().ask(ask, failing.since).0,
            None => {}
        }
        let before = is_change.then(|| self.core.clone());
        let (answer, effects) = self.core.ask(ask, now(self.begun));
        let Err(error) = self.carry_out(effects) else {
            return answer;
        };
        let failure = cannot_store(&error);
        self.fail(error);
        match before {
            Some(before) => {
                self.core = before;
                Err(failure)
            }
            None => answer,
        }
    }

    fn lacks_any(&self, spec: &wayfare_client::app::AppSpec) -> Option<Digest> {
        let blobs = spec
            .components
            .values()
            .flat_map(wayfare_client::app::ComponentSpec::blobs);
        blobs
            .map(|blob| blob.digest)
            .find(|digest| !self.blobs.has(*digest))
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
        memory_mark_percent: options.memory_mark_percent,
        processor_mark_percent: options.processor_mark_percent,
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
