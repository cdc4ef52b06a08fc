//! What instances of applications that failed have printed last, as far as the dispatcher keeps it.

use std::ops::Range;

use serde::Serialize;
use wayfare_client::stored_logs::{LinesWanted, StoredEnd, StoredProgram};
use wayfare_client::{ANSWER_TIMEOUT, Client};
use wayfare_protocol::ids::ProgramId;
use wayfare_protocol::log::LogLine;

use super::printing::badly;
use super::which::program_name;
use crate::output::Text;

/// Instances that are looked for, of one application.
const INSTANCES_MAX: usize = 50;
/// Failures that are shown at once, and lines of each.
const SHOWN_MAX: usize = 3;
const LINES_MAX: u32 = 5;

/// A program that did not end well.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct FailedInstance {
    pub(crate) instance: String,
    pub(crate) program: ProgramId,
    pub(crate) how: String,
    /// Its last lines.
    pub(crate) lines: Vec<LogLine>,
}

/// Those of these instances that failed in this time by the dispatcher's clock, the latest first. None where
/// nothing is kept.
pub(crate) async fn failed_instances(
    fleet: &Client,
    instances: impl Iterator<Item = &str>,
    times: Range<u64>,
) -> Vec<FailedInstance> {
    let mut failed: Vec<(StoredProgram, String, String)> = Vec::new();
    for instance in instances.take(INSTANCES_MAX) {
        let name = program_name(instance);
        let Ok(stored) = fleet.stored_programs(&name, ANSWER_TIMEOUT).await else {
            // Nobody acts, or one of an earlier release.
            return Vec::new();
        };
        let of_instance = stored.into_iter().filter(|stored| stored.name == name);
        failed.extend(of_instance.filter_map(|stored| {
            let how = how_it_failed(&stored, &times).filter(|_| times.contains(&stored.last_ms))?;
            Some((stored, instance.to_owned(), how))
        }));
    }
    failed.sort_by_key(|(stored, ..)| std::cmp::Reverse(stored.last_ms));
    let mut shown = Vec::new();
    for (stored, instance, how) in failed.into_iter().take(SHOWN_MAX) {
        let wanted = LinesWanted {
            last: Some(LINES_MAX),
            ..LinesWanted::of(stored.program)
        };
        let page = fleet.stored_lines(&wanted, ANSWER_TIMEOUT).await;
        shown.push(FailedInstance {
            instance,
            program: stored.program,
            how,
            lines: page.map(|page| page.lines).unwrap_or_default(),
        });
    }
    shown
}

/// One that began and was ended while a version was rolled out was a part of its failure: a roll-back may be
/// quicker than the news of how it ended.
fn how_it_failed(stored: &StoredProgram, times: &Range<u64>) -> Option<String> {
    match &stored.end {
        StoredEnd::Ended { state } => badly(state),
        StoredEnd::Gone if times.start > 0 && times.contains(&stored.first_ms) => {
            Some("was ended".to_owned())
        }
        StoredEnd::None | StoredEnd::Gone => None,
    }
}

/// For people, below what it explains.
pub(crate) fn failures_text(failures: &[FailedInstance]) -> Text {
    let one = |failure: &FailedInstance| {
        let FailedInstance {
            instance,
            program,
            how,
            lines,
        } = failure;
        let text = |line: &LogLine| format!("    {}", String::from_utf8_lossy(line.text.as_bytes()));
        let printed = if lines.is_empty() {
            ""
        } else {
            "; it printed last:"
        };
        Text::from(format!("{instance} (program {}) {how}{printed}", program.short()))
            .then(Text::from_iter(lines.iter().map(text)))
    };
    failures.iter().map(one).fold(Text::new(), Text::then)
}
