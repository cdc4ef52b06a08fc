//! What people tell an engine: the command line of both binaries, and the same settings in a file.
//!
//! One struct is both, so that every flag has its key: `--programs-max 8` is `programs-max = 8`. The command
//! line wins over the environment, which wins over the file, which wins over the defaults in
//! [`options`](super::options).

use std::collections::BTreeMap;
use std::fmt::Display;
#[cfg(feature = "metrics")]
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde::de::Error;
use serde::{Deserialize, Deserializer};
use wayfare_devices::{DeviceTable, DeviceTables, StatusLedTable};
use wayfare_link::{BrokerAccess, BrokerUrl};
use wayfare_protocol::code::PublicKey;
use wayfare_protocol::device::Alias;
use wayfare_protocol::ids::{EngineId, is_name};
use wayfare_protocol::labels;
use wayfare_protocol::limits::TRUSTED_KEYS_MAX;
use wayfare_protocol::topics::Topics;
use wayfare_runtime::Variables;

#[cfg(feature = "compiler")]
use super::apart::CompilerLimits;
use super::options::{CodeFrom, EngineOptions, this_machine};

const BROKER_DEFAULT: (&str, u16) = ("localhost", 1883);
const PROGRAMS_LIMIT: u64 = 4096;
const MEMORY_MIB_LIMIT: u64 = 4096;
const PROGRAMS_MEMORY_MIB_LIMIT: u64 = 1 << 24;
const STACK_KIB_MIN: u64 = 64;
const STACK_KIB_LIMIT: u64 = 65536;
const CACHE_MIB_LIMIT: u64 = 1 << 20;
const HAND_OVER_SECONDS_LIMIT: u64 = 3600;
/// The stack of the thread that rewrites counts, and is four fifths of it.
#[cfg(feature = "compiler")]
const COMPILER_MEMORY_MIB_MIN: u64 = 320;
#[cfg(feature = "compiler")]
const COMPILER_SECONDS_LIMIT: u64 = 7 * 24 * 3600;
const CHECKPOINT_SECONDS_LIMIT: u64 = 365 * 24 * 3600;

