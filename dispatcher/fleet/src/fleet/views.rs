//! What is shown of a fleet: merged when somebody looks, each engine and program by itself.

use serde::{Deserialize, Serialize};
use wayfare_protocol::code::PublicKey;
use wayfare_protocol::ids::{BootId, Challenge, EngineId, OperationId, ProgramId};
use wayfare_protocol::status::{EngineAbout, EngineState, MachineLoad, ProgramStatus, Rival};

use super::changes::FleetChanges;
use super::{EngineEntry, Fleet, ProgramEntry, supersedes};
use crate::app::ask::Mark;

/// One engine, ready to show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineView {
    pub engine: EngineId,
    /// What its status says, unless it was asked and is silent.
    pub online: bool,
    pub heard: Heard,
    /// It has stopped in good order, as it said itself. Otherwise, of one that is not online, only its
    /// connection is known to have ended: it may be back in a moment.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stopped: bool,
    /// It is about to stop, and asks under this id to be emptied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaving: Option<OperationId>,
    /// Whether people let it get anything new, as far as somebody has asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mark: Option<Mark>,
    /// Grows with every message of its own: a status that says online, or an answer.
    #[serde(skip)]
    pub messages: u64,
    /// How long ago it went away, if this client was there to see it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offline_for_ms: Option<u64>,
    pub about: Option<EngineAbout>,
    /// The key that it shows, which nobody need have approved.
    #[serde(skip)]
    pub identity: Option<PublicKey>,
    /// Of its process.
    #[serde(skip)]
    pub boot: Option<BootId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load: Option<MachineLoad>,
    /// Programs that are not ended.
    pub programs: u32,
    /// Another engine with this id, which holds still.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rival: Option<Rival>,
}

/// What an engine's status is worth: it is retained, and may be that of an engine that is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Heard {
    /// All that is known is retained.
    #[default]
    Retained,
    /// It has spoken a moment ago.
    Live,
    /// It was asked and has not answered.
    Silent,
}

impl EngineView {
    /// One word for tables.
    pub fn word(&self) -> &'static str {
        match (self.heard, self.online) {
            (Heard::Silent, _) => "silent",
            (_, true) if self.leaving.is_some() => "online, stopping",
            (_, true) => match self.mark {
                None => "online",
                Some(Mark::Cordoned) => "online, cordoned",
                Some(Mark::Draining) => "online, draining",
            },
            (_, false) => "offline",
        }
    }

    /// Whether it may be given something new.
    pub fn is_open(&self) -> bool {
        self.mark.is_none() && self.leaving.is_none()
    }

    /// It was asked and has not answered: whatever its status says, it is not there to be given anything.
    pub fn set_silent(&mut self) {
        (self.online, self.heard) = (false, Heard::Silent);
    }
}

/// One program, ready to show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramView {
    #[serde(flatten)]
    pub status: ProgramStatus,
    pub presence: Presence,
}

/// What the status is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Presence {
    /// Its engine is there and says so.
    Known,
    /// Its engine is offline: the status is the last that was known.
    EngineOffline,
    /// Its engine has restarted and does not have it any more.
    Lost,
}

impl ProgramView {
    /// One word or two for tables: the state where it is known, otherwise why it is not.
    pub fn word(&self) -> &'static str {
        match self.presence {
            Presence::Known => self.status.state.word(),
            Presence::EngineOffline if self.status.state.is_ended() => self.status.state.word(),
            Presence::EngineOffline => "engine offline",
            Presence::Lost => "lost",
        }
    }
}

impl Fleet {
    /// Engines whose last status says that they are there.
    pub fn online(&self) -> impl Iterator<Item = &EngineId> {
        let online = |entry: &EngineEntry| entry.status.state == EngineState::Online;
        let engines = self.engines.iter().filter(move |(_, entry)| online(entry));
        engines.map(|(engine, _)| engine)
    }

    pub fn engines(&self, now_ms: u64) -> Vec<EngineView> {
        let engines = self.engines.iter();
        engines
            .map(|(engine, entry)| self.engine_view(engine, entry, now_ms))
            .collect()
    }

    pub fn engine(&self, engine: &EngineId, now_ms: u64) -> Option<EngineView> {
        let entry = self.engines.get(engine)?;
        Some(self.engine_view(engine, entry, now_ms))
    }

