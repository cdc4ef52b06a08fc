//! What the registry decides: a pure core.
//!
//! ```text
//!  Wanted --> Looking --code is here--------------------> CodeMade, to all who asked
//!                |                                          ^
//!                |--module is here--> Compiling ------------|   or Refused
//!                `--else--> Fetching, from who asked --------'
//! ```
//! A job is a module, a target and a key, and is done once however many engines ask, and however often. Who
//! asks again while it is under way is told so. What an engine does not send in time is forgotten: it asks
//! again.

use std::collections::BTreeMap;

use bytes::Bytes;
use wayfare_protocol::code::{CodeTarget, PublicKey};
use wayfare_protocol::command::check_bytes;
use wayfare_protocol::error::Failure;
use wayfare_protocol::ids::{Blob, OperationId, PeerName};
use wayfare_protocol::limits::{MODULE_BYTES_MAX, TRUSTED_KEYS_MAX};
use wayfare_protocol::peer::PeerMessage;
use wayfare_protocol::pull::{Pull, Pulled, Puller};

const JOBS_MAX: usize = 64;
/// Engines that wait for one job.
const ASKERS_MAX: usize = 256;
/// A module whose bytes do not come for this long is not waited for.
const FETCH_SILENCE_MS: u64 = 10_000;

/// What is to be made.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Job {
    pub(super) module: Blob,
    pub(super) target: CodeTarget,
    pub(super) key: PublicKey,
}

#[derive(Debug)]
pub(super) enum Input {
    Wanted {
        from: PeerName,
        operation: OperationId,
        module: Blob,
        target: CodeTarget,
        keys: Vec<PublicKey>,
    },
    Chunk {
        from: PeerName,
        operation: OperationId,
        blob: Blob,
        offset: u64,
        bytes: Bytes,
    },
    /// Answer to [`Effect::Look`].
    Looked {
        job: Job,
        code: Option<Blob>,
        has_module: bool,
    },
    /// Answer to [`Effect::Compile`].
    Compiled {
        job: Job,
        result: Result<Blob, Failure>,
    },
    Tick,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Say {
        to: PeerName,
        operation: OperationId,
        message: PeerMessage,
    },
    /// Is it on disk?
    Look(Job),
    /// Compile, sign and keep; with the module's bytes where they have just come.
    Compile { job: Job, wasm: Option<Vec<u8>> },
}

#[derive(Debug)]
pub(super) struct Jobs {
    /// The fleet's, the newest first.
    keys: Vec<PublicKey>,
    jobs: BTreeMap<Job, UnderWay>,
}

#[derive(Debug)]
struct UnderWay {
    askers: BTreeMap<OperationId, PeerName>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Looking,
    Fetching {
        from: PeerName,
        operation: OperationId,
        puller: Puller,
        heard_ms: u64,
    },
    Compiling,
}

