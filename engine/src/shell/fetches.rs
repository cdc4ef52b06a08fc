//! Code that is being fetched, and what waits for it.
//!
//! What always holds: a module is fetched once, whoever waits for it. Where nobody compiles, a program that is here already
//! (after a restart, say) waits for its code however long that takes, because giving up would lose it, and whatever only comes
//! is refused. An engine that compiles does so where there is no code to be had: what starts waits for no more than an
//! answer, what comes also while the dispatcher makes it, since the program runs on at its source.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use wayfare_core::types::{Input, Saved};
use wayfare_protocol::dispatcher::ACTING_NAME;
use wayfare_protocol::error::Failure;
use wayfare_protocol::ids::{Blob, Digest, OperationId, PeerName, ProgramId};
use wayfare_protocol::peer::PeerMessage;

use super::agent::Agent;
use super::fetching::{Fetch, Patience, Step, Wanted};
use super::work::{self, Data, Done};

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

impl Fetches {
    pub(super) fn next_wake(&self) -> Option<Instant> {
        self.under_way.values().map(|fetching| fetching.look).min()
    }

    fn of(&mut self, module: Digest) -> Option<&mut Fetching> {
        self.under_way
            .values_mut()
            .find(|fetching| fetching.module.digest == module)
    }
}

impl Agent {
    fn now_ms(&self) -> u64 {
        self.now().0 / 1000
    }

    pub(super) fn fetch(&mut self, module: Blob, waiting: Waiting) {
        if let Some(fetching) = self.fetches.of(module.digest) {
            return fetching.waiting.push(waiting);
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
        self.fetches.under_way.insert(operation, fetching);
        self.begin_fetch(operation);
    }

    fn begin_fetch(&mut self, operation: OperationId) {
        let now_ms = self.now_ms();
        let Some(fetching) = self.fetches.under_way.get_mut(&operation) else {
            return;
        };
        let modules = &self.workshop.modules;
        let Some(trust) = modules.trust() else {
            return;
        };
        let wanted = Wanted {
            module: fetching.module,
            target: trust.target.clone(),
            keys: trust.keys.clone(),
            patience: match modules.compiles() {
                true => Patience::COMPILES,
                false => Patience::COMPILES_NOT,
            },
        };
        let (fetch, first) = Fetch::begin(wanted, now_ms);
        fetching.fetch = Some(fetch);
        fetching.look = Instant::now() + LOOK;
        self.fetch_step(operation, first);
    }

    /// Whether the message was of a fetch.
    pub(super) fn fetch_message(&mut self, input: &Input, bytes: &Bytes) -> bool {
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
            _ => return false,
        };
        let now_ms = self.now_ms();
        let Some(fetching) = self.fetches.under_way.get_mut(&operation) else {
            return false;
        };
        // Nobody else has a say, though its words would be checked as well.
        let is_made = matches!(message, PeerMessage::CodeMade { .. });
        if from.as_str() == ACTING_NAME && is_made && fetching.waiting.is_empty() {
            // It was lent to the dispatcher for others.
            self.fetches.under_way.remove(&operation);
        } else if from.as_str() == ACTING_NAME
            && let Some(fetch) = &mut fetching.fetch
        {
            for step in fetch.message(message, bytes, now_ms) {
                self.fetch_step(operation, step);
            }
        }
        true
    }

    pub(super) fn fetches_due(&mut self, now: Instant) {
        let now_ms = self.now_ms();
        let fetches = self.fetches.under_way.iter_mut();
        let due: Vec<OperationId> = fetches
            .filter(|(_, fetching)| fetching.look <= now)
            .map(|(operation, _)| *operation)
            .collect();
        for operation in due {
            let Some(fetching) = self.fetches.under_way.get_mut(&operation) else {
                continue;
            };
            fetching.look = now + LOOK;
            match &mut fetching.fetch {
                None => self.begin_fetch(operation),
                Some(fetch) => {
                    if let Some(step) = fetch.tick(now_ms) {
                        self.fetch_step(operation, step);
                    }
                }
            }
            let is_silent = |fetching: &Fetching| {
                now.duration_since(fetching.begun) >= FIRST_WORD
                    && fetching.fetch.as_ref().is_some_and(Fetch::is_asking)
            };
            if self.fetches.under_way.get(&operation).is_some_and(is_silent) {
                self.begin_what_starts(operation);
            }
        }
    }

