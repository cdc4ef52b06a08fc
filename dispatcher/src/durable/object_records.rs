//! Records in a store of objects: a batch for each commit.
//!
//! ```text
//!  {"format":1,"opening":5,"records":[["key","json"],["erased",null]]}      a batch
//!  {"format":1,"records":{"key":"json"}}                                    a checkpoint
//! ```
//! A put that failed may have been done nevertheless, or be done later. It counts for nothing: whatever is
//! committed next also has what its keys should have.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use wayfare_protocol::ids::Term;

use super::FileError;
use super::backend::{Backend, Change, Live};
use super::batches::{BatchLog, LogError, Replayed, opening, parse};
use super::blocking::BlockingObjects;
use super::place::begin_term;

const FORMAT: u32 = 1;

#[derive(Debug)]
pub(super) struct ObjectRecords {
    objects: BlockingObjects,
    /// `None`: something has panicked.
    log: Option<BatchLog>,
    opening: u64,
    /// Whether nobody else can put a batch any more.
    is_claimed: bool,
    /// Keys of commits that failed: the store may have something else for them.
    uncertain: BTreeSet<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Batch {
    format: u32,
    opening: u64,
    records: Vec<Change>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Records {
    format: u32,
    records: Live,
}

impl Replayed for Records {
    fn restore(checkpoint: &[u8]) -> Result<Self, LogError> {
        let records: Self = parse("a checkpoint of records", checkpoint)?;
        check_format(records.format)?;
        Ok(records)
    }

    fn apply(&mut self, batch: &[u8]) -> Result<(), LogError> {
        let batch: Batch = parse("a batch of records", batch)?;
        check_format(batch.format)?;
        for (key, json) in batch.records {
            match json {
                Some(json) => self.records.insert(key, json),
                None => self.records.remove(&key),
            };
        }
        Ok(())
    }

    fn checkpoint(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("plain data serialises")
    }
}

fn check_format(format: u32) -> Result<(), LogError> {
    if format <= FORMAT {
        return Ok(());
    }
    Err(LogError::Malformed {
        what: "the log of records".into(),
        reason: format!("format {format} is of a later release, this one reads {FORMAT}"),
    })
}

impl ObjectRecords {
    /// With what is there. A store that can only be read does not hinder it: it is claimed with the first
    /// commit that can be.
    pub(super) fn open(objects: &BlockingObjects, term: Term) -> Result<(Self, Live), FileError> {
        let failed = |error: LogError| FileError::of_store(&objects.path(), &error);
        let opening = opening().map_err(failed)?;
        let (store, first) = (objects.objects.clone(), batch(opening, Vec::new()));
        let opened = objects.wait(async move {
            begin_term(&store, term).await;
            BatchLog::open::<Records>(store, &first).await
        });
        let (log, state, claimed) = opened.ok_or_else(|| panicked(objects))?.map_err(failed)?;
        if let Err(error) = &claimed {
            tracing::error!(store = %objects.path().display(), %error, "cannot be written to yet");
        }
        let records = Self {
            objects: objects.clone(),
            log: Some(log),
            opening,
            is_claimed: claimed.is_ok(),
            uncertain: BTreeSet::new(),
        };
        Ok((records, state.records))
    }

    fn run(&mut self, changes: Vec<Change>, live: &Live) -> Result<(), LogError> {
        let Some(mut log) = self.log.take() else {
            return Err(LogError::Malformed {
                what: "the log of records".into(),
                reason: "it could not be written before".into(),
            });
        };
        let first = (!self.is_claimed).then(|| batch(self.opening, Vec::new()));
        let batch = batch(self.opening, changes);
        let checkpoint = log.is_checkpoint_due().then(|| Records {
            format: FORMAT,
            records: live.clone(),
        });
        let stored = self.objects.wait(async move {
            let mut is_claimed = first.is_none();
            let stored = async {
                if let Some(first) = first {
                    log.claim(&first).await?;
                    is_claimed = true;
                }
                log.commit(&batch).await?;
                if let Some(checkpoint) = checkpoint {
                    log.make_checkpoint(&checkpoint).await;
                }
                Ok(())
            };
            let stored = stored.await;
            (log, is_claimed, stored)
        });
        let Some((log, is_claimed, stored)) = stored else {
            return Err(LogError::Malformed {
                what: "the log of records".into(),
                reason: "writing it has panicked".into(),
            });
        };
        self.log = Some(log);
        self.is_claimed = is_claimed;
        stored
    }
}

impl Backend for ObjectRecords {
    fn store(&mut self, changes: &[Change], live: &Live) -> Result<(), FileError> {
        let known: BTreeMap<&String, ()> = changes.iter().map(|(key, _)| (key, ())).collect();
        let uncertain = self.uncertain.iter().filter(|key| !known.contains_key(key));
        let restored = uncertain.map(|key| (key.clone(), live.get(key).cloned()));
        let all: Vec<Change> = restored.chain(changes.iter().cloned()).collect();
        match self.run(all, live) {
            Ok(()) => {
                self.uncertain.clear();
                Ok(())
            }
            Err(error) => {
                self.uncertain.extend(changes.iter().map(|(key, _)| key.clone()));
                let is_succeeded = matches!(error, LogError::Succeeded);
                let error = FileError::of_store(&self.objects.path(), &error);
                Err(FileError {
                    is_succeeded,
                    ..error
                })
            }
        }
    }
}

fn batch(opening: u64, records: Vec<Change>) -> Vec<u8> {
    let batch = Batch {
        format: FORMAT,
        opening,
        records,
    };
    serde_json::to_vec(&batch).expect("plain data serialises")
}

fn panicked(objects: &BlockingObjects) -> FileError {
    FileError::of_store(&objects.path(), &"reading it has panicked")
}
