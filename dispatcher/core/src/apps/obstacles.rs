//! What the last plan could not do: instances that run nowhere, those that cannot leave where they run, and
//! why, in words.

use std::collections::{BTreeMap, BTreeSet};

use wayfare_scheduler::application::InstanceId;
use wayfare_scheduler::plan::{Obstacle, Plan, Unplaced};

use super::strays::STRAYS;

#[derive(Debug, Clone, Default)]
pub(super) struct Obstacles {
    /// Instances that run nowhere because they fit nowhere,
    homeless: BTreeSet<InstanceId>,
    /// and those that should leave where they run, and cannot.
    rooted: BTreeSet<InstanceId>,
    /// By application, a line each.
    lines: BTreeMap<String, Vec<String>>,
}

impl Obstacles {
    pub(super) fn of(plan: &Plan) -> Self {
        Self {
            homeless: homeless(plan),
            rooted: instances(plan, |why| !runs_nowhere(why)),
            lines: lines(plan),
        }
    }

    pub(super) fn is_homeless(&self, id: &InstanceId) -> bool {
        self.homeless.contains(id)
    }

    pub(super) fn homeless(&self) -> impl Iterator<Item = &InstanceId> {
        self.homeless.iter()
    }

    pub(super) fn is_rooted(&self, id: &InstanceId) -> bool {
        self.rooted.contains(id)
    }

    pub(super) fn lines_of(&self, application: &str) -> &[String] {
        self.lines.get(application).map_or(&[], Vec::as_slice)
    }

    /// All lines that name an engine.
    pub(super) fn about_engine(&self, engine: &str) -> Vec<String> {
        let name = format!("engine {engine}");
        let all = self.lines.values().flatten();
        all.filter(|line| line.contains(&name)).cloned().collect()
    }

    /// The lines of applications of which something else was said before, each with its application.
    pub(super) fn news_since(&self, before: &Self) -> Vec<(String, String)> {
        let changed = self
            .lines
            .iter()
            .filter(|(name, lines)| before.lines.get(*name) != Some(lines));
        let each = changed.flat_map(|(name, lines)| lines.iter().map(|line| (name.clone(), line.clone())));
        each.collect()
    }
}

/// Instances that run nowhere because none of the engines fits.
pub(super) fn homeless(plan: &Plan) -> BTreeSet<InstanceId> {
    instances(plan, runs_nowhere)
}

/// By application, a line each.
pub(super) fn lines(plan: &Plan) -> BTreeMap<String, Vec<String>> {
    let mut lines = BTreeMap::<String, Vec<String>>::new();
    for one in &plan.unplaced {
        if one.component.application != STRAYS {
            lines
                .entry(one.component.application.clone())
                .or_default()
                .push(one.to_string());
        }
    }
    lines
}

fn instances(plan: &Plan, which: impl Fn(&Obstacle) -> bool) -> BTreeSet<InstanceId> {
    let unplaced = plan.unplaced.iter().filter(|one| which(&one.why));
    let ids = |one: &Unplaced| {
        let of = one.component.clone();
        let ids = one.ordinals.iter().map(move |ordinal| InstanceId {
            of: of.clone(),
            ordinal: *ordinal,
        });
        ids.collect::<Vec<_>>()
    };
    unplaced.flat_map(ids).collect()
}

pub(super) fn runs_nowhere(why: &Obstacle) -> bool {
    match why {
        Obstacle::NoneFits(_) | Obstacle::NotThere { .. } => true,
        Obstacle::CannotLeave { .. } | Obstacle::Pinned { .. } => false,
    }
}
