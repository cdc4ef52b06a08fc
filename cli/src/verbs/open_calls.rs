//! What calls a program has open, as `inspect` shows them: asked of its engine when somebody looks.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;
use serde::Serialize;
use wayfare_client::{AskError, Client, Presence, ProgramView};
use wayfare_protocol::address::Address;
use wayfare_protocol::ids::ProgramId;
use wayfare_protocol::open_calls::{LISTED_MAX, MadeCall, OpenCalls, ReceivedCall};

use crate::output::{Text, age};

/// How long an engine has for its answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// Providers of one service that are asked; of more, the first.
pub(super) const PROVIDERS_MAX: usize = 16;

/// What an engine says, or why it says nothing.
pub(super) type Told = Result<OpenCalls, AskError>;

/// `None`: there is nobody to be asked, or nothing to be asked for.
pub(super) async fn of_program(fleet: &Client, view: &ProgramView) -> Option<Told> {
    let status = &view.status;
    if view.presence != Presence::Known || status.state.is_ended() {
        return None;
    }
    let mut told = fleet
        .open_calls(&status.engine, status.program, ANSWER_TIMEOUT)
        .await;
    if let Ok(calls) = &mut told {
        calls.made.truncate(LISTED_MAX);
        calls.received.truncate(LISTED_MAX);
    }
    Some(told)
}

/// The calls of one provider of a service.
#[derive(Serialize)]
pub(super) struct OfProvider {
    program: ProgramId,
    /// The engine's clock, in milliseconds since 1970; `None`: it has not said anything.
    clock_ms: Option<u64>,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    /// To this service, and those of which it is not known.
    received: Vec<ReceivedCall>,
    /// To whatever it serves.
    received_count: u64,
}

/// Of the first [`PROVIDERS_MAX`] of these.
pub(super) async fn of_service(
    fleet: &Client,
    service: &Address,
    providers: &[ProgramView],
) -> Vec<OfProvider> {
    let asked = providers.iter().take(PROVIDERS_MAX).map(async |view| {
        let told = of_program(fleet, view).await?;
        Some(OfProvider::new(view.status.program, service, told))
    });
    join_all(asked).await.into_iter().flatten().collect()
}

impl OfProvider {
    fn new(program: ProgramId, service: &Address, told: Told) -> Self {
        match told {
            Ok(calls) => {
                let mut received = calls.received;
                received.retain(|one| one.address.as_ref().is_none_or(|address| address == service));
                Self {
                    program,
                    clock_ms: Some(calls.clock_ms),
                    why: None,
                    received,
                    received_count: calls.received_count,
                }
            }
            Err(error) => Self {
                program,
                clock_ms: None,
                why: Some(error.to_string()),
                received: Vec::new(),
                received_count: 0,
            },
        }
    }
}

/// What programs are called where they are known; others, and who calls from outside, have an id.
pub(super) type Names = BTreeMap<ProgramId, String>;

pub(super) fn names<'a>(programs: impl IntoIterator<Item = &'a ProgramView>) -> Names {
    let named = programs.into_iter().map(|view| {
        let status = &view.status;
        (status.program, status.name.clone())
    });
    named.collect()
}

fn name(names: &Names, program: ProgramId) -> String {
    names.get(&program).cloned().unwrap_or_else(|| program.short())
}

/// Behind the page of a program: nothing where it has no calls.
pub(super) fn program_text(mut page: Text, told: Option<&Told>, names: &Names) -> Text {
    let calls = match told {
        None => return page,
        Some(Ok(calls)) => calls,
        Some(Err(why)) => return page.line(format!("open calls are not known: {why}")),
    };
    if !calls.made.is_empty() {
        page = page
            .line("")
            .line(heading("made", calls.made.len(), calls.made_count));
        let rows = calls.made.iter().map(|one| made_row(one, calls.clock_ms, names));
        let head = [
            "CALL", "ADDRESS", "FUNCTION", "PROVIDER", "SINCE", "LEFT", "STATE",
        ];
        page = page.then(Text::table(&head, rows));
    }
    if !calls.received.is_empty() {
        let (shown, all) = (calls.received.len(), calls.received_count);
        page = page.line("").line(heading("received", shown, all));
        let rows = calls
            .received
            .iter()
            .map(|one| received_row(one, calls.clock_ms, names));
        page = page.then(Text::table(&RECEIVED, rows));
    }
    page
}

/// Behind who provides a service.
pub(super) fn service_text(mut page: Text, all: &[OfProvider], names: &Names) -> Text {
    let rows: Vec<_> = all
        .iter()
        .flat_map(|one| {
            let clock_ms = one.clock_ms.unwrap_or_default();
            one.received.iter().map(move |call| {
                let mut row = received_row(call, clock_ms, names);
                row.insert(0, name(names, one.program));
                row
            })
        })
        .collect();
    if !rows.is_empty() {
        let head: Vec<&str> = std::iter::once("PROVIDER").chain(RECEIVED).collect();
        page = page.line("").line("open calls").then(Text::table(&head, rows));
    }
    for one in all {
        let provider = name(names, one.program);
        let beyond = one.received_count.saturating_sub(LISTED_MAX as u64);
        if let Some(why) = &one.why {
            page = page.line(format!("open calls of {provider} are not known: {why}"));
        } else if beyond > 0 {
            page = page.line(format!(
                "{provider} has {beyond} open calls more, to all that it serves"
            ));
        }
    }
    page
}

const RECEIVED: [&str; 7] = [
    "CALL", "CALLER", "ADDRESS", "FUNCTION", "SINCE", "DEADLINE", "STATE",
];

fn heading(how: &str, shown: usize, all: u64) -> String {
    match all > shown as u64 {
        true => format!("calls {how}: the first {shown} of {all}"),
        false => format!("calls {how}: {all}"),
    }
}

fn made_row(one: &MadeCall, clock_ms: u64, names: &Names) -> Vec<String> {
    vec![
        one.number.to_string(),
        one.address.to_string(),
        known(one.function.clone()),
        name(names, one.provider),
        since(one.since_ms, clock_ms),
        age(one.left_ms),
        if one.ended { "ended" } else { "waits" }.to_owned(),
    ]
}

fn received_row(one: &ReceivedCall, clock_ms: u64, names: &Names) -> Vec<String> {
    vec![
        one.number.to_string(),
        name(names, one.caller),
        known(one.address.as_ref().map(ToString::to_string)),
        known(one.function.clone()),
        since(one.since_ms, clock_ms),
        known(one.deadline_ms.map(age)),
        if one.queued { "queued" } else { "taken" }.to_owned(),
    ]
}

fn since(since_ms: Option<u64>, clock_ms: u64) -> String {
    known(since_ms.map(|since_ms| age(clock_ms.saturating_sub(since_ms))))
}

fn known(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".into())
}
