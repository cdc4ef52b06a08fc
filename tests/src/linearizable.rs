//! Whether what clients saw of one value can have happened in some order: each operation at one moment
//! between its beginning and its end.
//!
//! The search is that of J. M. Wing and C. Gong ("Testing and Verifying Concurrent Objects", 1993) with the
//! memory of G. Lowe ("Testing for Linearizability", 2016). A history of several values is linearizable if
//! that of each is, so one is looked at alone. An operation without an answer may have been done at any
//! moment after its beginning, or not at all.

use std::collections::BTreeSet;

/// What a client asks for. Each value is written once in a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    Get,
    Set { value: u64 },
    CompareAndSet { expected: u64, value: u64 },
    Remove,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answered {
    Absent,
    Value { version: u64, value: u64 },
    Set { version: u64 },
    Conflict { version: u64 },
    Removed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation {
    pub asked: Asked,
    /// By a clock that all clients share, and that never shows the same twice.
    pub began: u64,
    /// `None`: no answer came.
    pub ended: Option<(u64, Answered)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
struct State {
    /// With its version, if an answer has told that.
    there: Option<(Option<u64>, u64)>,
    /// The highest version that there was, as far as answers have told it: later ones are higher.
    highest: u64,
}

impl State {
    fn set(self, version: Option<u64>, value: u64) -> Option<Self> {
        version
            .is_none_or(|version| version > self.highest)
            .then(|| Self {
                there: Some((version, value)),
                highest: self.highest.max(version.unwrap_or(0)),
            })
    }

    /// Whether the value may have this version; 0: none is there.
    fn may_have(self, version: u64) -> bool {
        match self.there {
            None => version == 0,
            Some((Some(known), _)) => known == version,
            Some((None, _)) => version > self.highest,
        }
    }

    fn removed(self) -> Self {
        Self { there: None, ..self }
    }

    /// What there is after the operation; nothing: it cannot have been done here.
    fn after(self, operation: &Operation) -> Vec<Self> {
        let answered = operation.ended.map(|(_, answered)| answered);
        let after = match (operation.asked, answered) {
            (Asked::Get, None) => Some(self),
            (Asked::Get, Some(Answered::Absent)) => self.there.is_none().then_some(self),
            (Asked::Get, Some(Answered::Value { version, value })) => {
                let is_it = self.there.is_some_and(|(_, there)| there == value) && self.may_have(version);
                is_it.then(|| Self {
                    there: Some((Some(version), value)),
                    highest: self.highest.max(version),
                })
            }
            (Asked::Set { value }, Some(Answered::Set { version })) => self.set(Some(version), value),
            (Asked::Set { value }, None) => self.set(None, value),
            (Asked::CompareAndSet { expected, value }, Some(Answered::Set { version })) => self
                .may_have(expected)
                .then_some(self)
                .and_then(|this| this.set(Some(version), value)),
            (Asked::CompareAndSet { expected, .. }, Some(Answered::Conflict { version })) => {
                (version != expected && self.may_have(version)).then_some(self)
            }
            (Asked::CompareAndSet { expected, value }, None) => {
                let done = self
                    .may_have(expected)
                    .then_some(self)
                    .and_then(|this| this.set(None, value));
                return done.into_iter().chain([self]).collect();
            }
            (Asked::Remove, Some(Answered::Removed) | None) => Some(self.removed()),
            // No answer to that.
            _ => None,
        };
        after.into_iter().collect()
    }
}

/// Whether there is an order in which the value, which is not there at first, can have been asked for all of
/// this.
pub fn is_linearizable(history: &[Operation]) -> bool {
    let mut seen = BTreeSet::new();
    let mut open = vec![(vec![false; history.len()], State::default())];
    while let Some((done, state)) = open.pop() {
        let left = || history.iter().enumerate().filter(|(at, _)| !done[*at]);
        let first_end = left()
            .filter_map(|(_, one)| one.ended)
            .map(|(ended, _)| ended)
            .min();
        // What is left has no answer.
        let Some(first_end) = first_end else {
            return true;
        };
        for (at, one) in left().filter(|(_, one)| one.began < first_end) {
            for after in state.after(one) {
                let mut done = done.clone();
                done[at] = true;
                if seen.insert((done.clone(), after)) {
                    open.push((done, after));
                }
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(asked: Asked, began: u64, ended: u64, answered: Answered) -> Operation {
        Operation {
            asked,
            began,
            ended: Some((ended, answered)),
        }
    }

    fn lost(asked: Asked, began: u64) -> Operation {
        Operation {
            asked,
            began,
            ended: None,
        }
    }

    const FIRST: Asked = Asked::Set { value: 1 };
    const SECOND: Asked = Asked::Set { value: 2 };
    const IS_FIRST: Answered = Answered::Value { version: 5, value: 1 };
    const IS_SECOND: Answered = Answered::Value { version: 6, value: 2 };

    #[test]
    fn what_can_have_happened_in_some_order_is_told_from_what_cannot() {
        let set = |began, ended| one(FIRST, began, ended, Answered::Set { version: 5 });
        let swap = |expected, value| Asked::CompareAndSet { expected, value };
        for (history, expected) in [
            (vec![set(1, 2), one(Asked::Get, 3, 4, IS_FIRST)], true),
            // It overlaps, and so may come before or after.
            (vec![set(1, 4), one(Asked::Get, 2, 3, Answered::Absent)], true),
            (vec![set(1, 4), one(Asked::Get, 2, 3, IS_FIRST)], true),
            // It was set, and is not there any more for who asks then.
            (vec![set(1, 2), one(Asked::Get, 3, 4, Answered::Absent)], false),
            // Of two who read one after the other the second sees the older one.
            (
                vec![
                    set(1, 2),
                    one(SECOND, 3, 8, Answered::Set { version: 6 }),
                    one(Asked::Get, 4, 5, IS_SECOND),
                    one(Asked::Get, 6, 7, IS_FIRST),
                ],
                false,
            ),
            // Both have replaced the same version.
            (
                vec![
                    set(1, 2),
                    one(swap(5, 2), 3, 6, Answered::Set { version: 6 }),
                    one(swap(5, 3), 4, 7, Answered::Set { version: 7 }),
                ],
                false,
            ),
            (
                vec![
                    set(1, 2),
                    one(swap(5, 2), 3, 6, Answered::Set { version: 6 }),
                    one(swap(5, 3), 4, 7, Answered::Conflict { version: 6 }),
                ],
                true,
            ),
            // It has the version that was expected, and was refused.
            (
                vec![
                    set(1, 2),
                    one(swap(5, 2), 3, 4, Answered::Conflict { version: 5 }),
                ],
                false,
            ),
            // Versions grow.
            (
                vec![set(1, 2), one(SECOND, 3, 4, Answered::Set { version: 4 })],
                false,
            ),
            // What has no answer was done late, or never,
            (
                vec![
                    lost(FIRST, 1),
                    one(Asked::Get, 2, 3, Answered::Absent),
                    one(Asked::Get, 4, 5, IS_FIRST),
                ],
                true,
            ),
            (
                vec![lost(FIRST, 1), one(Asked::Get, 2, 3, Answered::Absent)],
                true,
            ),
            // but not twice.
            (
                vec![
                    lost(FIRST, 1),
                    one(Asked::Get, 2, 3, IS_FIRST),
                    one(Asked::Remove, 4, 5, Answered::Removed),
                    one(Asked::Get, 6, 7, IS_FIRST),
                ],
                false,
            ),
            (vec![one(Asked::Get, 1, 2, IS_FIRST), lost(FIRST, 3)], false),
        ] {
            assert_eq!(is_linearizable(&history), expected, "{history:?}");
        }
    }
}
