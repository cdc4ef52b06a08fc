//! The fleet as this client sees it: every engine and program, merged from what is retained on the broker.
//!
//! Two sources speak about a program: its own retained status, and its engine's, which may list it. They
//! arrive in any order, twice, and late. What always holds: the highest (generation, then sequence) wins; an
//! engine's last will counts only for the boot that made it; what an engine said before it went away is shown
//! as what was last known, never as what is. Nothing follows from a list that does not name a program: a
//! program is lost if its status is of another boot than its engine's, which publishes all its programs
//! first.

use std::collections::BTreeMap;

use serde::Serialize;
use wayfare_protocol::ids::{BootId, Challenge, EngineId, Generation, OperationId, ProgramId};
use wayfare_protocol::status::{
    EngineAbout, EngineState, EngineStatus, MachineLoad, ProgramState, ProgramStatus, Rival,
};

use crate::app::ask::Mark;

/// An engine that has answered so lately is not asked again before it is given something to do.
const ANSWER_FRESH_MS: u64 = 5_000;
/// Living programs of an engine that does not say how many it has at most: as many as any can be told to have.
const PROGRAMS_OF_ENGINE_MAX: usize = 4096;
/// An engine shows the last hundred that ended; some may be of the time before.
const ENDED_PROGRAMS_MAX: usize = 200;
/// Of all engines together whose own statuses have not come.
const PROGRAMS_OF_UNKNOWN_MAX: usize = 20_000;

/// One engine, ready to show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EngineView {
    pub engine: EngineId,
    /// What its status says, unless it was asked and is silent.
    pub online: bool,
    pub heard: Heard,
    /// It has stopped in good order, as it said itself. Otherwise, of one that is not online, only its connection is known to
    /// have ended: it may be back in a moment.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub stopped: bool,
    /// It is about to stop, and asks under this id to be emptied.
    #[serde(skip)]
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
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load: Option<MachineLoad>,
    /// Programs that are not ended.
    pub programs: u32,
    /// Another engine with this id, which holds still.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rival: Option<Rival>,
}

/// What an engine's status is worth: it is retained, and may be that of an engine that is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProgramView {
    #[serde(flatten)]
    pub status: ProgramStatus,
    pub presence: Presence,
}

/// What the status is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
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

/// What was received, unmerged; merging happens when somebody looks.
#[derive(Debug, Clone, Default)]
pub struct Fleet {
    engines: BTreeMap<EngineId, EngineEntry>,
    programs: BTreeMap<ProgramId, ProgramEntry>,
    /// How many of these are whose.
    counts: BTreeMap<EngineId, usize>,
    /// That some were not taken was said.
    is_excess_said: bool,
    round: Round,
    /// All that was retained when this round began has come.
    is_round_complete: bool,
}

/// Counts connections: each brings everything retained again, so what one does not bring was cleared meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
struct Round(u64);

#[derive(Debug, Clone)]
struct ProgramEntry {
    status: ProgramStatus,
    /// The same generation on another boot: an engine publishes its programs before it says which boot it is on, so
    /// which of the two counts may be known only later.
    other: Option<ProgramStatus>,
    heard: Round,
}

impl ProgramEntry {
    /// Keeps what is not the best for now.
    fn put_aside(&mut self, status: ProgramStatus) {
        let same =
            |other: &&ProgramStatus| other.boot == status.boot && other.generation == status.generation;
        let is_newer = self
            .other
            .as_ref()
            .filter(same)
            .is_none_or(|other| other.sequence < status.sequence);
        if status.generation == self.status.generation && status.boot != self.status.boot && is_newer {
            self.other = Some(status);
        }
    }
}

#[derive(Debug, Clone)]
struct EngineEntry {
    status: EngineStatus,
    heard: Round,
    /// Messages of its own, not of its will.
    messages: u64,
    /// Highest sequence of this boot that said `Online`.
    online_sequence: u64,
    /// Outlives the will, which has none.
    about: Option<EngineAbout>,
    /// When this client saw it go, by the clock that was passed in.
    offline_since_ms: Option<u64>,
    /// When it spoke last, not counting what is retained.
    live: Option<(Round, u64)>,
}

