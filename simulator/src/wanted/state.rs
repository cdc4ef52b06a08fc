//! What people want at the moment: an application of two components.

use std::collections::{BTreeMap, BTreeSet};

use wayfare_fleet::app::{AppSpec, ComponentSpec, RestartPolicy, RestartWhen, UpdatePolicy};
use wayfare_protocol::grants::Grants;
use wayfare_protocol::ids::{Blob, Digest, EngineId};
use wayfare_scheduler::application::Mobility;
use wayfare_scheduler::constraint::{Constraints, Requirements};

#[derive(Debug, Default)]
pub(crate) struct Wanted {
    pub(super) count: u32,
    /// Its programs are sent messages.
    pub(super) talks: bool,
    /// Between two checkpoints of the component that is updated.
    pub(super) checkpoint_ms: u64,
    /// Of the component that is updated; the first one works.
    pub(super) versions: Vec<Blob>,
    pub(super) version: usize,
    pub(super) traps: BTreeSet<Digest>,
    pub(super) steady: Option<Blob>,
    pub(crate) drained: BTreeSet<EngineId>,
}

fn component(count: u32, module: Blob, checkpoint_ms: Option<u64>, grants: Grants) -> ComponentSpec {
    ComponentSpec {
        count,
        module,
        args: Vec::new(),
        env: BTreeMap::new(),
        stdin: None,
        memory_bytes: None,
        grants,
        ports: Default::default(),
        processor_millicores: 0,
        mobility: Mobility::Free,
        constraints: Constraints {
            requirements: Requirements {
                code: true,
                ..Requirements::default()
            },
            ..Constraints::default()
        },
        checkpoint_ms,
        restart: RestartPolicy {
            when: RestartWhen::Always,
            backoff_ms: 1_000,
            backoff_ms_max: 20_000,
        },
        update: UpdatePolicy {
            at_a_time: 1,
            healthy_after_ms: 2_000,
            within_ms: 40_000,
        },
        schedule: None,
        health: None,
        restarts: 0,
    }
}

impl Wanted {
    pub(super) fn spec(&self) -> AppSpec {
        let topics = |topic: &str| self.talks.then(|| topic.to_owned()).into_iter().collect();
        let grants = Grants {
            publish: topics("out"),
            subscribe: topics("in"),
            ..Grants::default()
        };
        let (module, checkpoint_ms) = (self.versions[self.version], Some(self.checkpoint_ms));
        let steady = self.steady.expect("it was made");
        let parts = [
            (
                "web",
                component(self.count, module, checkpoint_ms, grants.clone()),
            ),
            ("db", component(2, steady, None, grants)),
        ];
        AppSpec {
            name: "shop".into(),
            components: parts.map(|(name, part)| (name.to_owned(), part)).into(),
            staging: Default::default(),
        }
    }
}
