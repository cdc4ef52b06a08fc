//! Code that is being fetched, and what waits for it.
//!
//! What always holds: a module is fetched once, whoever waits for it. Where nobody compiles, a program that
//! is here already (after a restart, say) waits for its code however long that takes, because giving up would
//! lose it, and whatever only comes is refused. An engine that compiles does so where there is no code to be
//! had: what starts waits for no more than an answer, what comes also while the dispatcher makes it, since
//! the program runs on at its source.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use wayfare_core::types::{Input, Saved};
use wayfare_protocol::dispatcher::ACTING_NAME;
use wayfare_protocol::error::Failure;
use wayfare_protocol::ids::{Blob, Digest, OperationId, PeerName, ProgramId};
use wayfare_protocol::peer::PeerMessage;

use super::fetching::{Fetch, Patience, Step, Wanted};
use super::modules::Modules;
use super::outbound::Outbound;
use super::store::Blobs;
use super::work::Data;

/// A program that is here waits this long until its code is asked for anew.
const ANEW: Duration = Duration::from_secs(30);
/// How often what is under way is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// What starts where it can be compiled waits this long for a dispatcher's first word.
const FIRST_WORD: Duration = Duration::from_millis(500);

/// Who waits for a module's code.
#[derive(Debug)]
pub(super) enum Waiting {
    /// An arrival, which is refused if there is no code.
    Arrival {
        operation: OperationId,
        /// It goes on from a snapshot, and runs elsewhere meanwhile.
        resumes: bool,
    },
    /// A program that is to be started.
    Program {
        program: ProgramId,
        incarnation: u64,
        data: Data,
        saved: Option<Saved>,
    },
}

#[derive(Debug)]
struct Fetching {
    module: Blob,
    waiting: Vec<Waiting>,
    /// `None`: it failed, and is begun anew at `look`.
    fetch: Option<Fetch>,
    look: Instant,
    begun: Instant,
}

/// By operation, each with one module.
#[derive(Debug, Default)]
pub(super) struct Fetches {
    under_way: BTreeMap<OperationId, Fetching>,
}

/// What follows for the loop.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It goes on with the code that there is by now.
    GoOn(Digest, Waiting),
    /// Who waited to arrive is refused.
    NoCode(OperationId, Failure),
    /// All of it has come: it is to be checked and kept, and [`Fetches::taken`] told what came of that.
    Take {
        operation: OperationId,
        module: Digest,
        code: Vec<u8>,
    },
}

/// What code is fetched with.
pub(super) struct Means<'a> {
    pub(super) modules: &'a Modules,
    pub(super) blobs: &'a mut Blobs,
    pub(super) out: &'a Outbound,
    pub(super) now_ms: u64,
}

impl Fetches {
    pub(super) fn next_wake(&self) -> Option<Instant> {
        self.under_way.values().map(|fetching| fetching.look).min()
    }

    fn of(&mut self, module: Digest) -> Option<&mut Fetching> {
        self.under_way
            .values_mut()
            .find(|fetching| fetching.module.digest == module)
    }

    /// Fetches the module's code, or waits for it with others.
    pub(super) fn fetch(&mut self, module: Blob, waiting: Waiting, means: &mut Means<'_>) -> Vec<Outcome> {
        if let Some(fetching) = self.of(module.digest) {
            fetching.waiting.push(waiting);
            return Vec::new();
        }
        let operation = OperationId::random();
        tracing::info!(module = module.digest.short(), "asks the dispatcher for code");
        let fetching = Fetching {
            module,
            waiting: vec![waiting],
            fetch: None,
            look: Instant::now(),
            begun: Instant::now(),
        };
        self.under_way.insert(operation, fetching);
        self.begin(operation, means)
    }

    fn begin(&mut self, operation: OperationId, means: &mut Means<'_>) -> Vec<Outcome> {
        let Some(fetching) = self.under_way.get_mut(&operation) else {
            return Vec::new();
        };
        let Some(trust) = means.modules.trust() else {
            return Vec::new();
        };
        let wanted = Wanted {
            module: fetching.module,
            target: trust.target.clone(),
            keys: trust.keys.clone(),
            patience: match means.modules.compiles() {
                true => Patience::COMPILES,
                false => Patience::COMPILES_NOT,
            },
        };
        let (fetch, first) = Fetch::begin(wanted, means.now_ms);
        fetching.fetch = Some(fetch);
        fetching.look = Instant::now() + LOOK;
        self.step(operation, first, means)
    }

    /// `None`: the message was of no fetch.
    pub(super) fn message(
        &mut self,
        input: &Input,
        bytes: &Bytes,
        means: &mut Means<'_>,
    ) -> Option<Vec<Outcome>> {
        let (operation, from, message) = match input {
            Input::Peer(envelope) => (envelope.operation, &envelope.from, envelope.message.clone()),
            Input::Chunk {
                operation,
                from,
                blob,
                offset,
                ..
            } => {
                let (blob, offset) = (*blob, *offset);
                (*operation, from, PeerMessage::Chunk { blob, offset })
            }
            _ => return None,
        };
        let fetching = self.under_way.get_mut(&operation)?;
        // Nobody else has a say, though its words would be checked as well.
        let is_made = matches!(message, PeerMessage::CodeMade { .. });
        let mut outcomes = Vec::new();
        if from.as_str() == ACTING_NAME && is_made && fetching.waiting.is_empty() {
            // It was lent to the dispatcher for others.
            self.under_way.remove(&operation);
        } else if from.as_str() == ACTING_NAME
            && let Some(fetch) = &mut fetching.fetch
        {
            for step in fetch.message(message, bytes, means.now_ms) {
                outcomes.extend(self.step(operation, step, means));
            }
        }
        Some(outcomes)
    }

