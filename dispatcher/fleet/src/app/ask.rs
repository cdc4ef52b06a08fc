//! What the dispatcher's service for applications is asked, and what it says by itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wayfare_protocol::health::Health;
use wayfare_protocol::ids::{Blob, Digest, EngineId, OperationId, PeerName, ProgramId, Term};
use wayfare_protocol::wire::Message;
use wayfare_scheduler::application::InstanceId;

use super::AppSpec;
use super::hold::HoldRecord;

/// The service's name.
pub const SERVICE: &str = "apps";
/// Bytes of a blob in one request: as hexadecimal digits they are twice as many.
pub const PUT_BYTES_MAX: usize = 48 * 1024;
/// Of one application.
pub const HOLDERS_MAX: usize = 64;
/// Fewer digits name no id: a name may look the same.
const ID_DIGITS_MIN: usize = 4;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Ask {
    /// The dispatcher pulls what it lacks of these from who asks, in messages between peers under `transfer`:
    /// answered with what it lacks. It acknowledges a blob once that is kept, or cannot be: who asks again
    /// then hears why, or what is still lacking.
    Take {
        transfer: OperationId,
        from: PeerName,
        blobs: Vec<Blob>,
    },
    /// Which of these the dispatcher lacks: clients of the last release ask so.
    Lacks {
        blobs: Vec<Blob>,
    },
    /// A part of a blob, in hexadecimal; answered with the number of bytes that are there now. As of the last
    /// release.
    Put {
        blob: Blob,
        offset: u64,
        hex: String,
    },
    /// What applying it would change.
    Plan {
        spec: AppSpec,
    },
    Apply {
        spec: AppSpec,
        /// The serial of the plan that people have looked at.
        expects: Option<u64>,
    },
    /// The same with a version of which nothing may be left out: a dispatcher that knows no stages, windows
    /// and health refuses it by its name, and would replace everything at once. See [`Ask::apply`].
    ApplyWhole {
        spec: AppSpec,
        expects: Option<u64>,
    },
    /// Holds an application, which is applied where it is absent: answered with a [`Holding`]. Refused where
    /// it is made in another way.
    Acquire {
        spec: AppSpec,
        holder: String,
        #[serde(default)]
        lasts: Lasts,
    },
    /// Somebody who holds an application by a lease is still there: answered with a [`Holding`]. Refused to
    /// who does not hold it, so that nothing begins again that was removed.
    Renew {
        application: String,
        holder: String,
    },
    /// The last holder of an application that was begun so ends it: answered with a [`LetGo`].
    LetGo {
        application: String,
        holder: String,
    },
    /// Of one application, or of all, in one answer: refused where that is too long for a message.
    Status {
        application: Option<String>,
    },
    /// The same in parts: answered with a [`StatusPage`].
    StatusPage {
        application: Option<String>,
        /// Where the page begins; `None`: at the beginning.
        from: Option<InstanceId>,
    },
    /// In one answer, as [`Ask::Status`].
    History {
        application: String,
    },
    /// The same in parts: answered with a [`HistoryPage`].
    HistoryPage {
        application: String,
        /// The version that the page begins with; 0: the oldest.
        from: u64,
    },
    /// Back to a version; `None`: to the one before.
    Revert {
        application: String,
        version: Option<u64>,
    },
    Pause {
        application: String,
    },
    Resume {
        application: String,
    },
    Remove {
        application: String,
    },
    /// Another number of a component's instances: a version that is otherwise the current one.
    Scale {
        application: String,
        component: String,
        count: u32,
    },
    /// All instances of a component, or of all, begin anew, as in an update: a version that is otherwise the
    /// current one.
    Restart {
        application: String,
        component: Option<String>,
    },
    /// Begins the next stage of a roll-out at once, or goes on with one that is halted.
    Promote {
        application: String,
    },
    /// A roll-out replaces nothing more until it is promoted.
    Halt {
        application: String,
    },
    /// A roll-out has failed: back to the version before.
    Fail {
        application: String,
    },
    Cordon {
        engine: EngineId,
    },
    Drain {
        engine: EngineId,
    },
    Uncordon {
        engine: EngineId,
    },
    /// What is left on an engine that is to be emptied.
    Left {
        engine: EngineId,
    },
    /// Engines that get nothing new, or are being emptied: answered with a [`MarksPage`].
    Marks {
        /// Where the page begins; `None`: at the beginning.
        from: Option<EngineId>,
    },
    /// Removes what is kept of an engine that is gone for good: refused while it is there, or something of an
    /// application is on it.
    Forget {
        engine: EngineId,
    },
    /// What an answer to this would be, and what would be decided at once: answered with a [`WouldAnswer`],
    /// or with what would refuse it. Nothing comes of it.
    DryRun {
        ask: Box<Ask>,
    },
    /// From now on nothing is decided and nothing changed; answered with a [`HoldRecord`].
    Hold {
        /// `None`: until somebody releases it.
        #[serde(default)]
        for_ms: Option<u64>,
        #[serde(default)]
        reason: Option<String>,
    },
    /// Ends a hold.
    Release,
    /// Since when programs are there, and whose instances: answered with a
    /// [`ProgramsPage`](super::programs::ProgramsPage).
    Programs {
        /// Where the page begins; `None`: at the beginning.
        #[serde(default)]
        from: Option<ProgramId>,
    },
    /// What is wrong and stays so: answered with an [`AlarmsPage`](super::alarms::AlarmsPage).
    Alarms {
        /// Kind and subject of the last of the page before.
        #[serde(default)]
        after: Option<(String, String)>,
    },
    /// This dispatcher stands by, and says so again within that time. Nothing proves it, and nothing but an
    /// alarm follows from it.
    StandsBy {
        dispatcher: PeerName,
        every_ms: u64,
    },
    /// What was decided since then, by the dispatcher's clock, and after this number.
    Events {
        since_ms: u64,
        after: Option<(Term, u64)>,
        /// Which; a dispatcher of an earlier release answers with all.
        #[serde(default)]
        wanted: EventsWanted,
    },
}

