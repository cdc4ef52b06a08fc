//! Contexts: fleets by name, each with its broker, root and login; one of them may be in use.
//!
//! ```toml
//! current = "site"
//!
//! [context.site]
//! broker = "mqtts://hub.site:8883"
//! broker-login = "/home/ann/.config/wayfare/site-login"
//! ```
//! They stand in a file of their own, `contexts.toml` beside `config.toml`, which earlier releases read
//! strictly. What always holds: the file is the old one or the new one, never half of it. It names files with
//! passwords and holds none.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::fail::{Fail, Result};
use crate::whole;

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Contexts {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) current: Option<String>,
    #[serde(default)]
    pub(crate) context: BTreeMap<String, Context>,
}

/// Which fleet.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Context {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) broker: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) broker_ca: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) broker_login: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) root: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) operator_key: Option<PathBuf>,
}

impl Context {
    /// Its broker for people: a login that somebody has written into the URL is not shown.
    pub(crate) fn shown_broker(&self) -> Option<String> {
        let url = self.broker.as_ref()?;
        Some(match url.rsplit_once('@') {
            Some((login, host)) => {
                let scheme = login.split_once("://").map_or("", |(scheme, _)| scheme);
                format!("{scheme}{}{host}", if scheme.is_empty() { "" } else { "://" })
            }
            None => url.clone(),
        })
    }
}

impl Contexts {
    /// Those of this user; none where there is no file.
    pub(crate) fn load(path: &Path) -> Result<Self> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(Fail::usage(format!("cannot read {}: {error}", path.display()))),
        };
        toml::from_str(&text)
            .map_err(|error: toml::de::Error| Fail::usage(format!("{}: {}", path.display(), error.message())))
    }

    pub(crate) fn save(&self, path: &Path) -> Result {
        let text = toml::to_string(self).expect("plain data serialises");
        let folder = path.parent().unwrap_or(Path::new("."));
        let written = std::fs::create_dir_all(folder).and_then(|()| whole::write(path, text.as_bytes()));
        written.map_err(|error| Fail::file(path, &error))
    }

    pub(crate) fn get(&self, name: &str) -> Result<&Context> {
        self.context.get(name).ok_or_else(|| {
            let there: Vec<&str> = self.context.keys().map(String::as_str).collect();
            let there = match there.as_slice() {
                [] => "there are none: `wayfare context add` makes one".to_owned(),
                there => format!("there are: {}", there.join(", ")),
            };
            Fail::usage(format!("no context '{name}'; {there}"))
        })
    }

    /// The one that is used where none is named.
    pub(crate) fn in_use(&self) -> Result<Option<&Context>> {
        self.current.as_deref().map(|name| self.get(name)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_are_kept_and_those_of_later_releases_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("wayfare/contexts.toml");
        assert_eq!(Contexts::load(&path).unwrap(), Contexts::default());
        let mut contexts = Contexts::default();
        let site = Context {
            broker: Some("mqtt://hub".into()),
            ..Context::default()
        };
        contexts.context.insert("site".into(), site.clone());
        contexts.current = Some("site".into());
        contexts.save(&path).unwrap();
        assert_eq!(Contexts::load(&path).unwrap(), contexts);
        assert_eq!(contexts.in_use().unwrap(), Some(&site));
        let by_hand = Context {
            broker: Some("mqtts://ann:p@ss@hub:1".into()),
            ..Context::default()
        };
        assert_eq!(by_hand.shown_broker().as_deref(), Some("mqtts://hub:1"));
        assert_eq!(site.shown_broker().as_deref(), Some("mqtt://hub"));
        let missing = contexts.get("sit").unwrap_err();
        assert_eq!(missing.message(), "no context 'sit'; there are: site");

        std::fs::write(&path, "color = 1\n[context.a]\nbroker = 'mqtt://a'\nshade = 2\n").unwrap();
        assert_eq!(
            Contexts::load(&path).unwrap().get("a").unwrap().broker.as_deref(),
            Some("mqtt://a")
        );
        std::fs::write(&path, "current =").unwrap();
        assert!(Contexts::load(&path).is_err());
    }
}
