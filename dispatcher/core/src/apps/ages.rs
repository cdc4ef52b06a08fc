//! Since when programs are there, and whose instances they are: for people who list programs. Nothing is
//! decided by it.
//!
//! What was seen of a program goes on from what a predecessor has kept of it ([`Core::recall_programs`]). One
//! that came while nobody acted has no age, unless it is an instance: the starts of those are kept.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use serde::{Deserialize, Serialize};
use wayfare_fleet::app::programs::{ProgramAbout, ProgramsPage, is_shown};
use wayfare_fleet::fleet::{FleetChanges, ProgramView};
use wayfare_protocol::ids::{EngineId, Generation, ProgramId};
use wayfare_protocol::limits::PAGE_BYTES_MAX;

use super::{Core, pages};

/// Bytes of a program's id and what is around it, as JSON.
const ENTRY_BYTES: usize = 48;

/// A program as it was seen, by the wall clock: times are in milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenProgram {
    engine: EngineId,
    generation: Generation,
    /// Since it was seen first.
    moves: u32,
    /// `None`: before anybody looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    since_ms: Option<u64>,
    /// When it ended; `None` also where that was before anybody looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ended_ms: Option<u64>,
    is_ended: bool,
}

impl SeenProgram {
    /// At another engine it has come there by a move, unless it was started there again, which raises the
    /// generation by more.
    fn now_at(mut self, view: &ProgramView) -> Self {
        let (engine, generation) = (&view.status.engine, view.status.generation);
        if *engine != self.engine && generation < self.generation.replacing() {
            self.moves = self.moves.saturating_add(1);
        }
        (self.engine, self.generation) = (engine.clone(), generation);
        self
    }
}

/// The programs that there are, and what of them is still to be kept.
#[derive(Debug, Clone, Default)]
pub(super) struct SeenPrograms {
    pub(super) all: BTreeMap<ProgramId, SeenProgram>,
    /// What a predecessor has kept, until the fleet is looked at first.
    recalled: BTreeMap<ProgramId, SeenProgram>,
    /// Since [`Core::take_seen_programs`].
    changed: BTreeSet<ProgramId>,
}

impl Core {
    /// Goes on from what was kept of programs, before anything is observed.
    pub fn recall_programs(&mut self, kept: BTreeMap<ProgramId, SeenProgram>) {
        self.seen.recalled = kept;
    }

    /// What has become of programs since this was asked last; `None`: it is gone.
    pub fn take_seen_programs(&mut self) -> Vec<(ProgramId, Option<SeenProgram>)> {
        let changed = std::mem::take(&mut self.seen.changed).into_iter();
        changed
            .map(|program| (program, self.seen.all.get(&program).cloned()))
            .collect()
    }

    /// Notes which programs are new, which have ended and which are gone.
    pub(super) fn see_programs(&mut self, changes: &FleetChanges) {
        let is_first = !std::mem::replace(&mut self.has_observed, true);
        let now_ms = (!is_first).then_some(self.now.wall_ms);
        let recalled = std::mem::take(&mut self.seen.recalled);
        for program in &changes.programs_gone {
            self.seen.all.remove(program);
            self.seen.changed.insert(*program);
        }
        for view in &changes.programs {
            let (program, is_ended) = (view.status.program, view.status.state.is_ended());
            let ended_ms = now_ms.filter(|_| is_ended);
            let before = self.seen.all.remove(&program);
            let seen = match before.clone().or_else(|| recalled.get(&program).cloned()) {
                Some(seen) if seen.is_ended == is_ended => seen.now_at(view),
                Some(seen) => SeenProgram {
                    ended_ms,
                    is_ended,
                    ..seen.now_at(view)
                },
                None => SeenProgram {
                    engine: view.status.engine.clone(),
                    generation: view.status.generation,
                    moves: 0,
                    since_ms: now_ms,
                    ended_ms,
                    is_ended,
                },
            };
            if before.as_ref() != Some(&seen) {
                self.seen.changed.insert(program);
            }
            self.seen.all.insert(program, seen);
        }
        // Those that went while nobody acted.
        self.seen.changed.extend(recalled.into_keys());
    }

    pub(super) fn programs_page(&self, from: Option<ProgramId>) -> ProgramsPage {
        let mut page = ProgramsPage::default();
        let mut room = PAGE_BYTES_MAX;
        let later = self
            .seen
            .all
            .range((from.map_or(Bound::Unbounded, Bound::Included), Bound::Unbounded));
        for (program, seen) in later {
            if room == 0 {
                page.next = Some(*program);
                break;
            }
            let about = self.about(*program, seen);
            room = room.saturating_sub(pages::bytes(&about) + ENTRY_BYTES);
            page.programs.insert(*program, about);
        }
        page
    }

    /// The first programs after that one, in the order of their ids, with what is known of them. With a time,
    /// only those that had not ended long ago by then.
    pub fn programs_after(
        &self,
        after: Option<ProgramId>,
        count: usize,
        recent_at_ms: Option<u64>,
    ) -> Vec<(ProgramView, ProgramAbout)> {
        let later = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let programs = self.programs.range(later).filter(|(program, view)| {
            recent_at_ms.is_none_or(|now_ms| self.is_recent(**program, view, now_ms))
        });
        let about = |program: ProgramId| {
            let seen = self.seen.all.get(&program);
            seen.map_or_else(ProgramAbout::default, |seen| self.about(program, seen))
        };
        let with_about = programs.map(|(program, view)| (view.clone(), about(*program)));
        with_about.take(count).collect()
    }

    /// How many programs had ended long ago by that time.
    pub fn ended_long_ago(&self, now_ms: u64) -> usize {
        let programs = self.programs.iter();
        programs
            .filter(|(program, view)| !self.is_recent(**program, view, now_ms))
            .count()
    }

    fn is_recent(&self, program: ProgramId, view: &ProgramView, now_ms: u64) -> bool {
        let ended_ms = self.seen.all.get(&program).and_then(|seen| seen.ended_ms);
        !view.status.state.is_ended() || is_shown(ended_ms, now_ms)
    }

    fn about(&self, program: ProgramId, seen: &SeenProgram) -> ProgramAbout {
        let instance = self.whose.get(program, &self.state.instances);
        let starts = instance.and_then(|(_, instance)| instance.starts);
        ProgramAbout {
            instance: instance.map(|(id, _)| id.to_string()),
            since_ms: starts.map(|starts| starts.at_ms).or(seen.since_ms),
            ended_ms: seen.ended_ms,
            restarts: starts.map(|starts| starts.again),
            moves: Some(seen.moves),
            holders: instance.and_then(|(id, _)| self.state.apps.get(&id.of.application)?.held()),
        }
    }
}