/// The arguments of `wayfare-engine` and `wayfare engine`, and what the configuration file may say.
#[derive(Debug, Clone, Default, clap::Args, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct EngineArgs {
    /// File with settings for what is not given here; `wayfare engine init` writes one that explains itself.
    /// /dev/null: none [default: /etc/wayfare/engine.toml if that is there]
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,
    /// Name of this engine, unique in its fleet [default: this machine's name]
    #[arg(long, value_name = "NAME")]
    pub id: Option<EngineId>,
    /// MQTT broker [default: mqtt://localhost:1883]
    #[arg(long, value_name = "URL", env = "WAYFARE_BROKER")]
    #[serde(deserialize_with = "text")]
    pub broker: Option<BrokerUrl>,
    /// File with the certificates, in PEM form, of the authorities that may have signed the broker's, for
    /// mqtts:// [default: those that this machine trusts]
    #[arg(long, value_name = "FILE", env = "WAYFARE_BROKER_CA")]
    pub broker_ca: Option<PathBuf>,
    /// File whose first line is user:password for the broker, so that they are on no command line
    #[arg(long, value_name = "FILE", env = "WAYFARE_BROKER_LOGIN")]
    pub broker_login: Option<PathBuf>,
    /// Topic root: several fleets can share a broker [default: wayfare]
    #[arg(long, value_name = "TOPIC", env = "WAYFARE_ROOT")]
    #[serde(deserialize_with = "text")]
    pub root: Option<Topics>,
    /// Folder for what must survive a restart [default: /var/lib/wayfare/ID for root, otherwise
    /// $XDG_STATE_HOME/wayfare/engines/ID]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Programs at the same time [default: 16]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(0..=PROGRAMS_LIMIT))]
    #[serde(deserialize_with = "between::<0, PROGRAMS_LIMIT, _>")]
    pub programs_max: Option<u64>,
    /// Memory of one program [default: 64]
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u64).range(1..=MEMORY_MIB_LIMIT))]
    #[serde(deserialize_with = "between::<1, MEMORY_MIB_LIMIT, _>")]
    pub memory_max: Option<u64>,
    /// Memory of all programs together [default: three quarters of what the machine, or its control group,
    /// has beyond 96 MiB]
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u64).range(1..=PROGRAMS_MEMORY_MIB_LIMIT))]
    #[serde(deserialize_with = "between::<1, PROGRAMS_MEMORY_MIB_LIMIT, _>")]
    pub programs_memory: Option<u64>,
    /// Call stack of one program [default: 16384]
    #[arg(long, value_name = "KIB", value_parser = clap::value_parser!(u64).range(STACK_KIB_MIN..=STACK_KIB_LIMIT))]
    #[serde(deserialize_with = "between::<STACK_KIB_MIN, STACK_KIB_LIMIT, _>")]
    pub stack_max: Option<u64>,
    /// Variable of this engine that programs can be granted, or PREFIX* for all that begin so; can be given
    /// again. No others then [default: all but AWS_* and names like those of secrets]
    #[arg(long, value_name = "NAME")]
    pub allow_env: Vec<String>,
    /// How often running programs are stored on disk; 0: only when they move, pause or are asked [default:
    /// 60]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(0..=CHECKPOINT_SECONDS_LIMIT))]
    #[serde(deserialize_with = "between::<0, CHECKPOINT_SECONDS_LIMIT, _>")]
    pub checkpoint: Option<u64>,
    /// How long to wait, when it is told to stop, for the dispatcher to move programs of applications
    /// elsewhere; 0: not at all. Another signal ends the wait [default: 5]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(0..=HAND_OVER_SECONDS_LIMIT))]
    #[serde(deserialize_with = "between::<0, HAND_OVER_SECONDS_LIMIT, _>")]
    pub hand_over: Option<u64>,
    /// Compiled modules kept on disk, so that they start at once the next time; 0: none [default: 256]
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u64).range(0..=CACHE_MIB_LIMIT))]
    #[serde(deserialize_with = "between::<0, CACHE_MIB_LIMIT, _>")]
    pub cache_max: Option<u64>,
    /// Start what is compiled for the first time on code that is made in a tenth of the time and runs slower,
    /// until the optimised code is made behind it; on x86-64 and 64-bit ARM [default: true on x86-64]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
        env = "WAYFARE_TIERED_COMPILATION")]
    pub tiered_compilation: Option<bool>,
    /// Memory that compiling a module may take, in a process of its own [default: 2048]
    #[cfg(feature = "compiler")]
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u64).range(COMPILER_MEMORY_MIB_MIN..=PROGRAMS_MEMORY_MIB_LIMIT))]
    #[serde(deserialize_with = "between::<COMPILER_MEMORY_MIB_MIN, PROGRAMS_MEMORY_MIB_LIMIT, _>")]
    pub compiler_memory: Option<u64>,
    /// Processor time that it may take [default: 600]
    #[cfg(feature = "compiler")]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=COMPILER_SECONDS_LIMIT))]
    #[serde(deserialize_with = "between::<1, COMPILER_SECONDS_LIMIT, _>")]
    pub compiler_timeout: Option<u64>,
    /// Key of the fleet, as `wayfare key show` prints it: code that it has signed is loaded, and the
    /// dispatcher is asked for that of large modules before they are compiled here; can be given again
    #[arg(long, value_name = "KEY", env = "WAYFARE_TRUST", value_delimiter = ',')]
    pub trust: Vec<PublicKey>,
    /// Root key of the fleet, as `wayfare operator ls` prints it: orders count as its roster says, see
    /// `wayfare operator`
    #[arg(long, value_name = "KEY", env = "WAYFARE_TRUST_ROOT")]
    pub trust_root: Option<PublicKey>,
    /// Compile nothing here: load only code that the fleet's dispatcher has compiled and signed. An engine
    /// that was built without the compiler always does so
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub signed_only: Option<bool>,
    /// The machine that it runs on: applications can ask for it, or for not sharing it [default: this
    /// machine's name]
    #[arg(long, value_name = "NAME", value_parser = parse_host)]
    #[serde(deserialize_with = "host")]
    pub host: Option<String>,
    /// Something that applications may ask for, such as zone=attic; can be given again
    #[arg(long = "label", value_name = "K=V", value_parser = labels::parse)]
    #[serde(deserialize_with = "label_table")]
    pub labels: Vec<(String, String)>,
    /// Serve this engine's numbers at http://ADDRESS/metrics for Prometheus, to everybody who can reach that
    /// [default: nowhere]
    #[cfg(feature = "metrics")]
    #[arg(long, value_name = "IP:PORT")]
    pub metrics: Option<SocketAddr>,
    /// How much to say on standard error: error, warn, info, debug, trace, or levels for parts such as
    /// info,wayfare_link=debug [default: info]
    #[arg(long, value_name = "LEVEL", env = "RUST_LOG")]
    pub log_level: Option<String>,
    /// What programs can be granted; only in the file.
    #[arg(skip)]
    pub devices: BTreeMap<Alias, DeviceTable>,
    #[arg(skip)]
    pub status_led: Option<StatusLedTable>,
}

