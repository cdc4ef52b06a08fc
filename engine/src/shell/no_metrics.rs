//! What stands for `metrics` in an engine that is built without: nobody ever scrapes it.

use super::options::EngineOptions;

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

impl super::agent::Agent {
    #[expect(clippy::unused_self, reason = "as it is called with `metrics`")]
    pub(super) fn scraped(&mut self, scrape: Scrape) {
        match scrape {}
    }
}
