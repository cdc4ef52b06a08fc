//! `wayfare events`: what the dispatcher decided, and why.

use wayfare_client::Client;
use wayfare_client::app::ask::{Ask, Decision};

use crate::args::apps::EventsArgs;
use crate::context::with_fleet;
use crate::fail::{Fail, Result};
use crate::output::Output;

pub(crate) async fn run(args: EventsArgs, output: Output) -> Result {
    with_fleet(&args.ask.fleet, async |fleet| {
        // First the live ones, then the past: nothing can fall between them.
        let mut live = if args.follow {
            Some(fleet.decisions().await?)
        } else {
            None
        };
        let mut after = past(fleet, &args, output).await?;
        let Some(live) = &mut live else { return Ok(()) };
        while let Some(decision) = live.recv().await {
            let place = (decision.term, decision.sequence);
            if after.is_none_or(|after| place > after) {
                print(&decision, output)?;
                after = Some(place);
            }
        }
        Err(Fail::new("closed", "the connection to the broker was closed"))
    })
    .await
}

type Place = (wayfare_protocol::ids::Term, u64);

/// All that is kept; answers with the place of the last.
async fn past(fleet: &Client, args: &EventsArgs, output: Output) -> Result<Option<Place>> {
    let mut after = None;
    loop {
        let ask = Ask::Events {
            since_ms: args.since,
            after,
        };
        let part: Vec<Decision> = fleet.ask_apps(&ask, args.ask.timeout).await?;
        let Some(last) = part.last() else { return Ok(after) };
        after = Some((last.term, last.sequence));
        for decision in &part {
            print(decision, output)?;
        }
    }
}

fn print(decision: &Decision, output: Output) -> Result {
    output.print(decision, sentence)
}

pub(super) fn sentence(decision: &Decision) -> String {
    format!(
        "{}  {:12}  {}",
        clock(decision.at_ms),
        decision.kind,
        decision.text
    )
}

/// The time of a day in UTC, and the day: `2026-11-24 19:05:01.250`.
pub(super) fn clock(at_ms: u64) -> String {
    let (days, ms) = (at_ms / 86_400_000, at_ms % 86_400_000);
    let (year, month, day) = date(days);
    let (seconds, ms) = (ms / 1_000, ms % 1_000);
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}.{ms:03}",
        seconds / 3_600,
        seconds / 60 % 60,
        seconds % 60
    )
}

/// Days since 1970 as a date, by Howard Hinnant's `civil_from_days`.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_dates() {
        for (at_ms, text) in [
            (0, "1970-01-01 00:00:00.000"),
            (951_782_400_000, "2000-02-29 00:00:00.000"),
            (1_795_547_101_250, "2026-11-24 19:05:01.250"),
        ] {
            assert_eq!(clock(at_ms), text);
        }
    }
}
