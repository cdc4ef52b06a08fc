//! Putting an engine together: from its folder and its settings to a loop that can run.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;
use wayfare_core::Core;
use wayfare_core::types::{Disposition, Identity, Now, Record};
use wayfare_devices::{Devices, StatusLed};
use wayfare_link::{Acknowledge, Link, LinkEvents, LinkOptions, Message, OnTakeover, Qos};
use wayfare_protocol::ids::BootId;
use wayfare_protocol::status::EngineAbout;
use wayfare_protocol::topics::Topic;
use wayfare_protocol::wire;

use crate::shell::announcing::Announced;
#[cfg(feature = "compiler")]
use crate::shell::apart::{Apart, CompilerLimits};
use crate::shell::claim::Claim;
use crate::shell::fence::Fence;
use crate::shell::fetches::Fetches;
use crate::shell::inbound::Border;
use crate::shell::leaving::Leaving;
use crate::shell::logs::Logs;
use crate::shell::machine;
use crate::shell::memory;
use crate::shell::metrics::Scrapes;
use crate::shell::modules::Modules;
use crate::shell::numbers::Numbers;
use crate::shell::occasional::Occasional;
use crate::shell::options::{CodeFrom, EngineOptions};
use crate::shell::outbound::Outbound;
use crate::shell::own_key;
use crate::shell::programs::{Programs, Said};
use crate::shell::questions::DeviceQuestions;
use crate::shell::service_requests::ServiceRequests;
use crate::shell::sessions::Sessions;
use crate::shell::snapshots::Snapshots;
use crate::shell::statuses::PublishedStatuses;
use crate::shell::store::Cache;
use crate::shell::store::Store;
use crate::shell::subscriptions::Subscriptions;
use crate::shell::supervisor::Supervisor;
use crate::shell::trust::Trust;
use crate::shell::work::{Turn, Workshop};
use wayfare_runtime::{AddressSpace, Budget, Provenance, Runtime, RuntimeOptions};

use super::{Agent, Step, Times};

/// Frames, globals, log and input position: what a snapshot has besides linear memory.
const BESIDES_MEMORY_BYTES_MAX: u64 = 48 << 20;
/// After so many ends in a row for want of memory programs come back paused.
const KILLED_MAX: u32 = 2;
/// In the data folder: compiled code; of an engine that compiles, its own,
const COMPILED_FOLDER: &str = "compiled";
/// and that of others, where it takes such.
#[cfg(feature = "compiler")]
const SIGNED_FOLDER: &str = "signed";

#[cfg(feature = "compiler")]
fn compiling_apart(
    runtime: Runtime,
    address_space: AddressSpace,
    limits: Option<CompilerLimits>,
) -> std::io::Result<Runtime> {
    let Some(limits) = limits else {
        return Ok(runtime);
    };
    let apart = Apart::new(limits, address_space, runtime.provenance())?;
    let make = move |module, piece, tier, wasm: &[u8]| apart.make(module, (piece, tier), wasm);
    Ok(runtime.compiling_apart(Box::new(make)))
}

/// What made the engine need more memory than there is would do so again.
fn come_back_paused(store: &mut Store, records: &mut [Record], killed: u32) {
    let mut programs = 0;
    for record in records {
        if let Record::Program(program) = record
            && program.disposition == Disposition::Running
        {
            program.disposition = Disposition::Paused;
            programs += 1;
            store.put(record);
        }
    }
    tracing::warn!(
        killed,
        programs,
        "the kernel has ended this engine for want of memory, several times in a row: its programs come back paused; `wayfare kill` \
         those that are too large, and `wayfare resume` the others"
    );
    if let Err(error) = store.commit() {
        tracing::warn!(%error, "that they are paused is not stored: they run on after the next start");
    }
}

