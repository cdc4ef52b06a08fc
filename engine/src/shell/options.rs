//! What an engine is told at its start, as values. People say it with [`EngineArgs`](super::EngineArgs).

#[cfg(feature = "metrics")]
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use wayfare_link::BrokerUrl;
use wayfare_protocol::code::PublicKey;
use wayfare_protocol::ids::{EngineId, is_name};
use wayfare_protocol::labels::Labels;
use wayfare_protocol::topics::Topics;

use wayfare_devices::DeviceOptions;
use wayfare_runtime::Variables;

#[cfg(feature = "compiler")]
use super::apart::CompilerLimits;

/// Defaults fit a board with 512 MB and an SD card.
pub(super) const PROGRAMS_MAX: usize = 16;
pub(super) const PROGRAM_MEMORY_MIB_MAX: u64 = 64;
/// Memory is taken only as far as calls go down. Interpreters need much for each call of their programs:
/// JavaScript's recursion ends with an error of its own after some thousand calls in this.
pub(super) const STACK_KIB_MAX: usize = 16 * 1024;
/// A checkpoint of a small program is about 100 KiB. Sixteen of them each minute write 2.3 GB a day, which a
/// card of 10 TB endurance bears for ten years; every ten seconds would be under two. What `kill -9` or a
/// power cut costs is at most this much computing, done again.
pub(super) const CHECKPOINT_SECONDS: u64 = 60;
/// How long moves may take when it stops: with what is stored then, within a service manager's usual fifteen
/// seconds.
pub(super) const HAND_OVER_SECONDS: u64 = 5;
/// Compiled code takes some twenty times the room of its module: this holds 200 of the samples, or ten of
/// QuickJS's size.
pub(super) const CACHE_MIB_MAX: u64 = 256;

/// Where wasmtime supports its compiler in one pass as it does the optimising one.
pub(super) const TIERED_COMPILATION: bool = cfg!(target_arch = "x86_64");

#[derive(Debug, Clone)]
pub struct EngineOptions {
    pub engine: EngineId,
    pub broker: BrokerUrl,
    pub topics: Topics,
    /// The engine's own folder; made if it is not there.
    pub data: PathBuf,
    pub programs_max: usize,
    pub program_memory_bytes_max: u64,
    /// Of all programs together; `None`: what the machine can give.
    pub programs_memory_bytes_max: Option<u64>,
    pub stack_bytes_max: usize,
    /// Its own, that programs can be granted.
    pub variables: Variables,
    /// How often running programs are stored; `None`: only when they move, pause or are asked.
    pub checkpoint_interval: Option<Duration>,
    /// How long it waits, when it is to stop, for programs of applications to be moved elsewhere; zero: not
    /// at all.
    pub hand_over: Duration,
    /// Compiled modules on disk; 0: none.
    pub cache_bytes_max: u64,
    /// What is compiled for the first time starts on the baseline tier.
    pub tiered_compilation: bool,
    /// What compiling may take, in processes of its own: for programs that ask
    /// [`compile_if_asked`](super::compile_if_asked) first of all. `None`: it compiles in this process,
    /// without limits.
    #[cfg(feature = "compiler")]
    pub compiler_limits: Option<CompilerLimits>,
    pub code: CodeFrom,
    /// The key that signs the fleet's roster; `None`: orders need no signature.
    pub trust_root: Option<PublicKey>,
    /// The machine that it runs on.
    pub host: String,
    /// What applications may ask for.
    pub labels: Labels,
    pub devices: DeviceOptions,
    /// Where its numbers are served to Prometheus; `None`: nowhere.
    #[cfg(feature = "metrics")]
    pub metrics: Option<SocketAddr>,
}

/// Where an engine gets the code of modules from.
#[derive(Debug, Clone)]
pub enum CodeFrom {
    /// It compiles, unless the fleet's dispatcher has done so and signed it with one of these keys.
    #[cfg(feature = "compiler")]
    Compiler(Vec<PublicKey>),
    /// The fleet's dispatcher compiles; what these keys have not signed is not loaded.
    Signed(Vec<PublicKey>),
}

impl CodeFrom {
    pub fn compiles(&self) -> bool {
        !matches!(self, Self::Signed(_))
    }
}

impl Default for CodeFrom {
    fn default() -> Self {
        #[cfg(feature = "compiler")]
        return Self::Compiler(Vec::new());
        #[cfg(not(feature = "compiler"))]
        Self::Signed(Vec::new())
    }
}

impl EngineOptions {
    /// With every limit at its default.
    pub fn new(engine: EngineId, broker: BrokerUrl, data: impl Into<PathBuf>) -> Self {
        Self {
            host: this_machine().unwrap_or_else(|| engine.clone()).to_string(),
            labels: Labels::new(),
            engine,
            broker,
            topics: Topics::default(),
            data: data.into(),
            programs_max: PROGRAMS_MAX,
            program_memory_bytes_max: PROGRAM_MEMORY_MIB_MAX << 20,
            programs_memory_bytes_max: None,
            stack_bytes_max: STACK_KIB_MAX << 10,
            variables: Variables::default(),
            checkpoint_interval: Some(Duration::from_secs(CHECKPOINT_SECONDS)),
            hand_over: Duration::from_secs(HAND_OVER_SECONDS),
            cache_bytes_max: CACHE_MIB_MAX << 20,
            tiered_compilation: TIERED_COMPILATION,
            #[cfg(feature = "compiler")]
            compiler_limits: None,
            code: CodeFrom::default(),
            trust_root: None,
            devices: DeviceOptions::default(),
            #[cfg(feature = "metrics")]
            metrics: None,
        }
    }

    /// The client id of the engine's session: fleets that share a broker may have engines of the same name.
    pub(super) fn client_id(&self) -> String {
        let root = self.topics.to_string().replace('/', "-");
        self.broker.client_id(&format!("{root}-engine-{}", self.engine))
    }
}

/// Its name, where that can name an engine.
pub(super) fn this_machine() -> Option<EngineId> {
    let name = wayfare_link::machine_name()?;
    is_name(&name).then(|| name.parse().ok()).flatten()
}
