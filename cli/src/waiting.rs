//! Waiting for an operation, with a spinner or progress bar for people at a terminal.

use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use tokio::time::sleep;
use wayfare_client::{Client, Finished, Operation, Progress, QueueNote, documents};
use wayfare_protocol::event::{Outcome, Phase};
use wayfare_protocol::ids::{Digest, EngineId, OperationId};

use crate::args::CommandArgs;
use crate::fail::{Fail, Result};
use crate::interrupt::Caught;
use crate::output::{Output, Text, bytes, error_is_terminal, micros, tell};

const SPIN: Duration = Duration::from_millis(120);
/// People are told of an engine that has said nothing for so long: its last status may be of before a power
/// cut.
const SILENCE: Duration = Duration::from_secs(3);

/// Waits for the end, or with `--no-wait` until nobody needs to wait; prints either. `None`: not waited for.
pub(crate) async fn conclude(
    operation: Operation,
    args: &CommandArgs,
    output: Output,
) -> Result<Option<Finished>> {
    let (id, note) = (operation.id(), operation.queue_note());
    if output == Output::Human {
        tell_note(id, note);
    }
    if args.no_wait {
        let mut operation = operation;
        operation.delivered().await?;
        let document = documents::noted(json!({ "operation": id, "engine": operation.engine() }), note);
        output.print(&document, |_| id.to_string())?;
        return Ok(None);
    }
    let finished = watch(operation, output).await?;
    let document = documents::noted(documents::finished(id, &finished), note);
    output.print(&document, |_| sentence(&finished))?;
    Ok(Some(finished))
}

/// What an order had to do with others that waited, for people.
fn tell_note(id: OperationId, note: QueueNote) {
    if note.is_joined {
        tell(Text::from(format!(
            "joined operation {}, which waits already",
            id.short()
        )));
    }
    if note.superseded > 0 {
        tell(Text::from(format!("superseded {}", orders(note.superseded))));
    }
    if note.unanswered > 0 {
        let orders = orders(note.unanswered);
        tell(Text::from(format!(
            "{orders} could not be withdrawn yet: the command that waits with it does not answer"
        )));
    }
}

fn orders(count: u32) -> String {
    match count {
        1 => "1 order that waited".to_owned(),
        count => format!("{count} orders that waited"),
    }
}

/// Waits for the end and prints nothing that stays.
pub(crate) async fn watch(mut operation: Operation, output: Output) -> Result<Finished> {
    let engine = operation
        .engine()
        .map_or_else(|| "the engine".to_owned(), EngineId::to_string);
    let bar = Bar::new(output, &engine);
    let mut silence = pin!(sleep(SILENCE));
    let mut is_expected = true;
    let mut latest = Progress::default();
    let mut caught = Caught::begin()?;
    loop {
        tokio::select! {
            biased;
            progress = operation.progressed() => match progress {
                Some(progress) => {
                    is_expected &= !progress.accepted;
                    bar.show(progress);
                    latest = progress;
                }
                None => break,
            },
            () = caught.interrupted() => {
                bar.clear();
                return Err(goes_on(operation.id(), &engine, latest));
            }
            () = &mut silence, if is_expected => {
                is_expected = false;
                bar.say(output, || format!("no answer from {engine} yet: it is asked again until the time limit (--timeout)"));
            }
        }
    }
    bar.clear();
    Ok(operation.wait().await?)
}

/// What becomes of an operation that is not waited for any more.
fn goes_on(operation: OperationId, engine: &str, progress: Progress) -> Fail {
    let operation = operation.short();
    match (progress.accepted, progress.delivered) {
        (false, _) => Fail::interrupted(format!(
            "{engine} may not have operation {operation} yet, and is asked no more"
        ))
        .hint(format!("`wayfare ops show {operation}` says what became of it")),
        (true, false) => Fail::interrupted(format!(
            "{engine} does not get all that it needs for operation {operation}, which fails"
        ))
        .hint(format!("`wayfare ops show {operation}` says what became of it")),
        (true, true) => Fail::interrupted(format!("operation {operation} goes on, on {engine}"))
            .hint(format!("`wayfare ops wait {operation}` waits for its end")),
    }
}