    /// Grows with every change but those that time alone makes, for which see [`FleetChanges`].
    pub fn revision(&self) -> u64 {
        self.changes.revision()
    }

    /// In the order of their ids.
    pub fn programs(&self) -> Vec<ProgramView> {
        let mut all: Vec<ProgramId> = self.programs.keys().copied().collect();
        let only_listed = self.listed.keys();
        all.extend(only_listed.filter(|program| !self.programs.contains_key(program)));
        all.sort_unstable();
        all.into_iter()
            .filter_map(|program| self.program(program))
            .collect()
    }

    pub fn program(&self, program: ProgramId) -> Option<ProgramView> {
        let status = self.best(program)?;
        Some(ProgramView {
            presence: self.presence(status),
            status: status.clone(),
        })
    }

    /// What was published of a program as its own status, whatever its engine lists: with the proof that it
    /// was ordered to be there.
    pub fn own_status(&self, program: ProgramId) -> Option<&ProgramStatus> {
        self.programs.get(&program).map(|entry| &entry.status)
    }

    /// What has changed since the look whose answer had this revision; all that there is since 0.
    pub fn changes_since(&self, since: u64, now_ms: u64) -> FleetChanges {
        let mut found = FleetChanges {
            revision: self.revision(),
            is_whole: self.changes.is_whole(since),
            ..FleetChanges::default()
        };
        if found.is_whole {
            found.engines = self.engines(now_ms);
            found.programs = self.programs();
            let left = self
                .programs
                .keys()
                .filter(|program| self.has_tombstone(**program));
            found.tombstones = left.copied().collect();
            let set = self.programs.values().filter(|entry| self.stands(entry));
            found.standing = set.map(|entry| entry.status.program).collect();
            return found;
        }
        for engine in self.changes.engines(since) {
            match self.engines.get(engine) {
                Some(entry) => found.engines.push(self.engine_view(engine, entry, now_ms)),
                None => found.engines_gone.push(engine.clone()),
            }
        }
        for program in self.changes.programs(since) {
            match self.program(*program) {
                Some(view) => found.programs.push(view),
                None => found.programs_gone.push(*program),
            }
            if self.has_tombstone(*program) {
                found.tombstones.push(*program);
            }
            if self.programs.get(program).is_some_and(|entry| self.stands(entry)) {
                found.standing.push(*program);
            }
        }
        found
    }

    /// Whether the engine with which the program ended has said so, and nothing newer of it is known.
    fn has_tombstone(&self, program: ProgramId) -> bool {
        let own = self.programs.get(&program);
        own.is_some_and(|entry| entry.status.is_tombstone_of_an_engine()) && self.best(program).is_none()
    }

    /// Whether a tombstone is what the broker retains: an engine that has a copy may have put its status
    /// there since, and a broker may come back without it.
    fn stands(&self, entry: &ProgramEntry) -> bool {
        let is_retained = !self.is_round_complete || entry.heard == self.round;
        entry.status.is_tombstone() && !entry.is_overwritten && is_retained
    }

    /// What orders to an engine have to answer, where it looks at signatures.
    pub fn challenge(&self, engine: &EngineId) -> Option<Challenge> {
        self.engines.get(engine)?.status.challenge
    }

    /// What an engine is on that is there. One that went away may have come back without our hearing yet: its
    /// programs' statuses overtake its own.
    pub fn present_boot(&self, engine: &EngineId) -> Option<BootId> {
        let entry = self.engines.get(engine)?;
        (entry.status.state == EngineState::Online).then_some(entry.status.boot)
    }

    fn engine_view(&self, engine: &EngineId, entry: &EngineEntry, now_ms: u64) -> EngineView {
        EngineView {
            engine: engine.clone(),
            online: entry.status.state == EngineState::Online,
            heard: match self.is_fresh(engine, now_ms) {
                true => Heard::Live,
                false => Heard::Retained,
            },
            rival: entry.status.rival.clone(),
            stopped: entry.status.state == EngineState::Offline && entry.status.stopped,
            leaving: entry.status.leaving,
            mark: None,
            messages: entry.messages,
            offline_for_ms: entry.offline_since_ms.map(|since| now_ms.saturating_sub(since)),
            about: self.about(engine, entry),
            identity: entry.identity,
            boot: Some(entry.status.boot),
            load: entry.status.load,
            programs: entry
                .status
                .live_programs
                .unwrap_or_else(|| self.live_programs(engine, entry)),
        }
    }