    pub(super) fn due(&mut self, now: Instant, means: &mut Means<'_>) -> Vec<Outcome> {
        let fetches = self.under_way.iter_mut();
        let due: Vec<OperationId> = fetches
            .filter(|(_, fetching)| fetching.look <= now)
            .map(|(operation, _)| *operation)
            .collect();
        let mut outcomes = Vec::new();
        for operation in due {
            let Some(fetching) = self.under_way.get_mut(&operation) else {
                continue;
            };
            fetching.look = now + LOOK;
            match &mut fetching.fetch {
                None => outcomes.extend(self.begin(operation, means)),
                Some(fetch) => {
                    if let Some(step) = fetch.tick(means.now_ms) {
                        outcomes.extend(self.step(operation, step, means));
                    }
                }
            }
            let is_silent = |fetching: &Fetching| {
                now.duration_since(fetching.begun) >= FIRST_WORD
                    && fetching.fetch.as_ref().is_some_and(Fetch::is_asking)
            };
            if self.under_way.get(&operation).is_some_and(is_silent) {
                outcomes.extend(self.begin_what_starts(operation, means.modules));
            }
        }
        outcomes
    }

    /// What starts does not wait for what is not made, where it can be compiled. The dispatcher goes on: it
    /// gets the module, and the next engine the code.
    fn begin_what_starts(&mut self, operation: OperationId, modules: &Modules) -> Vec<Outcome> {
        let Some(fetching) = self.under_way.get_mut(&operation).filter(|_| modules.compiles()) else {
            return Vec::new();
        };
        let is_start = |waiting: &mut Waiting| {
            matches!(
                waiting,
                Waiting::Program { .. } | Waiting::Arrival { resumes: false, .. }
            )
        };
        let module = fetching.module.digest;
        let starts = fetching.waiting.extract_if(.., is_start);
        starts.map(|waiting| Outcome::GoOn(module, waiting)).collect()
    }

    fn step(&mut self, operation: OperationId, step: Step, means: &mut Means<'_>) -> Vec<Outcome> {
        let dispatcher: PeerName = ACTING_NAME.parse().expect("it is a name");
        match step {
            Step::Say(message) => means.out.peer(dispatcher, operation, message, &[]),
            Step::SendChunk { offset, bytes } => {
                if let Some(fetching) = self.under_way.get(&operation) {
                    let chunk = (fetching.module, offset, bytes as u64);
                    means.out.chunk(dispatcher, operation, chunk, means.blobs);
                }
            }
            Step::NotYet => return self.begin_what_starts(operation, means.modules),
            Step::Whole(code) => {
                let Some(fetching) = self.under_way.get_mut(&operation) else {
                    return Vec::new();
                };
                // Nothing more is expected.
                fetching.fetch = None;
                fetching.look = Instant::now() + ANEW;
                let module = fetching.module.digest;
                tracing::info!(module = module.short(), bytes = code.len(), "code has come");
                return vec![Outcome::Take {
                    operation,
                    module,
                    code,
                }];
            }
            Step::Failed(reason) => return self.taken(operation, Err(reason), means),
        }
        Vec::new()
    }

    /// The end of a fetch, or of one try.
    pub(super) fn taken(
        &mut self,
        operation: OperationId,
        result: Result<(), String>,
        means: &Means<'_>,
    ) -> Vec<Outcome> {
        let Some(mut fetching) = self.under_way.remove(&operation) else {
            return Vec::new();
        };
        let module = fetching.module.digest;
        match result {
            Ok(()) => {}
            Err(reason) if means.modules.compiles() => {
                if !fetching.waiting.is_empty() {
                    tracing::info!(module = module.short(), reason, "compiles a module itself");
                }
            }
            Err(reason) => {
                tracing::warn!(module = module.short(), reason, "no code for a module");
                let is_arrival = |waiting: &mut Waiting| matches!(waiting, Waiting::Arrival { .. });
                let arrivals: Vec<Waiting> = fetching.waiting.extract_if(.., is_arrival).collect();
                if !fetching.waiting.is_empty() {
                    fetching.fetch = None;
                    fetching.look = Instant::now() + ANEW;
                    self.under_way.insert(operation, fetching);
                }
                let refused = |waiting| match waiting {
                    Waiting::Arrival { operation, .. } => {
                        let failure = Failure::NoCode {
                            engine: means.out.engine.clone(),
                            module,
                            reason: reason.clone(),
                        };
                        Some(Outcome::NoCode(operation, failure))
                    }
                    Waiting::Program { .. } => None,
                };
                return arrivals.into_iter().filter_map(refused).collect();
            }
        }
        let waiting = fetching.waiting.into_iter();
        waiting.map(|waiting| Outcome::GoOn(module, waiting)).collect()
    }
}