impl Agent {
    /// With what its link and its programs say, which is to be given to [`Agent::run`].
    pub(in crate::shell) fn assemble(
        options: &EngineOptions,
    ) -> anyhow::Result<(Self, LinkEvents, UnboundedReceiver<Said>)> {
        let begun = Instant::now();
        let boot = BootId::random();
        let (mut store, mut records) = Store::open(&options.data, &options.engine)?;
        let killed = store.note_begin();
        if killed >= KILLED_MAX {
            come_back_paused(&mut store, &mut records, killed);
        }
        let devices = Arc::new(Devices::open(&options.devices));
        let programs_memory_bytes_max = memory::budget(options.programs_memory_bytes_max);
        let address_space = match options.code {
            #[cfg(feature = "compiler")]
            CodeFrom::Compiler(_) => AddressSpace::probe(),
            CodeFrom::Signed(_) => AddressSpace::Ample,
        };
        let runtime = Runtime::new(RuntimeOptions {
            stack_bytes_max: options.stack_bytes_max,
            baseline: options.tiered_compilation,
            memory_bytes_max: options.program_memory_bytes_max,
            address_space,
            devices: devices.clone(),
            variables: options.variables.clone(),
            budget: Arc::new(Budget::new(programs_memory_bytes_max)),
            ..RuntimeOptions::default()
        })
        .context("cannot set up wasmtime")?;
        #[cfg(feature = "compiler")]
        let runtime = compiling_apart(runtime, address_space, options.compiler_limits)
            .context("cannot find this program's own file")?;
        let key = own_key::load_or_make(&options.data);
        let signs_statuses = key.is_some() && options.trust_root.is_some();
        let about = machine::about(options, &devices, signs_statuses);
        let earlier = store.note_boot(boot);
        let (link, events) = connect(options, boot, &about)?;
        tracing::info!(
            engine = %options.engine,
            broker = %options.broker,
            data = %options.data.display(),
            records = records.len(),
            "engine begins"
        );
        let identity = Identity {
            engine: options.engine.clone(),
            boot,
            earlier_boots: earlier.clone(),
            programs_max: options.programs_max,
            program_memory_bytes_max: options.program_memory_bytes_max,
            programs_memory_bytes_max,
            devices: about
                .devices
                .iter()
                .map(|(alias, device)| (alias.clone(), device.kind))
                .collect(),
            checkpoint_interval_us: options
                .checkpoint_interval
                .map(|interval| u64::try_from(interval.as_micros()).unwrap_or(u64::MAX)),
        };
        let (core, effects) = Core::new(identity, records, Now(0));
        let (programs, said) = Programs::new();
        let workshop = Workshop {
            engine: options.engine.clone(),
            modules: Arc::new(modules(options, runtime)?),
            folder: store.blobs.folder().clone(),
            reserve: store.reserve.clone(),
            unpacked_bytes_max: options
                .program_memory_bytes_max
                .saturating_add(BESIDES_MEMORY_BYTES_MAX),
            decoding: Turn::default(),
        };
        let mut agent = Self {
            subscriptions: Subscriptions::new(link.clone(), options.topics.clone(), options.engine.clone()),
            announced: Announced::new(about.labels.clone()),
            core,
            store,
            out: Outbound {
                link,
                topics: options.topics.clone(),
                engine: options.engine.clone(),
                is_connected: false,
                key,
                signs_statuses,
            },
            border: Border {
                topics: options.topics.clone(),
                engine: options.engine.clone(),
            },
            trust: Trust::new(
                options.trust_root,
                options.engine.clone(),
                options.topics.clone(),
                options.data.clone(),
                begun,
            ),
            boot,
            about,
            status_led: StatusLed::start(&devices),
            device_questions: DeviceQuestions::new(devices, options.engine.clone()),
            numbers: Numbers::new(begun, boot),
            scrapes: Scrapes::open(options)?,
            programs,
            snapshots: Snapshots::default(),
            verified: None,
            workshop,
            fetches: Fetches::default(),
            service_requests: ServiceRequests::default(),
            work: JoinSet::new(),
            logs: Logs::default(),
            sessions: Sessions::new(options.broker.clone()),
            inputs: VecDeque::new(),
            steps: effects.into_iter().map(Step::Effect).collect(),
            uncommitted: false,
            times: Times::begin(begun),
            is_stalled: false,
            statuses: PublishedStatuses::default(),
            fence: Fence::default(),
            claim: Claim::new(boot, earlier),
            taken: None,
            leaving: Leaving::default(),
            nonsense: Occasional::default(),
            no_broker_said: false,
            is_stopping: false,
            supervisor: Supervisor::from_environment(),
        };
        // Before anything of theirs is said: another engine may have them by now.
        let concerned = agent.core.concerned();
        agent.trust.places.keep_only(&concerned);
        for program in concerned {
            agent.subscriptions.watch(program);
        }
        Ok((agent, events, said))
    }
}

