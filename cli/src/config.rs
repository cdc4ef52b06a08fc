//! Settings from four places: a flag wins over the environment, which wins over the context in use, or
//! without one over the file. A context that is named leaves the environment out; a broker that is given
//! otherwise leaves out the context in use. Where none of them says which broker, and none listens where it
//! would be, it is that of the one `wayfare up` which this user runs here.

use std::net::TcpStream;
use std::path::PathBuf;

use serde::Deserialize;
use wayfare_link::{BrokerAccess, BrokerUrl};
use wayfare_protocol::code::PublicKey;
use wayfare_protocol::topics::Topics;

use crate::args::fleet::FleetArgs;
use crate::contexts::{Context, Contexts};
use crate::fail::Fail;
use crate::folders::{contexts_path, file_path, operator_key_path};
use crate::local::LocalFleet;

const BROKER_DEFAULT: &str = "mqtt://127.0.0.1:1883";

/// Which fleet, decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) broker: BrokerUrl,
    pub(crate) topics: Topics,
    /// The file of the key that signs orders.
    pub(crate) operator_key: Option<PathBuf>,
    /// The root key of the fleet of a `wayfare up` here, for engines.
    pub(crate) trust_root: Option<PublicKey>,
    /// Nothing has said which broker.
    pub(crate) broker_is_unsaid: bool,
}

/// What the file may say.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    broker: Option<String>,
    broker_ca: Option<PathBuf>,
    broker_login: Option<PathBuf>,
    root: Option<String>,
    operator_key: Option<PathBuf>,
}

impl Settings {
    /// From this process's environment and files.
    pub(crate) fn load(args: &FleetArgs) -> Result<Self, Fail> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let contexts =
            || contexts_path().map_or_else(|| Ok(Contexts::default()), |path| Contexts::load(&path));
        let named = args.context.clone().or_else(|| variable("WAYFARE_CONTEXT"));
        if let Some(name) = named {
            let mut context = contexts()?.get(&name)?.clone();
            // Its login is for its own broker.
            if args.broker.is_some() {
                (context.broker_ca, context.broker_login) = (None, None);
            }
            // It stands for itself: what the environment says of another fleet does not mix with it.
            return Self::with_access(Self::resolve(args, |_| None, context.into()));
        }
        // Nor does a login with another broker than its own.
        if args.broker.is_some() || variable("WAYFARE_BROKER").is_some() {
            return Self::with_access(Ok(Self::read(args)?));
        }
        match contexts()?.in_use()? {
            Some(context) => Self::with_access(Self::resolve(args, variable, context.clone().into())),
            None => {
                let (mut settings, access) = Self::read(args)?;
                if settings.broker_is_unsaid && !listens(&settings.broker) {
                    settings.broker = the_local_one(settings.broker)?;
                }
                Self::with_access(Ok((settings, access)))
            }
        }
    }

    /// Of a context that is to be kept.
    pub(crate) fn of_context(context: &Context) -> Result<Self, Fail> {
        Self::with_access(Self::resolve(
            &FleetArgs::default(),
            |_| None,
            context.clone().into(),
        ))
    }

    fn with_access(resolved: Result<(Self, BrokerAccess), SettingsError>) -> Result<Self, Fail> {
        let (settings, mut access) = resolved.map_err(|error| Fail::usage(error.text))?;
        let own_key = || operator_key_path().filter(|path| path.exists());
        let local = match access.login {
            None => LocalFleet::at(&settings.broker),
            Some(_) => None,
        };
        let mut trust_root = settings.trust_root;
        let operator_key = match (settings.operator_key, local) {
            (given, Some(local)) => {
                access.login = local.broker_login;
                trust_root = local.trust_root;
                given.or(Some(local.operator_key))
            }
            (given, None) => given.or_else(own_key),
        };
        let broker = access.apply(settings.broker);
        let broker = broker.map_err(|error| Fail::usage(error.to_string()))?;
        Ok(Self {
            broker,
            operator_key,
            trust_root,
            ..settings
        })
    }

    /// The same for a broker of our own, which nobody logs in to and no context is about.
    pub(crate) fn with_own_broker(args: &FleetArgs) -> Result<Self, Fail> {
        Self::read(args).map(|(settings, _)| settings)
    }

    fn read(args: &FleetArgs) -> Result<(Self, BrokerAccess), Fail> {
        let variable = |name: &str| std::env::var(name).ok();
        let path = file_path(variable, "config.toml");
        let text = match &path {
            None => String::new(),
            Some(path) => match std::fs::read_to_string(path) {
                Ok(text) => text,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
                Err(error) => return Err(Fail::usage(format!("cannot read {}: {error}", path.display()))),
            },
        };
        let resolved = File::read(&text).and_then(|file| Self::resolve(args, variable, file));
        resolved.map_err(|error| match path {
            Some(path) if error.is_in_file => Fail::usage(format!("{}: {}", path.display(), error.text)),
            _ => Fail::usage(error.text),
        })
    }

    /// Pure: `variable` gives the environment's, `file` is what comes last. Empty variables count as unset.
    fn resolve(
        args: &FleetArgs,
        variable: impl Fn(&str) -> Option<String>,
        file: File,
    ) -> Result<(Self, BrokerAccess), SettingsError> {
        let variable = |name| variable(name).filter(|value| !value.is_empty());
        let pick = |flag: &Option<String>, name, file: Option<String>, default: &str| match flag {
            Some(flag) => (flag.clone(), false),
            None => match (variable(name), file) {
                (Some(value), _) => (value, false),
                (None, Some(value)) => (value, true),
                (None, None) => (default.to_owned(), false),
            },
        };
        let broker_is_unsaid =
            args.broker.is_none() && variable("WAYFARE_BROKER").is_none() && file.broker.is_none();
        let (broker, in_file) = pick(&args.broker, "WAYFARE_BROKER", file.broker, BROKER_DEFAULT);
        // host:port is what people type.
        let url = if broker.contains("://") {
            broker
        } else {
            format!("mqtt://{broker}")
        };
        let broker = url
            .parse()
            .map_err(|error: wayfare_link::BrokerUrlError| SettingsError::new(error, in_file))?;
        let (root, in_file) = pick(
            &args.root,
            "WAYFARE_ROOT",
            file.root,
            &Topics::default().to_string(),
        );
        let topics = root
            .parse()
            .map_err(|error: wayfare_protocol::topics::RootError| SettingsError::new(error, in_file))?;
        let path = |flag: &Option<PathBuf>, name, file: Option<PathBuf>| {
            let given = flag.clone().or_else(|| variable(name).map(PathBuf::from));
            given.or(file)
        };
        let access = BrokerAccess {
            authority: path(&args.broker_ca, "WAYFARE_BROKER_CA", file.broker_ca),
            login: path(&args.broker_login, "WAYFARE_BROKER_LOGIN", file.broker_login),
        };
        let settings = Self {
            broker,
            topics,
            operator_key: path(&args.operator_key, "WAYFARE_OPERATOR_KEY", file.operator_key),
            trust_root: None,
            broker_is_unsaid,
        };
        Ok((settings, access))
    }
}

