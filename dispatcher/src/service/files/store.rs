//! Where files are kept: a folder, or S3 and what speaks like it, through the crate `object_store`. Objects are made, read, listed and
//! deleted, and never changed.
//!
//! Always: an object that was put is durable when `put` returns. The crate does not sync what it writes to a folder, so that is done here.
//! Each object begins with the digest of the rest, so that one which was torn by a power cut, or damaged, is known as such.

use std::path::{Path as FilesystemPath, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutPayload};
use thiserror::Error;
use wayfare_protocol::ids::Digest;

const DIGEST_BYTES: usize = 32;
/// Longer objects are none of ours.
const OBJECT_BYTES_MAX: u64 = 1 << 30;
const S3: &str = "s3://";

#[derive(Debug, Clone)]
pub(super) struct Store {
    objects: Arc<dyn ObjectStore>,
    prefix: Path,
    /// Of a local store.
    folder: Option<PathBuf>,
}

#[derive(Debug, Error)]
pub(super) enum StoreError {
    #[error("{path} is there already")]
    Taken { path: String },
    #[error("{path} is not there")]
    Absent { path: String },
    #[error("{path} is damaged")]
    Damaged { path: String },
    #[error("{reason}")]
    Failed { reason: String },
}

impl Store {
    /// `s3://bucket/prefix`, with the usual variables `AWS_...`; or a folder, which is made.
    pub(super) fn open(location: &str) -> Result<Self, StoreError> {
        match location.strip_prefix(S3) {
            Some(rest) => s3(rest),
            None => Self::local(FilesystemPath::new(location)),
        }
    }

    fn local(folder: &FilesystemPath) -> Result<Self, StoreError> {
        let failed = |error: std::io::Error| StoreError::Failed {
            reason: format!("{}: {error}", folder.display()),
        };
        for kind in Kind::ALL {
            std::fs::create_dir_all(folder.join(kind.folder())).map_err(failed)?;
        }
        sync(folder).map_err(failed)?;
        Ok(Self {
            objects: Arc::new(LocalFileSystem::new_with_prefix(folder).map_err(other)?),
            prefix: Path::default(),
            folder: Some(folder.to_owned()),
        })
    }

    #[cfg(test)]
    pub(super) fn of(objects: Arc<dyn ObjectStore>) -> Self {
        Self {
            objects,
            prefix: Path::default(),
            folder: None,
        }
    }

    /// Fails as taken if the object is there.
    pub(super) async fn put(&self, kind: Kind, name: &str, content: &[u8]) -> Result<(), StoreError> {
        let path = self.path(kind, name);
        let framed = [&Digest::of(content).0[..], content].concat();
        let put = self
            .objects
            .put_opts(&path, PutPayload::from(framed), PutMode::Create.into());
        put.await.map_err(other)?;
        let Some(folder) = self.folder.clone() else {
            return Ok(());
        };
        let (folder, name) = (folder.join(kind.folder()), name.to_owned());
        let synced = tokio::task::spawn_blocking(move || {
            sync(&folder.join(name))?;
            sync(&folder)
        });
        let synced = synced.await.map_err(|error| failed(&error))?;
        synced.map_err(|error| failed(&error))
    }

    pub(super) async fn get(&self, kind: Kind, name: &str) -> Result<Bytes, StoreError> {
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
    pub(super) async fn delete(&self, kind: Kind, name: &str) -> Result<(), StoreError> {
        match self.objects.delete(&self.path(kind, name)).await.map_err(other) {
            Err(StoreError::Absent { .. }) => Ok(()),
            done => done,
        }
    }

    /// The names of all objects of a kind, sorted.
    pub(super) async fn list(&self, kind: Kind) -> Result<Vec<String>, StoreError> {
        let prefix = self.prefix.clone().join(kind.folder());
        let names = self
            .objects
            .list(Some(&prefix))
            .map_ok(|object| object.location.filename().unwrap_or_default().to_owned());
        let mut names: Vec<String> = names.try_collect().await.map_err(other)?;
        names.sort();
        Ok(names)
    }

    fn path(&self, kind: Kind, name: &str) -> Path {
        self.prefix.clone().join(kind.folder()).join(name)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Block,
    Log,
    Checkpoint,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Block, Self::Log, Self::Checkpoint];

    fn folder(self) -> &'static str {
        match self {
            Self::Block => "blocks",
            Self::Log => "log",
            Self::Checkpoint => "checkpoints",
        }
    }
}

#[cfg(feature = "s3")]
fn s3(rest: &str) -> Result<Store, StoreError> {
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
    Ok(Store {
        objects: Arc::new(objects.map_err(other)?),
        prefix: Path::parse(prefix).map_err(|error| failed(&error))?,
        folder: None,
    })
}

#[cfg(not(feature = "s3"))]
fn s3(_: &str) -> Result<Store, StoreError> {
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

/// A file or folder.
fn sync(path: &FilesystemPath) -> std::io::Result<()> {
    std::fs::File::open(path)?.sync_all()
}