impl Fleet {
    /// A new connection: everything retained is about to come again.
    pub fn begin_round(&mut self) {
        self.round.0 += 1;
        self.is_round_complete = false;
    }

    /// Everything retained has come; answers whether that changes anything.
    pub fn complete_round(&mut self) -> bool {
        let was_complete = std::mem::replace(&mut self.is_round_complete, true);
        !was_complete && self.programs.values().any(|entry| self.was_cleared(entry))
    }

    /// Takes in a retained or fresh engine status; answers whether anything changed.
    pub fn engine_status(&mut self, mut status: EngineStatus, now_ms: u64) -> bool {
        let Some(entry) = self.engines.get_mut(&status.engine) else {
            let entry = EngineEntry {
                online_sequence: status.sequence,
                about: status.about.clone(),
                offline_since_ms: None,
                heard: self.round,
                live: None,
                messages: u64::from(status.state == EngineState::Online),
                status,
            };
            self.engines.insert(entry.status.engine.clone(), entry);
            return true;
        };
        entry.heard = self.round;
        let same_boot = entry.status.boot == status.boot;
        let was_online = entry.status.state == EngineState::Online;
        match status.state {
            // The will of an earlier process, delivered after its successor came up.
            EngineState::Offline if !same_boot && was_online => return false,
            EngineState::Offline => {
                if was_online {
                    entry.offline_since_ms = Some(now_ms);
                }
                // Its connection may break after its last message, but that stays true.
                status.stopped |= same_boot && entry.status.stopped;
            }
            EngineState::Online => {
                if same_boot && was_online && status.sequence <= entry.online_sequence {
                    return false;
                }
                entry.online_sequence = status.sequence;
                entry.messages += 1;
                entry.offline_since_ms = None;
            }
        }
        if status.about.is_some() {
            entry.about.clone_from(&status.about);
        }
        let last_known = std::mem::replace(&mut entry.status, status);
        // A will lists nothing: what the engine had then is still what is known.
        if entry.status.state == EngineState::Offline && entry.status.programs.is_empty() {
            entry.status.programs = last_known.programs;
        }
        true
    }

    /// Notes that an engine has answered or published something by itself: it is there. Answers whether that
    /// is news.
    pub fn engine_spoke(&mut self, engine: &EngineId, now_ms: u64) -> bool {
        let (round, is_fresh) = (self.round, self.is_fresh(engine, now_ms));
        if let Some(entry) = self.engines.get_mut(engine) {
            entry.live = Some((round, now_ms));
        }
        !is_fresh
    }

    /// On this connection, a moment ago.
    fn is_fresh(&self, engine: &EngineId, now_ms: u64) -> bool {
        let live = self.engines.get(engine).and_then(|entry| entry.live);
        live.is_some_and(|(round, at_ms)| round == self.round && now_ms < at_ms + ANSWER_FRESH_MS)
    }

    /// All that was retained when this connection began has come: what comes now is fresh.
    pub fn is_round_complete(&self) -> bool {
        self.is_round_complete
    }

    /// An engine whose retained status was cleared: somebody removed it for good.
    pub fn engine_cleared(&mut self, engine: &EngineId) -> bool {
        self.engines.remove(engine).is_some()
    }

    /// An engine has answered something: whatever its status says, it was there.
    pub fn engine_answered(&mut self, engine: &EngineId) {
        if let Some(entry) = self.engines.get_mut(engine) {
            entry.messages += 1;
        }
    }