/// Whether anything does at this address of this machine.
fn listens(broker: &BrokerUrl) -> bool {
    TcpStream::connect((broker.host(), broker.port())).is_ok()
}

/// The broker of the one `wayfare up` that this user runs; `default` where there is none.
fn the_local_one(default: BrokerUrl) -> Result<BrokerUrl, Fail> {
    let url = |port: u16| format!("mqtt://{}:{port}", default.host());
    match LocalFleet::ports().as_slice() {
        [] => Ok(default),
        [port] => Ok(url(*port).parse().expect("a host and a port make a URL")),
        several => {
            let several: Vec<String> = several.iter().map(|port| url(*port)).collect();
            Err(
                Fail::usage(format!("no broker at {}:{}", default.host(), default.port())).hint(format!(
                    "several `wayfare up` run here: give one by --broker, of {}",
                    several.join(", ")
                )),
            )
        }
    }
}

impl File {
    fn read(text: &str) -> Result<Self, SettingsError> {
        toml::from_str(text).map_err(|error: toml::de::Error| SettingsError {
            text: error.message().to_owned(),
            is_in_file: true,
        })
    }
}

impl From<Context> for File {
    fn from(context: Context) -> Self {
        let Context {
            broker,
            broker_ca,
            broker_login,
            root,
            operator_key,
        } = context;
        Self {
            broker,
            broker_ca,
            broker_login,
            root,
            operator_key,
        }
    }
}

#[derive(Debug)]
struct SettingsError {
    text: String,
    is_in_file: bool,
}

impl SettingsError {
    fn new(error: impl std::fmt::Display, is_in_file: bool) -> Self {
        Self {
            text: error.to_string(),
            is_in_file,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_wins_over_the_environment_which_wins_over_the_file() {
        let file = "broker = 'mqtt://file'\nroot = 'file'";
        for (flag, variable, file, expected) in [
            (None, None, "", "127.0.0.1"),
            (None, None, file, "file"),
            (None, Some("mqtt://variable"), file, "variable"),
            (None, Some(""), file, "file"),
            (Some("mqtt://flag"), Some("mqtt://variable"), file, "flag"),
            (Some("flag:1884"), None, "", "flag"),
        ] {
            let args = FleetArgs {
                broker: flag.map(String::from),
                ..FleetArgs::default()
            };
            let variables = |name: &str| {
                (name == "WAYFARE_BROKER")
                    .then(|| variable.map(String::from))
                    .flatten()
            };
            let (settings, _) = Settings::resolve(&args, variables, File::read(file).unwrap()).unwrap();
            assert_eq!(settings.broker.host(), expected, "{flag:?} {variable:?}");
            let root = if file.is_empty() { "wayfare" } else { "file" };
            assert_eq!(settings.topics.to_string(), root);
        }
    }

    #[test]
    fn nonsense_is_refused_and_the_file_is_blamed_only_for_its_own() {
        let args = |broker: Option<&str>| FleetArgs {
            broker: broker.map(String::from),
            ..FleetArgs::default()
        };
        for (flag, file, is_in_file) in [
            (Some("http://x"), "", false),
            (None, "broker = 'http://x'", true),
            (None, "root = 'a/+'", true),
            (None, "brokers = 1", true),
            (None, "broker =", true),
        ] {
            let error = File::read(file)
                .and_then(|file| Settings::resolve(&args(flag), |_| None, file))
                .unwrap_err();
            assert_eq!(error.is_in_file, is_in_file, "{file}");
        }
    }

    #[test]
    fn each_file_for_the_broker_is_where_it_was_said_last() {
        let file = "broker-ca = '/file/ca'\nbroker-login = '/file/login'";
        let args = FleetArgs {
            broker_ca: Some("/flag/ca".into()),
            ..FleetArgs::default()
        };
        let variables = |name: &str| (name == "WAYFARE_BROKER_LOGIN").then(|| "/variable/login".to_owned());
        let (_, access) = Settings::resolve(&args, variables, File::read(file).unwrap()).unwrap();
        assert_eq!(access.authority, Some("/flag/ca".into()));
        assert_eq!(access.login, Some("/variable/login".into()));
        let (_, access) =
            Settings::resolve(&FleetArgs::default(), |_| None, File::read(file).unwrap()).unwrap();
        assert_eq!(access.authority, Some("/file/ca".into()));
    }
}