impl Ask {
    /// What applies a version, as far as possible to a dispatcher of any release.
    pub fn apply(spec: AppSpec, expects: Option<u64>) -> Self {
        match spec.is_read_by_all() {
            true => Self::Apply { spec, expects },
            false => Self::ApplyWhole { spec, expects },
        }
    }

    /// Whether it changes what is wanted.
    pub fn is_change(&self) -> bool {
        match self {
            Self::Lacks { .. }
            | Self::Plan { .. }
            | Self::Renew { .. }
            | Self::Status { .. }
            | Self::StatusPage { .. }
            | Self::History { .. }
            | Self::HistoryPage { .. }
            | Self::Left { .. }
            | Self::Marks { .. }
            | Self::Programs { .. }
            | Self::DryRun { .. }
            | Self::Alarms { .. }
            | Self::StandsBy { .. }
            | Self::Events { .. } => false,
            Self::Take { .. }
            | Self::Put { .. }
            | Self::Apply { .. }
            | Self::ApplyWhole { .. }
            | Self::Acquire { .. }
            | Self::LetGo { .. }
            | Self::Revert { .. }
            | Self::Pause { .. }
            | Self::Resume { .. }
            | Self::Remove { .. }
            | Self::Scale { .. }
            | Self::Restart { .. }
            | Self::Promote { .. }
            | Self::Halt { .. }
            | Self::Fail { .. }
            | Self::Cordon { .. }
            | Self::Drain { .. }
            | Self::Forget { .. }
            | Self::Hold { .. }
            | Self::Release
            | Self::Uncordon { .. } => true,
        }
    }
}

/// How long a holder holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lasts {
    /// While it is heard of, every 30 s at least.
    #[default]
    Lease,
    /// Until it lets go.
    UntilLetGo,
}

/// An application is held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holding {
    pub application: String,
    /// It was absent, and is there for this holder.
    pub begun: bool,
    pub holders: Vec<String>,
    /// A lease that is not renewed for so long is over.
    pub lease_ms: u64,
}

/// A holder has let go of an application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LetGo {
    pub application: String,
    /// It was held by that.
    pub changed: bool,
    pub holders: Vec<String>,
    /// Nobody holds it any more, and it ends.
    pub ends: bool,
}

/// What people have said about an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mark {
    /// It gets nothing new.
    Cordoned,
    /// It gets nothing new, and what it has goes elsewhere.
    Draining,
}

/// As many marks as a message holds, in the order of the engines' names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarksPage {
    pub marks: BTreeMap<EngineId, Mark>,
    /// Where the next page begins; `None`: this is the last.
    pub next: Option<EngineId>,
    /// The fleet is held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<HoldRecord>,
}

/// The answer to [`Ask::DryRun`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WouldAnswer {
    /// What would be answered.
    pub answer: serde_json::Value,
    /// What would be told of it, and of what would be decided at once.
    pub would: Vec<String>,
}

/// Which events. What is not said is not asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct EventsWanted {
    /// About an application, an instance, an engine, a program's name; or the beginning of a program's or an
    /// operation's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Who gave the order: `user@host`, or `user`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<u64>,
}

impl EventsWanted {
    pub fn takes(&self, event: &Decision) -> bool {
        let until_ms = self.until_ms.unwrap_or(u64::MAX);
        event.at_ms < until_ms
            && self.kind.as_ref().is_none_or(|kind| *kind == event.kind)
            && self.by.as_ref().is_none_or(|by| is_by(event.by.as_deref(), by))
            && self.about.as_ref().is_none_or(|about| event.is_about(about))
    }
}

/// Whether this is who is meant: `user@host`, or `user`.
pub fn is_by(given: Option<&str>, wanted: &str) -> bool {
    given.is_some_and(|given| given == wanted || given.split('@').next() == Some(wanted))
}

