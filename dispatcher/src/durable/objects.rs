//! Objects by name: in a folder, or on S3 and what speaks like it, through the crate `object_store`. They are
//! made, read, listed and deleted, and never changed.
//!
//! Always: an object that was put is durable when `put` returns. The crate does not sync what it writes to a
//! folder, so what is put there is written here. Each object begins with the digest of the rest, so that one
//! which was torn or damaged is known as such.
//!
//! Everything rests on one promise of the store: of two that put an object of the same name, the second is
//! refused. It is tried whenever a store is opened.

use std::fmt;
use std::path::{Path as FilesystemPath, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutPayload};
use thiserror::Error;
use wayfare_protocol::ids::Digest;

use super::{FileError, is_unfinished as is_unfinished_file, write_new};

const DIGEST_BYTES: usize = 32;
/// Longer objects are none of ours.
const OBJECT_BYTES_MAX: u64 = 1 << 30;
const S3: &str = "s3://";
const PROBE: &str = "conditions";

#[derive(Debug, Clone)]
pub(crate) struct Objects {
    objects: Arc<dyn ObjectStore>,
    prefix: Path,
    /// Of a local store.
    folder: Option<PathBuf>,
}

#[derive(Debug, Error)]
pub(crate) enum StoreError {
    #[error("{path} is there already")]
    Taken { path: String },
    #[error("{path} is not there")]
    Absent { path: String },
    #[error("{path} is damaged")]
    Damaged { path: String },
    #[error(
        "the store {store} does not refuse to put an object that is there already (conditional put, If-None-Match), so \
         dispatchers would overwrite each other's changes: use a store that does, or a folder"
    )]
    Unconditional { store: String },
    #[error("{reason}")]
    Failed { reason: String },
}

impl fmt::Display for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.folder {
            Some(folder) => folder.display().fmt(f),
            None => write!(f, "{}/{}", self.objects, self.prefix),
        }
    }
}

impl Objects {
    /// `s3://bucket/prefix`, with the usual variables `AWS_...`; or a folder, which is made.
    pub(crate) fn open(location: &str) -> Result<Self, StoreError> {
        match location.strip_prefix(S3) {
            Some(rest) => s3(rest),
            None => Self::local(FilesystemPath::new(location)),
        }
    }

    /// Whether that is a store which several hosts reach.
    pub(super) fn is_remote(location: &str) -> bool {
        location.starts_with(S3)
    }

    /// What is below `name`.
    pub(super) fn join(&self, name: &str) -> Self {
        Self {
            objects: Arc::clone(&self.objects),
            prefix: self.prefix.clone().join(name),
            folder: self.folder.as_ref().map(|folder| folder.join(name)),
        }
    }

