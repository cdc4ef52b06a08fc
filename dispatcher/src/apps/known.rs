//! Which engines the fleet has had: one that is new has joined, and that is told once, whoever acts.
//!
//! What always holds: nothing follows from this but what is told. What cannot be kept is kept with the next
//! that can.

use std::collections::BTreeSet;

use wayfare_client::app::ask::Decision;
use wayfare_client::fleet::EngineView;
use wayfare_protocol::ids::{EngineId, Term};

use crate::durable::{FileError, Place, RecordLog};

/// Of more engines than this it is not told that they have joined.
const KNOWN_MAX: usize = 20_000;

#[derive(Debug)]
pub(super) struct KnownEngines {
    names: BTreeSet<EngineId>,
    log: RecordLog,
    is_changed: bool,
}

impl KnownEngines {
    pub(super) fn open(place: &Place, term: Term) -> Result<Self, FileError> {
        let log = RecordLog::open(place, term)?;
        let names = log.records().keys().filter_map(|name| name.parse().ok());
        Ok(Self {
            names: names.collect(),
            log,
            is_changed: false,
        })
    }

    /// What is to be told of engines that are there for the first time.
    pub(super) fn seen(&mut self, engines: &[EngineView]) -> Vec<Decision> {
        let mut joined = Vec::new();
        for view in engines.iter().filter(|view| view.online) {
            if self.names.contains(&view.engine) || self.names.len() >= KNOWN_MAX {
                continue;
            }
            self.names.insert(view.engine.clone());
            self.is_changed = true;
            joined.push(Decision {
                kind: "engine-joined".to_owned(),
                engine: Some(view.engine.clone()),
                text: format!("engine {} has joined{}", view.engine, about(view)),
                ..Decision::default()
            });
        }
        joined
    }

    /// It joins again if it is there again; answers whether it was known.
    pub(super) fn forget(&mut self, engine: &EngineId) -> bool {
        let was_known = self.names.remove(engine);
        self.is_changed |= was_known;
        was_known
    }

    /// Keeps what has changed.
    pub(super) fn save(&mut self) -> Result<(), FileError> {
        if !self.is_changed {
            return Ok(());
        }
        let is_known = |key: &&String| key.parse().is_ok_and(|name: EngineId| self.names.contains(&name));
        let kept = self.log.records();
        let gone: Vec<String> = kept.keys().filter(|key| !is_known(key)).cloned().collect();
        let new: Vec<String> = self.names.iter().map(EngineId::to_string).collect();
        let new: Vec<String> = new.into_iter().filter(|name| !kept.contains_key(name)).collect();
        for key in gone {
            self.log.put(&key, None);
        }
        for name in new {
            self.log.put(&name, Some("{}".to_owned()));
        }
        self.log.commit()?;
        self.is_changed = false;
        Ok(())
    }
}

/// `: release 0.1.0 on x86_64-linux, host 'pi'`.
fn about(view: &EngineView) -> String {
    view.about.as_ref().map_or_else(String::new, |about| {
        format!(
            ": release {} on {}, host '{}'",
            about.version, about.platform, about.host
        )
    })
}

#[cfg(test)]
mod tests {
    use wayfare_client::fleet::Heard;

    use super::*;
    use crate::durable::faults::{self, Faults};

    fn view(engine: &str, online: bool) -> EngineView {
        EngineView {
            engine: engine.parse().unwrap(),
            online,
            heard: Heard::Retained,
            stopped: false,
            leaving: None,
            mark: None,
            messages: 0,
            offline_for_ms: None,
            about: None,
            identity: None,
            boot: None,
            load: None,
            programs: 0,
            rival: None,
        }
    }

    fn names(told: &[Decision]) -> Vec<String> {
        let names = told.iter().flat_map(|event| &event.engine);
        names.map(ToString::to_string).collect()
    }

    #[test]
    fn an_engine_joins_once_across_dispatchers_and_again_when_it_was_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::Folder(folder.path().to_owned());
        let mut known = KnownEngines::open(&place, Term(1)).unwrap();
        // One that is only remembered has not joined.
        let fleet = [view("a", true), view("b", false)];
        assert_eq!(names(&known.seen(&fleet)), ["a"]);
        assert_eq!(names(&known.seen(&fleet)), [""; 0]);
        // No room, then room.
        faults::set(Faults {
            room: Some(0),
            ..Faults::default()
        });
        known.save().unwrap_err();
        faults::set(Faults::default());
        known.save().unwrap();

        let mut successor = KnownEngines::open(&place, Term(2)).unwrap();
        assert_eq!(names(&successor.seen(&[view("a", true), view("b", true)])), ["b"]);
        assert!(successor.forget(&"a".parse().unwrap()));
        assert!(!successor.forget(&"c".parse().unwrap()));
        successor.save().unwrap();

        let mut third = KnownEngines::open(&place, Term(3)).unwrap();
        assert_eq!(names(&third.seen(&[view("a", true), view("b", true)])), ["a"]);
    }
}
