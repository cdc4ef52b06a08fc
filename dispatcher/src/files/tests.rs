//! Files against tables, against a model that is too simple to be wrong, and against stores that fail, are
//! damaged, or are somebody else's.

mod expecting;
mod failing;
mod full;
mod random;
mod served;

use std::sync::Arc;

use object_store::memory::InMemory;
use wayfare_protocol::files::{FileAnswer, FileAsk, FilePath, FileRefusal, FileRequest, Opening, Place};
use wayfare_protocol::ids::{Generation, ProgramId};
use wayfare_protocol::values::Value;

use super::*;
use crate::durable::Objects;

/// The service without its inbox.
struct World {
    store: Objects,
    files: Files,
    now_ms: u64,
}

/// Claimed.
async fn opened(store: Objects) -> Result<Files, LogError> {
    let (files, claimed) = Files::open(store).await?;
    claimed.map(|()| files)
}

impl World {
    async fn new() -> Self {
        Self::on(Objects::of(Arc::new(InMemory::new()))).await
    }

    async fn on(store: Objects) -> Self {
        let files = opened(store.clone()).await.unwrap();
        Self {
            store,
            files,
            now_ms: 1_000,
        }
    }

    /// Another dispatcher takes over.
    async fn restart(&mut self) {
        self.files = opened(self.store.clone()).await.unwrap();
    }

    async fn ask(&mut self, program: u8, number: u64, what: FileAsk) -> FileAnswer {
        let answers = self.ask_all(vec![request(program, number, what)]).await;
        answers.into_iter().next().unwrap()
    }

    async fn ask_all(&mut self, requests: Vec<FileRequest>) -> Vec<FileAnswer> {
        self.now_ms += 1;
        let requests: Vec<_> = requests.into_iter().map(Ok).collect();
        let answers = self.files.serve(&requests, self.now_ms).await.unwrap();
        self.files.tidy().await;
        answers.into_iter().map(Result::unwrap).collect()
    }

    async fn content(&mut self, path: &str) -> Option<Vec<u8>> {
        let stat = match self.ask(99, 0, stat(path)).await {
            FileAnswer::Stat { stat } => stat,
            FileAnswer::Refused { .. } => return None,
            other => panic!("{other:?}"),
        };
        let mut all = Vec::new();
        while (all.len() as u64) < stat.bytes {
            let read = FileAsk::Read {
                node: stat.node,
                version: None,
                offset: all.len() as u64,
                bytes: u32::MAX,
            };
            match self.ask(99, 0, read).await {
                FileAnswer::Data { data } => all.extend(data.as_bytes()),
                other => panic!("{other:?}"),
            }
        }
        Some(all)
    }
}

fn request(program: u8, number: u64, what: FileAsk) -> FileRequest {
    FileRequest {
        program: ProgramId::from_bytes([program; 16]),
        by: "p".parse().unwrap(),
        generation: Generation(1),
        number,
        what,
    }
}

fn path(text: &str) -> FilePath {
    FilePath::try_from(format!("/fleet{text}")).unwrap()
}

fn stat(at: &str) -> FileAsk {
    FileAsk::Stat { path: path(at) }
}

fn open(at: &str, opening: Opening) -> FileAsk {
    FileAsk::Open {
        path: path(at),
        opening,
    }
}

fn creating() -> Opening {
    Opening {
        create: true,
        write: true,
        ..Opening::default()
    }
}

fn truncating() -> Opening {
    Opening {
        truncate: true,
        ..creating()
    }
}

fn make(at: &str) -> FileAsk {
    FileAsk::MakeFolder { path: path(at) }
}

fn unlink(at: &str) -> FileAsk {
    FileAsk::Unlink {
        path: path(at),
        expects: None,
    }
}

fn remove(at: &str) -> FileAsk {
    FileAsk::RemoveFolder { path: path(at) }
}

fn rename(from: &str, to: &str) -> FileAsk {
    FileAsk::Rename {
        from: path(from),
        to: path(to),
    }
}

fn copy(from: &str, version: Option<u64>, to: &str) -> FileAsk {
    FileAsk::Copy {
        from: path(from),
        version,
        to: path(to),
        expects: None,
    }
}

/// As a program holds it open.
#[derive(Debug, Clone, Copy)]
struct Held {
    node: u64,
    writer: u64,
    basis: u64,
}

impl Held {
    fn of(answer: &FileAnswer) -> Self {
        match answer {
            FileAnswer::Opened { stat, basis, writer } => Self {
                node: stat.node,
                writer: *writer,
                basis: *basis,
            },
            other => panic!("{other:?}"),
        }
    }

    fn write(self, offset: u64, text: &[u8]) -> FileAsk {
        self.put(
            Place::At {
                offset,
                basis: Some(self.basis),
            },
            text,
        )
    }

    fn append(self, text: &[u8]) -> FileAsk {
        self.put(Place::End { basis: self.basis }, text)
    }

    fn put(self, place: Place, text: &[u8]) -> FileAsk {
        FileAsk::Write {
            node: self.node,
            writer: self.writer,
            place,
            data: Value::new(text.to_vec()).unwrap(),
        }
    }

    fn set_length(self, length: u64) -> FileAsk {
        FileAsk::SetLength {
            node: self.node,
            writer: self.writer,
            basis: self.basis,
            length,
        }
    }

    /// With what the answer to a write says.
    fn knowing(self, answer: &FileAnswer) -> Self {
        match answer {
            FileAnswer::Written { basis, .. } => Self {
                basis: *basis,
                ..self
            },
            other => panic!("{other:?}"),
        }
    }
}

fn refused(why: FileRefusal) -> FileAnswer {
    FileAnswer::Refused { why }
}