    fn local(folder: &FilesystemPath) -> Result<Self, StoreError> {
        let failed = |error: std::io::Error| StoreError::Failed {
            reason: format!("{}: {error}", folder.display()),
        };
        std::fs::create_dir_all(folder).map_err(failed)?;
        for kind in Kind::LOCAL {
            let folder = folder.join(kind.folder());
            // One that cannot be made, on a full disk, is made when something is put there: until then the
            // others are read.
            let _ = std::fs::create_dir_all(&folder);
            for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
                if is_unfinished(&entry.path()) {
                    // One that stays is in nobody's way.
                    let _ = std::fs::remove_file(entry.path());
                }
            }
        }
        std::fs::File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(failed)?;
        Ok(Self {
            objects: Arc::new(LocalFileSystem::new_with_prefix(folder).map_err(other)?),
            prefix: Path::default(),
            folder: Some(folder.to_owned()),
        })
    }

    /// Tries whether the store keeps the promise that everything rests on.
    pub(crate) async fn check_conditions(&self) -> Result<(), StoreError> {
        // Taken the first time, it was tried before, and is refused again.
        for content in [&b"tried"[..], b"tried again"] {
            match self.put(Kind::Probe, PROBE, content).await {
                Ok(()) => {}
                Err(StoreError::Taken { .. }) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Err(self.unconditional())
    }

    fn unconditional(&self) -> StoreError {
        StoreError::Unconditional {
            store: self.objects.to_string(),
        }
    }

    #[cfg(test)]
    pub(crate) fn of(objects: Arc<dyn ObjectStore>) -> Self {
        Self {
            objects,
            prefix: Path::default(),
            folder: None,
        }
    }

    /// Fails as taken if the object is there.
    pub(crate) async fn put(&self, kind: Kind, name: &str, content: &[u8]) -> Result<(), StoreError> {
        let framed = [&Digest::of(content).0[..], content].concat();
        if let Some(folder) = &self.folder {
            let path = folder.join(kind.folder()).join(name);
            let put = tokio::task::spawn_blocking(move || put_in_folder(&path, &framed));
            return put.await.map_err(|error| failed(&error))?;
        }
        let path = self.path(kind, name);
        let put = self
            .objects
            .put_opts(&path, PutPayload::from(framed), PutMode::Create.into());
        match put.await {
            Ok(_) => Ok(()),
            Err(object_store::Error::NotImplemented { .. }) => Err(self.unconditional()),
            Err(error) => Err(other(error)),
        }
    }

    pub(crate) async fn get(&self, kind: Kind, name: &str) -> Result<Bytes, StoreError> {
        let path = self.path(kind, name);
        let found = self.objects.get(&path).await.map_err(other)?;
        let damaged = || StoreError::Damaged {
            path: path.to_string(),
        };
        if found.meta.size > OBJECT_BYTES_MAX {
            return Err(damaged());
        }
        let framed = found.bytes().await.map_err(other)?;
        if framed.len() < DIGEST_BYTES {
            return Err(damaged());
        }
        let content = framed.slice(DIGEST_BYTES..);
        match Digest::of(&content).0[..] == framed[..DIGEST_BYTES] {
            true => Ok(content),
            false => Err(damaged()),
        }
    }

    /// Nothing if it is not there.
    pub(crate) async fn delete(&self, kind: Kind, name: &str) -> Result<(), StoreError> {
        match self.objects.delete(&self.path(kind, name)).await.map_err(other) {
            Err(StoreError::Absent { .. }) => Ok(()),
            done => done,
        }
    }

    /// The names of all objects of a kind, sorted.
    pub(crate) async fn list(&self, kind: Kind) -> Result<Vec<String>, StoreError> {
        let prefix = self.prefix.clone().join(kind.folder());
        let names = self
            .objects
            .list(Some(&prefix))
            .map_ok(|object| object.location.filename().unwrap_or_default().to_owned());
        let mut names: Vec<String> = names.try_collect().await.map_err(other)?;
        names.retain(|name| !is_unfinished(FilesystemPath::new(name)));
        names.sort();
        Ok(names)
    }

    fn path(&self, kind: Kind, name: &str) -> Path {
        self.prefix.clone().join(kind.folder()).join(name)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Block,
    Log,
    Checkpoint,
    /// One object, by which the store's promise was tried.
    Probe,
    /// By digest.
    Blob,
    /// What was decided, in segments.
    Event,
    /// An empty object for the highest term.
    Term,
}

impl Kind {
    /// Those of files, which alone are in folders as objects.
    const LOCAL: [Self; 4] = [Self::Block, Self::Log, Self::Checkpoint, Self::Probe];

    fn folder(self) -> &'static str {
        match self {
            Self::Block => "blocks",
            Self::Log => "log",
            Self::Checkpoint => "checkpoints",
            Self::Probe => "probes",
            Self::Blob => "blobs",
            Self::Event => "events",
            Self::Term => "terms",
        }
    }
}

#[cfg(feature = "s3")]
fn s3(rest: &str) -> Result<Objects, StoreError> {
    use object_store::RetryConfig;
    use object_store::aws::AmazonS3Builder;

    /// The service tries again by itself after that.
    const RETRY_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let retry = RetryConfig {
        retry_timeout: RETRY_TIMEOUT,
        ..RetryConfig::default()
    };
    let objects = AmazonS3Builder::from_env()
        .with_bucket_name(bucket)
        .with_retry(retry)
        .build();
    Ok(Objects {
        objects: Arc::new(objects.map_err(other)?),
        prefix: Path::parse(prefix).map_err(|error| failed(&error))?,
        folder: None,
    })
}

#[cfg(not(feature = "s3"))]
fn s3(_: &str) -> Result<Objects, StoreError> {
    Err(StoreError::Failed {
        reason: "this dispatcher was built without S3: give a folder".into(),
    })
}

fn other(error: object_store::Error) -> StoreError {
    match error {
        object_store::Error::AlreadyExists { path, .. } | object_store::Error::Precondition { path, .. } => {
            StoreError::Taken { path }
        }
        object_store::Error::NotFound { path, .. } => StoreError::Absent { path },
        error => failed(&error),
    }
}

/// With all that it was caused by, which is where the reason is.
fn failed(error: &dyn std::error::Error) -> StoreError {
    let mut reason = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !reason.contains(&text) {
            reason = format!("{reason}: {text}");
        }
        cause = error.source();
    }
    StoreError::Failed { reason }
}

fn put_in_folder(path: &FilesystemPath, framed: &[u8]) -> Result<(), StoreError> {
    if let Some(folder) = path.parent().filter(|folder| !folder.exists()) {
        std::fs::create_dir_all(folder).map_err(|error| failed(&FileError::new(folder, &error)))?;
    }
    write_new(path, framed).map_err(|(kind, error)| match kind {
        std::io::ErrorKind::AlreadyExists => StoreError::Taken {
            path: path.display().to_string(),
        },
        _ => StoreError::Failed {
            reason: error.to_string(),
        },
    })
}

/// What writes to a folder left that did not finish: ours, and the crate's, which wrote here once.
fn is_unfinished(path: &FilesystemPath) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy());
    is_unfinished_file(path) || name.is_some_and(|name| name.contains('#'))
}