/// One thing that the dispatcher decided or noticed, and why; or the end of somebody's order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Decision {
    /// Milliseconds since 1970 by the dispatcher's clock.
    pub at_ms: u64,
    pub term: Term,
    /// Counts within the term.
    pub sequence: u64,
    pub kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<EngineId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<ProgramId>,
    /// The program's name, where it is no instance's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Where a program went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<EngineId>,
    /// Who gave the order, as that says itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<OperationId>,
    /// Its kind is an alarm's, which begins or ends to stand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alarm: Option<AlarmChange>,
    pub text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AlarmChange {
    Raised,
    Cleared,
}

impl Decision {
    fn is_about(&self, about: &str) -> bool {
        let names = [&self.application, &self.instance, &self.name];
        let engines = [&self.engine, &self.target].into_iter().flatten();
        let ids = [
            self.program.map(|id| id.to_string()),
            self.operation.map(|id| id.to_string()),
        ];
        names.into_iter().flatten().any(|name| name == about)
            || engines.into_iter().any(|engine| engine.as_str() == about)
            || (about.len() >= ID_DIGITS_MIN && ids.iter().flatten().any(|id| id.starts_with(about)))
    }
}

impl Message for Decision {
    const TYPE: &'static str = "decision";
}

/// The answer to [`Ask::Plan`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanAnswer {
    pub application: String,
    /// Of the application as it is: give it to [`Ask::Apply`], so that nobody's change is overrun.
    pub serial: u64,
    /// What differs, a line each.
    pub changes: Vec<String>,
    /// What would be done at once, a line each.
    pub actions: Vec<String>,
    /// What could not run, and why.
    pub unplaced: Vec<String>,
    /// What is perhaps not meant, a line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// The answer to [`Ask::Status`]: one for each application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppStatus {
    pub application: String,
    pub version: u64,
    pub serial: u64,
    /// `running`, `paused`, `updating` or `removing`.
    pub state: String,
    /// How far a roll-out in stages is, and what it waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roll_out: Option<String>,
    pub instances: Vec<InstanceStatus>,
    pub unplaced: Vec<String>,
    /// Who holds it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holders: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceStatus {
    pub instance: String,
    pub state: String,
    pub program: Option<ProgramId>,
    pub engine: Option<EngineId>,
    pub generation: Option<u64>,
    /// Whether it is made as the current version says.
    pub current: bool,
    pub healthy: bool,
    /// It may run on one engine only, and waits for that, which is lost.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub away: bool,
    /// As it says itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// Why it is not to be moved or replaced now, as it says itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<String>,
    /// When its state was last copied to the dispatcher.
    pub checkpoint_at_ms: Option<u64>,
    /// How large that is. Dispatchers of the release before do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint_bytes: Option<u64>,
    /// Of one that waits for its time: when that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_ms: Option<u64>,
}

/// As much of a status as a message holds. An application whose instances are cut is in the next page again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusPage {
    pub applications: Vec<AppStatus>,
    /// Where the next page begins; `None`: this is the last.
    pub next: Option<InstanceId>,
}

/// As many versions as a message holds, the oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryPage {
    pub versions: Vec<VersionStatus>,
    /// The version that the next page begins with; `None`: this is the last.
    pub next: Option<u64>,
}

/// One version, as [`Ask::History`] lists them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionStatus {
    pub version: u64,
    pub at_ms: u64,
    pub note: String,
    /// Who asked for it, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    pub current: bool,
    pub modules: Vec<(String, Digest)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_chosen_by_what_they_are_about_and_by_whom() {
        let event = Decision {
            at_ms: 10,
            kind: "move".into(),
            engine: Some("a".parse().unwrap()),
            target: Some("b".parse().unwrap()),
            program: Some(ProgramId::from_bytes([0xab; 16])),
            name: Some("p".into()),
            by: Some("ann@desk".into()),
            operation: Some(OperationId::from_bytes([0xcd; 16])),
            ..Decision::default()
        };
        let about = |about: &str| EventsWanted {
            about: Some(about.into()),
            ..EventsWanted::default()
        };
        for (text, is_about) in [
            ("a", true),
            ("b", true),
            ("p", true),
            ("abab", true),
            ("cdcdcdcd", true),
            ("ab", false),
            ("q", false),
            ("", false),
        ] {
            assert_eq!(about(text).takes(&event), is_about, "{text}");
        }
        for (by, is_by) in [("ann", true), ("ann@desk", true), ("an", false), ("desk", false)] {
            let by = EventsWanted {
                by: Some(by.into()),
                ..EventsWanted::default()
            };
            assert_eq!(by.takes(&event), is_by, "{by:?}");
        }
        for (kind, until_ms, takes) in [("move", 11, true), ("move", 10, false), ("kill", 11, false)] {
            let wanted = EventsWanted {
                kind: Some(kind.into()),
                until_ms: Some(until_ms),
                ..EventsWanted::default()
            };
            assert_eq!(wanted.takes(&event), takes, "{wanted:?}");
        }
        // What the release before asks and says.
        let ask: Ask = serde_json::from_str(r#"{"do":"events","since_ms":1,"after":null}"#).unwrap();
        assert_eq!(
            ask,
            Ask::Events {
                since_ms: 1,
                after: None,
                wanted: EventsWanted::default()
            }
        );
    }
}
