//! The registry: keeps modules by digest, compiles them for engines that do not compile, signs the code with
//! the fleet's key, and serves it in chunks.
//!
//! ```text
//!  engines' messages --> jobs (decides) --> store (files), compiler (a thread or process), signature
//!                          ^                     |
//!                          `---------------------'
//! ```
//! Everything in here can be had again: modules from the engines that have them, code from the compiler. So a
//! dispatcher that takes over begins with whatever is on its disk, and engines ask again until they are
//! answered.

mod jobs;
mod store;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, timeout};
use tracing::Instrument as _;
use wayfare_client::keys;
use wayfare_protocol::code::{self, SecretKey};
use wayfare_protocol::error::Failure;
use wayfare_protocol::ids::Blob;
use wayfare_protocol::limits::CODE_BYTES_MAX;
use wayfare_protocol::peer::{Envelope, PeerMessage};
use wayfare_protocol::pull::Pull;

use self::jobs::{Effect, Input, Job, Jobs};
use self::store::CodeStore;
use crate::compilers::Compilers;
use crate::context::Context;
use crate::requests::Inbox;

/// How often what is late is asked for again.
const TICK: Duration = Duration::from_millis(500);
/// A folder that could not be used is tried again after this.
const OPEN_RETRY: Duration = Duration::from_secs(10);
/// Modules being compiled at the same time.
const COMPILING_MAX: usize = 2;

struct Registry {
    context: Context,
    jobs: Jobs,
    store: Arc<CodeStore>,
    keys: Arc<Vec<SecretKey>>,
    compiling: JoinSet<(Job, Result<Blob, Failure>)>,
    places: Arc<Semaphore>,
    begun: Instant,
}

pub(crate) async fn run(context: Context, mut inbox: Inbox) {
    loop {
        match Registry::open(context.clone()) {
            Ok(registry) => return registry.serve(inbox).await,
            Err(reason) => tracing::error!(
                reason,
                "no registry: engines without a compiler get no code from here"
            ),
        }
        // There may be room on its disk by then.
        if timeout(OPEN_RETRY, idle(&mut inbox)).await.is_ok() {
            return;
        }
    }
}

/// Until the dispatcher does not act any more.
async fn idle(inbox: &mut Inbox) {
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
        let store = CodeStore::open(&context.data).map_err(|error| error.to_string())?;
        Ok(Self {
            jobs: Jobs::new(publics),
            store: Arc::new(store),
            keys: Arc::new(keys),
            compiling: JoinSet::new(),
            places: Arc::new(Semaphore::new(COMPILING_MAX)),
            begun: Instant::now(),
            context,
        })
    }

    async fn serve(mut self, mut inbox: Inbox) {
        let Ok(mut peers) = self.context.client.peers().await else {
            return idle(&mut inbox).await;
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
                    None => return idle(&mut inbox).await,
                },
                Some(compiled) = self.compiling.join_next(), if !self.compiling.is_empty() => {
                    match compiled {
                        Ok((job, result)) => self.feed(Input::Compiled { job, result }),
                        Err(error) => std::panic::resume_unwind(error.into_panic()),
                    }
                }
                _ = ticks.tick(), if !self.jobs.is_idle() => self.feed(Input::Tick),
            }
        }
    }

    fn message(&mut self, envelope: Envelope, bytes: Bytes) {
        let Envelope {
            operation,
            from,
            message,
        } = envelope;
        let _span = wayfare_client::operation::span(operation).entered();
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
                let Some(code) = self.store.served(blob.digest) else {
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
                    self.context.client.say(&from, operation, message, chunk);
                }
            }
            _ => {}
        }
    }

    fn feed(&mut self, input: Input) {
        let now_ms = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            for effect in self.jobs.handle(input, now_ms) {
                match effect {
                    Effect::Say {
                        to,
                        operation,
                        message,
                    } => self.context.client.say(&to, operation, message, &[]),
                    Effect::Look(job) => inputs.push(self.look(job)),
                    Effect::Compile { job, wasm } => self.compile(job, wasm),
                }
            }
        }
    }

    fn look(&self, job: Job) -> Input {
        let compiler = match self.context.options.compilers.for_target(&job.target) {
            Ok(compiler) => compiler.about(),
            // Its module need not even be fetched.
            Err(failure) => {
                tracing::warn!(target = %job.target, reason = %failure, "no code");
                return Input::Compiled {
                    job,
                    result: Err(failure),
                };
            }
        };
        let code = self.store.find(&job, &compiler.compiler);
        let has_module = self.store.has_module(job.module);
        Input::Looked {
            job,
            code,
            has_module,
        }
    }

    fn compile(&mut self, job: Job, wasm: Option<Vec<u8>>) {
        let (options, places) = (Arc::clone(&self.context.options), Arc::clone(&self.places));
        let (store, keys) = (Arc::clone(&self.store), Arc::clone(&self.keys));
        let made = async move {
            let _place = places.acquire_owned().await;
            let result = make(&job, wasm, &options.compilers, &store, &keys).await;
            (job, result)
        };
        // Of several engines that ask for the same, the one whose message made it begin.
        self.compiling.spawn(made.in_current_span());
    }
}

/// Compiles, signs and keeps; takes up to minutes.
async fn make(
    job: &Job,
    wasm: Option<Vec<u8>>,
    compilers: &Compilers,
    store: &Arc<CodeStore>,
    keys: &[SecretKey],
) -> Result<Blob, Failure> {
    let module = job.module.digest;
    let compiler = compilers.for_target(&job.target)?.clone();
    let key = keys.iter().find(|key| key.public() == job.key);
    let key = key.ok_or_else(|| internal("the key is gone: ask again"))?;
    let wasm = on_disk(store, move |store| match wasm {
        Some(wasm) => {
            store.keep_module(module, &wasm);
            Some(wasm)
        }
        None => store.module(module),
    });
    let wasm = wasm
        .await?
        .ok_or_else(|| internal("the module is gone: ask again"))?;
    let (begun, name) = (Instant::now(), compiler.about().compiler.clone());
    let code = compiler.compile(module, wasm, job.target.clone()).await?;
    let signed =
        code::sign(module, &job.target, &name, &code, key).map_err(|error| internal(&error.to_string()))?;
    wayfare_protocol::command::check_bytes("the module's code", signed.len() as u64, CODE_BYTES_MAX)?;
    tracing::info!(
        module = module.short(),
        target = %job.target,
        bytes = signed.len(),
        ms = begun.elapsed().as_millis(),
        "compiled"
    );
    let kept = job.clone();
    on_disk(store, move |store| store.keep(&kept, &name, signed)).await
}

/// Files are not for the runtime's own threads.
async fn on_disk<T: Send + 'static>(
    store: &Arc<CodeStore>,
    work: impl FnOnce(&CodeStore) -> T + Send + 'static,
) -> Result<T, Failure> {
    let store = Arc::clone(store);
    let done = tokio::task::spawn_blocking(move || work(&store)).await;
    done.map_err(|_| internal("the registry's files could not be reached"))
}

fn internal(reason: &str) -> Failure {
    Failure::Internal {
        reason: reason.to_owned(),
    }
}
