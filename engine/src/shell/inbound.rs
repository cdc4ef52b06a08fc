//! What arrives on the wire, checked and made into inputs of the core.

use bytes::Bytes;
use serde::Deserialize;
use wayfare_core::types::Input;
use wayfare_protocol::address::{Address, Announcement};
use wayfare_protocol::command::{Command, ReportRequest};
use wayfare_protocol::dispatcher::{Answer, Request};
use wayfare_protocol::error::Failure;
use wayfare_protocol::ids::{ClientId, EngineId, Generation, OperationId, ProgramId};
use wayfare_protocol::peer::{Envelope, PeerMessage};
use wayfare_protocol::reply::{Barrier, Reply};
use wayfare_protocol::status::{EngineStatus, ProgramStatus};
use wayfare_protocol::topics::{Topic, Topics};
use wayfare_protocol::wire;

/// What to do about a message.
#[derive(Debug, PartialEq)]
pub(crate) enum Arrived {
    Command(Command),
    /// Of a transfer; the bytes are those of a chunk.
    Peer(Input, Bytes),
    Other(Input),
    /// Another engine's status of a program.
    Claim {
        program: ProgramId,
        generation: Generation,
        by: EngineId,
    },
    /// That a program of ours can be called.
    Announced(Address, Announcement),
    /// A question about a device.
    Device(Request),
    /// Not a command, but it says who would like to know.
    Malformed {
        operation: OperationId,
        client: ClientId,
        failure: Failure,
    },
    Dropped {
        why: String,
    },
    /// Our own word, come back, or nothing of ours.
    Echo,
    /// A status of an engine with our id, which may be another.
    OwnStatus(Box<EngineStatus>),
    /// What we have sent ourselves, to hear what comes before it.
    Barrier(u64),
    /// Of the acting dispatcher, to what a program asked.
    Answer(Answer),
    /// Somebody's roster, not verified.
    Roster,
}

/// Whose messages these are.
pub(crate) struct Border {
    pub(crate) topics: Topics,
    pub(crate) engine: EngineId,
}

/// As much of a command as an answer needs.
#[derive(Deserialize)]
struct ReturnAddress {
    operation: OperationId,
    client: ClientId,
}

impl Border {
    pub(crate) fn admit(&self, topic: &str, payload: &Bytes, is_retained: bool) -> Arrived {
        match self.topics.parse(topic) {
            // A retained command would run again at every start.
            Some(Topic::EngineCommand(_) | Topic::EngineDevice(_) | Topic::Report | Topic::Peer(..))
                if is_retained =>
            {
                dropped("it was retained, and only statuses are")
            }
            Some(Topic::EngineCommand(engine)) if engine == self.engine => command(payload),
            Some(Topic::EngineDevice(engine)) if engine == self.engine => match wire::decode(payload) {
                Ok(request) => Arrived::Device(request),
                Err(error) => dropped(error),
            },
            Some(Topic::Report) => match wire::decode(payload) {
                Ok(request) if !request.is_for(&self.engine) => Arrived::Echo,
                Ok(ReportRequest {
                    operation, client, ..
                }) => Arrived::Other(Input::Report { operation, client }),
                Err(error) => dropped(error),
            },
            Some(Topic::Peer(operation, peer)) if peer == self.engine => self.peer(operation, payload),
            Some(Topic::EngineStatus(engine)) if engine == self.engine => {
                if payload.is_empty() {
                    return Arrived::Echo;
                }
                match wire::decode::<EngineStatus>(payload) {
                    Ok(status) if status.engine == self.engine => Arrived::OwnStatus(Box::new(status)),
                    Ok(_) => dropped("it is of another engine than its topic"),
                    Err(error) => dropped(error),
                }
            }
            Some(Topic::Roster) if payload.is_empty() => Arrived::Echo,
            Some(Topic::Roster) => Arrived::Roster,
            Some(Topic::ProgramStatus(program)) => self.status(program, payload),
            Some(Topic::Address(..)) if payload.is_empty() => Arrived::Echo,
            Some(Topic::Address(address, program)) => match wire::decode::<Announcement>(payload) {
                Ok(announcement) if announcement.program == program => {
                    Arrived::Announced(address, announcement)
                }
                Ok(_) => dropped("it is of another program than its topic"),
                Err(error) => dropped(error),
            },
            Some(Topic::Reply(peer)) if peer == self.engine => match Reply::decode(payload) {
                Ok(Reply::Barrier(Barrier { barrier })) => Arrived::Barrier(barrier),
                Ok(Reply::Answer(answer)) => Arrived::Answer(answer),
                Ok(Reply::Event(_) | Reply::Unknown) => dropped("it is not a reply to an engine"),
                Err(error) => dropped(error),
            },
            _ => dropped("its topic is not for this engine"),
        }
    }

    fn peer(&self, operation: OperationId, payload: &Bytes) -> Arrived {
        let (envelope, bytes) = match Envelope::decode(payload) {
            Ok(decoded) => decoded,
            Err(error) => return dropped(error),
        };
        if envelope.operation != operation {
            return dropped("it names another operation than its topic");
        }
        match envelope.message {
            PeerMessage::Chunk { blob, offset } => {
                let input = Input::Chunk {
                    operation,
                    from: envelope.from,
                    blob,
                    offset,
                    bytes: bytes.len() as u64,
                };
                Arrived::Peer(input, payload.slice_ref(bytes))
            }
            _ => Arrived::Peer(Input::Peer(envelope), Bytes::new()),
        }
    }