impl EngineArgs {
    /// What is given here, and otherwise what `file` gives. Keys and labels are taken from one of the two,
    /// not from both: an old key on neither list must not come back.
    pub(super) fn or(self, file: Self) -> Self {
        Self {
            config: self.config,
            id: self.id.or(file.id),
            broker: self.broker.or(file.broker),
            broker_ca: self.broker_ca.or(file.broker_ca),
            broker_login: self.broker_login.or(file.broker_login),
            root: self.root.or(file.root),
            data: self.data.or(file.data),
            programs_max: self.programs_max.or(file.programs_max),
            memory_max: self.memory_max.or(file.memory_max),
            programs_memory: self.programs_memory.or(file.programs_memory),
            stack_max: self.stack_max.or(file.stack_max),
            allow_env: if self.allow_env.is_empty() {
                file.allow_env
            } else {
                self.allow_env
            },
            checkpoint: self.checkpoint.or(file.checkpoint),
            hand_over: self.hand_over.or(file.hand_over),
            cache_max: self.cache_max.or(file.cache_max),
            tiered_compilation: self.tiered_compilation.or(file.tiered_compilation),
            #[cfg(feature = "compiler")]
            compiler_memory: self.compiler_memory.or(file.compiler_memory),
            #[cfg(feature = "compiler")]
            compiler_timeout: self.compiler_timeout.or(file.compiler_timeout),
            trust: if self.trust.is_empty() {
                file.trust
            } else {
                self.trust
            },
            trust_root: self.trust_root.or(file.trust_root),
            signed_only: self.signed_only.or(file.signed_only),
            host: self.host.or(file.host),
            labels: if self.labels.is_empty() {
                file.labels
            } else {
                self.labels
            },
            #[cfg(feature = "metrics")]
            metrics: self.metrics.or(file.metrics),
            log_level: self.log_level.or(file.log_level),
            devices: file.devices,
            status_led: file.status_led,
        }
    }

    pub fn log_level(&self) -> &str {
        self.log_level.as_deref().unwrap_or("info")
    }

    /// With the defaults for what is said nowhere.
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
        let (host, port) = BROKER_DEFAULT;
        let broker = self.broker.clone().unwrap_or_else(|| BrokerUrl::new(host, port));
        let access = BrokerAccess {
            authority: self.broker_ca.clone(),
            login: self.broker_login.clone(),
        };
        let mut options = EngineOptions::new(engine, access.apply(broker)?, data);
        if let Some(root) = &self.root {
            options.topics = root.clone();
        }
        if let Some(count) = self.programs_max {
            options.programs_max = usize::try_from(count)?;
        }
        if let Some(mib) = self.memory_max {
            options.program_memory_bytes_max = mib << 20;
        }
        options.programs_memory_bytes_max = self.programs_memory.map(|mib| mib << 20);
        if let Some(kib) = self.stack_max {
            options.stack_bytes_max = usize::try_from(kib << 10)?;
        }
        if !self.allow_env.is_empty() {
            options.variables = Variables::Only(self.allow_env.clone());
        }
        if let Some(seconds) = self.checkpoint {
            options.checkpoint_interval = (seconds > 0).then(|| Duration::from_secs(seconds));
        }
        if let Some(seconds) = self.hand_over {
            options.hand_over = Duration::from_secs(seconds);
        }
        if let Some(mib) = self.cache_max {
            options.cache_bytes_max = mib << 20;
        }
        if let Some(tiered) = self.tiered_compilation {
            options.tiered_compilation = tiered;
        }
        #[cfg(feature = "compiler")]
        {
            options.compiler_limits = Some(self.compiler_limits());
        }
        #[cfg(feature = "metrics")]
        {
            options.metrics = self.metrics;
        }
        if let Some(host) = &self.host {
            options.host.clone_from(host);
        }
        options.labels = labels::collect(self.labels.clone()).map_err(anyhow::Error::msg)?;
        options.code = self.code()?;
        options.trust_root = self.trust_root;
        options.devices = DeviceTables {
            devices: self.devices.clone(),
            status_led: self.status_led.clone(),
        }
        .check()?;
        Ok(options)
    }

    #[cfg(feature = "compiler")]
    fn compiler_limits(&self) -> CompilerLimits {
        let default = CompilerLimits::default();
        CompilerLimits {
            memory_bytes: self.compiler_memory.map_or(default.memory_bytes, |mib| mib << 20),
            time: self.compiler_timeout.map_or(default.time, Duration::from_secs),
        }
    }

    fn code(&self) -> anyhow::Result<CodeFrom> {
        anyhow::ensure!(
            self.trust.len() <= TRUSTED_KEYS_MAX,
            "{} keys are trusted, {TRUSTED_KEYS_MAX} can be",
            self.trust.len()
        );
        #[cfg(feature = "compiler")]
        if self.signed_only != Some(true) {
            return Ok(CodeFrom::Compiler(self.trust.clone()));
        }
        Ok(CodeFrom::Signed(self.trust.clone()))
    }
}

