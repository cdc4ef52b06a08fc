//! The span `operation`: whatever is logged while something is done for an operation carries its id, on the loop and on the threads
//! that work for it. The dispatcher and clients use the same name and field, so that one id finds all of it.

use tracing::Span;
use wayfare_core::types::{Effect, Input, Purpose, Record};
use wayfare_protocol::ids::OperationId;

/// Enter it while the input is decided on.
pub(super) fn of_input(input: &Input) -> Span {
    of(match input {
        Input::Command(command) => Some(command.operation),
        Input::Peer(envelope) => Some(envelope.operation),
        Input::Chunk { operation, .. }
        | Input::ModuleLoaded { operation, .. }
        | Input::SnapshotVerified { operation, .. } => Some(*operation),
        _ => None,
    })
}

/// Enter it while the effect is carried out.
pub(super) fn of_effect(effect: &Effect) -> Span {
    of(match effect {
        Effect::Store(Record::Operation(record)) => Some(record.command.operation),
        Effect::Store(Record::Arrival(record)) => Some(record.operation),
        Effect::Reply { event, .. } => Some(event.operation),
        Effect::Peer { operation, .. }
        | Effect::SendChunk { operation, .. }
        | Effect::LoadModule { operation, .. }
        | Effect::VerifySnapshot { operation, .. }
        | Effect::ReplyLogs { operation, .. } => Some(*operation),
        Effect::Capture { purpose, .. } => purpose.operation(),
        _ => None,
    })
}

/// Of a capture's encoding, which begins when the program has stopped.
pub(super) fn of_capture(purpose: Purpose) -> Span {
    of(purpose.operation())
}

fn of(operation: Option<OperationId>) -> Span {
    match operation {
        Some(operation) => tracing::info_span!("operation", %operation),
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
