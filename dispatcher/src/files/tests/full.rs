//! Stores that are full for a while, that do not keep the promise that everything rests on, and a folder of
//! the release before.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use super::super::access::FilesAccess;
use super::super::log::LogError;
use super::*;
use crate::durable::Kind;
use crate::durable::StoreError;
use crate::fixtures::old_folder;

/// Does what it is told about puts, and all else as it should be.
#[derive(Debug)]
struct Odd {
    inner: InMemory,
    ignores_conditions: bool,
    /// Puts that there is room for.
    room: AtomicUsize,
}

impl Odd {
    fn new(ignores_conditions: bool) -> Arc<Self> {
        Arc::new(Self {
            inner: InMemory::new(),
            ignores_conditions,
            room: AtomicUsize::new(usize::MAX),
        })
    }
}

impl fmt::Display for Odd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("odd")
    }
}

#[async_trait]
impl ObjectStore for Odd {
    async fn put_opts(&self, at: &Path, payload: PutPayload, mut options: PutOptions) -> Result<PutResult> {
        let take = |room: usize| room.checked_sub(usize::from(room != usize::MAX));
        if self
            .room
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
            .is_err()
        {
            return Err(Error::Generic {
                store: "odd",
                source: "no space left on device".into(),
            });
        }
        if self.ignores_conditions {
            options.mode = PutMode::Overwrite;
        }
        self.inner.put_opts(at, payload, options).await
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        unimplemented!("objects are put whole")
    }

    async fn get_opts(&self, at: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(at, options).await
    }

    fn delete_stream(&self, at: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(at)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        unimplemented!("nothing is copied")
    }
}

async fn asked(
    files: &mut FilesAccess,
    number: u64,
    what: FileAsk,
) -> std::result::Result<FileAnswer, Failure> {
    let answers = files.serve(&[Ok(request(1, number, what))]).await;
    files.tidy().await;
    answers.unwrap().into_iter().next().unwrap()
}

#[tokio::test]
async fn a_store_that_does_not_honour_conditional_puts_is_refused_by_name() {
    let odd = Odd::new(true);
    // However often it is opened.
    for _ in 0..2 {
        let refused = opened(Objects::of(odd.clone())).await.map(drop);
        assert!(
            matches!(refused, Err(LogError::Store(StoreError::Unconditional { .. }))),
            "{refused:?}"
        );
    }
    let mut files = FilesAccess::open(move || Ok(Objects::of(odd.clone())), Duration::ZERO).await;
    for what in [make("/d"), stat("/d")] {
        let refused = asked(&mut files, 1, what).await.unwrap_err().to_string();
        assert!(refused.contains("the store odd does not refuse"), "{refused}");
    }
}

#[tokio::test]
async fn a_folder_and_a_store_that_honours_conditional_puts_are_taken() {
    let folder = tempfile::tempdir().unwrap();
    let location = folder.path().to_str().unwrap();
    for _ in 0..2 {
        Objects::open(location).unwrap().check_conditions().await.unwrap();
    }
    let store = Objects::of(Odd::new(false));
    store.check_conditions().await.unwrap();
    store.check_conditions().await.unwrap();
}

#[tokio::test]
async fn a_full_store_refuses_changes_and_answers_the_rest_until_there_is_room() {
    let odd = Odd::new(false);
    let opened = odd.clone();
    let mut files = FilesAccess::open(move || Ok(Objects::of(opened.clone())), Duration::ZERO).await;
    let held = Held::of(&asked(&mut files, 1, open("/f", creating())).await.unwrap());
    asked(&mut files, 2, held.append(b"first ")).await.unwrap();
    // A change finds no room for its blocks, or only for these.
    for (number, room) in [(3, 0), (4, 1), (5, 2), (6, 3), (7, 0)] {
        odd.room.store(room, Ordering::Relaxed);
        let refused = asked(&mut files, number, held.append(b"lost "))
            .await
            .unwrap_err();
        let refused = refused.to_string();
        assert!(refused.contains("no space left on device"), "{refused}");
        let read = FileAsk::Read {
            node: held.node,
            version: None,
            offset: 0,
            bytes: 100,
        };
        let data = Value::new(b"first ".to_vec()).unwrap();
        assert_eq!(asked(&mut files, 0, read).await, Ok(FileAnswer::Data { data }));
        // Asked again, what was done is answered.
        asked(&mut files, 2, held.append(b"first ")).await.unwrap();
    }
    odd.room.store(usize::MAX, Ordering::Relaxed);
    asked(&mut files, 8, held.append(b"second")).await.unwrap();
    let mut world = World::on(Objects::of(odd)).await;
    assert_eq!(world.content("/f").await.unwrap(), b"first second");
    let blocks = world.store.list(Kind::Block).await.unwrap();
    assert_eq!(blocks.len(), 1, "what was refused is swept away: {blocks:?}");
}

#[tokio::test]
async fn a_full_store_can_be_opened_and_read() {
    let odd = Odd::new(false);
    let mut world = World::on(Objects::of(odd.clone())).await;
    world.ask(1, 1, make("/d")).await;
    odd.room.store(0, Ordering::Relaxed);
    let mut files = FilesAccess::open(move || Ok(Objects::of(odd.clone())), Duration::ZERO).await;
    asked(&mut files, 0, stat("/d")).await.unwrap();
    asked(&mut files, 2, make("/e")).await.unwrap_err();
}

#[tokio::test]
async fn files_of_the_release_before_are_there_and_what_was_unfinished_goes() {
    let folder = old_folder("files");
    // As the crate names what it has not finished.
    std::fs::write(folder.path().join("log/00000000000000000007#1"), "torn").unwrap();
    std::fs::create_dir_all(folder.path().join("blocks")).unwrap();
    std::fs::write(folder.path().join("blocks/1-1.9-9.new"), "torn").unwrap();
    let mut world = World::on(Objects::open(folder.path().to_str().unwrap()).unwrap()).await;
    assert_eq!(world.content("/folder/f").await.unwrap(), b"a file\n");
    world.ask(1, 1, make("/d")).await;
    world.restart().await;
    assert_eq!(world.ask(1, 1, make("/d")).await, FileAnswer::Done);
    for kind in ["log", "blocks"] {
        for entry in std::fs::read_dir(folder.path().join(kind)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(!name.contains('#') && !name.ends_with("new"), "{name}");
        }
    }
}
