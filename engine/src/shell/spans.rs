//! The span `operation`: whatever is logged while something is done for an operation carries its id, on the
//! loop and on the threads that work for it. The dispatcher and clients use the same name and field, so that
//! one id finds all of it.

use tracing::Span;
use wayfare_core::types::{Effect, Input, Purpose, Record};
use wayfare_protocol::ids::OperationId;

/// What is done, for who looks at spans: boards export theirs to nobody, and have no room for the words.
#[cfg(feature = "metrics")]
type What = &'static str;
#[cfg(not(feature = "metrics"))]
type What = ();

/// Enter it while the input is decided on.
pub(super) fn of_input(input: &Input) -> Span {
    of(match input {
        Input::Command(command) => Some((command.operation, what(command.action.verb()))),
        Input::Peer(envelope) => Some((envelope.operation, what("hear the other end"))),
        Input::Chunk { operation, .. } => Some((*operation, what("take a chunk"))),
        Input::ModuleLoaded { operation, .. } => Some((*operation, what("the module is loaded"))),
        Input::SnapshotVerified { operation, .. } => Some((*operation, what("the snapshot is verified"))),
        _ => None,
    })
}

/// Enter it while the effect is carried out.
pub(super) fn of_effect(effect: &Effect) -> Span {
    of(match effect {
        Effect::Store(Record::Operation(record)) => Some((record.command.operation, what("store the order"))),
        Effect::Store(Record::Arrival(record)) => Some((record.operation, what("store the arrival"))),
        Effect::Reply { event, .. } => Some((event.operation, what("answer"))),
        Effect::Peer { operation, .. } => Some((*operation, what("tell the other end"))),
        Effect::SendChunk { operation, .. } => Some((*operation, what("send a chunk"))),
        Effect::LoadModule { operation, .. } => Some((*operation, what("load the module"))),
        Effect::VerifySnapshot { operation, .. } => Some((*operation, what("verify the snapshot"))),
        Effect::ReplyLogs { operation, .. } => Some((*operation, what("answer with lines"))),
        Effect::Capture { purpose, .. } => purpose.operation().map(|operation| (operation, what("capture"))),
        _ => None,
    })
}

/// Of a capture's encoding, which begins when the program has stopped.
pub(super) fn of_capture(purpose: Purpose) -> Span {
    of(purpose.operation().map(|operation| (operation, what("encode"))))
}

#[cfg(feature = "metrics")]
fn what(words: &'static str) -> What {
    words
}

#[cfg(not(feature = "metrics"))]
fn what(_: &'static str) -> What {}

fn of(done: Option<(OperationId, What)>) -> Span {
    match done {
        #[cfg(feature = "metrics")]
        Some((operation, what)) => tracing::info_span!("operation", %operation, what),
        #[cfg(not(feature = "metrics"))]
        Some((operation, ())) => tracing::info_span!("operation", %operation),
        None => Span::none(),
    }
}

/// The same work, on whatever thread, in the span of who asks for it.
pub(super) fn carried<T>(work: impl FnOnce() -> T) -> impl FnOnce() -> T {
    let span = Span::current();
    move || span.in_scope(work)
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use wayfare_protocol::event::{Event, EventBody};
    use wayfare_protocol::ids::{BootId, ProgramId};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_is_logged_for_an_operation_carries_its_id_wherever_the_work_is_done() {
        let operation = OperationId::from_random([5; 16]);
        let effect = Effect::Reply {
            client: "c".parse().unwrap(),
            event: Event {
                operation,
                engine: "e".parse().unwrap(),
                boot: BootId::from_random([1; 16]),
                verb: "run".into(),
                program: None,
                body: EventBody::Accepted,
            },
        };
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || writer.clone());
        tracing::subscriber::with_default(subscriber.finish(), || {
            let work = of_effect(&effect).in_scope(|| {
                tracing::info!("on the loop");
                carried(|| tracing::info!("on a thread"))
            });
            work();
            let program = ProgramId::from_random([1; 16]);
            of_effect(&Effect::Discard { program }).in_scope(|| tracing::info!("for nobody"));
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let id = format!("operation={operation}");
        for (line, is_named) in [
            ("on the loop", true),
            ("on a thread", true),
            ("for nobody", false),
        ] {
            let line = text.lines().find(|logged| logged.contains(line)).unwrap();
            assert_eq!(line.contains(&id), is_named, "{line}");
        }
    }
}
