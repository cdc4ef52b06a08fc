//! What a plan has decided so far: at most one action per instance wherever that can be.
//!
//! An instance that is placed a second time within a plan has its earlier action replaced by one at the end,
//! unless something has come to where it would have to wait until then.

use std::collections::HashMap;

use super::{Seat, State};
use crate::plan::{Action, MoveReason};

/// Maps are only looked up; the order is that of `drafts`.
#[derive(Debug, Default)]
pub(super) struct Log {
    drafts: Vec<Option<Draft>>,
    /// The place in `drafts` of each instance's last draft.
    last: HashMap<u32, usize>,
    /// The place in `drafts` of what came to each engine last.
    arrivals: HashMap<u32, usize>,
    changes: u64,
}

#[derive(Debug, Clone, Copy)]
struct Draft {
    instance: u32,
    from: Seat,
    target: u32,
    why: MoveReason,
}

impl Log {
    /// How many decisions there were.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// `why` counts only for what runs.
    pub(super) fn placed(&mut self, instance: u32, from: Seat, target: u32, why: MoveReason) {
        self.changes += 1;
        let mut draft = Draft {
            instance,
            from,
            target,
            why,
        };
        let earlier = self.last.get(&instance).copied();
        let earlier = earlier.and_then(|at| self.drafts[at].map(|draft| (at, draft)));
        if let Some((at, earlier)) = earlier
            && self.can_wait(at, earlier.from)
        {
            self.drafts[at] = None;
            draft.from = earlier.from;
            draft.why = earlier.why;
        }
        if draft.from == Seat::On(target) {
            self.last.remove(&instance);
            return;
        }
        self.last.insert(instance, self.drafts.len());
        self.arrivals.insert(target, self.drafts.len());
        self.drafts.push(Some(draft));
    }

    fn can_wait(&self, at: usize, from: Seat) -> bool {
        match from {
            Seat::Nowhere | Seat::Lost(_) => true,
            Seat::On(source) => self.arrivals.get(&source).is_none_or(|arrival| *arrival < at),
        }
    }
}

impl State {
    pub(super) fn actions(&self, log: Log) -> Vec<Action> {
        let drafts = log.drafts.into_iter().flatten();
        drafts.map(|draft| self.action(&draft)).collect()
    }

    fn action(&self, draft: &Draft) -> Action {
        let name = |engine: u32| self.engines[engine as usize].id.clone();
        let instance = self.instance_id(draft.instance);
        let seen = self.instances[draft.instance as usize].seen;
        match draft.from {
            Seat::Nowhere => Action::Run {
                instance,
                engine: name(draft.target),
            },
            Seat::Lost(engine) => Action::Restart {
                instance,
                seen,
                lost: name(engine),
                target: name(draft.target),
            },
            Seat::On(source) => Action::Move {
                instance,
                seen,
                source: name(source),
                target: name(draft.target),
                why: draft.why,
            },
        }
    }
}
