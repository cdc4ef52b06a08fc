//! What stands for `metrics` in an engine that is built without: nobody ever scrapes it.

use wayfare_protocol::ids::EngineId;
use wayfare_protocol::numbers::MachineNumbers;
use wayfare_protocol::status::ProgramStatus;

use super::options::EngineOptions;
use super::programs::Programs;

/// There is none.
pub(super) enum Scrape {}

pub(super) struct Scrapes;

impl Scrapes {
    pub(super) fn open(_options: &EngineOptions) -> anyhow::Result<Self> {
        Ok(Self)
    }

    pub(super) async fn next(&mut self) -> Option<Scrape> {
        std::future::pending().await
    }

    pub(super) async fn close(&mut self) {}
}

impl Scrape {
    #[expect(clippy::needless_pass_by_value, reason = "as it is called with `metrics`")]
    pub(super) fn answer(
        self,
        _engine: &EngineId,
        _machine: MachineNumbers,
        _statuses: &[ProgramStatus],
        _programs: &Programs,
    ) {
        match self {}
    }
}
