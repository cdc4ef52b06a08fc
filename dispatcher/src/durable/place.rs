//! Where a service keeps what must survive: a folder of the dispatcher's, or a store of objects that all
//! dispatchers reach.

use std::path::{Path, PathBuf};

use wayfare_protocol::ids::Term;

use super::blocking::BlockingObjects;
use super::objects::{Kind, Objects, StoreError};
use super::{FileError, folder_records};

#[derive(Debug, Clone)]
pub(crate) enum Place {
    Folder(PathBuf),
    Objects(BlockingObjects),
}

impl Place {
    /// `s3://bucket/prefix`, or a folder.
    pub(crate) fn open(location: &str) -> Result<Self, StoreError> {
        if Objects::is_remote(location) {
            return BlockingObjects::new(Objects::open(location)?).map(Self::Objects);
        }
        Ok(Self::Folder(location.into()))
    }

    pub(crate) fn join(&self, name: &str) -> Self {
        match self {
            Self::Folder(folder) => Self::Folder(folder.join(name)),
            Self::Objects(objects) => Self::Objects(objects.join(name)),
        }
    }

    /// The same as a store of objects.
    pub(crate) fn objects(&self) -> Result<Objects, StoreError> {
        match self {
            Self::Folder(folder) => Objects::open(&folder.to_string_lossy()),
            Self::Objects(objects) => Ok(objects.objects.clone()),
        }
    }

    /// Refuses a store in which dispatchers would overwrite each other's changes. One that cannot be reached
    /// now is used when it can.
    pub(crate) async fn check(&self) -> Result<(), StoreError> {
        let Self::Objects(objects) = self else {
            return Ok(());
        };
        match objects.objects.check_conditions().await {
            Err(error @ StoreError::Unconditional { .. }) => Err(error),
            Err(error) => {
                tracing::warn!(%error, "the store cannot be reached yet");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// The highest term that was ever begun here, by any of these services. A store that cannot be read
    /// remembers none.
    pub(crate) async fn highest_term<'a>(&self, services: impl Iterator<Item = &'a str>) -> Term {
        match self {
            Self::Folder(folder) => {
                let folders: Vec<PathBuf> = services.map(|service| folder.join(service)).collect();
                folder_records::highest_term(folders.iter().map(PathBuf::as_path))
            }
            Self::Objects(objects) => {
                let mut highest = Term::default();
                for service in services {
                    match objects.objects.join(service).list(Kind::Term).await {
                        Ok(names) => {
                            let terms = names.iter().filter_map(|name| name.parse().ok());
                            highest = highest.max(Term(terms.max().unwrap_or_default()));
                        }
                        Err(error) => {
                            tracing::warn!(%error, "the store does not tell which terms there have been");
                            return highest;
                        }
                    }
                }
                highest
            }
        }
    }
}

/// Notes that this term has begun. In a folder the names of files say so. Others remember terms too, so a
/// store that cannot note it hinders nobody.
pub(super) async fn begin_term(objects: &Objects, term: Term) {
    let name = format!("{:020}", term.0);
    match objects.put(Kind::Term, &name, b"").await {
        Ok(()) | Err(StoreError::Taken { .. }) => {}
        Err(error) => return tracing::warn!(%error, %term, "the store does not note a term"),
    }
    if let Ok(names) = objects.list(Kind::Term).await {
        let earlier = names.into_iter().filter(|earlier| *earlier < name).collect();
        super::batches::delete_all(objects, Kind::Term, earlier).await;
    }
}

impl FileError {
    /// What went wrong in a store of objects.
    pub(super) fn of_store(place: &Path, error: &impl std::fmt::Display) -> Self {
        Self {
            path: place.to_owned(),
            reason: error.to_string(),
            is_succeeded: false,
            is_full: false,
        }
    }
}
