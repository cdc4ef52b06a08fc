//! The fleet's numbers as Prometheus reads them, at `/metrics`. Each scrape measures; there is no state here.

use futures::try_join;
use wayfare_client::{Client, CommandError};
use wayfare_metrics::{MeasuredEngine, MeasuredProgram, Scrape};

pub use wayfare_metrics::CONTENT_TYPE;

/// Measures the fleet, as the acting dispatcher sees it, and writes that down.
pub async fn text(fleet: &Client) -> Result<String, CommandError> {
    // At the same time: each may have to wait for the dispatcher.
    let asked = try_join!(fleet.numbers(), fleet.programs_about(), fleet.alarms());
    let (numbers, about, alarms) = asked?;
    let (numbers, about) = (numbers.unwrap_or_default(), about.unwrap_or_default());
    let mut scrape = Scrape::default();
    for view in fleet.engines().await? {
        let load = numbers.engines.get(&view.engine);
        scrape.engine(&MeasuredEngine {
            engine: &view.engine,
            online: view.online,
            programs: u64::from(view.programs),
            machine: load.map(|load| &load.numbers),
            clock_ahead_ms: load.and_then(|load| load.clock_ahead_ms),
        });
    }
    for view in &*fleet.programs().await? {
        let program = view.status.program;
        // What has ended uses nothing.
        let Some(load) = numbers.programs.get(&program) else {
            continue;
        };
        let about = about.get(&program);
        scrape.program(&MeasuredProgram {
            name: &view.status.name,
            engine: &load.engine,
            instance: about.and_then(|about| about.instance.as_deref()),
            numbers: &load.numbers,
            restarts: about.and_then(|about| about.restarts),
            moves: about.and_then(|about| about.moves),
        });
    }
    scrape.alarms(
        alarms
            .iter()
            .map(|alarm| (alarm.kind.as_str(), alarm.subject.as_str())),
    );
    Ok(scrape.text())
}