impl Jobs {
    pub(super) fn new(keys: Vec<PublicKey>) -> Self {
        Self {
            keys,
            jobs: BTreeMap::new(),
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.jobs.is_empty()
    }

    pub(super) fn handle(&mut self, input: Input, now_ms: u64) -> Vec<Effect> {
        match input {
            Input::Wanted {
                from,
                operation,
                module,
                target,
                keys,
            } => match self.job(module, target, &keys) {
                Ok(job) => self.wanted(from, operation, job),
                Err(failure) => vec![say(&from, operation, PeerMessage::Refused { failure })],
            },
            Input::Chunk {
                from,
                operation,
                blob,
                offset,
                bytes,
            } => self.chunk(&from, operation, (blob, offset, &bytes), now_ms),
            Input::Looked {
                job,
                code,
                has_module,
            } => self.looked(job, code, has_module, now_ms),
            Input::Compiled { job, result } => self.end(&job, result),
            Input::Tick => self.tick(now_ms),
        }
    }

    /// What was asked for, checked.
    fn job(&self, module: Blob, target: CodeTarget, trusted: &[PublicKey]) -> Result<Job, Failure> {
        let bad = |reason: String| Failure::BadRequest { reason };
        check_bytes("module", module.bytes, MODULE_BYTES_MAX)?;
        check_bytes("list of keys", trusted.len() as u64, TRUSTED_KEYS_MAX as u64)?;
        target.check().map_err(|error| bad(error.to_string()))?;
        let key = self.keys.iter().find(|key| trusted.contains(key));
        let Some(key) = key.copied() else {
            let newest = self.keys.first().map(ToString::to_string).unwrap_or_default();
            return Err(bad(format!(
                "the engine does not trust the fleet's key: start it with --trust {newest}"
            )));
        };
        Ok(Job { module, target, key })
    }

    fn wanted(&mut self, from: PeerName, operation: OperationId, job: Job) -> Vec<Effect> {
        if let Some(under_way) = self.jobs.get_mut(&job) {
            let answer = say(&from, operation, PeerMessage::CodeUnderWay);
            if under_way.askers.len() < ASKERS_MAX {
                under_way.askers.insert(operation, from);
            }
            return vec![answer];
        }
        if self.jobs.len() >= JOBS_MAX {
            // It asks again.
            return vec![say(&from, operation, PeerMessage::CodeUnderWay)];
        }
        let under_way = UnderWay {
            askers: [(operation, from)].into(),
            stage: Stage::Looking,
        };
        self.jobs.insert(job.clone(), under_way);
        vec![Effect::Look(job)]
    }

    fn looked(&mut self, job: Job, code: Option<Blob>, has_module: bool, now_ms: u64) -> Vec<Effect> {
        if let Some(code) = code {
            return self.end(&job, Ok(code));
        }
        let Some(under_way) = self.jobs.get_mut(&job) else {
            return Vec::new();
        };
        if has_module {
            under_way.stage = Stage::Compiling;
            // Who would compile it itself hears at once that it would be the first.
            let askers = under_way.askers.iter();
            let told = askers.map(|(operation, to)| say(to, *operation, PeerMessage::CodeUnderWay));
            let mut effects: Vec<Effect> = told.collect();
            effects.push(Effect::Compile { job, wasm: None });
            return effects;
        }
        let Some((operation, from)) = under_way.askers.first_key_value() else {
            return Vec::new();
        };
        let (operation, from) = (*operation, from.clone());
        let (puller, pull) = Puller::new(job.module, now_ms);
        let effect = say_pull(&from, operation, job.module, pull);
        under_way.stage = Stage::Fetching {
            from,
            operation,
            puller,
            heard_ms: now_ms,
        };
        vec![effect]
    }

    fn chunk(
        &mut self,
        sender: &PeerName,
        of: OperationId,
        (blob, offset, bytes): (Blob, u64, &[u8]),
        now_ms: u64,
    ) -> Vec<Effect> {
        let found = self.jobs.iter_mut().find_map(|(job, under_way)| {
            let Stage::Fetching {
                from,
                operation,
                puller,
                heard_ms,
            } = &mut under_way.stage
            else {
                return None;
            };
            let is_it = from == sender && *operation == of && puller.blob() == blob;
            is_it.then_some((job.clone(), puller, heard_ms))
        });
        let Some((job, puller, heard_ms)) = found else {
            return Vec::new();
        };
        *heard_ms = now_ms;
        match puller.chunk(offset, bytes, now_ms) {
            Pulled::Next(pull) => pull
                .map(|pull| say_pull(sender, of, blob, pull))
                .into_iter()
                .collect(),
            Pulled::Whole(wasm) => {
                if let Some(under_way) = self.jobs.get_mut(&job) {
                    under_way.stage = Stage::Compiling;
                }
                let wasm = Some(wasm);
                vec![Effect::Compile { job, wasm }]
            }
            Pulled::Damaged => {
                let failure = Failure::Damaged {
                    what: format!("module {}", blob.digest.short()),
                    reason: "its contents did not match its digest, again and again".into(),
                };
                self.end(&job, Err(failure))
            }
        }
    }

    fn end(&mut self, job: &Job, result: Result<Blob, Failure>) -> Vec<Effect> {
        let Some(under_way) = self.jobs.remove(job) else {
            return Vec::new();
        };
        let message = match result {
            Ok(code) => PeerMessage::CodeMade { code },
            Err(failure) => PeerMessage::Refused { failure },
        };
        under_way
            .askers
            .into_iter()
            .map(|(operation, to)| say(&to, operation, message.clone()))
            .collect()
    }

    fn tick(&mut self, now_ms: u64) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.jobs.retain(|job, under_way| {
            let Stage::Fetching {
                from,
                operation,
                puller,
                heard_ms,
            } = &mut under_way.stage
            else {
                return true;
            };
            if let Some(pull) = puller.tick(now_ms) {
                effects.push(say_pull(from, *operation, job.module, pull));
            }
            now_ms.saturating_sub(*heard_ms) < FETCH_SILENCE_MS
        });
        effects
    }
}

fn say(to: &PeerName, operation: OperationId, message: PeerMessage) -> Effect {
    Effect::Say {
        to: to.clone(),
        operation,
        message,
    }
}

fn say_pull(to: &PeerName, operation: OperationId, blob: Blob, Pull { offset, chunks }: Pull) -> Effect {
    say(to, operation, PeerMessage::Pull { blob, offset, chunks })
}

#[cfg(test)]
mod tests;
