//! What people want at the moment: an application of two components.

use std::collections::{BTreeMap, BTreeSet};

use wayfare_fleet::app::{AppSpec, ComponentSpec, RestartPolicy, RestartWhen, UpdatePolicy};
use wayfare_protocol::ids::{Blob, Digest, EngineId};
use wayfare_scheduler::application::Mobility;
use wayfare_scheduler::constraint::{Constraints, Requirements};

#[derive(Debug, Default)]
pub(crate) struct Wanted {
    pub(super) count: u32,
    /// Between two checkpoints of the component that is updated.
    pub(super) checkpoint_ms: u64,
    /// Of the component that is updated; the first one works.
    pub(super) versions: Vec<Blob>,
    pub(super) version: usize,
    pub(super) traps: BTreeSet<Digest>,
    pub(super) steady: Option<Blob>,
    pub(crate) drained: BTreeSet<EngineId>,
}

pub(super) fn component(count: u32, module: Blob, checkpoint_ms: Option<u64>) -> ComponentSpec {
    ComponentSpec {
        count,
        module,
        args: Vec::new(),
        env: BTreeMap::new(),
        stdin: None,
        memory_bytes: None,
        grants: Default::default(),
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
    }
}

impl Wanted {
    pub(super) fn spec(&self) -> AppSpec {
        let parts = [
            (
                "web",
                component(self.count, self.versions[self.version], Some(self.checkpoint_ms)),
            ),
            ("db", component(2, self.steady.expect("it was made"), None)),
        ];
        AppSpec {
            name: "shop".into(),
            components: parts.map(|(name, part)| (name.to_owned(), part)).into(),
        }
    }
}