    pub fn program_status(&mut self, status: ProgramStatus) -> bool {
        let boot = self.present_boot(&status.engine);
        let heard = self.round;
        if !self.programs.contains_key(&status.program) && !self.takes_more_of(&status.engine) {
            return self.leave_out(&status.engine);
        }
        match self.programs.get_mut(&status.program) {
            Some(known) if !supersedes(&status, &known.status, boot) => {
                let is_repeat = status == known.status;
                let was_in_question = is_repeat && known.heard < heard;
                known.heard = if is_repeat { heard } else { known.heard };
                known.put_aside(status);
                was_in_question
            }
            Some(known) => {
                known.heard = heard;
                let before = std::mem::replace(&mut known.status, status);
                if before.engine != known.status.engine {
                    let engine = known.status.engine.clone();
                    self.count_out(&before.engine);
                    self.count_in(engine);
                }
                if let Some(known) = self.programs.get_mut(&before.program) {
                    known.put_aside(before);
                }
                true
            }
            None => {
                let other = None;
                self.count_in(status.engine.clone());
                self.programs
                    .insert(status.program, ProgramEntry { status, other, heard });
                true
            }
        }
    }

    fn count_in(&mut self, engine: EngineId) {
        *self.counts.entry(engine).or_default() += 1;
    }

