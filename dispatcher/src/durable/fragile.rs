//! A store for tests that breaks.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use futures::stream::{self, BoxStream, StreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// Puts and deletes fail from a step on; whether they are done all the same is the store's secret.
#[derive(Debug)]
pub(crate) struct Fragile {
    inner: Arc<InMemory>,
    steps_left: AtomicUsize,
    last_is_done: bool,
}

impl Fragile {
    pub(crate) fn new(inner: &Arc<InMemory>, steps: usize, last_is_done: bool) -> Arc<Self> {
        Arc::new(Self {
            inner: inner.clone(),
            steps_left: AtomicUsize::new(steps),
            last_is_done,
        })
    }

    /// Nothing fails any more.
    pub(crate) fn mend(&self) {
        self.steps_left.store(usize::MAX, Ordering::Relaxed);
    }

    /// Whether to do it, and whether to say so.
    fn step(&self) -> (bool, bool) {
        let left = self
            .steps_left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        match left {
            Err(_) => (false, false),
            Ok(1) => (self.last_is_done, false),
            Ok(_) => (true, true),
        }
    }
}

impl fmt::Display for Fragile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("fragile")
    }
}

fn broken() -> Error {
    Error::Generic {
        store: "fragile",
        source: "it broke".into(),
    }
}

#[async_trait]
impl ObjectStore for Fragile {
    async fn put_opts(&self, at: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let (is_done, is_said) = self.step();
        let done = match is_done {
            true => self.inner.put_opts(at, payload, options).await,
            false => Err(broken()),
        };
        if is_said { done } else { Err(broken()) }
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Err(broken())
    }

    async fn get_opts(&self, at: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(at, options).await
    }

    fn delete_stream(&self, at: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        match self.step() {
            (true, true) => self.inner.delete_stream(at),
            _ => stream::once(async { Err(broken()) }).boxed(),
        }
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(broken())
    }
}