    /// What starts does not wait for what is not made, where it can be compiled. The dispatcher goes on: it gets the module, and
    /// the next engine the code.
    fn begin_what_starts(&mut self, operation: OperationId) {
        if !self.workshop.modules.compiles() {
            return;
        }
        let Some(fetching) = self.fetches.under_way.get_mut(&operation) else {
            return;
        };
        let is_start = |waiting: &mut Waiting| {
            matches!(
                waiting,
                Waiting::Program { .. } | Waiting::Arrival { resumes: false, .. }
            )
        };
        let starts: Vec<Waiting> = fetching.waiting.extract_if(.., is_start).collect();
        let module = fetching.module.digest;
        for waiting in starts {
            self.go_on(module, waiting);
        }
    }

    /// With the code that there is by now.
    fn go_on(&mut self, module: Digest, waiting: Waiting) {
        match waiting {
            // What is fetched is all of a module.
            Waiting::Arrival { operation, resumes } => self.load_module_here(operation, module, resumes),
            Waiting::Program {
                program,
                incarnation,
                data,
                saved,
            } => self.gather(program, incarnation, module, (data, saved), None),
        }
    }

    fn fetch_step(&mut self, operation: OperationId, step: Step) {
        let dispatcher: PeerName = ACTING_NAME.parse().expect("it is a name");
        match step {
            Step::Say(message) => self.out.peer(dispatcher, operation, message, &[]),
            Step::SendChunk { offset, bytes } => {
                if let Some(fetching) = self.fetches.under_way.get(&operation) {
                    let blob = fetching.module;
                    self.send_chunk(dispatcher, operation, blob, offset, bytes as u64);
                }
            }
            Step::NotYet => self.begin_what_starts(operation),
            Step::Whole(code) => {
                let Some(fetching) = self.fetches.under_way.get_mut(&operation) else {
                    return;
                };
                // Nothing more is expected; what comes of it is said by the worker.
                fetching.fetch = None;
                fetching.look = Instant::now() + ANEW;
                let (modules, module) = (self.workshop.modules.clone(), fetching.module.digest);
                tracing::info!(module = module.short(), bytes = code.len(), "code has come");
                work::start(
                    &mut self.work,
                    move || modules.take_code(module, code),
                    move |result| Done::CodeTaken { operation, result },
                );
            }
            Step::Failed(reason) => self.code_taken(operation, Err(reason)),
        }
    }

    /// The end of a fetch, or of one try.
    pub(super) fn code_taken(&mut self, operation: OperationId, result: Result<(), String>) {
        let Some(mut fetching) = self.fetches.under_way.remove(&operation) else {
            return;
        };
        let module = fetching.module;
        match result {
            Ok(()) => fetching
                .waiting
                .into_iter()
                .for_each(|waiting| self.go_on(module.digest, waiting)),
            Err(reason) if self.workshop.modules.compiles() => {
                if !fetching.waiting.is_empty() {
                    tracing::info!(module = module.digest.short(), reason, "compiles a module itself");
                }
                for waiting in fetching.waiting {
                    self.go_on(module.digest, waiting);
                }
            }
            Err(reason) => {
                tracing::warn!(module = module.digest.short(), reason, "no code for a module");
                let (arrivals, programs) = fetching
                    .waiting
                    .into_iter()
                    .partition(|waiting| matches!(waiting, Waiting::Arrival { .. }));
                fetching.waiting = programs;
                self.refuse_without_code(arrivals, module.digest, &reason);
                if !fetching.waiting.is_empty() {
                    fetching.fetch = None;
                    fetching.look = Instant::now() + ANEW;
                    self.fetches.under_way.insert(operation, fetching);
                }
            }
        }
    }

    fn refuse_without_code(&mut self, arrivals: Vec<Waiting>, module: Digest, reason: &str) {
        for waiting in arrivals {
            if let Waiting::Arrival { operation, .. } = waiting {
                let failure = Failure::NoCode {
                    engine: self.out.engine.clone(),
                    module,
                    reason: reason.to_owned(),
                };
                let result = Err(failure);
                self.inputs.push_back(Input::ModuleLoaded { operation, result });
            }
        }
    }
}
