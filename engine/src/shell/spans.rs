//! The span `operation`: whatever is logged while something is done for an operation carries its id, on the loop and on the threads
//! that work for it. The dispatcher and clients use the same name and field, so that one id finds all of it.

use tracing::Span;
use wayfare_core::types::{Effect, Input, Purpose, Record};
use wayfare_protocol::ids::OperationId;

/// Enter it while the input is decided on.
pub(super) fn of_input(input: &Input) -> Span {
    match input {
        Input::Command(command) => of(command.operation, command.action.verb()),
        Input::Peer(envelope) => of(envelope.operation, "hear the other end"),
        Input::Chunk { operation, .. } => of(*operation, "take a chunk"),
        Input::ModuleLoaded { operation, .. } => of(*operation, "the module is loaded"),
        Input::SnapshotVerified { operation, .. } => of(*operation, "the snapshot is verified"),
        _ => Span::none(),
    }
}

/// Enter it while the effect is carried out.
pub(super) fn of_effect(effect: &Effect) -> Span {
    match effect {
        Effect::Store(Record::Operation(record)) => of(record.command.operation, "store the order"),
        Effect::Store(Record::Arrival(record)) => of(record.operation, "store the arrival"),
        Effect::Reply { event, .. } => of(event.operation, "answer"),
        Effect::Peer { operation, .. } => of(*operation, "tell the other end"),
        Effect::SendChunk { operation, .. } => of(*operation, "send a chunk"),
        Effect::LoadModule { operation, .. } => of(*operation, "load the module"),
        Effect::VerifySnapshot { operation, .. } => of(*operation, "verify the snapshot"),
        Effect::ReplyLogs { operation, .. } => of(*operation, "answer with lines"),
        Effect::Capture { purpose, .. } => maybe(purpose.operation(), "capture"),
        _ => Span::none(),
    }
}

/// Of a capture's encoding, which begins when the program has stopped.
pub(super) fn of_capture(purpose: Purpose) -> Span {
    maybe(purpose.operation(), "encode")
}

fn maybe(operation: Option<OperationId>, what: &'static str) -> Span {
    operation.map_or_else(Span::none, |operation| of(operation, what))
}

/// What is done is for who looks at spans, which boards export to nobody.
fn of(operation: OperationId, what: &'static str) -> Span {
    match cfg!(feature = "metrics") {
        true => tracing::info_span!("operation", %operation, what),
        false => tracing::info_span!("operation", %operation),
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