    /// What an engine is, as far as that is believed.
    fn about(&self, engine: &EngineId, entry: &EngineEntry) -> Option<EngineAbout> {
        let mut about = entry.about.clone()?;
        if let Some(vouched) = &self.vouched {
            let said = vouched.engines.get(engine);
            about.labels = said.map(|said| said.labels.clone()).unwrap_or_default();
            if let Some(host) = said.and_then(|said| said.host.clone()) {
                about.host = host;
            }
        }
        Some(about)
    }

    /// Programs of an engine that have not ended, as far as they are known.
    fn live_programs(&self, engine: &EngineId, entry: &EngineEntry) -> u32 {
        let named = self.named.get(engine).into_iter().flatten().copied();
        let listed = entry.status.programs.iter().map(|status| status.program);
        let mut all: Vec<ProgramId> = named.chain(listed).collect();
        all.sort_unstable();
        all.dedup();
        let live = all.into_iter().filter(|program| {
            let status = self.best(*program);
            status.is_some_and(|status| status.engine == *engine && !status.state.is_ended())
        });
        u32::try_from(live.count()).unwrap_or(u32::MAX)
    }

    /// The status of a program that counts.
    fn best(&self, program: ProgramId) -> Option<&ProgramStatus> {
        let own = self
            .programs
            .get(&program)
            .filter(|entry| !self.was_cleared(entry));
        let own = own
            .into_iter()
            .flat_map(|entry| [Some(&entry.status), entry.other.as_ref()]);
        // What an engine lists, it does not sign.
        let is_known = || self.cleared.iter().any(|last| last.program == program);
        let counts_listed = self.vouched.is_none() || !(self.programs.contains_key(&program) || is_known());
        let listing = self.listed.get(&program).into_iter().flatten();
        let listing = listing.filter(|_| counts_listed);
        let listed = listing.filter_map(|engine| self.engines.get(engine)?.lists(program));
        let mut best: Option<&ProgramStatus> = None;
        for status in own.flatten().chain(listed) {
            let boot = self.present_boot(&status.engine);
            if best.is_none_or(|known| self.replaces(status, known, boot)) {
                best = Some(status);
            }
        }
        // What stands for a program that is no more is none; it only hides what is older.
        best.filter(|status| !status.is_tombstone())
    }

    /// Cleared while this client was not connected: all that is retained has come, and so has its engine's
    /// status, but not its own; nor does its engine list it.
    pub(super) fn was_cleared(&self, entry: &ProgramEntry) -> bool {
        if !self.is_round_complete || entry.heard == self.round {
            return false;
        }
        let engine = self.engines.get(&entry.status.engine);
        let engine = engine.filter(|engine| engine.heard == self.round);
        engine.is_some_and(|engine| {
            engine.status.state == EngineState::Online && engine.lists(entry.status.program).is_none()
        })
    }

    /// What the numbers of statuses that were published on its present connection are above.
    pub(super) fn statuses_after(&self, engine: &EngineId) -> u64 {
        let entry = self.engines.get(engine);
        entry.and_then(|entry| entry.status.statuses_after).unwrap_or(0)
    }

    fn presence(&self, status: &ProgramStatus) -> Presence {
        let Some(entry) = self.engines.get(&status.engine) else {
            return Presence::EngineOffline;
        };
        match entry.status.state {
            EngineState::Offline => Presence::EngineOffline,
            EngineState::Online if status.boot != entry.status.boot => Presence::Lost,
            EngineState::Online if status.sequence < self.statuses_after(&status.engine) => Presence::Lost,
            EngineState::Online => Presence::Known,
        }
    }
}

impl EngineEntry {
    /// What its own status says of a program.
    fn lists(&self, program: ProgramId) -> Option<&ProgramStatus> {
        let listed = self.status.programs.iter();
        // Where it is named twice, as it was taken before: the later, if it is newer.
        listed
            .filter(|status| status.program == program)
            .reduce(
                |known, status| match supersedes(status, known, Some(self.status.boot)) {
                    true => status,
                    false => known,
                },
            )
    }
}
