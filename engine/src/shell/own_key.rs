//! The engine's own key, by which the fleet can tell it from whoever has its login.
//!
//! It is made at the first start, in the engine's folder, and never leaves that. Its public half is in the
//! engine's status; that it is this engine's, a member of the roster says with a card (`wayfare enroll`).

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use wayfare_protocol::code::SecretKey;

const NAME: &str = "identity";
/// 64 digits, and some space around them.
const FILE_BYTES_MAX: u64 = 100;

/// The key in this folder, made if there is none; nothing where the disk or the system refuses: the engine
/// signs nothing then.
pub(super) fn load_or_make(folder: &Path) -> Option<SecretKey> {
    let found = match read(&folder.join(NAME)) {
        Ok(found) => found,
        Err(error) => {
            tracing::warn!(%error, "cannot read the engine's key");
            return None;
        }
    };
    if found.is_some() {
        return found;
    }
    match make(folder) {
        Ok(key) => {
            tracing::info!(key = %key.public(), "the engine has made a key of its own");
            Some(key)
        }
        Err(error) => {
            tracing::warn!(%error, "cannot make a key for the engine");
            None
        }
    }
}

/// What is no key is none: it was damaged, and whoever approved it approves another.
fn read(path: &Path) -> io::Result<Option<SecretKey>> {
    let mut text = String::new();
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?.take(FILE_BYTES_MAX).read_to_string(&mut text)?,
    };
    Ok(text.trim().parse().ok())
}

fn make(folder: &Path) -> io::Result<SecretKey> {
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let key = SecretKey::from_random(random);
    let unfinished = folder.join("identity.unfinished");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&unfinished)?;
    writeln!(file, "{}", key.reveal())?;
    file.sync_all()?;
    std::fs::rename(&unfinished, folder.join(NAME))?;
    File::open(folder)?.sync_all()?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_key_is_made_once_and_is_its_engines_alone() {
        let folder = tempfile::tempdir().unwrap();
        let made = load_or_make(folder.path()).unwrap().public();
        assert_eq!(load_or_make(folder.path()).unwrap().public(), made);
        let path = folder.path().join(NAME);
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        std::fs::write(&path, "damaged").unwrap();
        assert_ne!(load_or_make(folder.path()).unwrap().public(), made);
    }
}
