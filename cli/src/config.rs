//! Settings from three places: a flag wins over the environment, which wins over the file.

use std::path::PathBuf;

use serde::Deserialize;
use wayfare_link::{BrokerAccess, BrokerUrl};
use wayfare_protocol::topics::Topics;

use crate::args::FleetArgs;
use crate::fail::Fail;

const BROKER_DEFAULT: &str = "mqtt://127.0.0.1:1883";

/// Which fleet, decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) broker: BrokerUrl,
    pub(crate) topics: Topics,
}

/// What the file may say.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    broker: Option<String>,
    broker_ca: Option<PathBuf>,
    broker_login: Option<PathBuf>,
    root: Option<String>,
}

impl Settings {
    /// From this process's environment and file.
    pub(crate) fn load(args: &FleetArgs) -> Result<Self, Fail> {
        let (settings, access) = Self::read(args)?;
        let broker = access.apply(settings.broker);
        let broker = broker.map_err(|error| Fail::usage(error.to_string()))?;
        Ok(Self { broker, ..settings })
    }

    /// The same for a broker of our own, which nobody logs in to.
    pub(crate) fn with_own_broker(args: &FleetArgs) -> Result<Self, Fail> {
        Self::read(args).map(|(settings, _)| settings)
    }

    fn read(args: &FleetArgs) -> Result<(Self, BrokerAccess), Fail> {
        let variable = |name: &str| std::env::var(name).ok();
        let path = file_path(variable);
        let text = match &path {
            None => String::new(),
            Some(path) => match std::fs::read_to_string(path) {
                Ok(text) => text,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
                Err(error) => return Err(Fail::usage(format!("cannot read {}: {error}", path.display()))),
            },
        };
        Self::resolve(args, variable, &text).map_err(|error| match path {
            Some(path) if error.is_in_file => Fail::usage(format!("{}: {}", path.display(), error.text)),
            _ => Fail::usage(error.text),
        })
    }

    /// Pure: `variable` gives the environment's, `file` is the file's text. Empty variables count as unset.
    fn resolve(
        args: &FleetArgs,
        variable: impl Fn(&str) -> Option<String>,
        file: &str,
    ) -> Result<(Self, BrokerAccess), SettingsError> {
        let file: File = toml::from_str(file).map_err(|error| SettingsError {
            text: error.message().to_owned(),
            is_in_file: true,
        })?;
        let variable = |name| variable(name).filter(|value| !value.is_empty());
        let pick = |flag: &Option<String>, name, file: Option<String>, default: &str| match flag {
            Some(flag) => (flag.clone(), false),
            None => match (variable(name), file) {
                (Some(value), _) => (value, false),
                (None, Some(value)) => (value, true),
                (None, None) => (default.to_owned(), false),
            },
        };
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
        Ok((Self { broker, topics }, access))
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

fn file_path(variable: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let folder = |name: &str| {
        variable(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let config = folder("XDG_CONFIG_HOME").or_else(|| Some(folder("HOME")?.join(".config")))?;
    Some(config.join("wayfare/config.toml"))
}

/// A folder of this user's for what must survive a restart.
pub(crate) fn state_folder() -> Option<PathBuf> {
    let folder = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path: &PathBuf| path.is_absolute())
    };
    let state = folder("XDG_STATE_HOME").or_else(|| Some(folder("HOME")?.join(".local/state")))?;
    Some(state.join("wayfare"))
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
            let (settings, _) = Settings::resolve(&args, variables, file).unwrap();
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
            let error = Settings::resolve(&args(flag), |_| None, file).unwrap_err();
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
        let (_, access) = Settings::resolve(&args, variables, file).unwrap();
        assert_eq!(access.authority, Some("/flag/ca".into()));
        assert_eq!(access.login, Some("/variable/login".into()));
        let (_, access) = Settings::resolve(&FleetArgs::default(), |_| None, file).unwrap();
        assert_eq!(access.authority, Some("/file/ca".into()));
    }

    #[test]
    fn the_file_is_where_the_desktop_standard_says() {
        let path = |pairs: &[(&str, &str)]| {
            file_path(|name| {
                pairs
                    .iter()
                    .find(|(key, _)| *key == name)
                    .map(|(_, value)| (*value).to_owned())
            })
        };
        assert_eq!(
            path(&[("HOME", "/h")]),
            Some("/h/.config/wayfare/config.toml".into())
        );
        assert_eq!(
            path(&[("HOME", "/h"), ("XDG_CONFIG_HOME", "/c")]),
            Some("/c/wayfare/config.toml".into())
        );
        assert_eq!(path(&[]), None);
    }
}
