//! Which engines and programs have changed since somebody looked, so that looking again costs what has
//! changed.
//!
//! What always holds: whoever takes in each answer, in order, from the first on, has what a whole look shows,
//! but for what only time changes: for how long an engine has been offline, and whether it has spoken a
//! moment ago.

use std::collections::BTreeMap;

use wayfare_protocol::ids::{EngineId, ProgramId};

use super::{EngineView, ProgramView};

/// Keys of what is gone that are remembered, beside as many as there are of others: then all is looked at
/// anew.
const GONE_MAX: usize = 1_024;

/// What differs from an earlier look.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FleetChanges {
    /// To be named in the next look.
    pub revision: u64,
    /// These are all that there are: whatever is not among them is gone.
    pub is_whole: bool,
    pub engines: Vec<EngineView>,
    pub programs: Vec<ProgramView>,
    pub engines_gone: Vec<EngineId>,
    pub programs_gone: Vec<ProgramId>,
    /// Programs that are gone, of which the engine where they ended has left a tombstone.
    pub tombstones: Vec<ProgramId>,
    /// Programs of which a tombstone stands at the broker, a dispatcher's or an engine's.
    pub standing: Vec<ProgramId>,
}

/// When what changed last, by a number that grows.
#[derive(Debug, Clone)]
pub(super) struct Changes {
    revision: u64,
    /// What changed up to here is not told apart.
    whole_until: u64,
    engines: Latest<EngineId>,
    programs: Latest<ProgramId>,
}

/// Keys in the order in which they changed last.
#[derive(Debug, Clone)]
struct Latest<K> {
    revisions: BTreeMap<K, u64>,
    keys: BTreeMap<u64, K>,
}

impl<K> Default for Latest<K> {
    fn default() -> Self {
        Self {
            revisions: BTreeMap::new(),
            keys: BTreeMap::new(),
        }
    }
}

impl<K: Ord + Clone> Latest<K> {
    fn put(&mut self, key: &K, revision: u64) {
        if let Some(before) = self.revisions.insert(key.clone(), revision) {
            self.keys.remove(&before);
        }
        self.keys.insert(revision, key.clone());
    }

    fn after(&self, revision: u64) -> impl Iterator<Item = &K> {
        self.keys.range(revision.saturating_add(1)..).map(|(_, key)| key)
    }
}

impl Default for Changes {
    /// Before anything was seen, which differs from before anybody looked.
    fn default() -> Self {
        Self {
            revision: 1,
            whole_until: 1,
            engines: Latest::default(),
            programs: Latest::default(),
        }
    }
}

impl Changes {
    pub(super) fn engine(&mut self, engine: &EngineId) {
        self.revision += 1;
        self.engines.put(engine, self.revision);
    }

    pub(super) fn program(&mut self, program: ProgramId) {
        self.revision += 1;
        self.programs.put(&program, self.revision);
    }

    /// Anything may have changed.
    pub(super) fn everything(&mut self) {
        let revision = self.revision + 1;
        *self = Self {
            revision,
            whole_until: revision,
            ..Self::default()
        };
    }

    /// Forgets what is gone where that is more than what is there.
    pub(super) fn bound(&mut self, engines: usize, programs: usize) {
        let over = |known: usize, there: usize| known > 2 * there + GONE_MAX;
        if over(self.engines.keys.len(), engines) || over(self.programs.keys.len(), programs) {
            self.everything();
        }
    }

    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    /// What has changed since that look is not told apart. The first is at 0.
    pub(super) fn is_whole(&self, since: u64) -> bool {
        since < self.whole_until || since > self.revision
    }

    pub(super) fn engines(&self, since: u64) -> impl Iterator<Item = &EngineId> {
        self.engines.after(since)
    }

    pub(super) fn programs(&self, since: u64) -> impl Iterator<Item = &ProgramId> {
        self.programs.after(since)
    }
}