/// What has been done, as people say it.
fn sentence(finished: &Finished) -> String {
    let engine = &finished.engine;
    match &finished.outcome {
        Outcome::Running { program, .. } => format!("{} runs on {engine}", program.short()),
        Outcome::Moved {
            program,
            target,
            generation,
            report,
        } => format!(
            "{} moved from {engine} to {target} in {}, stood still for {}; {} sent ahead, {} at the end \
             (generation {generation})",
            program.short(),
            micros(report.total_us),
            micros(report.downtime_us),
            bytes(report.precopied_bytes),
            bytes(report.final_bytes),
        ),
        Outcome::Spawned { copy, target } => format!("{} runs on {target}, a copy", copy.short()),
        Outcome::Paused { program } => format!("{} is paused on {engine}", program.short()),
        Outcome::Resumed { program } => format!("{} runs on {engine} again", program.short()),
        Outcome::Killed { program } => format!("{} is gone from {engine}", program.short()),
        Outcome::Captured {
            program, snapshot, ..
        } => {
            format!(
                "{} captured on {engine}, {}",
                program.short(),
                bytes(snapshot.bytes)
            )
        }
        Outcome::Logs { next, .. } => format!("{next} lines"),
        Outcome::Reported => format!("{engine} has reported"),
    }
}

/// A spinner while nothing can be counted, a bar while bytes are on their way; nothing where nobody looks.
struct Bar(Option<ProgressBar>);

impl Bar {
    fn new(output: Output, engine: &str) -> Self {
        if output == Output::Json || !error_is_terminal() {
            return Self(None);
        }
        let bar = ProgressBar::new_spinner();
        bar.set_message(format!("asking {engine}"));
        bar.enable_steady_tick(SPIN);
        Self(Some(bar))
    }

    fn show(&self, progress: Progress) {
        let Some(bar) = &self.0 else {
            return;
        };
        bar.set_message(words(progress));
        let style = if progress.total_bytes > 0 {
            bar.set_length(progress.total_bytes);
            bar.set_position(progress.done_bytes);
            "{spinner} {msg} [{bar:24}] {bytes} of {total_bytes}"
        } else {
            "{spinner} {msg}"
        };
        bar.set_style(ProgressStyle::with_template(style).expect("the template is well-formed"));
    }

    /// A line that stays, for people.
    fn say(&self, output: Output, text: impl FnOnce() -> String) {
        let say = || tell(Text::from(text()));
        match &self.0 {
            Some(bar) => bar.suspend(say),
            None if output == Output::Human => say(),
            None => {}
        }
    }

    fn clear(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

/// Sends the dispatcher what it lacks of these, with a bar.
pub(crate) async fn upload(
    fleet: &Client,
    blobs: &BTreeMap<Digest, Vec<u8>>,
    limit: Duration,
    output: Output,
) -> Result {
    let bar = Bytes::new(output, "sending", None);
    let sent = fleet
        .upload(blobs, limit, |done, total| bar.show_of(done, total))
        .await;
    bar.clear();
    Ok(sent?)
}

/// A bar for a file on its way; nothing where nobody looks.
pub(crate) struct Bytes(Option<ProgressBar>);

impl Bytes {
    /// `None`: of unknown length.
    pub(crate) fn new(output: Output, verb: &'static str, total: Option<u64>) -> Self {
        if output == Output::Json || !error_is_terminal() {
            return Self(None);
        }
        let bar = ProgressBar::new_spinner();
        bar.set_message(verb);
        bar.enable_steady_tick(SPIN);
        let style = "{spinner} {msg} {bytes}, {bytes_per_sec}";
        bar.set_style(ProgressStyle::with_template(style).expect("the template is well-formed"));
        let bytes = Self(Some(bar));
        if let Some(total) = total {
            bytes.show_of(0, total);
        }
        bytes
    }

    pub(crate) fn show(&self, done: u64) {
        if let Some(bar) = &self.0 {
            bar.set_position(done);
        }
    }

    pub(crate) fn show_of(&self, done: u64, total: u64) {
        let Some(bar) = &self.0 else { return };
        if bar.length() != Some(total) {
            let style = "{spinner} {msg} [{bar:24}] {bytes} of {total_bytes}, {bytes_per_sec}";
            bar.set_style(ProgressStyle::with_template(style).expect("the template is well-formed"));
            bar.set_length(total);
        }
        bar.set_position(done);
    }

    pub(crate) fn clear(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

fn words(progress: Progress) -> &'static str {
    match progress.phase {
        Some(Phase::Transfer) => "sending",
        Some(Phase::Compile) => "compiling",
        Some(Phase::Precopy) => "sending memory while it runs",
        Some(Phase::Handover) => "handing over",
        Some(Phase::InDoubt) => "waiting for the target's word: the program stands still",
        None if progress.accepted => "accepted",
        None => "asking",
    }
}
