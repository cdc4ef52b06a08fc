//! The fleet as this client sees it: every engine and program, merged from what is retained on the broker.
//!
//! Two sources speak about a program: its own retained status, and its engine's, which may list it. They
//! arrive in any order, twice, and late. What always holds: the highest (generation, then sequence) wins; an
//! engine's last will counts only for the boot that made it; what an engine said before it went away is shown
//! as what was last known, never as what is. Nothing follows from a list that does not name a program: a
//! program is lost if its status is of another boot than its engine's, which publishes all its programs
//! first.
//!
//! Reading order: this file takes in, `views` merges and shows, `changes` knows what has changed since
//! somebody looked.

mod changes;
mod views;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use wayfare_protocol::code::PublicKey;
use wayfare_protocol::health::Health;
use wayfare_protocol::ids::{BootId, EngineId, Generation, ProgramId};
use wayfare_protocol::labels::Labels;
use wayfare_protocol::status::{
    EngineAbout, EngineState, EngineStatus, ProgramState, ProgramStatus, TOMBSTONE,
};
use wayfare_protocol::topics::Topics;
use wayfare_protocol::trust::place::Holding;

use changes::Changes;
pub use changes::FleetChanges;
pub use views::{EngineView, Heard, Presence, ProgramView};

/// An engine that has answered so lately is not asked again before it is given something to do.
const ANSWER_FRESH_MS: u64 = 5_000;
/// Engines that are known. More are left out, whoever says that they are there.
const ENGINES_MAX: usize = 20_000;
/// Living programs of an engine, whatever it says that it has at most: as many as any can be told to have.
const PROGRAMS_OF_ENGINE_MAX: usize = 4096;
/// An engine shows the last hundred that ended; some may be of the time before.
const ENDED_PROGRAMS_MAX: usize = 200;
/// Of all engines together whose own statuses have not come.
const PROGRAMS_OF_UNKNOWN_MAX: usize = 20_000;

/// Statuses that were cleared and are remembered.
const CLEARED_MAX: usize = 256;

/// What was received, unmerged; merging happens when somebody looks.
#[derive(Debug, Clone, Default)]
pub struct Fleet {
    engines: BTreeMap<EngineId, EngineEntry>,
    programs: BTreeMap<ProgramId, ProgramEntry>,
    /// How many of these are whose.
    counts: BTreeMap<EngineId, usize>,
    /// Programs of which a status names the engine,
    named: BTreeMap<EngineId, BTreeSet<ProgramId>>,
    /// and engines whose own statuses list the program.
    listed: BTreeMap<ProgramId, BTreeSet<EngineId>>,
    changes: Changes,
    /// That some programs, or engines, were not taken was said.
    is_excess_said: bool,
    are_engines_said: bool,
    /// What counts of engines and programs, whatever anybody says; `None`: what is said.
    vouched: Option<Arc<Vouched>>,
    /// Where programs were ordered to be whose statuses somebody has cleared, the latest last: who clears one
    /// does not have a claim believed by that.
    cleared: VecDeque<ProgramStatus>,
    /// That a status is not believed was said.
    is_doubt_said: bool,
    round: Round,
    /// All that was retained when this round began has come.
    is_round_complete: bool,
}

/// What members of the fleet's roster vouch for. Statuses of programs count only as far as these engines have
/// signed them, and one that a member has ordered to be where it is counts more than one of another engine
/// that nobody has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vouched {
    pub engines: BTreeMap<EngineId, EngineSaid>,
    /// Who may order programs to engines.
    pub orderers: Vec<PublicKey>,
    pub topics: Topics,
}

/// What a member says of an engine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EngineSaid {
    pub labels: Labels,
    /// The machine that it runs on; `None`: whatever it says.
    pub host: Option<String>,
    /// What it signs with.
    pub key: Option<PublicKey>,
}

impl Vouched {
    fn have_ordered(&self, status: &ProgramStatus) -> bool {
        is_ordered(status, &self.topics, |key| self.orderers.contains(key))
    }
}

