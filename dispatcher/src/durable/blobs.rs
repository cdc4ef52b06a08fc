//! Blobs by digest, which never change: files of a folder, or objects.

use std::collections::BTreeSet;
use std::path::PathBuf;

use wayfare_protocol::ids::Digest;

use super::blocking::BlockingObjects;
use super::objects::Kind;
use super::place::Place;
use super::{FileError, is_unfinished, write_whole};

#[derive(Debug)]
pub(crate) enum KeptBlobs {
    Folder(PathBuf),
    Objects {
        objects: BlockingObjects,
        /// What is there: only who acts adds and removes.
        there: BTreeSet<Digest>,
    },
}

impl KeptBlobs {
    pub(crate) fn open(place: &Place) -> Result<Self, FileError> {
        match place {
            Place::Folder(folder) => {
                std::fs::create_dir_all(folder).map_err(|error| FileError::new(folder, &error))?;
                Ok(Self::Folder(folder.clone()))
            }
            Place::Objects(objects) => {
                let names = objects.list(Kind::Blob)?;
                Ok(Self::Objects {
                    objects: objects.clone(),
                    there: names.iter().filter_map(|name| name.parse().ok()).collect(),
                })
            }
        }
    }

    pub(crate) fn has(&self, digest: Digest) -> bool {
        match self {
            Self::Folder(folder) => folder.join(digest.to_string()).is_file(),
            Self::Objects { there, .. } => there.contains(&digest),
        }
    }

    /// Durable when it returns.
    pub(crate) fn keep(&mut self, digest: Digest, bytes: &[u8]) -> Result<(), FileError> {
        match self {
            Self::Folder(folder) => write_whole(&folder.join(digest.to_string()), bytes),
            Self::Objects { objects, there } => {
                objects.put(Kind::Blob, &digest.to_string(), bytes)?;
                there.insert(digest);
                Ok(())
            }
        }
    }

    /// The bytes, if they are here and sound.
    pub(crate) fn read(&self, digest: Digest) -> Option<Vec<u8>> {
        let bytes = match self {
            Self::Folder(folder) => std::fs::read(folder.join(digest.to_string())).ok()?,
            Self::Objects { objects, .. } => match objects.get(Kind::Blob, &digest.to_string()) {
                Ok(bytes) => bytes.to_vec(),
                Err(error) => {
                    tracing::warn!(blob = digest.short(), %error, "a blob cannot be read");
                    return None;
                }
            },
        };
        (Digest::of(&bytes) == digest).then_some(bytes)
    }

    /// What is needless by this, and what writes left that did not finish.
    pub(crate) fn needless(&self, is_needless: impl Fn(Digest) -> bool) -> Result<Vec<String>, FileError> {
        let folder = match self {
            Self::Folder(folder) => folder,
            Self::Objects { there, .. } => {
                let needless = there.iter().filter(|digest| is_needless(**digest));
                return Ok(needless.map(Digest::to_string).collect());
            }
        };
        let failed = |error: std::io::Error| FileError::new(folder, &error);
        let mut found = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
                continue;
            };
            let is_needless = match name.parse::<Digest>() {
                Ok(digest) => is_needless(digest),
                Err(_) => is_unfinished(&path),
            };
            if is_needless {
                found.push(name.to_owned());
            }
        }
        Ok(found)
    }

    pub(crate) fn remove(&mut self, name: &str) -> Result<(), FileError> {
        match self {
            Self::Folder(folder) => {
                let path = folder.join(name);
                std::fs::remove_file(&path).map_err(|error| FileError::new(&path, &error))
            }
            Self::Objects { objects, there } => {
                if let Ok(digest) = name.parse() {
                    there.remove(&digest);
                }
                objects.delete(Kind::Blob, name)
            }
        }
    }
}
