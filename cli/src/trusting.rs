//! The root key of a fleet with its roster beside it: what `wayfare operator` changes, and what `wayfare up`
//! and the demo make for themselves.
//!
//! The roster in the file is the one of the highest version that this key has signed, whatever a broker
//! retains: it is written before it is published.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use wayfare_client::{Client, keys};
use wayfare_protocol::code::{PublicKey, SecretKey};
use wayfare_protocol::ids::PeerName;
use wayfare_protocol::limits::PAYLOAD_BYTES_MAX;
use wayfare_protocol::trust::roster::{Member, Role, Roster};
use wayfare_protocol::wire;

use crate::fail::{Fail, Result};
use crate::whole;

/// A fleet's root key and what it has signed last.
pub(crate) struct Authority {
    root: SecretKey,
    file: PathBuf,
    pub(crate) roster: Roster,
    /// There is a root key, which may have signed any roster, and none beside it.
    is_lost: bool,
}

impl Authority {
    /// The one whose root key is in this file.
    pub(crate) fn open(root_key: &Path) -> Result<Self> {
        let file = beside(root_key);
        let found = match read(&file) {
            Ok(bytes) => {
                let decoded = wire::decode(&bytes);
                Some(decoded.map_err(|error| Fail::usage(format!("{}: {error}", file.display())))?)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(Fail::file(&file, &error)),
        };
        Ok(Self {
            root: first_key(root_key)?,
            file,
            is_lost: found.is_none(),
            roster: found.unwrap_or(Roster::empty()),
        })
    }

    /// The same, with a root key that is made if there is none; and anew if its roster is lost, for a fleet
    /// whose engines are told the key at each start: those know a roster of the old one that none of it comes
    /// after.
    pub(crate) fn open_or_init(root_key: &Path) -> Result<Self> {
        if root_key.exists() && beside(root_key).exists() {
            return Self::open(root_key);
        }
        match std::fs::remove_file(root_key) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Fail::file(root_key, &error));
            }
            _ => {}
        }
        keys::load_or_init(root_key).map_err(|error| Fail::new("key", error.to_string()))?;
        let made = Self::open(root_key)?;
        Ok(Self {
            is_lost: false,
            ..made
        })
    }

    /// Goes on from the roster that the broker retains, if that is newer than the one beside the key:
    /// somebody else has a copy of the key, or this is one.
    pub(crate) fn learn(&mut self, retained: Option<Roster>) {
        if let Some(retained) = retained
            && (self.is_lost || retained.version > self.roster.version)
        {
            self.roster = retained;
            self.is_lost = false;
        }
    }

    /// The roster that the next one follows. A key alone does not tell whether engines know a newer one.
    pub(crate) fn known(&self) -> Result<&Roster> {
        if self.is_lost {
            let message = format!("there is a root key, and no roster in {}", self.file.display());
            return Err(Fail::new("roster", message).hint(
                "bring that file back from where the key was kept, or try again where the broker retains the roster; \
                 if both are lost, make another root key with `wayfare operator init`",
            ));
        }
        Ok(&self.roster)
    }

    pub(crate) fn public(&self) -> PublicKey {
        self.root.public()
    }

    /// Names somebody, with exactly these roles; a name or a key stands once.
    pub(crate) fn add(&mut self, name: PeerName, key: PublicKey, roles: impl IntoIterator<Item = Role>) {
        let others = |member: &Member| member.name != name && member.key != key;
        self.roster.members.retain(others);
        let roles = roles.into_iter().collect();
        self.roster.members.push(Member { name, key, roles });
    }

    /// Writes the roster down under the next version, if it is another than `before`.
    pub(crate) fn keep(&mut self, before: &Roster) -> Result {
        if self.roster == *before {
            return Ok(());
        }
        self.roster.version = before.version + 1;
        let checked = self.roster.check();
        checked.map_err(|error| Fail::usage(error.to_string()))?;
        whole::write(&self.file, &wire::encode(&self.roster)).map_err(|error| Fail::file(&self.file, &error))
    }

    /// Has the broker retain the roster, for engines to read.
    pub(crate) async fn publish(&self, client: &Client) -> Result {
        Ok(client.publish_roster(&self.root, &self.roster).await?)
    }
}

