//! Keeps what the core has seen of programs: since when they are there, how often they came to another
//! engine, when they ended. So whoever acts next knows their ages.
//!
//! What always holds: nothing follows from this but what is shown. What cannot be kept is kept with the next
//! that can; a second of it may be lost with the machine.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::Instant;
use wayfare_dispatcher_core::apps::{Core, SeenProgram};
use wayfare_protocol::ids::{ProgramId, Term};

use crate::durable::{FileError, Place, RecordLog};

/// Of more programs than this nothing is kept.
const KEPT_MAX: usize = 20_000;
/// What has changed is written together: at most so often.
const SAVE_PERIOD: Duration = Duration::from_secs(1);

pub(super) struct KeptAges {
    kept: Arc<Mutex<Kept>>,
    save_at: Instant,
    /// A disk may take seconds for it, and who waits for an answer must not wait for that.
    saving: Option<JoinHandle<Result<(), FileError>>>,
}

struct Kept {
    log: RecordLog,
    /// Not kept yet.
    changed: BTreeMap<ProgramId, Option<SeenProgram>>,
}

impl KeptAges {
    pub(super) fn open(place: &Place, term: Term) -> Result<Self, FileError> {
        Ok(Self {
            kept: Arc::new(Mutex::new(Kept::open(place, term)?)),
            save_at: Instant::now(),
            saving: None,
        })
    }

    /// What was kept, for a core that begins.
    pub(super) fn all(&self) -> BTreeMap<ProgramId, SeenProgram> {
        lock(&self.kept).all()
    }

    /// Takes what has changed in the core, and has it kept if it is time to. Fails if what was taken before
    /// could not be.
    pub(super) fn keep(&mut self, core: &mut Core) -> Result<(), FileError> {
        if Instant::now() < self.save_at || self.saving.as_ref().is_some_and(|saving| !saving.is_finished()) {
            return Ok(());
        }
        let saved = self.saving.take().and_then(FutureExt::now_or_never);
        self.save_at = Instant::now() + SAVE_PERIOD;
        let changed = core.take_seen_programs();
        let is_kept = !matches!(saved, Some(Ok(Err(_)) | Err(_)));
        if !changed.is_empty() || !is_kept {
            let kept = self.kept.clone();
            self.saving = Some(spawn_blocking(move || lock(&kept).save(changed)));
        }
        match saved {
            Some(Ok(result)) => result,
            // It panicked, which has been said, or the process ends.
            Some(Err(_)) | None => Ok(()),
        }
    }
}

fn lock(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Kept {
    fn open(place: &Place, term: Term) -> Result<Self, FileError> {
        Ok(Self {
            log: RecordLog::open(place, term)?,
            changed: BTreeMap::new(),
        })
    }

    fn all(&self) -> BTreeMap<ProgramId, SeenProgram> {
        let readable = self.log.records().iter().filter_map(|(key, json)| {
            let seen = serde_json::from_str::<SeenProgram>(json);
            if let Err(error) = &seen {
                tracing::warn!(key, %error, "skipped what was kept of a program");
            }
            Some((key.parse().ok()?, seen.ok()?))
        });
        readable.collect()
    }

    fn save(
        &mut self,
        changed: impl IntoIterator<Item = (ProgramId, Option<SeenProgram>)>,
    ) -> Result<(), FileError> {
        self.changed.extend(changed);
        for (program, seen) in &self.changed {
            let key = program.to_string();
            let is_kept = self.log.records().contains_key(&key);
            let has_room = is_kept || self.log.records().len() < KEPT_MAX;
            match seen {
                Some(seen) if has_room => {
                    let json = serde_json::to_string(seen).expect("plain data serialises");
                    self.log.put(&key, Some(json));
                }
                None if is_kept => self.log.put(&key, None),
                _ => {}
            }
        }
        self.log.commit()?;
        self.changed.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::durable::faults::{self, Faults};

    #[test]
    fn ages_are_kept_for_who_acts_next_and_those_of_programs_that_are_gone_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::Folder(folder.path().to_owned());
        let id = |number| ProgramId::from_random([number; 16]);
        let seen: SeenProgram = serde_json::from_value(serde_json::json!({
            "engine": "a", "generation": 2, "moves": 1, "since_ms": 5, "is_ended": false, "later": true,
        }))
        .unwrap();
        let mut kept = Kept::open(&place, Term(1)).unwrap();
        let both = [(id(1), Some(seen.clone())), (id(2), Some(seen.clone()))];
        // No room, then room.
        faults::set(Faults {
            room: Some(0),
            ..Faults::default()
        });
        kept.save(both).unwrap_err();
        assert!(kept.all().is_empty());
        faults::set(Faults::default());
        kept.save([(id(2), None)]).unwrap();
        let successor = Kept::open(&place, Term(2)).unwrap();
        assert_eq!(successor.all(), BTreeMap::from([(id(1), seen)]));
    }
}
