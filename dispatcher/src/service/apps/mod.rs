//! Applications: the service that makes what people want so, and keeps it so.
//!
//! One task owns everything: `core` decides, `journal` and `blobs` keep, `timeline` tells afterwards. What the core has
//! decided is stored before it is done, and a command that was stored is given again, under the same id, by whoever acts
//! next.

mod blobs;
mod core;
pub(super) mod journal;
mod timeline;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, sleep_until};
use wayfare_protocol::code::SecretKey;
use wayfare_protocol::command::Action;
use wayfare_protocol::error::Failure;
use wayfare_protocol::event::Outcome;
use wayfare_protocol::ids::{Digest, EngineId, OperationId};

use self::blobs::Blobs;
use self::core::state::State;
use self::core::{Core, CoreOptions, Effect, Input, Now, Serves, Trouble};
use self::journal::Journal;
use self::timeline::Timeline;
use super::{Asked, Context, Inbox, ServiceOptions};
use crate::app::ask::Ask;
use crate::core::{Finished, Report};
use crate::dispatcher::Dispatcher;
use crate::error::CommandError;
use crate::keys;
use crate::transfer::Content;

/// What waits for time alone is looked at this often.
const TICK: Duration = Duration::from_millis(250);
/// Blobs that nobody needs any more are thrown away this often, checkpoints that others have followed among them.
const SWEEP: Duration = Duration::from_secs(20);
/// News of the fleet comes in swarms: it is looked at no more often than this.
const OBSERVE_PAUSE: Duration = Duration::from_millis(50);
/// How long one command may take: a module may have to be sent and compiled.
const COMMAND_TIME_LIMIT: Duration = Duration::from_secs(120);
const SNAPSHOT_TIME_LIMIT: Duration = Duration::from_secs(60);

/// Something that was waited for beside requests.
#[expect(clippy::large_enum_variant, reason = "one at a time, and taken apart at once")]
enum Done {
    Settled {
        operation: OperationId,
        result: Result<Finished, CommandError>,
    },
    Reported(Option<Report>),
}

struct Service {
    context: Context,
    core: Core,
    journal: Journal,
    blobs: Blobs,
    timeline: Timeline,
    work: JoinSet<Done>,
    begun: Instant,
}

pub(super) async fn run(context: Context, mut inbox: Inbox) {
    match Service::open(context) {
        Ok(mut service) => {
            if let Err(error) = service.serve(&mut inbox).await {
                tracing::error!(%error, "applications: the dispatcher's folder cannot be written");
            }
            service.work.shutdown().await;
        }
        Err(error) => tracing::error!(%error, "applications: the dispatcher's folder cannot be read"),
    }
}

impl Service {
    fn open(context: Context) -> io::Result<Self> {
        let journal = Journal::open(&context.data, context.term)?;
        let state = State::read(journal.records());
        let options = &context.options;
        let core_options = CoreOptions {
            term: context.term,
            policy: options.policy,
            late_ms: millis(options.late_after),
            lost_ms: millis(options.lost_after),
            memory_mark_percent: options.memory_mark_percent,
            processor_mark_percent: options.processor_mark_percent,
            serves: serves(options),
        };
        let begun = Instant::now();
        let (core, effects) = Core::new(core_options, state, now(begun));
        let mut service = Self {
            core,
            journal,
            blobs: Blobs::open(&context.data.join("blobs"))?,
            timeline: Timeline::open(&context.data.join("events"), context.term)?,
            work: JoinSet::new(),
            begun,
            context,
        };
        service.carry_out(effects)?;
        Ok(service)
    }