/// Whether somebody who may has ordered the program to be where its status says.
pub fn is_ordered(status: &ProgramStatus, topics: &Topics, may: impl FnOnce(&PublicKey) -> bool) -> bool {
    let Some(place) = status.place.as_deref() else {
        return false;
    };
    let holding = Holding {
        program: status.program,
        generation: status.generation,
        engine: status.engine.clone(),
    };
    may(&place.0.key) && place.is_good(topics, &holding)
}

/// Counts connections: each brings everything retained again, so what one does not bring was cleared
/// meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
struct Round(u64);

#[derive(Debug, Clone)]
struct ProgramEntry {
    status: ProgramStatus,
    /// The same generation on another boot: an engine publishes its programs before it says which boot it is
    /// on, so which of the two counts may be known only later.
    other: Option<ProgramStatus>,
    heard: Round,
    /// Something that does not replace the status was published after it, and is what the broker retains.
    is_overwritten: bool,
    /// Whose key has signed the status, if that was looked at.
    signed_by: Option<PublicKey>,
}

impl ProgramEntry {
    /// Those that its statuses name.
    fn engines(&self) -> impl Iterator<Item = &EngineId> {
        let other = self.other.as_ref().map(|other| &other.engine);
        std::iter::once(&self.status.engine).chain(other)
    }

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
    /// The same.
    identity: Option<PublicKey>,
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
        self.changes.everything();
    }

    /// Everything retained has come; answers whether that changes anything.
    pub fn complete_round(&mut self) -> bool {
        let was_complete = std::mem::replace(&mut self.is_round_complete, true);
        let changes = !was_complete && self.programs.values().any(|entry| self.was_cleared(entry));
        if changes {
            self.changes.everything();
        }
        changes
    }

    /// From now on engines have the labels that are said here, and those of which nothing is said have none;
    /// and statuses count as [`Vouched`] says, for which whoever calls [`Fleet::signed_status`] looks at
    /// signatures. `None`: all that is said counts.
    pub fn believe(&mut self, vouched: Option<Arc<Vouched>>) {
        if self.vouched == vouched {
            return;
        }
        self.vouched = vouched;
        let entries = self.programs.values();
        let doubted = entries.filter(|entry| !self.counts(&entry.status, entry.signed_by));
        let doubted: Vec<ProgramId> = doubted.map(|entry| entry.status.program).collect();
        for program in doubted {
            if let Some(entry) = self.programs.remove(&program) {
                self.doubt(&entry.status);
                self.unlink(&entry);
            }
        }
        self.changes.everything();
    }

    /// Whether a program's status, signed with that key, is its engine's word. The key is the one of the
    /// engine's card, or the one that the engine shows where it has none. One of an engine that signs none
    /// is, as far as anybody can tell, and so is a tombstone that a dispatcher has ordered, which is no
    /// engine.
    fn counts(&self, status: &ProgramStatus, signed_by: Option<PublicKey>) -> bool {
        let Some(vouched) = &self.vouched else {
            return true;
        };
        if status.generation == TOMBSTONE {
            return vouched.have_ordered(status);
        }
        let entry = self.engines.get(&status.engine);
        let about = entry.and_then(|entry| entry.about.as_ref());
        let of_card = vouched.engines.get(&status.engine).and_then(|said| said.key);
        let key = of_card.or_else(|| entry.and_then(|entry| entry.identity));
        let is_of_earlier_release = about.is_some_and(|about| !about.signs_statuses);
        is_of_earlier_release || (key.is_some() && signed_by == key)
    }

    /// Whether another engine than the one where it was ordered to be claims a program whose status somebody
    /// has cleared.
    fn claims_cleared(&self, status: &ProgramStatus) -> bool {
        let Some(vouched) = &self.vouched else {
            return false;
        };
        let last = self.cleared.iter().find(|last| last.program == status.program);
        last.is_some_and(|last| last.engine != status.engine && !vouched.have_ordered(status))
    }

    fn note_cleared(&mut self, status: &ProgramStatus) {
        let is_ordered = |vouched: &Arc<Vouched>| vouched.have_ordered(status);
        if self.vouched.as_ref().is_some_and(is_ordered) {
            if self.cleared.len() == CLEARED_MAX {
                self.cleared.pop_front();
            }
            self.cleared.push_back(status.clone());
        }
    }

    fn doubt(&mut self, status: &ProgramStatus) {
        if !std::mem::replace(&mut self.is_doubt_said, true) {
            let (program, engine) = (status.program.short(), &status.engine);
            tracing::warn!(
                "a status of program {program} that names engine {engine} is not signed with the key of that engine's card: it and others \
                 are left out; whoever has a login, or the broker's hands, may have put them there"
            );
        }
    }

    /// Whether `new` replaces `known`; `boot` is the one that the engine of `new` is on now, if known.
    fn replaces(&self, new: &ProgramStatus, known: &ProgramStatus, boot: Option<BootId>) -> bool {
        if let Some(vouched) = &self.vouched
            && new.engine != known.engine
        {
            let (is_ordered, was_ordered) = (vouched.have_ordered(new), vouched.have_ordered(known));
            if is_ordered != was_ordered {
                return is_ordered;
            }
        }
        supersedes(new, known, boot)
    }

    /// Takes in a retained or fresh engine status; answers whether anything changed.
    pub fn engine_status(&mut self, mut status: EngineStatus, now_ms: u64) -> bool {
        status.programs.retain(ProgramStatus::is_possible);
        let engine = status.engine.clone();
        if !self.engines.contains_key(&engine) && self.engines.len() >= ENGINES_MAX {
            if !std::mem::replace(&mut self.are_engines_said, true) {
                tracing::warn!(
                    "there are statuses of more than {ENGINES_MAX} engines: {engine} and others are left out"
                );
            }
            return false;
        }
        let Some(entry) = self.engines.get_mut(&engine) else {
            let entry = EngineEntry {
                online_sequence: status.sequence,
                about: status.about.clone(),
                identity: status.identity,
                offline_since_ms: None,
                heard: self.round,
                live: None,
                messages: u64::from(status.state == EngineState::Online),
                status,
            };
            self.engines.insert(engine.clone(), entry);
            self.lists(&engine, &[]);
            self.engine_changed(&engine, true);
            return true;
        };
        let is_heard_anew = std::mem::replace(&mut entry.heard, self.round) != self.round;
        let same_boot = entry.status.boot == status.boot;
        let was_online = entry.status.state == EngineState::Online;
        let is_older = match status.state {
            // The will of an earlier process, delivered after its successor came up.
            EngineState::Offline => !same_boot && was_online,
            EngineState::Online => same_boot && was_online && status.sequence <= entry.online_sequence,
        };
        if is_older {
            if is_heard_anew {
                self.engine_changed(&engine, true);
            }
            return false;
        }
        match status.state {
            EngineState::Offline => {
                if was_online {
                    entry.offline_since_ms = Some(now_ms);
                }
                // Its connection may break after its last message, but that stays true.
                status.stopped |= same_boot && entry.status.stopped;
            }
            EngineState::Online => {
                entry.online_sequence = status.sequence;
                entry.messages += 1;
                entry.offline_since_ms = None;
            }
        }
        if status.about.is_some() {
            entry.about.clone_from(&status.about);
        }
        if status.identity.is_some() {
            entry.identity = status.identity;
        }
        let is_online = status.state == EngineState::Online;
        let same_connection = entry.status.statuses_after == status.statuses_after;
        let last_known = std::mem::replace(&mut entry.status, status);
        // A will lists nothing: what the engine had then is still what is known.
        let mut listed_before = last_known.programs;
        if !is_online && entry.status.programs.is_empty() {
            entry.status.programs = std::mem::take(&mut listed_before);
        } else {
            self.lists(&engine, &listed_before);
        }
        let is_its_programs_news = is_heard_anew || !same_boot || !same_connection || was_online != is_online;
        self.engine_changed(&engine, is_its_programs_news);
        true
    }

    /// Takes in what an engine's status lists, where that differs from what it listed before.
    fn lists(&mut self, engine: &EngineId, before: &[ProgramStatus]) {
        let Some(entry) = self.engines.get(engine) else {
            return;
        };
        let now = &entry.status.programs;
        if now == before {
            return;
        }
        let now: Vec<ProgramId> = now.iter().map(|status| status.program).collect();
        for status in before {
            self.unlist(status.program, engine);
            self.program_changed(status.program);
        }
        for program in now {
            self.listed.entry(program).or_default().insert(engine.clone());
            self.program_changed(program);
        }
    }

    fn unlist(&mut self, program: ProgramId, engine: &EngineId) {
        if let Some(engines) = self.listed.get_mut(&program) {
            engines.remove(engine);
            if engines.is_empty() {
                self.listed.remove(&program);
            }
        }
    }

    /// Whoever looks again is shown the engine, and its programs if what is known of them depends on it.
    fn engine_changed(&mut self, engine: &EngineId, with_programs: bool) {
        self.changes.engine(engine);
        if !with_programs {
            return;
        }
        let named = self.named.get(engine).into_iter().flatten().copied();
        let listed = self.engines.get(engine).map(|entry| &entry.status.programs);
        let listed = listed.into_iter().flatten().map(|status| status.program);
        let programs: BTreeSet<ProgramId> = named.chain(listed).collect();
        for program in programs {
            self.program_changed(program);
        }
    }

    fn program_changed(&mut self, program: ProgramId) {
        self.changes.program(program);
        let own = self.programs.get(&program);
        let own = own.into_iter().flat_map(ProgramEntry::engines);
        let listing = self.listed.get(&program).into_iter().flatten();
        let engines: Vec<EngineId> = own.chain(listing).cloned().collect();
        for engine in engines {
            self.count_changed(&engine);
        }
    }

    /// Notes that an engine has answered or published something by itself: it is there. Answers whether that
    /// is news.
    pub fn engine_spoke(&mut self, engine: &EngineId, now_ms: u64) -> bool {
        let (round, is_fresh) = (self.round, self.is_fresh(engine, now_ms));
        if let Some(entry) = self.engines.get_mut(engine) {
            entry.live = Some((round, now_ms));
        }
        if !is_fresh {
            self.changes.engine(engine);
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
        let Some(entry) = self.engines.remove(engine) else {
            return false;
        };
        for status in entry.status.programs {
            self.unlist(status.program, engine);
            self.program_changed(status.program);
        }
        self.engine_changed(engine, true);
        self.changes.bound(self.engines.len(), self.programs.len());
        true
    }

    /// An engine has answered something: whatever its status says, it was there.
    pub fn engine_answered(&mut self, engine: &EngineId) {
        if let Some(entry) = self.engines.get_mut(engine) {
            entry.messages += 1;
            self.changes.engine(engine);
        }
    }

    /// Takes in a status at whose signature nobody has looked; answers whether anything changed.
    pub fn program_status(&mut self, status: ProgramStatus) -> bool {
        self.signed_status(status, None)
    }

    /// The same of one that was signed with that key.
    pub fn signed_status(&mut self, status: ProgramStatus, signed_by: Option<PublicKey>) -> bool {
        if !status.is_possible() {
            return false;
        }
        if !self.counts(&status, signed_by) || self.claims_cleared(&status) {
            self.doubt(&status);
            return false;
        }
        let (program, heard) = (status.program, self.round);
        self.cleared.retain(|last| last.program != program);
        let boot = self.present_boot(&status.engine);
        let Some(mut known) = self.programs.remove(&program) else {
            if !self.takes_more_of(&status.engine) {
                return self.leave_out(&status.engine);
            }
            let other = None;
            self.put(ProgramEntry {
                status,
                other,
                heard,
                is_overwritten: false,
                signed_by,
            });
            return true;
        };
        self.unlink(&known);
        let is_repeat = status == known.status;
        let (is_news, may_show) = if self.replaces(&status, &known.status, boot) {
            (known.heard, known.signed_by) = (heard, signed_by);
            let before = std::mem::replace(&mut known.status, status);
            known.put_aside(before);
            known.is_overwritten = false;
            (true, true)
        } else if is_repeat {
            let was_in_question = known.heard < heard || known.is_overwritten;
            (known.heard, known.is_overwritten) = (heard, false);
            (was_in_question, was_in_question)
        } else {
            // It counts if its engine turns out to be on that boot.
            known.put_aside(status);
            known.is_overwritten = true;
            (false, true)
        };
        self.link(&known);
        self.programs.insert(program, known);
        if may_show {
            self.program_changed(program);
        }
        is_news
    }

    /// Puts a program's entry in the place of the one of before.
    fn put(&mut self, entry: ProgramEntry) {
        let program = entry.status.program;
        if let Some(before) = self.programs.remove(&program) {
            self.unlink(&before);
            self.program_changed(program);
        }
        self.link(&entry);
        self.programs.insert(program, entry);
        self.program_changed(program);
    }

    fn link(&mut self, entry: &ProgramEntry) {
        *self.counts.entry(entry.status.engine.clone()).or_default() += 1;
        for engine in entry.engines() {
            let named = self.named.entry(engine.clone()).or_default();
            named.insert(entry.status.program);
            self.count_changed(engine);
        }
    }

    fn unlink(&mut self, entry: &ProgramEntry) {
        if let Some(count) = self.counts.get_mut(&entry.status.engine) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.counts.remove(&entry.status.engine);
            }
        }
        for engine in entry.engines() {
            if let Some(named) = self.named.get_mut(engine) {
                named.remove(&entry.status.program);
                if named.is_empty() {
                    self.named.remove(engine);
                }
            }
            self.count_changed(engine);
        }
    }

    /// An engine that does not say how many programs it has is shown with those that are known.
    fn count_changed(&mut self, engine: &EngineId) {
        let entry = self.engines.get(engine);
        if entry.is_some_and(|entry| entry.status.live_programs.is_none()) {
            self.changes.engine(engine);
        }
    }

    /// An engine has no more programs than it is told to have at most, and the last that ended. Whoever
    /// retains more statuses in its name shall not fill our memory.
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
        // Its own word counts up to what any engine can have.
        let said = entry.about.as_ref().map(|about| about.programs_max as usize);
        let living = said.unwrap_or(PROGRAMS_OF_ENGINE_MAX).min(PROGRAMS_OF_ENGINE_MAX);
        let count = self.counts.get(engine).copied().unwrap_or(0);
        count < living + ENDED_PROGRAMS_MAX
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
        // Whatever the engine says of it itself has a higher number.
        status.sequence = self.statuses_after(target);
        if !matches!(status.state, ProgramState::Paused) {
            status.state = ProgramState::Running;
        }
        let said = self
            .vouched
            .as_ref()
            .and_then(|vouched| vouched.engines.get(target));
        let entry = ProgramEntry {
            status,
            other: None,
            heard: self.round,
            is_overwritten: false,
            // Who was asked to move it is believed.
            signed_by: said.and_then(|said| said.key),
        };
        self.put(entry);
        true
    }

    /// A program whose retained status was cleared is gone; listings that still name it are older.
    pub fn program_cleared(&mut self, program: ProgramId) -> bool {
        let removed = self.programs.remove(&program);
        let listing = self.listed.remove(&program).unwrap_or_default();
        let changed = removed.is_some() || !listing.is_empty();
        if let Some(entry) = removed {
            self.note_cleared(&entry.status);
            self.unlink(&entry);
        }
        for engine in &listing {
            if let Some(entry) = self.engines.get_mut(engine) {
                entry.status.programs.retain(|listed| listed.program != program);
                self.changes.engine(engine);
            }
        }
        if changed {
            self.changes.program(program);
            self.changes.bound(self.engines.len(), self.programs.len());
        }
        changed
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

/// The same with what the program says of itself.
pub fn describe_program(status: &ProgramStatus) -> String {
    let state = describe(&status.state);
    if status.state.is_ended() {
        return state;
    }
    state + &describe_report(status.health, status.hold.as_deref())
}

/// What a program says of itself, to stand behind its state.
pub fn describe_report(health: Option<Health>, hold: Option<&str>) -> String {
    let health = health.map_or_else(String::new, |health| format!(", {}", health.word()));
    let hold = hold.map_or_else(String::new, |reason| format!(", holds: {reason}"));
    health + &hold
}

#[cfg(test)]
#[path = "fleet_tests.rs"]
mod tests;
