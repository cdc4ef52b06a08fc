//! What an engine is told at its start: as values for those who embed it, as arguments for the two binaries.

use std::path::PathBuf;
use std::time::Duration;

use wayfare_link::BrokerUrl;
use wayfare_protocol::code::PublicKey;
use wayfare_protocol::ids::{EngineId, is_name};
use wayfare_protocol::limits::TRUSTED_KEYS_MAX;
use wayfare_protocol::topics::Topics;

/// Defaults fit a board with 512 MB and an SD card.
const PROGRAMS_MAX: usize = 16;
const PROGRAM_MEMORY_MIB_MAX: u64 = 64;
const STACK_KIB_MAX: usize = 1024;
/// A checkpoint of a small program is about 100 KiB. Sixteen of them each minute write 2.3 GB a day, which a
/// card of 10 TB endurance bears for ten years; every ten seconds would be under two. What `kill -9` or a
/// power cut costs is at most this much computing, done again.
const CHECKPOINT_SECONDS: u64 = 60;
/// Compiled code takes some twenty times the room of its module: this holds 200 of the samples, or ten of QuickJS's size.
const CACHE_MIB_MAX: u64 = 256;

#[derive(Debug, Clone)]
pub struct EngineOptions {
    pub engine: EngineId,
    pub broker: BrokerUrl,
    pub topics: Topics,
    /// The engine's own folder; made if it is not there.
    pub data: PathBuf,
    pub programs_max: usize,
    pub program_memory_bytes_max: u64,
    pub stack_bytes_max: usize,
    /// How often running programs are stored; `None`: only when they move, pause or are asked.
    pub checkpoint_interval: Option<Duration>,
    /// Compiled modules on disk; 0: none.
    pub cache_bytes_max: u64,
    pub code: CodeFrom,
}

/// Where an engine gets the code of modules from.
#[derive(Debug, Clone)]
pub enum CodeFrom {
    /// It compiles.
    #[cfg(feature = "compiler")]
    Compiler,
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
        return Self::Compiler;
        #[cfg(not(feature = "compiler"))]
        Self::Signed(Vec::new())
    }
}

impl EngineOptions {
    /// With every limit at its default.
    pub fn new(engine: EngineId, broker: BrokerUrl, data: impl Into<PathBuf>) -> Self {
        Self {
            engine,
            broker,
            topics: Topics::default(),
            data: data.into(),
            programs_max: PROGRAMS_MAX,
            program_memory_bytes_max: PROGRAM_MEMORY_MIB_MAX << 20,
            stack_bytes_max: STACK_KIB_MAX << 10,
            checkpoint_interval: Some(Duration::from_secs(CHECKPOINT_SECONDS)),
            cache_bytes_max: CACHE_MIB_MAX << 20,
            code: CodeFrom::default(),
        }
    }
}

/// The arguments of `wayfare-engine` and `wayfare engine`.
#[derive(Debug, Clone, clap::Args)]
pub struct EngineArgs {
    /// Name of this engine, unique in its fleet [default: this machine's name]
    #[arg(long, value_name = "NAME")]
    pub id: Option<EngineId>,
    /// MQTT broker
    #[arg(
        long,
        value_name = "URL",
        env = "WAYFARE_BROKER",
        default_value = "mqtt://localhost:1883"
    )]
    pub broker: BrokerUrl,
    /// Topic root: several fleets can share a broker
    #[arg(long, value_name = "TOPIC", env = "WAYFARE_ROOT", default_value_t)]
    pub root: Topics,
    /// Folder for what must survive a restart [default: /var/lib/wayfare/<id> for root, otherwise
    /// $XDG_STATE_HOME/wayfare/engines/<id>]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Programs at the same time
    #[arg(long, value_name = "COUNT", default_value_t = PROGRAMS_MAX)]
    pub programs_max: usize,
    /// Memory of one program
    #[arg(long, value_name = "MIB", default_value_t = PROGRAM_MEMORY_MIB_MAX,
          value_parser = clap::value_parser!(u64).range(1..=4096))]
    pub memory_max: u64,
    /// Call stack of one program
    #[arg(long, value_name = "KIB", default_value_t = STACK_KIB_MAX as u64,
          value_parser = clap::value_parser!(u64).range(64..=65536))]
    pub stack_max: u64,
    /// How often running programs are stored on disk; 0: only when they move, pause or are asked
    #[arg(long, value_name = "SECONDS", default_value_t = CHECKPOINT_SECONDS)]
    pub checkpoint: u64,
    /// Compiled modules kept on disk, so that they start at once the next time; 0: none
    #[arg(long, value_name = "MIB", default_value_t = CACHE_MIB_MAX,
          value_parser = clap::value_parser!(u64).range(0..=1 << 20))]
    pub cache_max: u64,
    /// Key of the fleet, as `wayfare key show` prints it: code that it has signed is loaded; can be given again
    #[arg(long, value_name = "KEY", env = "WAYFARE_TRUST", value_delimiter = ',')]
    pub trust: Vec<PublicKey>,
    /// Compile nothing here: load only code that the fleet's dispatcher has compiled and signed. An engine that was built
    /// without the compiler always does so
    #[arg(long)]
    pub signed_only: bool,
    /// How much to say on standard error: error, warn, info, debug, trace, or a filter as in RUST_LOG
    #[arg(long, value_name = "LEVEL", env = "RUST_LOG", default_value = "info")]
    pub log_level: String,
}