fn beside(root_key: &Path) -> PathBuf {
    root_key.with_extension("roster")
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(PAYLOAD_BYTES_MAX as u64)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The newest key of a file.
pub(crate) fn first_key(path: &Path) -> Result<SecretKey> {
    let keys = keys::load(path).map_err(|error| match error {
        keys::KeyFileError::None(path) => {
            let message = format!("there is no key in {}", path.display());
            Fail::new("key", message)
                .hint("`wayfare operator key` makes yours, `wayfare operator init` the fleet's root key")
        }
        error => Fail::new("key", error.to_string()),
    })?;
    Ok(keys.into_iter().next().expect("a file of keys has at least one"))
}

/// The key of somebody who gives orders, for a client.
pub(crate) fn own_key(path: &Path) -> Result<Arc<SecretKey>> {
    first_key(path).map(Arc::new)
}

/// Makes a key if there is none.
pub(crate) fn make_key(path: &Path) -> Result<PublicKey> {
    keys::load_or_init(path).map_err(|error| Fail::new("key", error.to_string()))?;
    Ok(first_key(path)?.public())
}

#[cfg(test)]
mod tests {
    use wayfare_protocol::trust::roster::Orders;

    use super::*;

    #[test]
    fn a_roster_is_kept_beside_the_root_key_and_its_version_rises_with_each_change() {
        let folder = tempfile::tempdir().unwrap();
        let root_key = folder.path().join("root.key");
        assert!(Authority::open(&root_key).is_err());
        make_key(&root_key).unwrap();
        let lost = Authority::open(&root_key).unwrap();
        assert!(lost.known().unwrap_err().message().contains("no roster in"));
        let mut authority = Authority::open_or_init(&root_key).unwrap();
        let name = |name: &str| -> PeerName { name.parse().unwrap() };
        let key = |file: &str| make_key(&folder.path().join(file)).unwrap();
        let before = authority.roster.clone();
        authority.add(name("ann"), key("ann.key"), [Role::Operator]);
        authority.keep(&before).unwrap();
        let before = authority.roster.clone();
        authority.keep(&before).unwrap();
        assert_eq!(Authority::open(&root_key).unwrap().roster.version, 1);
        // The same key under another name, and the same name with another key, take its place.
        authority.add(name("anne"), key("ann.key"), [Role::Viewer]);
        authority.add(name("anne"), key("anne.key"), [Role::Deployer]);
        authority.keep(&before).unwrap();
        let again = Authority::open(&root_key).unwrap();
        assert_eq!(again.public(), authority.public());
        assert_eq!((again.roster.version, again.roster.members.len()), (2, 1));
        assert_eq!(again.roster, authority.roster);
    }

    #[test]
    fn a_roster_goes_on_from_the_newest_that_its_key_has_signed() {
        let folder = tempfile::tempdir().unwrap();
        let root_key = folder.path().join("root.key");
        let of = |version, orders| Roster {
            version,
            orders,
            ..Roster::empty()
        };
        let mut authority = Authority::open_or_init(&root_key).unwrap();
        authority.roster.orders = Orders::Prefer;
        authority.keep(&of(0, Orders::Open)).unwrap();
        authority.learn(None);
        authority.learn(Some(of(1, Orders::Open)));
        assert_eq!(authority.known().unwrap(), &of(1, Orders::Prefer), "its own");
        authority.learn(Some(of(7, Orders::Require)));
        assert_eq!(authority.known().unwrap(), &of(7, Orders::Require));
        // The key was brought back from somewhere, and what it has signed was not.
        std::fs::remove_file(beside(&root_key)).unwrap();
        let mut again = Authority::open(&root_key).unwrap();
        assert_eq!(again.public(), authority.public());
        again.learn(Some(of(3, Orders::Require)));
        assert_eq!(again.known().unwrap(), &of(3, Orders::Require));
        // A fleet that makes its keys itself makes others.
        let renewed = Authority::open_or_init(&root_key).unwrap();
        assert_ne!(renewed.public(), authority.public());
        assert_eq!(renewed.known().unwrap().version, 0);
    }
}
