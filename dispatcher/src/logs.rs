//! Keeps what programs print, so that it can be read when they have ended, were killed, or ran on an engine
//! that is gone.
//!
//! ```text
//!  published lines --> intake (in order, once) --> store (bounded files) --> answers
//!                        ^   |
//!                        |   v  what is missing
//!                      engines' tails
//! ```
//! Engines do nothing for it: lines are published anyway, and an engine of an earlier release answers for its
//! tail as well. What always holds: no program waits for it. Lines that come faster than they can be stored,
//! or while the disk is full, are lost here, and readers see by the numbers how many.

mod intake;
mod store;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, sleep_until};
use wayfare_client::documents::now_ms;
use wayfare_client::stored_logs::{LogAsk, StoredEnd};
use wayfare_client::{Client, ClientOptions, FleetChanges};
use wayfare_protocol::error::Failure;
use wayfare_protocol::ids::{EngineId, ProgramId};
use wayfare_protocol::log::{LogBatch, LogLine};

use self::intake::Intake;
use self::store::{Entry, LogStore};
use crate::context::{Context, Note, Notes};
use crate::durable::FileError;
use crate::opening::retried;
use crate::options::ServiceOptions;
use crate::requests::{Asked, Inbox};

/// Batches that are stored together.
const BATCH_MAX: usize = 64;
/// Between two looks at which programs there are.
const LOOK_PAUSE: Duration = Duration::from_millis(100);
/// Between two times that what is too old is removed.
const CLEAN_PERIOD: Duration = Duration::from_secs(60);
/// Engines that are asked for lines at the same time, and for how long each.
const ASKED_MAX: usize = 8;
const ASK_LIMIT: Duration = Duration::from_secs(5);

pub(crate) async fn run(context: Context, mut inbox: Inbox) {
    let Some((client, batches)) = retried(&mut inbox, "logs", || connect(Arc::clone(&context.options))).await
    else {
        return;
    };
    let Some(store) = retried(&mut inbox, "logs", || open(context.clone())).await else {
        return;
    };
    let mut service = Service {
        client: client.clone(),
        store,
        intake: Intake::default(),
        known: BTreeMap::new(),
        asked: JoinSet::new(),
        is_failing: false,
        has_stored: false,
        notes: context.notes.clone(),
    };
    service.serve(inbox, batches).await;
    service.asked.shutdown().await;
    client.close().await;
}

/// A connection of its own: what programs print does not hold up what keeps the fleet going.
async fn connect(service: Arc<ServiceOptions>) -> Result<(Client, mpsc::Receiver<LogBatch>), String> {
    let mut options = ClientOptions::new(service.broker.clone());
    options.topics = service.topics.clone();
    let client = Client::connect(options)
        .await
        .map_err(|error| error.to_string())?;
    let batches = client.all_logs().await.map_err(|error| error.to_string())?;
    Ok((client, batches))
}