    async fn serve(&mut self, inbox: &mut Inbox) -> io::Result<()> {
        let mut ticks = tokio::time::interval(TICK);
        let mut polls = tokio::time::interval(self.context.options.poll);
        let mut sweeps = tokio::time::interval(SWEEP);
        for timer in [&mut ticks, &mut polls, &mut sweeps] {
            timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        let dispatcher = self.context.dispatcher.clone();
        let mut seen = 0;
        let mut observe_at = Instant::now();
        loop {
            tokio::select! {
                asked = inbox.recv() => match asked {
                    Some(asked) => self.asked(asked).await?,
                    None => return Ok(()),
                },
                changed = changed(&dispatcher, &mut seen, observe_at) => match changed {
                    Ok(()) => {
                        self.observe().await?;
                        observe_at = Instant::now() + OBSERVE_PAUSE;
                    }
                    Err(_) => return Ok(()),
                },
                Some(done) = self.work.join_next(), if !self.work.is_empty() => match done {
                    Ok(done) => self.done(done)?,
                    Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                    Err(_) => {}
                },
                _ = ticks.tick() => self.feed(Input::Tick)?,
                _ = polls.tick() => self.poll(),
                _ = sweeps.tick() => {
                    let needed = self.core.blobs_in_use();
                    self.blobs.sweep(|digest| needed.contains(&digest))?;
                }
            }
        }
    }

    async fn observe(&mut self) -> io::Result<()> {
        match self.context.dispatcher.fleet().await {
            Ok(fleet) => self.feed(Input::Observed {
                engines: fleet.engines,
                programs: fleet.programs,
            }),
            // It is closed: the next change is its end.
            Err(_) => Ok(()),
        }
    }

    fn poll(&mut self) {
        let dispatcher = self.context.dispatcher.clone();
        let limit = self.context.options.poll;
        self.work
            .spawn(async move { Done::Reported(dispatcher.request_status_reports(limit).await.ok()) });
    }

    fn feed(&mut self, input: Input) -> io::Result<()> {
        let effects = self.core.handle(input, now(self.begun));
        self.carry_out(effects)
    }

    /// In order; records are durable before what follows them.
    fn carry_out(&mut self, effects: Vec<Effect>) -> io::Result<()> {
        for effect in effects {
            match effect {
                Effect::Store { key, json } => self.journal.put(&key, json),
                Effect::Begin {
                    operation,
                    engine,
                    action,
                } => {
                    self.journal.commit()?;
                    self.begin(operation, engine, *action);
                }
                Effect::Bury { program, stands } => {
                    self.journal.commit()?;
                    self.context.dispatcher.bury(program, stands);
                }
                Effect::Tell(mut decision) => {
                    self.timeline.add(&mut decision)?;
                    tracing::info!(kind = decision.kind, "{}", decision.text);
                    self.context.dispatcher.say_decision(&decision);
                }
            }
        }
        self.journal.commit()
    }

    fn begin(&mut self, operation: OperationId, engine: EngineId, action: Action) {
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
        let dispatcher = self.context.dispatcher.clone();
        self.work.spawn(async move {
            let order = dispatcher
                .order(operation, engine, action, blobs, known, limit)
                .await;
            let result = match order {
                Ok(order) => order.wait().await,
                Err(error) => Err(error),
            };
            Done::Settled { operation, result }
        });
    }

    fn done(&mut self, done: Done) -> io::Result<()> {
        match done {
            Done::Reported(Some(report)) => {
                let answered = report.answered.into_keys().collect();
                self.feed(Input::Reported { answered })
            }
            Done::Reported(None) => Ok(()),
            Done::Settled { operation, result } => {
                let result = match result {
                    Ok(finished) => {
                        self.keep_snapshot(&finished)?;
                        Ok(finished.outcome)
                    }
                    Err(CommandError::Failed { failure, .. } | CommandError::Refused(failure)) => {
                        Err(Trouble::Failed(failure))
                    }
                    Err(other) => Err(Trouble::Unknown(other.to_string())),
                };
                self.feed(Input::Settled { operation, result })
            }
        }
    }

    fn keep_snapshot(&self, finished: &Finished) -> io::Result<()> {
        if let Outcome::Captured { snapshot, .. } = &finished.outcome
            && let Some(bytes) = finished.blobs.get(&snapshot.digest)
        {
            self.blobs.keep(snapshot.digest, bytes)?;
        }
        Ok(())
    }

    async fn asked(&mut self, asked: Asked) -> io::Result<()> {
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
            Ok(ask) => {
                let (answer, effects) = self.core.ask(ask, now(self.begun));
                self.carry_out(effects)?;
                answer
            }
        };
        asked.answer(answer);
        Ok(())
    }

    fn lacks_any(&self, spec: &crate::app::AppSpec) -> Option<Digest> {
        let blobs = spec
            .components
            .values()
            .flat_map(crate::app::ComponentSpec::blobs);
        blobs
            .map(|blob| blob.digest)
            .find(|digest| !self.blobs.has(*digest))
    }
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
async fn changed(dispatcher: &Dispatcher, seen: &mut u64, at: Instant) -> Result<(), CommandError> {
    sleep_until(at).await;
    dispatcher.changed(seen).await
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
