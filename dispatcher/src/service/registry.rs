//! The registry: keeps modules by digest, compiles them for engines that do not compile, signs the code with the fleet's key,
//! and serves it in chunks.
//!
//! ```text
//!  engines' messages --> desk (decides) --> shelf (files), compiler (a thread), signature
//!                          ^                     |
//!                          `---------------------'
//! ```
//! Everything in here can be had again: modules from the engines that have them, code from the compiler. So a dispatcher
//! that takes over begins with whatever is on its disk, and engines ask again until they are answered.

mod desk;
mod shelf;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use wayfare_protocol::code::{self, CodeTarget, SecretKey};
use wayfare_protocol::error::Failure;
use wayfare_protocol::ids::{Blob, Digest};
use wayfare_protocol::limits::CODE_BYTES_MAX;
use wayfare_protocol::peer::{Envelope, PeerMessage};
use wayfare_protocol::pull::Pull;

use self::desk::{Desk, Effect, Input, Job};
use self::shelf::Shelf;
use super::{Context, Inbox};
use crate::keys;

/// How often what is late is asked for again.
const TICK: Duration = Duration::from_millis(500);
/// Modules being compiled at the same time.
const COMPILING_MAX: usize = 2;

/// Who compiles. The library knows no compiler: who embeds it gives one.
#[derive(Debug, Clone)]
pub struct AheadCompiler {
    /// Another one for everything that makes its code another.
    pub name: String,
    /// The version that its code is for.
    pub wasmtime: String,
    pub compile: Compile,
}

/// A module and its bytes to code for the target. Called on a thread of its own; takes up to minutes.
pub type Compile = fn(Digest, &[u8], &CodeTarget) -> Result<Vec<u8>, Failure>;

struct Registry {
    context: Context,
    desk: Desk,
    shelf: Arc<Shelf>,
    keys: Arc<Vec<SecretKey>>,
    compiling: JoinSet<(Job, Result<Blob, Failure>)>,
    places: Arc<Semaphore>,
    begun: Instant,
}

pub(super) async fn run(context: Context, inbox: Inbox) {
    match Registry::open(context) {
        Ok(registry) => registry.serve(inbox).await,
        Err(reason) => {
            tracing::error!(
                reason,
                "no registry: engines without a compiler get no code from here"
            );
            idle(inbox).await;
        }
    }
}

/// Until the dispatcher does not act any more.
async fn idle(mut inbox: Inbox) {
    while let Some(asked) = inbox.recv().await {
        let reason = "the registry is not asked, but sent to".into();
        asked.answer(Err(Failure::BadRequest { reason }));
    }
}

impl Registry {
    fn open(context: Context) -> Result<Self, String> {
        let path = keys::key_path(&context.options.data);
        let keys = keys::load_or_init(&path).map_err(|error| error.to_string())?;
        let publics = keys.iter().map(SecretKey::public).collect();
        let shelf = Shelf::open(&context.data).map_err(|error| error.to_string())?;
        Ok(Self {
            desk: Desk::new(publics),
            shelf: Arc::new(shelf),
            keys: Arc::new(keys),
            compiling: JoinSet::new(),
            places: Arc::new(Semaphore::new(COMPILING_MAX)),
            begun: Instant::now(),
            context,
        })
    }