async fn open(context: Context) -> Result<LogStore, String> {
    let (data, term, limits) = (context.data, context.term, context.options.logs);
    let opened = tokio::task::spawn_blocking(move || LogStore::open(&data, term, limits)).await;
    match opened {
        Ok(opened) => opened.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

struct Service {
    client: Client,
    store: LogStore,
    intake: Intake,
    /// Programs as they were seen last.
    known: BTreeMap<ProgramId, Known>,
    asked: JoinSet<(ProgramId, Option<Tail>)>,
    /// The last entry could not be stored.
    is_failing: bool,
    /// One was stored, or could not be.
    has_stored: bool,
    notes: Notes,
}

type Tail = (EngineId, Vec<LogLine>, u64);

/// Whose lines came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum News {
    OfKnown,
    /// Of a program that has not been seen yet, too.
    Stranger,
}

struct Known {
    name: String,
    engine: EngineId,
    is_ended: bool,
}

impl Service {
    async fn serve(&mut self, mut inbox: Inbox, mut batches: mpsc::Receiver<LogBatch>) {
        let client = self.client.clone();
        let (mut seen, mut looked, mut look_at) = (0, 0, Instant::now());
        let mut cleaning = tokio::time::interval(CLEAN_PERIOD);
        cleaning.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_first = true;
        loop {
            let changed = async {
                sleep_until(look_at).await;
                client.changed(&mut seen).await
            };
            tokio::select! {
                asked = inbox.recv() => match asked {
                    Some(asked) => self.answer(asked),
                    None => return,
                },
                batch = batches.recv() => match batch {
                    // Its name is to be found out before it may be gone.
                    Some(batch) => if self.published(batch, &mut batches) == News::Stranger {
                        look_at = look_at.min(Instant::now());
                    },
                    None => return,
                },
                Some(Ok((program, tail))) = self.asked.join_next(), if !self.asked.is_empty() => {
                    self.intake.answered(program, tail);
                }
                changed = changed => match changed {
                    Ok(()) => {
                        let Ok(changes) = client.fleet_changes(looked).await else { return };
                        looked = changes.revision;
                        self.look(&changes, is_first);
                        (is_first, look_at) = (false, Instant::now() + LOOK_PAUSE);
                    }
                    Err(_) => return,
                },
                _ = cleaning.tick() => {
                    let cleaned = self.store.clean(now_ms());
                    self.noted(cleaned);
                }
            }
            self.store_ready();
            self.ask();
        }
    }

    fn published(&mut self, first: LogBatch, batches: &mut mpsc::Receiver<LogBatch>) -> News {
        let (mut next, mut news) = (Some(first), News::OfKnown);
        for _ in 0..BATCH_MAX {
            let Some(batch) = next else { break };
            if !self.known.contains_key(&batch.program) {
                news = News::Stranger;
            }
            let stored = self.store.program(batch.program).map_or(0, |kept| kept.next);
            self.intake.published(batch, stored);
            next = batches.try_recv().ok();
        }
        news
    }

    /// Notes which programs have come, ended or gone.
    fn look(&mut self, changes: &FleetChanges, is_first: bool) {
        for view in &changes.programs {
            let status = &view.status;
            let program = status.program;
            let kept = self.store.program(program);
            let is_nameless = kept.is_some_and(|kept| kept.name.is_empty());
            let (next, end) = kept.map_or((0, None), |kept| (kept.next, Some(kept.end.clone())));
            let is_ended = status.state.is_ended();
            // What was printed while nobody acted.
            if is_first && (!is_ended || matches!(end, None | Some(StoredEnd::None))) {
                self.intake.found(program, &status.engine, next);
            }
            let known = self.known.insert(
                program,
                Known {
                    name: status.name.clone(),
                    engine: status.engine.clone(),
                    is_ended,
                },
            );
            let now = match is_ended {
                true => StoredEnd::Ended {
                    state: status.state.clone(),
                },
                false => StoredEnd::None,
            };
            let is_news = match &end {
                Some(end) => *end != now,
                None => is_ended && known.is_none_or(|known| !known.is_ended),
            };
            if is_news || is_nameless {
                self.note(program, now);
            }
        }
        let forgotten: BTreeSet<ProgramId> = match changes.is_whole {
            true => {
                let there = changes.programs.iter().map(|view| view.status.program);
                let there: BTreeSet<ProgramId> = there.collect();
                let known = self.known.keys().copied();
                known.filter(|program| !there.contains(program)).collect()
            }
            false => changes.programs_gone.iter().copied().collect(),
        };
        let stored = self.store.programs().filter(|kept| kept.end == StoredEnd::None);
        let is_gone = |program: &ProgramId| forgotten.contains(program) || !self.known.contains_key(program);
        let gone: Vec<ProgramId> = stored.map(|kept| kept.program).filter(is_gone).collect();
        for program in gone {
            self.note(program, StoredEnd::Gone);
        }
        for program in forgotten {
            self.known.remove(&program);
        }
        // Also what came behind the word that its program is no more.
        self.intake.keep(|program| self.known.contains_key(program));
    }

    fn note(&mut self, program: ProgramId, end: StoredEnd) {
        let kept = self.store.program(program).map(|kept| kept.engine.clone());
        let known = self.known.get(&program);
        let Some(engine) = known.map(|known| known.engine.clone()).or(kept) else {
            return;
        };
        let entry = Entry {
            at_ms: now_ms(),
            name: known.map_or_else(String::new, |known| known.name.clone()),
            engine,
            lines: Vec::new(),
            end: Some(end),
        };
        let added = self.store.add(program, &entry);
        self.noted(added);
    }

    fn store_ready(&mut self) {
        for (program, engine, lines) in self.intake.take_ready() {
            let known = self.known.get(&program);
            let entry = Entry {
                at_ms: now_ms(),
                name: known.map_or_else(String::new, |known| known.name.clone()),
                engine,
                lines,
                end: None,
            };
            let added = self.store.add(program, &entry);
            self.noted(added);
        }
    }

    fn noted(&mut self, stored: Result<(), FileError>) {
        match (&stored, self.is_failing) {
            (Err(error), false) => {
                tracing::error!(%error, "what programs print cannot be stored: it is lost here")
            }
            (Ok(()), true) => tracing::info!("what programs print can be stored again"),
            _ => {}
        }
        if self.is_failing != stored.is_err() || !std::mem::replace(&mut self.has_stored, true) {
            self.notes.tell(Note::Stored {
                what: "logs",
                result: stored.clone(),
            });
        }
        self.is_failing = stored.is_err();
    }

    /// Asks engines for what is missing.
    fn ask(&mut self) {
        let free = ASKED_MAX.saturating_sub(self.asked.len());
        for (program, since) in self.intake.take_wanted(free) {
            let client = self.client.clone();
            self.asked
                .spawn(async move { (program, client.log_tail(program, since, ASK_LIMIT).await.ok()) });
        }
    }

    fn answer(&self, asked: Asked) {
        let answer = match asked.read::<LogAsk>() {
            Err(failure) => Err(failure),
            Ok(LogAsk::Programs { wanted, after }) => Ok(value(self.store.programs_page(&wanted, after))),
            Ok(LogAsk::Lines(wanted)) => match self.store.lines_page(&wanted) {
                Ok(page) => Ok(value(page)),
                Err(error) => Err(Failure::Internal {
                    reason: format!("the dispatcher cannot read its logs: {error}"),
                }),
            },
        };
        asked.answer(answer);
    }
}

fn value<T: serde::Serialize>(value: T) -> serde_json::Value {
    serde_json::to_value(value).expect("plain data serialises")
}
