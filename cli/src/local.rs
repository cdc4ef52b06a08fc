//! How this user's commands and engines reach the fleet of a `wayfare up` on this machine: which login its broker wants,
//! with which key orders are signed and by which they are judged stands in a file of this user's alone, named by the port.
//!
//! What always holds: it counts only for a broker on a loopback address, for which nothing else was given;
//! and it goes when `up` ends, whose password is another each time.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use wayfare_link::{BrokerUrl, open_own_folder};
use wayfare_protocol::code::PublicKey;

use crate::fail::Fail;
use crate::folders::state_folder;
use crate::whole;

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
}

/// Stands as long as this is held.
#[derive(Debug)]
pub(crate) struct Shown(PathBuf);

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
        let text = std::fs::read_to_string(path(&state_folder()?, broker.port())).ok()?;
        toml::from_str(&text).ok()
    }

    /// Lets this user's commands find it.
    pub(crate) fn show(&self, port: u16) -> Result<Shown, Fail> {
        let none = || Fail::usage("there is no home folder: set HOME or XDG_STATE_HOME");
        let path = path(&state_folder().ok_or_else(none)?, port);
        let folder = path.parent().expect("it is in a folder");
        open_own_folder(folder).map_err(|error| Fail::file(folder, &error))?;
        let text = toml::to_string(self).expect("plain data serialises");
        whole::write(&path, text.as_bytes()).map_err(|error| Fail::file(&path, &error))?;
        Ok(Shown(path))
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        // One that stays has a password that no broker takes any more.
        let _ = std::fs::remove_file(&self.0);
    }
}

fn path(state: &Path, port: u16) -> PathBuf {
    state.join("local").join(format!("{port}.toml"))
}