impl EngineArgs {
    pub fn options(&self) -> anyhow::Result<EngineOptions> {
        let engine = match &self.id {
            Some(id) => id.clone(),
            None => this_machine().ok_or_else(|| {
                anyhow::anyhow!("this machine's name cannot name an engine: give one with --id")
            })?,
        };
        let data = match &self.data {
            Some(data) => data.clone(),
            None => data_folder(&engine).ok_or_else(|| {
                anyhow::anyhow!("no home folder to keep the engine's data in: give one with --data")
            })?,
        };
        Ok(EngineOptions {
            engine,
            broker: self.broker.clone(),
            topics: self.root.clone(),
            data,
            programs_max: self.programs_max,
            program_memory_bytes_max: self.memory_max << 20,
            stack_bytes_max: usize::try_from(self.stack_max << 10)?,
            checkpoint_interval: (self.checkpoint > 0).then(|| Duration::from_secs(self.checkpoint)),
            cache_bytes_max: self.cache_max << 20,
            code: self.code()?,
        })
    }
}

impl EngineArgs {
    fn code(&self) -> anyhow::Result<CodeFrom> {
        anyhow::ensure!(
            self.trust.len() <= TRUSTED_KEYS_MAX,
            "{} keys are trusted, {TRUSTED_KEYS_MAX} can be",
            self.trust.len()
        );
        if self.signed_only || !CodeFrom::default().compiles() {
            return Ok(CodeFrom::Signed(self.trust.clone()));
        }
        Ok(CodeFrom::default())
    }
}

fn this_machine() -> Option<EngineId> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = name.or_else(|| std::env::var("HOSTNAME").ok())?;
    is_name(name.trim()).then(|| name.trim().parse().ok()).flatten()
}

fn data_folder(engine: &EngineId) -> Option<PathBuf> {
    let folder = |variable| {
        std::env::var_os(variable)
            .map(PathBuf::from)
            .filter(|path: &PathBuf| path.is_absolute())
    };
    if is_root() {
        return Some(PathBuf::from("/var/lib/wayfare").join(engine.as_str()));
    }
    let state = folder("XDG_STATE_HOME").or_else(|| Some(folder("HOME")?.join(".local/state")))?;
    Some(state.join("wayfare/engines").join(engine.as_str()))
}

/// The owner of our own entry in /proc is whoever we run as.
fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        engine: EngineArgs,
    }

    fn parse(arguments: &[&str]) -> Result<EngineArgs, clap::Error> {
        Program::try_parse_from([&["wayfare-engine"], arguments].concat()).map(|program| program.engine)
    }

    #[test]
    fn arguments_become_options() {
        let args = parse(&[
            "--id",
            "pi-1",
            "--broker",
            "mqtt://hub:1884",
            "--root",
            "site/a",
            "--data",
            "/d",
        ]);
        let options = args.unwrap().options().unwrap();
        assert_eq!(options.engine.as_str(), "pi-1");
        assert_eq!(options.broker.port(), 1884);
        assert_eq!(options.topics.to_string(), "site/a");
        assert_eq!(options.data, PathBuf::from("/d"));
        assert_eq!(options.program_memory_bytes_max, 64 << 20);
        assert_eq!(options.cache_bytes_max, 256 << 20);
        assert_eq!(
            options.checkpoint_interval,
            Some(Duration::from_secs(CHECKPOINT_SECONDS))
        );
    }

    #[test]
    fn nonsense_is_refused_as_bad_usage() {
        for bad in [
            ["--id", "a/b"],
            ["--broker", "hub"],
            ["--root", "a/+"],
            ["--memory-max", "0"],
            ["--cache-max", "-1"],
        ] {
            assert_eq!(parse(&bad).unwrap_err().exit_code(), 2, "{bad:?}");
        }
        let args = parse(&["--id", "a", "--checkpoint", "0", "--cache-max", "0"]).unwrap();
        let options = args.options().unwrap();
        assert_eq!(options.checkpoint_interval, None);
        assert_eq!(options.cache_bytes_max, 0);
    }
}
