//! How this user's commands and engines reach the fleet of a `wayfare up` on this machine: which login its
//! broker wants, with which key orders are signed and by which they are judged stands in a file of this
//! user's alone, named by the port.
//!
//! What always holds: it counts only for a broker on a loopback address, for which nothing else was given,
//! and only as long as that `up` runs, whose password is another each time: it holds a lock on the file,
//! which goes with the process however that ends.

use std::fs::File;
use std::io::Read;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use wayfare_link::{BrokerUrl, open_own_folder};
use wayfare_protocol::code::PublicKey;

use crate::fail::Fail;
use crate::folders::state_folder;
use crate::whole;

/// In this user's folder for state.
const FOLDER: &str = "local";

/// What commands and engines need.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct LocalFleet {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) broker_login: Option<PathBuf>,
    pub(crate) operator_key: PathBuf,
    /// For engines that join it from this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) trust_root: Option<PublicKey>,
    /// Whoever has written it locks it: not so an `up` of an earlier release.
    #[serde(default)]
    pub(crate) is_locked: bool,
}

/// Stands as long as this is held.
#[derive(Debug)]
pub(crate) struct Shown {
    path: PathBuf,
    _locked: File,
}

impl LocalFleet {
    /// The one whose broker listens at this address, if this user has started it.
    pub(crate) fn at(broker: &BrokerUrl) -> Option<Self> {
        let is_here = broker.host() == "localhost"
            || broker
                .host()
                .parse::<IpAddr>()
                .is_ok_and(|address| address.is_loopback());
        if !is_here || broker.is_secure() || broker.has_login() {
            return None;
        }
        Self::in_folder(&state_folder()?, broker.port())
    }

    /// The ports of those that this user runs now, in order.
    pub(crate) fn ports() -> Vec<u16> {
        state_folder().map_or_else(Vec::new, |state| Self::ports_in(&state))
    }

    fn ports_in(state: &Path) -> Vec<u16> {
        let Ok(entries) = std::fs::read_dir(state.join(FOLDER)) else {
            return Vec::new();
        };
        let port = |entry: std::io::Result<std::fs::DirEntry>| {
            let name = entry.ok()?.file_name();
            name.to_str()?.strip_suffix(".toml")?.parse::<u16>().ok()
        };
        let mut ports: Vec<u16> = entries
            .filter_map(port)
            .filter(|port| Self::in_folder(state, *port).is_some_and(|found| found.is_locked))
            .collect();
        ports.sort_unstable();
        ports
    }

    fn in_folder(state: &Path, port: u16) -> Option<Self> {
        let mut file = File::open(path(state, port)).ok()?;
        let mut text = String::new();
        file.read_to_string(&mut text).ok()?;
        let found: Self = toml::from_str(&text).ok()?;
        // Where files cannot be locked, nothing is known of who has written it.
        let is_left = || file.try_lock_shared().is_ok();
        (!found.is_locked || !is_left()).then_some(found)
    }

    /// Lets this user's commands find it.
    pub(crate) fn show(&self, port: u16) -> Result<Shown, Fail> {
        let none = || Fail::usage("there is no home folder: set HOME or XDG_STATE_HOME");
        self.show_in(&state_folder().ok_or_else(none)?, port)
    }

    fn show_in(&self, state: &Path, port: u16) -> Result<Shown, Fail> {
        let path = path(state, port);
        let folder = path.parent().expect("it is in a folder");
        open_own_folder(folder).map_err(|error| Fail::file(folder, &error))?;
        let text = toml::to_string(self).expect("plain data serialises");
        let locked =
            whole::write_locked(&path, text.as_bytes()).map_err(|error| Fail::file(&path, &error))?;
        Ok(Shown {
            path,
            _locked: locked,
        })
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        // One that stays is unlocked.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn path(state: &Path, port: u16) -> PathBuf {
    state.join(FOLDER).join(format!("{port}.toml"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORT: u16 = 1883;

    fn fleet(is_locked: bool) -> LocalFleet {
        LocalFleet {
            broker_login: Some("/nonexistent/login".into()),
            operator_key: "/nonexistent/operator.key".into(),
            trust_root: None,
            is_locked,
        }
    }

    #[test]
    fn it_counts_as_long_as_its_up_runs_and_not_when_that_was_killed() {
        let state = tempfile::tempdir().unwrap();
        let shown = fleet(true).show_in(state.path(), PORT).unwrap();
        assert_eq!(LocalFleet::in_folder(state.path(), PORT), Some(fleet(true)));
        // Killed: the lock goes, the file stays.
        let kept = std::fs::read(&shown.path).unwrap();
        let path = shown.path.clone();
        assert_eq!(LocalFleet::ports_in(state.path()), [PORT]);
        drop(shown);
        assert!(!path.exists());
        std::fs::write(&path, kept).unwrap();
        assert_eq!(LocalFleet::in_folder(state.path(), PORT), None);
        assert!(LocalFleet::ports_in(state.path()).is_empty());
        // The next one takes its place.
        let _shown = fleet(true).show_in(state.path(), PORT).unwrap();
        assert_eq!(LocalFleet::in_folder(state.path(), PORT), Some(fleet(true)));
    }

    #[test]
    fn one_of_an_earlier_release_counts_unlocked() {
        let state = tempfile::tempdir().unwrap();
        let path = path(state.path(), PORT);
        std::fs::create_dir(path.parent().unwrap()).unwrap();
        std::fs::write(path, "operator-key = \"/nonexistent/operator.key\"\n").unwrap();
        assert!(LocalFleet::in_folder(state.path(), PORT).is_some());
    }
}
