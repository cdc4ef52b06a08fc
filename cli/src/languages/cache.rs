//! Files of languages that were fetched before, in a folder of the user's own: an interpreter is tens of
//! megabytes, and the same each time. `$XDG_CACHE_HOME/wayfare/languages`, or that below `~/.cache`; without
//! either nothing is kept.
//!
//! What always holds: what is taken from here is what was put here, by its digest, where nobody but the user
//! can write, and was the same version of the same file of the same fleet. Whatever goes wrong here costs
//! fetching once more and nothing else.

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Serialize;
use wayfare_protocol::files::{FilePath, FileStat};
use wayfare_protocol::ids::Digest;

/// Of all files in it. The one that was not used for longest makes room.
const BYTES_MAX: u64 = 256 << 20;
const DIGEST_BYTES: usize = 32;
/// Permissions of a group and of everybody to write.
const OTHERS_WRITE: u32 = 0o022;

/// What a file is known by.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Version<'a> {
    /// The fleet: its broker and root.
    pub(crate) fleet: &'a str,
    pub(crate) path: &'a FilePath,
    pub(crate) stat: &'a FileStat,
}

#[derive(Debug, Clone)]
pub(crate) struct Cache {
    folder: Option<PathBuf>,
}

impl Cache {
    /// That of the user whose variables these are.
    pub(crate) fn of_user(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let folder = |name| {
            variable(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        let caches = folder("XDG_CACHE_HOME").or_else(|| Some(folder("HOME")?.join(".cache")));
        Self {
            folder: caches.map(|caches| caches.join("wayfare/languages")),
        }
    }

    fn path(&self, version: &Version<'_>) -> Option<PathBuf> {
        let key = serde_json::to_vec(version).ok()?;
        Some(self.folder.as_ref()?.join(Digest::of(&key).to_string()))
    }

    /// No more than `bytes_max` bytes, as it was kept.
    pub(crate) fn find(&self, version: &Version<'_>, bytes_max: u64) -> Option<Vec<u8>> {
        let path = self.path(version)?;
        let about = fs::symlink_metadata(&path).ok()?;
        let folder = fs::metadata(path.parent()?).ok()?;
        if !is_own(&folder) || !is_own(&about) {
            return None;
        }
        if !about.is_file() || about.len() > bytes_max + DIGEST_BYTES as u64 {
            return None;
        }
        let kept = fs::read(&path).ok()?;
        let (digest, content) = kept.split_at_checked(DIGEST_BYTES)?;
        if Digest::of(content).0[..] != *digest {
            return None;
        }
        // The one that was used last goes last. Where that fails, it is fetched once more some day.
        let _: std::io::Result<()> =
            fs::File::open(&path).and_then(|file| file.set_modified(SystemTime::now()));
        Some(content.to_vec())
    }

    /// Where it cannot be kept, it is not.
    pub(crate) fn keep(&self, version: &Version<'_>, content: &[u8]) {
        if let (Some(folder), Some(path)) = (&self.folder, self.path(version))
            && content.len() as u64 <= BYTES_MAX
        {
            let _: std::io::Result<()> = write(folder, &path, content).and_then(|()| make_room(folder));
        }
    }
}

/// Whether it is the user's, and nobody else can write it: who can, could put another interpreter there,
/// which would run with whatever the program is granted.
fn is_own(about: &fs::Metadata) -> bool {
    let user = fs::metadata("/proc/self").map(|me| me.uid());
    user.is_ok_and(|user| user == about.uid()) && about.mode() & OTHERS_WRITE == 0
}

/// Whole or not at all, and for nobody else.
fn write(folder: &Path, path: &Path, content: &[u8]) -> std::io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    if !is_own(&fs::metadata(folder)?) {
        return Err(std::io::ErrorKind::PermissionDenied.into());
    }
    let mut new = tempfile::Builder::new()
        .permissions(fs::Permissions::from_mode(0o600))
        .tempfile_in(folder)?;
    new.write_all(&Digest::of(content).0)?;
    new.write_all(content)?;
    new.persist(path).map_err(|error| error.error)?;
    Ok(())
}

fn make_room(folder: &Path) -> std::io::Result<()> {
    let mut kept = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let about = entry.metadata()?;
        kept.push((about.modified()?, about.len(), entry.path()));
    }
    kept.sort();
    let mut bytes: u64 = kept.iter().map(|(_, bytes, _)| bytes).sum();
    for (_, length, path) in kept {
        if bytes <= BYTES_MAX {
            break;
        }
        fs::remove_file(path)?;
        bytes -= length;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use wayfare_protocol::files::FileKind;

    use super::*;

    fn stat(version: u64) -> FileStat {
        FileStat {
            node: serde_json::from_str("5").unwrap(),
            kind: FileKind::File,
            bytes: 3,
            modified_ms: 7,
            version,
            removed: false,
        }
    }

    #[test]
    fn a_version_that_was_fetched_is_here_and_no_other_and_nothing_that_was_changed() {
        let home = tempfile::tempdir().unwrap();
        let cache = Cache::of_user(|name| (name == "HOME").then(|| home.path().into()));
        let file = FilePath::of_names(&["languages", "lua", "module.wasm"]).unwrap();
        let (first, second) = (stat(1), stat(2));
        let version = |stat| Version {
            fleet: "mqtt://a/root",
            path: &file,
            stat,
        };
        assert_eq!(cache.find(&version(&first), 10), None);
        cache.keep(&version(&first), b"lua");
        assert_eq!(cache.find(&version(&first), 10).as_deref(), Some(&b"lua"[..]));
        assert_eq!(cache.find(&version(&first), 2), None, "too large");
        assert_eq!(cache.find(&version(&second), 10), None);
        let elsewhere = Version {
            fleet: "mqtt://b/root",
            ..version(&first)
        };
        assert_eq!(cache.find(&elsewhere, 10), None);
        let folder = home.path().join(".cache/wayfare/languages");
        let others = |mode| fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).unwrap();
        others(0o770);
        assert_eq!(cache.find(&version(&first), 10), None, "others can write there");
        cache.keep(&version(&second), b"lua");
        others(0o700);
        assert!(cache.find(&version(&first), 10).is_some());
        assert_eq!(cache.find(&version(&second), 10), None, "it was not kept");
        let kept = fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
        let mut content = fs::read(&kept).unwrap();
        *content.last_mut().unwrap() ^= 1;
        fs::write(&kept, content).unwrap();
        assert_eq!(cache.find(&version(&first), 10), None);
        let nowhere = Cache::of_user(|_| None);
        nowhere.keep(&version(&first), b"lua");
        assert_eq!(nowhere.find(&version(&first), 10), None);
    }

    #[test]
    fn what_was_not_used_for_longest_makes_room() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str, bytes: u64, age: u64| {
            let file = fs::File::create(folder.path().join(name)).unwrap();
            file.set_len(bytes).unwrap();
            let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000 - age);
            file.set_modified(time).unwrap();
        };
        at("old", BYTES_MAX / 2, 9);
        at("older", BYTES_MAX / 2, 10);
        at("new", 5, 1);
        make_room(folder.path()).unwrap();
        let mut names: Vec<_> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["new", "old"]);
    }
}
