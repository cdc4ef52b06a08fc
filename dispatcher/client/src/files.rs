//! The fleet's files for front ends: whole files in and out, in pieces, a few of them on their way at a time.
//! No more of a file than these pieces is ever in memory.

mod writing;

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::stream::{self, StreamExt};
use thiserror::Error;
use wayfare_protocol::files::{
    DATA_BYTES_MAX, Expected, FileAnswer, FileAsk, FileKind, FilePath, FileRefusal, FileRequest, FileStat,
    FileVersion, ListedFile, NodeId,
};
use wayfare_protocol::ids::{Generation, PeerName, ProgramId};
use wayfare_protocol::reason::shortened;
use wayfare_protocol::values::Value;

use crate::client::Client;
use crate::error::AskError;

/// Pieces on their way at the same time.
const OUTSTANDING_MAX: usize = 8;

#[derive(Debug, Error)]
pub enum FilesError {
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error("{path}: {}", words(*.why))]
    Refused { path: FilePath, why: FileRefusal },
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Asks in one client's name.
#[derive(Debug)]
pub struct Files<'a> {
    client: &'a Client,
    /// As if it were a program: so that whoever takes over as the dispatcher knows what was done.
    program: ProgramId,
    by: PeerName,
    next: AtomicU64,
    limit: Duration,
}

/// What of a file.
#[derive(Debug, Clone, Copy, Default)]
pub struct Extent {
    /// The file that was there before: refused if the path names another one by now. `None`: whichever.
    pub node: Option<NodeId>,
    /// `None`: the present one.
    pub version: Option<u64>,
    pub offset: u64,
    /// `None`: to the end.
    pub bytes: Option<u64>,
}

impl<'a> Files<'a> {
    /// `by` is noted with each version; `limit` is for each piece.
    pub fn new(client: &'a Client, by: PeerName, limit: Duration) -> Self {
        Self {
            client,
            program: ProgramId::random(),
            by,
            next: AtomicU64::new(0),
            limit,
        }
    }

    pub async fn stat(&self, path: &FilePath) -> Result<FileStat, FilesError> {
        match self.ask(path, FileAsk::Stat { path: path.clone() }).await? {
            FileAnswer::Stat { stat } => Ok(stat),
            other => Err(unexpected(&other)),
        }
    }

