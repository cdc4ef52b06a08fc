//! Records by key: changed and made durable together.
//!
//! ```text
//!  RecordLog     what is in force, and what is taken back when it could not be stored
//!    Backend     a folder, or a store of objects           folder_records, object_records
//! ```
//! A commit that fails never was: its records are as they were before, in memory and at the next start.

use std::collections::BTreeMap;

use wayfare_protocol::ids::Term;

use super::FileError;
use super::backend::{Backend, Change, Live};
use super::folder_records::FolderRecords;
use super::object_records::ObjectRecords;
use super::place::Place;

/// Erased to find out whether something can be stored. Nothing ever has this key.
const PROBE: &str = "probe";

#[derive(Debug)]
pub(crate) struct RecordLog {
    backend: Box<dyn Backend>,
    live: Live,
    /// What was put since the last commit,
    changes: Vec<Change>,
    /// and what was in force before each of it.
    undo: Vec<Change>,
}

impl RecordLog {
    /// Takes over what the last term left. A disk or store that is full does not hinder it: this term begins
    /// with the first commit that finds room.
    pub(crate) fn open(place: &Place, term: Term) -> Result<Self, FileError> {
        let (backend, live): (Box<dyn Backend>, Live) = match place {
            Place::Folder(folder) => {
                let (records, live) = FolderRecords::open(folder, term)?;
                (Box::new(records), live)
            }
            Place::Objects(objects) => {
                let (records, live) = ObjectRecords::open(objects, term)?;
                (Box::new(records), live)
            }
        };
        let mut records = Self {
            backend,
            live,
            changes: Vec::new(),
            undo: Vec::new(),
        };
        if let Err(error) = records.probe() {
            tracing::error!(%error, "cannot be written to yet");
        }
        Ok(records)
    }

    pub(crate) fn records(&self) -> &BTreeMap<String, String> {
        &self.live
    }

    /// `None` erases. Keys have no spaces. Durable after [`RecordLog::commit`].
    pub(crate) fn put(&mut self, key: &str, json: Option<String>) {
        let before = match &json {
            Some(json) => self.live.insert(key.to_owned(), json.clone()),
            None => self.live.remove(key),
        };
        self.undo.push((key.to_owned(), before));
        self.changes.push((key.to_owned(), json));
    }

    /// Makes what was put durable, or takes it back.
    pub(crate) fn commit(&mut self) -> Result<(), FileError> {
        if self.changes.is_empty() {
            return Ok(());
        }
        let changes = std::mem::take(&mut self.changes);
        let stored = self.backend.store(&changes, &self.live);
        match stored {
            Ok(()) => self.undo.clear(),
            Err(_) => self.roll_back(),
        }
        stored
    }

    /// Tries whether something can be made durable.
    pub(crate) fn probe(&mut self) -> Result<(), FileError> {
        self.put(PROBE, None);
        self.commit()
    }

    fn roll_back(&mut self) {
        while let Some((key, before)) = self.undo.pop() {
            match before {
                Some(json) => self.live.insert(key, json),
                None => self.live.remove(&key),
            };
        }
    }
}

#[cfg(test)]
#[path = "records_tests.rs"]
mod tests;