    async fn serve(mut self, mut inbox: Inbox) {
        let Ok(mut peers) = self.context.dispatcher.peers().await else {
            return idle(inbox).await;
        };
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                asked = inbox.recv() => match asked {
                    Some(asked) => {
                        let reason = "the registry is not asked, but sent to".into();
                        asked.answer(Err(Failure::BadRequest { reason }));
                    }
                    None => return,
                },
                message = peers.recv() => match message {
                    Some((envelope, bytes)) => self.message(envelope, bytes),
                    None => return idle(inbox).await,
                },
                Some(compiled) = self.compiling.join_next(), if !self.compiling.is_empty() => {
                    match compiled {
                        Ok((job, result)) => self.feed(Input::Compiled { job, result }),
                        Err(error) => std::panic::resume_unwind(error.into_panic()),
                    }
                }
                _ = ticks.tick(), if !self.desk.is_idle() => self.feed(Input::Tick),
            }
        }
    }

    fn message(&mut self, envelope: Envelope, bytes: Bytes) {
        let Envelope {
            operation,
            from,
            message,
        } = envelope;
        match message {
            PeerMessage::CodeWanted { module, target, keys } => self.feed(Input::Wanted {
                from,
                operation,
                module,
                target,
                keys,
            }),
            PeerMessage::Chunk { blob, offset } => self.feed(Input::Chunk {
                from,
                operation,
                blob,
                offset,
                bytes,
            }),
            PeerMessage::Pull { blob, offset, chunks } => {
                // What is not here any more is asked for anew.
                let Some(code) = self.shelf.served(blob.digest) else {
                    return;
                };
                let blob = Blob {
                    bytes: code.len() as u64,
                    ..blob
                };
                for (offset, bytes) in (Pull { offset, chunks }).chunks_of(blob) {
                    // It is in memory, so its places are.
                    let chunk = &code[offset as usize..][..bytes];
                    let message = PeerMessage::Chunk { blob, offset };
                    self.context.dispatcher.say(&from, operation, message, chunk);
                }
            }
            _ => {}
        }
    }

    fn feed(&mut self, input: Input) {
        let now_ms = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            for effect in self.desk.handle(input, now_ms) {
                match effect {
                    Effect::Say {
                        to,
                        operation,
                        message,
                    } => self.context.dispatcher.say(&to, operation, message, &[]),
                    Effect::Look(job) => inputs.push(self.look(job)),
                    Effect::Compile { job, wasm } => self.compile(job, wasm),
                }
            }
        }
    }

    fn look(&self, job: Job) -> Input {
        let compiler = self.context.options.compiler.as_ref();
        let code = compiler.and_then(|compiler| self.shelf.find(&job, &compiler.name));
        let has_module = self.shelf.has_module(job.module);
        Input::Looked {
            job,
            code,
            has_module,
        }
    }

    fn compile(&mut self, job: Job, wasm: Option<Vec<u8>>) {
        let Some(compiler) = self.context.options.compiler.clone() else {
            let reason = "this dispatcher has no compiler".to_owned();
            let failure = Failure::BadRequest { reason };
            return self.feed(Input::Compiled {
                job,
                result: Err(failure),
            });
        };
        let (shelf, keys, places) = (
            Arc::clone(&self.shelf),
            Arc::clone(&self.keys),
            Arc::clone(&self.places),
        );
        self.compiling.spawn(async move {
            let _place = places.acquire_owned().await;
            let work = {
                let job = job.clone();
                move || make(&job, wasm, &compiler, &shelf, &keys)
            };
            let made = tokio::task::spawn_blocking(work).await;
            let result = made.unwrap_or_else(|_| {
                let reason = "the compiler panicked".to_owned();
                Err(Failure::Internal { reason })
            });
            (job, result)
        });
    }
}

/// Compiles, signs and keeps; takes up to minutes.
fn make(
    job: &Job,
    wasm: Option<Vec<u8>>,
    compiler: &AheadCompiler,
    shelf: &Shelf,
    keys: &[SecretKey],
) -> Result<Blob, Failure> {
    let module = job.module.digest;
    let internal = |reason: String| Failure::Internal { reason };
    let wasm = match wasm {
        Some(wasm) => {
            shelf.keep_module(module, &wasm);
            wasm
        }
        None => shelf
            .module(module)
            .ok_or_else(|| internal("the module is gone: ask again".into()))?,
    };
    let begun = std::time::Instant::now();
    let code = (compiler.compile)(module, &wasm, &job.target)?;
    let key = keys
        .iter()
        .find(|key| key.public() == job.key)
        .ok_or_else(|| internal("the key is gone: ask again".into()))?;
    let signed = code::sign(module, &job.target, &compiler.name, &code, key)
        .map_err(|error| internal(error.to_string()))?;
    wayfare_protocol::command::check_bytes("the module's code", signed.len() as u64, CODE_BYTES_MAX)?;
    tracing::info!(
        module = module.short(),
        target = %job.target,
        bytes = signed.len(),
        ms = begun.elapsed().as_millis(),
        "compiled"
    );
    Ok(shelf.keep(job, &compiler.name, signed))
}
