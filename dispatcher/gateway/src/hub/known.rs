//! What the acting dispatcher knows of the fleet beside what engines say themselves.

use std::collections::BTreeMap;

use wayfare_client::app::alarms::AlarmRecord;
use wayfare_client::app::ask::Mark;
use wayfare_client::app::hold::HoldRecord;
use wayfare_client::app::programs::ProgramAbout;
use wayfare_client::{Client, CommandError};
use wayfare_protocol::ids::{EngineId, ProgramId};

/// Nothing, where nobody acts.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    pub(super) acts: bool,
    pub(super) about: BTreeMap<ProgramId, ProgramAbout>,
    pub(super) marks: BTreeMap<EngineId, Mark>,
    pub(super) alarms: Vec<AlarmRecord>,
    pub(super) hold: Option<HoldRecord>,
}

impl Known {
    /// `None`: the client is closed.
    pub(super) async fn ask(client: &Client) -> Option<Self> {
        Self::try_ask(client).await.ok()
    }

    /// At once: one that acts by its lease and does not answer costs the time limit, and not four times that.
    async fn try_ask(client: &Client) -> Result<Self, CommandError> {
        let (acts, about, marks, alarms, hold) = tokio::try_join!(
            client.somebody_acts(),
            client.programs_about(),
            client.marks(),
            client.alarms(),
            client.hold(),
        )?;
        let about = about.unwrap_or_default();
        Ok(Self {
            acts,
            about,
            marks,
            alarms,
            hold,
        })
    }
}