/// In the file it stands as on the command line.
fn text<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: FromStr<Err: Display>,
    D: Deserializer<'de>,
{
    String::deserialize(deserializer)?
        .parse()
        .map(Some)
        .map_err(D::Error::custom)
}

fn between<'de, const MIN: u64, const MAX: u64, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<u64>, D::Error> {
    let number = u64::deserialize(deserializer)?;
    if !(MIN..=MAX).contains(&number) {
        return Err(D::Error::custom(format!("{number} is not in {MIN}..={MAX}")));
    }
    Ok(Some(number))
}

fn parse_host(text: &str) -> Result<String, String> {
    if is_name(text) {
        return Ok(text.to_owned());
    }
    Err("a host is named by a-z A-Z 0-9 . _ -, beginning with a letter or digit".into())
}

fn host<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_host(&text).map(Some).map_err(D::Error::custom)
}

/// In the file they are a table.
fn label_table<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<(String, String)>, D::Error> {
    let label = |(key, value): (String, String)| labels::parse(&format!("{key}={value}"));
    let table = BTreeMap::<String, String>::deserialize(deserializer)?;
    table
        .into_iter()
        .map(label)
        .collect::<Result<_, _>>()
        .map_err(D::Error::custom)
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
            "--label",
            "zone=attic",
            "--label",
            "kind=pi",
            "--host",
            "rack-2",
        ]);
        let options = args.unwrap().options().unwrap();
        assert_eq!(options.engine.as_str(), "pi-1");
        assert_eq!(options.broker.port(), 1884);
        assert_eq!(options.topics.to_string(), "site/a");
        assert_eq!(options.data, PathBuf::from("/d"));
        assert_eq!(options.programs_max, 16);
        assert_eq!(options.program_memory_bytes_max, 64 << 20);
        assert_eq!(options.stack_bytes_max, 16 << 20);
        assert_eq!(options.cache_bytes_max, 256 << 20);
        assert_eq!(options.tiered_compilation, cfg!(target_arch = "x86_64"));
        assert_eq!((options.host.as_str(), options.labels.len()), ("rack-2", 2));
        assert_eq!(options.labels["zone"], "attic");
        assert_eq!(options.checkpoint_interval, Some(Duration::from_secs(60)));
    }

    #[test]
    fn nonsense_is_refused_as_bad_usage() {
        for bad in [
            ["--id", "a/b"],
            ["--broker", "hub"],
            ["--root", "a/+"],
            ["--memory-max", "0"],
            ["--cache-max", "-1"],
            ["--label", "zone"],
            ["--host", "a b"],
        ] {
            assert_eq!(parse(&bad).unwrap_err().exit_code(), 2, "{bad:?}");
        }
        let args = parse(&[
            "--id",
            "a",
            "--checkpoint",
            "0",
            "--cache-max",
            "0",
            "--tiered-compilation=false",
        ]);
        let options = args.unwrap().options().unwrap();
        assert!(!options.tiered_compilation);
        assert_eq!(options.checkpoint_interval, None);
        assert_eq!(options.cache_bytes_max, 0);
    }

    #[test]
    fn the_command_line_wins_over_the_file() {
        let file = "id = 'f'\nprograms-max = 3\nsigned-only = true\nlog-level = 'warn'\nmemory-max = 8\n\
                    [labels]\nzone = 'attic'\nkind = 'pi'";
        let file: EngineArgs = toml::from_str(file).unwrap();
        let given = parse(&["--id", "g", "--signed-only=false", "--programs-max", "4"]).unwrap();
        let both = given.or(file);
        assert_eq!(both.id.as_ref().unwrap().as_str(), "g");
        assert_eq!((both.programs_max, both.memory_max), (Some(4), Some(8)));
        assert_eq!(both.signed_only, Some(false));
        assert_eq!(both.log_level(), "warn");
        assert_eq!(both.labels.len(), 2);
        assert_eq!(parse(&["--signed-only"]).unwrap().signed_only, Some(true));
    }
}
