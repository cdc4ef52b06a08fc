//! Alarms: what is wrong and stays so until something is done, as far as the dispatcher sees it.
//!
//! What always holds: an alarm is raised once and cleared once, whoever acts meanwhile: those that stand are
//! kept. One that cannot be kept stands in memory, and is kept with the next that can.

use std::collections::BTreeMap;

use wayfare_client::app::alarms::{AlarmRecord, AlarmsPage};
use wayfare_client::app::ask::{AlarmChange, Decision};
use wayfare_protocol::limits::PAGE_BYTES_MAX;

use crate::durable::{FileError, Place, RecordLog};
use wayfare_protocol::ids::Term;

/// Of alarms that stand: what more there is has the same cause.
const ALARMS_MAX: usize = 1_000;

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum AlarmKind {
    /// An engine does not answer, and has not said that it stops.
    EngineUnreachable,
    /// An engine's clock is not as the dispatcher's.
    ClockSkew,
    /// The dispatchers had no broker.
    BrokerLost,
    /// Fewer dispatchers stand by than are wanted.
    NoStandby,
    /// Something cannot be stored,
    StoreFailing,
    /// because there is no room.
    DiskFull,
}

impl AlarmKind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::EngineUnreachable => "engine-unreachable",
            Self::ClockSkew => "clock-skew",
            Self::BrokerLost => "broker-lost",
            Self::NoStandby => "no-standby",
            Self::StoreFailing => "store-failing",
            Self::DiskFull => "disk-full",
        }
    }

    /// Its subject is an engine, of which there may be many.
    fn is_of_engine(self) -> bool {
        matches!(self, Self::EngineUnreachable | Self::ClockSkew)
    }

    /// What is wrong where something cannot be stored.
    pub(crate) fn of(error: &FileError) -> Self {
        match error.is_full() {
            true => Self::DiskFull,
            false => Self::StoreFailing,
        }
    }
}

#[derive(Debug)]
pub(super) struct Alarms {
    /// By kind and subject.
    standing: BTreeMap<(String, String), AlarmRecord>,
    log: RecordLog,
    is_changed: bool,
}

impl Alarms {
    pub(super) fn open(place: &Place, term: Term) -> Result<Self, FileError> {
        let log = RecordLog::open(place, term)?;
        let read = |json: &String| serde_json::from_str::<AlarmRecord>(json).ok();
        let records = log.records().values().filter_map(read);
        let standing = records.map(|record| ((record.kind.clone(), record.subject.clone()), record));
        Ok(Self {
            standing: standing.collect(),
            log,
            is_changed: false,
        })
    }

    /// Subjects for which such an alarm stands.
    pub(super) fn subjects(&self, kind: AlarmKind) -> Vec<String> {
        let of_kind = self.standing.keys().filter(|(name, _)| name == kind.name());
        of_kind.map(|(_, subject)| subject.clone()).collect()
    }

    /// Raises an alarm, which stands since then; what is to be told, if it does not stand already.
    pub(super) fn raise(
        &mut self,
        kind: AlarmKind,
        subject: &str,
        text: &str,
        since_ms: u64,
    ) -> Option<Decision> {
        let key = (kind.name().to_owned(), subject.to_owned());
        // There are few of the others, and they are about this host.
        let is_too_many = kind.is_of_engine() && self.standing.len() >= ALARMS_MAX;
        if self.standing.contains_key(&key) || is_too_many {
            return None;
        }
        let record = AlarmRecord {
            kind: key.0.clone(),
            subject: key.1.clone(),
            since_ms,
            text: wayfare_protocol::reason::cut(text.to_owned()),
        };
        let event = told(
            kind,
            &record,
            AlarmChange::Raised,
            format!("alarm: {}", record.text),
        );
        self.standing.insert(key, record);
        self.is_changed = true;
        Some(event)
    }

    /// Clears an alarm; what is to be told, if it stood.
    pub(super) fn clear(&mut self, kind: AlarmKind, subject: &str, why: &str) -> Option<Decision> {
        let key = (kind.name().to_owned(), subject.to_owned());
        let record = self.standing.remove(&key)?;
        self.is_changed = true;
        Some(told(
            kind,
            &record,
            AlarmChange::Cleared,
            format!("alarm cleared: {why}"),
        ))
    }

