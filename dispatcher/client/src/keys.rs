//! The fleet's keys on disk: what signs the code that engines load. Whoever has this file can run code on
//! every engine that trusts it.
//!
//! One secret key a line, the newest first. Code is signed with the newest that an engine trusts, so that
//! keys can be changed one engine at a time.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use thiserror::Error;
use wayfare_protocol::code::{PublicKey, SecretKey};

const FILE_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;
/// Permissions of anybody but the owner.
const OTHERS: u32 = 0o077;
/// The newest, and those that engines may still know alone.
const KEYS_MAX: usize = 4;
const FILE_BYTES_MAX: u64 = 4096;

#[derive(Debug, Error)]
pub enum KeyFileError {
    #[error("{}: {error}", path.display())]
    Io { path: PathBuf, error: io::Error },
    #[error("{} can be read by others: 'chmod 600' it, and 'wayfare key rotate' if they may have", .0.display())]
    Exposed(PathBuf),
    #[error("{} holds something else than keys in line {line}", path.display())]
    Damaged { path: PathBuf, line: usize },
    #[error("{} is there already: 'wayfare key show' prints its public key, 'wayfare key rotate' makes a new one", .0.display())]
    Exists(PathBuf),
    #[error("there is no key in {}: make one with 'wayfare key init'", .0.display())]
    None(PathBuf),
    #[error("no random bytes to be had: {0}")]
    Random(String),
}

/// Where the keys are, in a dispatcher's folder.
pub fn key_path(data: &Path) -> PathBuf {
    data.join("fleet.key")
}

/// Where the key is that signs a dispatcher's orders, in its folder.
pub fn orders_key_path(data: &Path) -> PathBuf {
    data.join("orders.key")
}

/// The fleet's keys, the newest first; at least one.
pub fn load(path: &Path) -> Result<Vec<SecretKey>, KeyFileError> {
    let io = |error| KeyFileError::Io {
        path: path.to_owned(),
        error,
    };
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(KeyFileError::None(path.to_owned()));
        }
        file => file.map_err(io)?,
    };
    if file.metadata().map_err(io)?.mode() & OTHERS != 0 {
        return Err(KeyFileError::Exposed(path.to_owned()));
    }
    let mut text = String::new();
    file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(io)?;
    let keys = text.lines().enumerate().map(|(number, line)| {
        line.parse().map_err(|_| KeyFileError::Damaged {
            path: path.to_owned(),
            line: number + 1,
        })
    });
    let keys: Vec<SecretKey> = keys.collect::<Result<_, _>>()?;
    match keys.is_empty() {
        true => Err(KeyFileError::None(path.to_owned())),
        false => Ok(keys),
    }
}

/// Makes the first key.
pub fn init(path: &Path) -> Result<PublicKey, KeyFileError> {
    if path.exists() {
        return Err(KeyFileError::Exists(path.to_owned()));
    }
    let key = random()?;
    let public = key.public();
    write(path, &[key])?;
    Ok(public)
}

/// Those that are there, or else a first one.
pub fn load_or_init(path: &Path) -> Result<Vec<SecretKey>, KeyFileError> {
    match load(path) {
        Err(KeyFileError::None(_)) => {
            init(path)?;
            load(path)
        }
        keys => keys,
    }
}

/// Puts a new key before the others.
pub fn rotate(path: &Path) -> Result<PublicKey, KeyFileError> {
    let mut keys = load(path)?;
    let key = random()?;
    let public = key.public();
    keys.insert(0, key);
    keys.truncate(KEYS_MAX);
    write(path, &keys)?;
    Ok(public)
}

/// Keeps the newest alone; answers those that are gone.
pub fn forget_old(path: &Path) -> Result<Vec<PublicKey>, KeyFileError> {
    let mut keys = load(path)?;
    let old = keys.split_off(1);
    if !old.is_empty() {
        write(path, &keys)?;
    }
    Ok(old.iter().map(SecretKey::public).collect())
}

fn random() -> Result<SecretKey, KeyFileError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| KeyFileError::Random(error.to_string()))?;
    Ok(SecretKey::from_random(bytes))
}

/// All of it or nothing, whatever happens meanwhile.
fn write(path: &Path, keys: &[SecretKey]) -> Result<(), KeyFileError> {
    let io = |error| KeyFileError::Io {
        path: path.to_owned(),
        error,
    };
    let folder = path.parent().unwrap_or(Path::new("."));
    DirBuilder::new()
        .recursive(true)
        .mode(FOLDER_MODE)
        .create(folder)
        .map_err(io)?;
    let unfinished = path.with_extension("unfinished");
    // One that a crash left is nobody's.
    match std::fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io(error)),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(FILE_MODE)
        .open(&unfinished)
        .map_err(io)?;
    for key in keys {
        writeln!(file, "{}", key.reveal()).map_err(io)?;
    }
    file.sync_all().map_err(io)?;
    std::fs::rename(&unfinished, path).map_err(io)?;
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(io)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn keys_are_made_changed_and_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let path = key_path(&folder.path().join("data"));
        assert!(matches!(load(&path), Err(KeyFileError::None(_))));
        let first = init(&path).unwrap();
        assert!(matches!(init(&path), Err(KeyFileError::Exists(_))));
        let second = rotate(&path).unwrap();
        let public = |keys: Vec<SecretKey>| keys.iter().map(SecretKey::public).collect::<Vec<_>>();
        assert_eq!(public(load(&path).unwrap()), [second, first]);
        assert_eq!(forget_old(&path).unwrap(), [first]);
        assert_eq!(public(load_or_init(&path).unwrap()), [second]);
        for _ in 0..2 * KEYS_MAX {
            rotate(&path).unwrap();
        }
        assert_eq!(load(&path).unwrap().len(), KEYS_MAX);
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = key_path(folder.path());
        init(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, FILE_MODE);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(load(&path), Err(KeyFileError::Exposed(_))));
    }

    #[test]
    fn what_is_no_key_is_named_by_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = key_path(folder.path());
        init(&path).unwrap();
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        writeln!(file, "nonsense").unwrap();
        assert!(matches!(load(&path), Err(KeyFileError::Damaged { line: 2, .. })));
    }
}