    fn count_out(&mut self, engine: &EngineId) {
        if let Some(count) = self.counts.get_mut(engine) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.counts.remove(engine);
            }
        }
    }

    /// An engine has no more programs than it is told to have at most, and the last that ended. Whoever retains more statuses in its name
    /// shall not fill our memory.
    fn takes_more_of(&self, engine: &EngineId) -> bool {
        let Some(entry) = self.engines.get(engine) else {
            if self.programs.len() < PROGRAMS_OF_UNKNOWN_MAX {
                return true;
            }
            let unknown = self
                .counts
                .iter()
                .filter(|(id, _)| !self.engines.contains_key(*id));
            return unknown.map(|(_, count)| count).sum::<usize>() < PROGRAMS_OF_UNKNOWN_MAX;
        };
        let living = entry.about.as_ref().map(|about| about.programs_max as usize);
        let count = self.counts.get(engine).copied().unwrap_or(0);
        count < living.unwrap_or(PROGRAMS_OF_ENGINE_MAX) + ENDED_PROGRAMS_MAX
    }

    fn leave_out(&mut self, engine: &EngineId) -> bool {
        if !std::mem::replace(&mut self.is_excess_said, true) {
            tracing::warn!(
                "more statuses of programs are retained for engine {engine} than it can have programs: the others are left out; whoever \
                 has its login, or the broker's hands, may have put them there"
            );
        }
        false
    }

    /// An answer says that a program has moved: true from now on, whenever the statuses that say so arrive.
    pub fn program_moved(&mut self, program: ProgramId, generation: Generation, target: &EngineId) -> bool {
        let Some(known) = self
            .program(program)
            .filter(|known| known.status.generation < generation)
        else {
            return false;
        };
        let mut status = known.status;
        status.boot = self.present_boot(target).unwrap_or(status.boot);
        status.engine = target.clone();
        status.generation = generation;
        status.sequence = 0;
        if !matches!(status.state, ProgramState::Paused) {
            status.state = ProgramState::Running;
        }
        let (heard, other) = (self.round, None);
        self.count_in(status.engine.clone());
        let before = self
            .programs
            .insert(program, ProgramEntry { status, other, heard });
        if let Some(before) = before {
            self.count_out(&before.status.engine);
        }
        true
    }

    /// A program whose retained status was cleared is gone; listings that still name it are older.
    pub fn program_cleared(&mut self, program: ProgramId) -> bool {
        let removed = self.programs.remove(&program);
        let mut changed = removed.is_some();
        if let Some(entry) = removed {
            self.count_out(&entry.status.engine);
        }
        for entry in self.engines.values_mut() {
            let before = entry.status.programs.len();
            entry.status.programs.retain(|listed| listed.program != program);
            changed |= entry.status.programs.len() != before;
        }
        changed
    }

    /// Engines whose last status says that they are there.
    pub fn online(&self) -> impl Iterator<Item = &EngineId> {
        let online = |entry: &EngineEntry| entry.status.state == EngineState::Online;
        let engines = self.engines.iter().filter(move |(_, entry)| online(entry));
        engines.map(|(engine, _)| engine)
    }

    pub fn engines(&self, now_ms: u64) -> Vec<EngineView> {
        let mut live: BTreeMap<EngineId, u32> = BTreeMap::new();
        for program in self.programs() {
            if !program.status.state.is_ended() {
                *live.entry(program.status.engine).or_default() += 1;
            }
        }
        let view = |(engine, entry): (&EngineId, &EngineEntry)| EngineView {
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
            about: entry.about.clone(),
            load: entry.status.load,
            programs: entry
                .status
                .live_programs
                .unwrap_or_else(|| live.get(engine).copied().unwrap_or(0)),
        };
        self.engines.iter().map(view).collect()
    }

    pub fn programs(&self) -> Vec<ProgramView> {
        let mut best: BTreeMap<ProgramId, &ProgramStatus> = BTreeMap::new();
        let listed = self.engines.values().flat_map(|entry| &entry.status.programs);
        let own = self.programs.values().filter(|entry| !self.was_cleared(entry));
        let own = own.flat_map(|entry| [Some(&entry.status), entry.other.as_ref()]);
        for status in own.flatten().chain(listed) {
            let boot = self.present_boot(&status.engine);
            match best.get(&status.program) {
                Some(known) if !supersedes(status, known, boot) => {}
                _ => {
                    best.insert(status.program, status);
                }
            }
        }
        // What stands for a program that is no more is none; it only hides what is older.
        let alive = best.into_values().filter(|status| !status.is_tombstone());
        alive
            .map(|status| ProgramView {
                presence: self.presence(status),
                status: status.clone(),
            })
            .collect()
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

    pub fn program(&self, program: ProgramId) -> Option<ProgramView> {
        self.programs()
            .into_iter()
            .find(|view| view.status.program == program)
    }

    /// Cleared while this client was not connected: all that is retained has come, and so has its engine's
    /// status, but not its own; nor does its engine list it.
    fn was_cleared(&self, entry: &ProgramEntry) -> bool {
        if !self.is_round_complete || entry.heard == self.round {
            return false;
        }
        let engine = self.engines.get(&entry.status.engine);
        let engine = engine.filter(|engine| engine.heard == self.round);
        let lists = |engine: &EngineEntry| {
            engine
                .status
                .programs
                .iter()
                .any(|p| p.program == entry.status.program)
        };
        engine.is_some_and(|engine| engine.status.state == EngineState::Online && !lists(engine))
    }

    fn presence(&self, status: &ProgramStatus) -> Presence {
        let Some(entry) = self.engines.get(&status.engine) else {
            return Presence::EngineOffline;
        };
        match entry.status.state {
            EngineState::Offline => Presence::EngineOffline,
            EngineState::Online if status.boot == entry.status.boot => Presence::Known,
            EngineState::Online => Presence::Lost,
        }
    }
}

/// Whether `new` replaces `known`; `boot` is the one that the engine of `new` is on now, if known.
fn supersedes(new: &ProgramStatus, known: &ProgramStatus, boot: Option<BootId>) -> bool {
    if new.generation != known.generation {
        return new.generation > known.generation;
    }
    if new.boot == known.boot {
        return new.sequence > known.sequence;
    }
    // The engine restarted and counts anew: its present boot wins; while that is unknown, the later word.
    boot.is_none_or(|boot| new.boot == boot || known.boot != boot)
}

/// The state word of a program that is somewhere, or an error's words: for messages.
pub fn describe(state: &ProgramState) -> String {
    match state {
        ProgramState::Exited { code } => format!("exited with code {code}"),
        ProgramState::Failed { reason } => format!("failed: {reason}"),
        ProgramState::Moving { target } => format!("moving to {target}"),
        ProgramState::InDoubt { target } => {
            format!("in doubt: handed over to {target}, which has not answered")
        }
        other => other.word().to_owned(),
    }
}

#[cfg(test)]
#[path = "fleet_tests.rs"]
mod tests;
