//! Waiting for a store of objects from code that is not asynchronous, as services are that decide and store
//! in one breath.
//!
//! One thread has a runtime of its own, on which all of it happens: so whoever waits may be anywhere, and on
//! a runtime with several threads only its own task stands still.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::mpsc;

use bytes::Bytes;
use tokio::runtime::{Builder, Handle, RuntimeFlavor};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::FileError;
use super::batches::put_again;
use super::objects::{Kind, Objects, StoreError};

type Job = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Objects below a prefix, for code that waits.
#[derive(Debug, Clone)]
pub(crate) struct BlockingObjects {
    pub(crate) objects: Objects,
    /// As many jobs as there are threads that wait.
    jobs: UnboundedSender<Job>,
}

impl BlockingObjects {
    pub(crate) fn new(objects: Objects) -> Result<Self, StoreError> {
        let failed = |error: std::io::Error| StoreError::Failed {
            reason: format!("no thread for the store: {error}"),
        };
        let (jobs, mut given) = unbounded_channel::<Job>();
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(failed)?;
        let work = move || {
            runtime.block_on(async move {
                while let Some(job) = given.recv().await {
                    tokio::spawn(job);
                }
            });
        };
        std::thread::Builder::new()
            .name("store".into())
            .spawn(work)
            .map_err(failed)?;
        Ok(Self { objects, jobs })
    }

    /// What is below `name`.
    pub(crate) fn join(&self, name: &str) -> Self {
        Self {
            objects: self.objects.join(name),
            jobs: self.jobs.clone(),
        }
    }

    /// How the store is called in errors.
    pub(crate) fn path(&self) -> PathBuf {
        self.objects.to_string().into()
    }

    /// Puts what never changes under its name; durable when it returns.
    pub(crate) fn put(&self, kind: Kind, name: &str, content: &[u8]) -> Result<(), FileError> {
        let (store, name, content) = (self.objects.clone(), name.to_owned(), content.to_vec());
        self.done(async move { put_again(&store, kind, &name, &content).await })
    }

    pub(crate) fn get(&self, kind: Kind, name: &str) -> Result<Bytes, FileError> {
        let (store, name) = (self.objects.clone(), name.to_owned());
        self.done(async move { store.get(kind, &name).await })
    }

    pub(crate) fn delete(&self, kind: Kind, name: &str) -> Result<(), FileError> {
        let (store, name) = (self.objects.clone(), name.to_owned());
        self.done(async move { store.delete(kind, &name).await })
    }

    /// The names of all objects of a kind, sorted.
    pub(crate) fn list(&self, kind: Kind) -> Result<Vec<String>, FileError> {
        let store = self.objects.clone();
        self.done(async move { store.list(kind).await })
    }

    fn done<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, FileError> {
        match self.wait(work) {
            Some(done) => done.map_err(|error| FileError::of_store(&self.path(), &error)),
            None => Err(FileError::of_store(&self.path(), &"it has panicked")),
        }
    }

    /// What comes of it; `None` if it panicked.
    pub(super) fn wait<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let (done, result) = mpsc::sync_channel(1);
        let job = async move {
            // Whoever asked waits for it.
            let _ = done.send(future.await);
        };
        self.jobs.send(Box::pin(job)).ok()?;
        let wait = move || result.recv().ok();
        match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
            Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(wait),
            _ => wait(),
        }
    }
}