    /// Keeps what has changed.
    pub(super) fn save(&mut self) -> Result<(), FileError> {
        if !self.is_changed {
            return Ok(());
        }
        let key = |(kind, subject): &(String, String)| format!("{kind}:{subject}");
        let stand: BTreeMap<String, String> = self
            .standing
            .iter()
            .map(|(id, record)| {
                (
                    key(id),
                    serde_json::to_string(record).expect("plain data serialises"),
                )
            })
            .collect();
        let gone: Vec<String> = self
            .log
            .records()
            .keys()
            .filter(|key| !stand.contains_key(*key))
            .cloned()
            .collect();
        for key in gone {
            self.log.put(&key, None);
        }
        for (key, json) in stand {
            if self.log.records().get(&key) != Some(&json) {
                self.log.put(&key, Some(json));
            }
        }
        self.log.commit()?;
        self.is_changed = false;
        Ok(())
    }

    pub(super) fn page(&self, after: Option<(String, String)>) -> AlarmsPage {
        let (mut alarms, mut room) = (Vec::new(), PAGE_BYTES_MAX);
        let later = self
            .standing
            .iter()
            .filter(|(id, _)| after.as_ref().is_none_or(|after| *id > after));
        for (_, record) in later {
            let bytes = serde_json::to_string(record).map_or(0, |json| json.len());
            let Some(left) = room.checked_sub(bytes) else {
                return AlarmsPage { alarms, more: true };
            };
            room = left;
            alarms.push(record.clone());
        }
        AlarmsPage { alarms, more: false }
    }
}

fn told(kind: AlarmKind, record: &AlarmRecord, alarm: AlarmChange, text: String) -> Decision {
    Decision {
        kind: record.kind.clone(),
        engine: kind.is_of_engine().then(|| record.subject.parse().ok()).flatten(),
        alarm: Some(alarm),
        text,
        ..Decision::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::durable::faults::{self, Faults};

    const KIND: AlarmKind = AlarmKind::EngineUnreachable;

    #[test]
    fn an_alarm_is_raised_once_and_cleared_once_across_dispatchers() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::Folder(folder.path().to_owned());
        let mut alarms = Alarms::open(&place, Term(1)).unwrap();
        let raised = alarms.raise(KIND, "pi-3", "engine pi-3 is lost", 5).unwrap();
        assert_eq!(raised.alarm, Some(AlarmChange::Raised));
        assert_eq!(
            raised.engine.map(|engine| engine.to_string()).as_deref(),
            Some("pi-3")
        );
        assert_eq!(alarms.raise(KIND, "pi-3", "again", 6), None);
        assert_eq!(alarms.clear(KIND, "pi-4", "it is back"), None);
        alarms.save().unwrap();

        let mut successor = Alarms::open(&place, Term(2)).unwrap();
        assert_eq!(successor.subjects(KIND), ["pi-3"]);
        assert_eq!(successor.raise(KIND, "pi-3", "again", 7), None);
        assert_eq!(successor.page(None).alarms[0].since_ms, 5);
        let cleared = successor.clear(KIND, "pi-3", "it is back").unwrap();
        assert_eq!(cleared.alarm, Some(AlarmChange::Cleared));
        assert_eq!(successor.clear(KIND, "pi-3", "it is back"), None);
        successor.save().unwrap();
        let third = Alarms::open(&place, Term(3)).unwrap();
        assert!(third.page(None).alarms.is_empty());
    }

    #[test]
    fn an_alarm_that_a_full_disk_refuses_stands_and_is_kept_when_there_is_room() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::Folder(folder.path().to_owned());
        let mut alarms = Alarms::open(&place, Term(1)).unwrap();
        faults::set(Faults {
            room: Some(0),
            ..Faults::default()
        });
        alarms
            .raise(AlarmKind::DiskFull, "applications", "no room", 5)
            .unwrap();
        let refused = alarms.save().unwrap_err();
        assert_eq!(AlarmKind::of(&refused), AlarmKind::DiskFull);
        faults::set(Faults::default());
        assert_eq!(alarms.page(None).alarms.len(), 1);
        alarms.save().unwrap();
        assert_eq!(Alarms::open(&place, Term(2)).unwrap().page(None).alarms.len(), 1);
    }

    #[test]
    fn pages_hold_all_alarms_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut alarms = Alarms::open(&Place::Folder(folder.path().to_owned()), Term(1)).unwrap();
        for number in 0..2 * ALARMS_MAX {
            alarms.raise(KIND, &format!("e-{number}"), &"x".repeat(400), 1);
        }
        let (mut found, mut after) = (0, None);
        loop {
            let page = alarms.page(after);
            found += page.alarms.len();
            after = page.alarms.last().map(AlarmRecord::id);
            if !page.more {
                break;
            }
        }
        assert_eq!(found, ALARMS_MAX);
    }
}