    /// All of a folder, by name.
    pub async fn list(&self, path: &FilePath) -> Result<Vec<ListedFile>, FilesError> {
        let mut all: Vec<ListedFile> = Vec::new();
        loop {
            let what = FileAsk::List {
                path: path.clone(),
                after: all.last().map_or(0, |last| last.stat.node),
            };
            match self.ask(path, what).await? {
                FileAnswer::Listed { files } if files.is_empty() => break,
                FileAnswer::Listed { files } => all.extend(files),
                other => return Err(unexpected(&other)),
            }
        }
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    /// The oldest first.
    pub async fn history(&self, path: &FilePath) -> Result<Vec<FileVersion>, FilesError> {
        match self.ask(path, FileAsk::History { path: path.clone() }).await? {
            FileAnswer::History { versions } => Ok(versions),
            other => Err(unexpected(&other)),
        }
    }

    pub async fn make_folder(&self, path: &FilePath) -> Result<(), FilesError> {
        self.done(path, FileAsk::MakeFolder { path: path.clone() }).await
    }

    /// A file, or a folder with nothing in it.
    pub async fn remove(&self, path: &FilePath) -> Result<(), FilesError> {
        self.remove_if(path, None).await
    }

    /// The same, of a file only if it is as expected.
    pub async fn remove_if(&self, path: &FilePath, expects: Option<Expected>) -> Result<(), FilesError> {
        let kind = self.stat(path).await?.kind;
        self.remove_one(path, kind, expects).await
    }

    /// The same, and all that is in a folder, from below; says what is gone. What somebody puts there
    /// meanwhile stays, with the folders that it is in. Not the whole of `/fleet`.
    pub async fn remove_all(
        &self,
        path: &FilePath,
        mut removed: impl FnMut(&FilePath),
    ) -> Result<(), FilesError> {
        if path.names().next().is_none() {
            let (path, why) = (path.clone(), FileRefusal::Impossible);
            return Err(FilesError::Refused { path, why });
        }
        let mut remaining = vec![(path.clone(), self.stat(path).await?.kind)];
        let mut folders = Vec::new();
        while let Some((path, kind)) = remaining.pop() {
            if kind == FileKind::File {
                self.remove_one(&path, kind, None).await?;
                removed(&path);
                continue;
            }
            for file in self.list(&path).await? {
                let names: Vec<&str> = path.names().chain([&*file.name]).collect();
                let path = FilePath::of_names(&names).expect("it has its name and place already");
                remaining.push((path, file.stat.kind));
            }
            folders.push(path);
        }
        // Each was found before what is in it.
        for folder in folders.into_iter().rev() {
            self.remove_one(&folder, FileKind::Folder, None).await?;
            removed(&folder);
        }
        Ok(())
    }

    async fn remove_one(
        &self,
        path: &FilePath,
        kind: FileKind,
        expects: Option<Expected>,
    ) -> Result<(), FilesError> {
        let what = match kind {
            FileKind::File => FileAsk::Unlink {
                path: path.clone(),
                expects,
            },
            FileKind::Folder => FileAsk::RemoveFolder { path: path.clone() },
        };
        self.done(path, what).await
    }

    pub async fn rename(&self, from: &FilePath, to: &FilePath) -> Result<(), FilesError> {
        let what = FileAsk::Rename {
            from: from.clone(),
            to: to.clone(),
        };
        self.done(from, what).await
    }

    /// Gives `to` what `from` has, or had, as its next version.
    pub async fn copy(&self, from: &FilePath, version: Option<u64>, to: &FilePath) -> Result<(), FilesError> {
        self.copy_if(from, version, to, None).await
    }

    async fn copy_if(
        &self,
        from: &FilePath,
        version: Option<u64>,
        to: &FilePath,
        expects: Option<Expected>,
    ) -> Result<(), FilesError> {
        let what = FileAsk::Copy {
            from: from.clone(),
            version,
            to: to.clone(),
            expects,
        };
        self.done(from, what).await
    }

    /// Hands a file's content to `sink` from left to right, with how many bytes there will be in all.
    pub async fn read(
        &self,
        path: &FilePath,
        extent: Extent,
        mut sink: impl FnMut(&[u8], u64) -> io::Result<()>,
    ) -> Result<(), FilesError> {
        let stat = self.stat(path).await?;
        let refused = |why| FilesError::Refused {
            path: path.clone(),
            why,
        };
        if extent.node.is_some_and(|node| node != stat.node) {
            return Err(refused(FileRefusal::Changed));
        }
        let history = self.history(path).await?;
        // Named, so that all pieces are of one version whatever is written meanwhile.
        let number = extent.version.unwrap_or(stat.version);
        let version = history.iter().find(|version| version.version == number);
        let version = version.ok_or_else(|| refused(FileRefusal::NoVersion))?;
        let end = match extent.bytes {
            Some(bytes) => extent.offset.saturating_add(bytes).min(version.bytes),
            None => version.bytes,
        };
        let total = end.saturating_sub(extent.offset);
        let offsets = (extent.offset..end).step_by(DATA_BYTES_MAX);
        let pieces = offsets.map(|offset| {
            let count = (end - offset).min(DATA_BYTES_MAX as u64);
            self.piece(path, stat.node, number, (offset, count))
        });
        let mut pieces = stream::iter(pieces).buffered(OUTSTANDING_MAX);
        while let Some(piece) = pieces.next().await {
            sink(piece?.as_bytes(), total)?;
        }
        Ok(())
    }

    async fn piece(
        &self,
        path: &FilePath,
        node: NodeId,
        version: u64,
        (offset, count): (u64, u64),
    ) -> Result<Value, FilesError> {
        let what = FileAsk::Read {
            node,
            version: Some(version),
            offset,
            bytes: u32::try_from(count).unwrap_or(u32::MAX),
        };
        match self.ask(path, what).await? {
            FileAnswer::Data { data } if data.as_bytes().len() as u64 == count => Ok(data),
            FileAnswer::Data { .. } => Err(FilesError::Refused {
                path: path.clone(),
                why: FileRefusal::Changed,
            }),
            other => Err(unexpected(&other)),
        }
    }

    async fn done(&self, path: &FilePath, what: FileAsk) -> Result<(), FilesError> {
        match self.ask(path, what).await? {
            FileAnswer::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    async fn ask(&self, path: &FilePath, what: FileAsk) -> Result<FileAnswer, FilesError> {
        let number = match what.is_change() {
            true => self.next.fetch_add(1, Ordering::Relaxed),
            false => 0,
        };
        let request = FileRequest {
            program: self.program,
            by: self.by.clone(),
            generation: Generation::FIRST,
            number,
            what,
        };
        match self.client.ask_files(&request, self.limit).await? {
            FileAnswer::Refused { why } => Err(FilesError::Refused {
                path: path.clone(),
                why,
            }),
            answer => Ok(answer),
        }
    }
}

impl FilesError {
    /// For programs: what a JSON document says.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Ask(_) => "refused",
            Self::Io(_) => "io",
            Self::Refused { why, .. } => match why {
                FileRefusal::Absent | FileRefusal::Gone => "no-file",
                FileRefusal::Exists => "exists",
                FileRefusal::NotFolder => "not-a-folder",
                FileRefusal::IsFolder => "is-a-folder",
                FileRefusal::NotEmpty => "not-empty",
                FileRefusal::Impossible => "impossible",
                FileRefusal::Changed => "changed",
                FileRefusal::NoVersion => "no-version",
                FileRefusal::Full => "full",
                FileRefusal::TooLong => "too-large",
                FileRefusal::Stale => "stale",
            },
        }
    }

    /// Of the file that was meant.
    fn of(self, found: &FilePath, meant: &FilePath) -> Self {
        match self {
            Self::Refused { path, why } if path == *found => Self::Refused {
                path: meant.clone(),
                why,
            },
            error => error,
        }
    }
}

fn words(why: FileRefusal) -> &'static str {
    match why {
        FileRefusal::Absent => "there is no such file or folder",
        FileRefusal::Exists => "it is there already",
        FileRefusal::NotFolder => "something in the path, or at its end, is not a folder",
        FileRefusal::IsFolder => "it is a folder",
        FileRefusal::NotEmpty => "the folder is not empty",
        FileRefusal::Impossible => "a folder cannot go into itself, and /fleet stays where it is",
        FileRefusal::Changed => "it was changed meanwhile",
        FileRefusal::Gone => "it was removed",
        FileRefusal::NoVersion => "that version is not kept",
        FileRefusal::Full => "there is no room for more files",
        FileRefusal::TooLong => "a file has at most 1 GiB, and a path at most 32 names and 1024 bytes",
        FileRefusal::Stale => "asked too late",
    }
}

fn unexpected(answer: &FileAnswer) -> FilesError {
    let reason = shortened(format!("{answer:?}"), 80);
    AskError::Unexpected { reason }.into()
}