    fn status(&self, program: ProgramId, payload: &Bytes) -> Arrived {
        if payload.is_empty() {
            return Arrived::Echo;
        }
        match wire::decode::<ProgramStatus>(payload) {
            Ok(status) if status.program != program => dropped("it is of another program than its topic"),
            // What an earlier start of ours said is no claim of another's either.
            Ok(status) if status.engine == self.engine => Arrived::Echo,
            Ok(status) if !status.is_possible() => {
                dropped("no program has such a generation, or so long a text")
            }
            Ok(status) => Arrived::Claim {
                program,
                generation: status.generation,
                by: status.engine,
            },
            Err(error) => dropped(error),
        }
    }
}

fn command(payload: &[u8]) -> Arrived {
    match wire::decode(payload) {
        Ok(command) => Arrived::Command(command),
        Err(error) => match wire::from_json(payload) {
            Ok(ReturnAddress { operation, client }) => Arrived::Malformed {
                operation,
                client,
                failure: Failure::BadRequest {
                    reason: format!("this engine cannot read the command: {error}"),
                },
            },
            Err(_) => dropped(error),
        },
    }
}

fn dropped(why: impl ToString) -> Arrived {
    Arrived::Dropped { why: why.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wayfare_protocol::command::{Action, Target};
    use wayfare_protocol::ids::{BootId, Digest};
    use wayfare_protocol::status::ProgramState;

    fn admit(topic: &Topic, payload: Vec<u8>) -> Arrived {
        admit_retained(topic, payload, false)
    }

    fn admit_retained(topic: &Topic, payload: Vec<u8>, is_retained: bool) -> Arrived {
        let border = Border {
            topics: Topics::default(),
            engine: "a".parse().unwrap(),
        };
        border.admit(&border.topics.topic(topic), &payload.into(), is_retained)
    }

    fn to_us() -> Topic {
        Topic::EngineCommand("a".parse().unwrap())
    }

    fn pause() -> Command {
        Command {
            operation: OperationId::random(),
            client: "c".parse().unwrap(),
            time_limit_ms: 1,
            term: None,
            boot: None,
            action: Action::Pause {
                on: Target {
                    program: ProgramId::random(),
                    generation: None,
                },
            },
        }
    }

    #[test]
    fn commands_are_taken_unless_retained_or_for_others() {
        let command = pause();
        let payload = wire::encode(&command);
        assert_eq!(admit(&to_us(), payload.clone()), Arrived::Command(command));
        assert!(matches!(
            admit_retained(&to_us(), payload.clone(), true),
            Arrived::Dropped { .. }
        ));
        let to_other = Topic::EngineCommand("b".parse().unwrap());
        assert!(matches!(admit(&to_other, payload), Arrived::Dropped { .. }));
    }

    #[test]
    fn a_command_of_a_later_version_is_answered_and_noise_is_dropped() {
        let operation = OperationId::random();
        let later = format!(r#"{{"operation":"{operation}","client":"c","action":{{"do":"fly"}}}}"#);
        match admit(&to_us(), later.into_bytes()) {
            Arrived::Malformed {
                operation: found,
                client,
                ..
            } => {
                assert_eq!((found, client.as_str()), (operation, "c"));
            }
            other => panic!("{other:?}"),
        }
        for noise in [
            &b""[..],
            b"{",
            b"null",
            b"\xff\xff",
            b"{\"operation\":\"x\",\"client\":\"c\"}",
        ] {
            for topic in [
                to_us(),
                Topic::Report,
                Topic::Peer(operation, "a".parse().unwrap()),
            ] {
                assert!(
                    matches!(admit(&topic, noise.to_vec()), Arrived::Dropped { .. }),
                    "{noise:?}"
                );
            }
        }
    }

    #[test]
    fn chunks_carry_their_bytes_and_name_their_operation() {
        let (operation, blob) = (OperationId::random(), wayfare_protocol::ids::Blob::of(b"hello"));
        let envelope = Envelope {
            operation,
            from: "b".parse().unwrap(),
            message: PeerMessage::Chunk { blob, offset: 3 },
        };
        let payload = envelope.encode(b"lo");
        let input = Input::Chunk {
            operation,
            from: "b".parse().unwrap(),
            blob,
            offset: 3,
            bytes: 2,
        };
        let us = Topic::Peer(operation, "a".parse().unwrap());
        assert_eq!(
            admit(&us, payload.clone()),
            Arrived::Peer(input, Bytes::from_static(b"lo"))
        );
        let another = Topic::Peer(OperationId::random(), "a".parse().unwrap());
        assert!(matches!(admit(&another, payload), Arrived::Dropped { .. }));
    }

    #[test]
    fn only_other_engines_claims_to_a_program_are_told() {
        let status = |engine: &str| ProgramStatus {
            program: ProgramId::random(),
            name: "p".into(),
            engine: engine.parse().unwrap(),
            boot: BootId::random(),
            generation: Generation(5),
            sequence: 1,
            state: ProgramState::Running,
            module: Digest::of(b""),
            memory_bytes: 0,
            ports: Default::default(),
            place: None,
            health: None,
            hold: None,
        };
        let admit =
            |status: &ProgramStatus| admit(&Topic::ProgramStatus(status.program), wire::encode(status));
        let other = status("b");
        let claim = Arrived::Claim {
            program: other.program,
            generation: Generation(5),
            by: other.engine.clone(),
        };
        assert_eq!(admit(&other), claim);
        assert_eq!(admit(&status("a")), Arrived::Echo);
        // Or it would end a copy that nothing comes after.
        let impossible = ProgramStatus {
            generation: Generation(u64::MAX - 1),
            ..status("b")
        };
        assert!(matches!(admit(&impossible), Arrived::Dropped { .. }));
    }
}