fn modules(options: &EngineOptions, runtime: Runtime) -> anyhow::Result<Modules> {
    let engine = options.engine.clone();
    let cache = |folder: &str, bytes_max: u64, provenance: Provenance| {
        let folder = options.data.join(folder);
        if bytes_max == 0 {
            Cache::remove(&folder);
            return None;
        }
        Cache::open(&folder, bytes_max, provenance)
    };
    let bytes_max = options.cache_bytes_max;
    Ok(match &options.code {
        #[cfg(feature = "compiler")]
        CodeFrom::Compiler(keys) if keys.is_empty() || !runtime.takes_signed_code() => {
            Cache::remove(&options.data.join(SIGNED_FOLDER));
            let own = cache(COMPILED_FOLDER, bytes_max, runtime.provenance());
            Modules::new(runtime, engine, own)
        }
        #[cfg(feature = "compiler")]
        CodeFrom::Compiler(keys) => {
            let own = cache(COMPILED_FOLDER, bytes_max / 2, runtime.provenance());
            let trust = runtime.trust(keys.clone());
            let signed = cache(SIGNED_FOLDER, bytes_max / 2, Provenance::Signed(trust.clone()));
            Modules::trusting(runtime, engine, own, (trust, signed))
        }
        CodeFrom::Signed(keys) => {
            let trust = runtime.trust(keys.clone());
            let cache = cache(COMPILED_FOLDER, bytes_max, Provenance::Signed(trust.clone()));
            if trust.keys.is_empty() {
                tracing::warn!(
                    "no key is trusted, so that no program can run here: give the one that 'wayfare key show' prints, with \
                     --trust"
                );
            }
            Modules::signed(runtime, engine, cache, trust)
        }
    })
}

fn connect(options: &EngineOptions, boot: BootId, about: &EngineAbout) -> anyhow::Result<(Link, LinkEvents)> {
    let (topics, engine) = (&options.topics, &options.engine);
    let status = topics.topic(&Topic::EngineStatus(engine.clone()));
    let offline = wire::encode(&machine::offline(engine.clone(), boot, about.clone()));
    let filters = [
        topics.topic(&Topic::EngineCommand(engine.clone())),
        topics.topic(&Topic::EngineDevice(engine.clone())),
        topics.topic(&Topic::Report),
        topics.peer_filter(engine),
        topics.topic(&Topic::Reply(engine.clone())),
    ];
    let link = wayfare_link::connect(LinkOptions {
        // Senders repeat until they are answered: nothing needs to wait at the broker.
        clean_session: true,
        acknowledge: Acknowledge::Manual,
        will: Some(Message::new(status, offline).retained()),
        subscriptions: filters
            .into_iter()
            .chain(Trust::roster_topic(options.trust_root, topics))
            .map(|filter| (filter, Qos::AtLeastOnce))
            .collect(),
        on_takeover: OnTakeover::BackOff,
        ..LinkOptions::new(options.broker.clone(), options.client_id())
    });
    link.context("cannot set up the link to the broker")
}
