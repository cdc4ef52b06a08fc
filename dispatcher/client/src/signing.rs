//! Signing what is ordered: a command answers the challenges of the engines that it concerns, as their
//! statuses show them. One that shows none is sent a signature all the same: it may have come back a moment
//! ago, and shows a challenge in the next, for which the command is signed again; or it looks at none.

use wayfare_protocol::code::SecretKey;
use wayfare_protocol::command::{Action, Command};
use wayfare_protocol::ids::{Challenge, EngineId};
use wayfare_protocol::topics::{Topic, Topics};
use wayfare_protocol::trust::place::{Holding, Place};
use wayfare_protocol::trust::signed::{Answers, sign};
use wayfare_protocol::trust::warrant::Warrant;
use wayfare_protocol::wire;

/// A command to `engine`, signed, with the place that a program comes to have by it, and the warrant of one
/// that is started. A program's target is shown it by its source.
pub(crate) fn sign_command(
    key: &SecretKey,
    topics: &Topics,
    engine: &EngineId,
    payload: Vec<u8>,
    challenge: impl Fn(&EngineId) -> Option<Challenge>,
) -> Vec<u8> {
    let Ok(command) = wire::decode::<Command>(&payload) else {
        return payload;
    };
    let target = match &command.action {
        Action::Move { target, .. } | Action::Spawn { target, .. } => Some(target.clone()),
        _ => None,
    };
    let answers: Answers = [Some(engine.clone()), target]
        .into_iter()
        .flatten()
        .filter_map(|engine| Some((engine.clone(), challenge(&engine)?)))
        .collect();
    let payload = match Holding::of(&command, engine) {
        Some(holding) => Place::sign(key, topics, &holding).show_in(&payload),
        None => payload,
    };
    let payload = match &command.action {
        Action::Run { spec, .. } => Warrant::sign(key, topics, spec).show_in(&payload),
        _ => payload,
    };
    let topic = topics.topic(&Topic::EngineCommand(engine.clone()));
    sign(key, &topic, &payload, &answers)
}

/// Any other message to `engine`.
pub(crate) fn sign_for(
    key: &SecretKey,
    topic: &str,
    engine: &EngineId,
    message: &[u8],
    challenge: Option<Challenge>,
) -> Vec<u8> {
    let answers = challenge.map(|challenge| (engine.clone(), challenge));
    sign(key, topic, message, &answers.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use wayfare_protocol::command::Target;
    use wayfare_protocol::ids::{Generation, OperationId, ProgramId};
    use wayfare_protocol::trust::signed::{Signature, answers};

    use super::*;

    #[test]
    fn a_command_answers_the_challenges_of_the_engines_that_look_at_signatures() {
        let key = SecretKey::from_random([1; 32]);
        let id = |name: &str| -> EngineId { name.parse().unwrap() };
        let command = |target: &str| {
            wire::encode(&Command {
                operation: OperationId::random(),
                client: id("c"),
                time_limit_ms: 1,
                term: None,
                boot: None,
                action: Action::Move {
                    on: Target {
                        program: ProgramId::random(),
                        generation: Some(Generation(1)),
                    },
                    target: id(target),
                },
            })
        };
        let challenge = |engine: &EngineId| {
            (engine.as_str() != "old").then(|| Challenge::from_bytes([engine.as_str().len() as u8; 16]))
        };
        for (engine, target, expected) in [
            ("a", "bb", vec!["a", "bb"]),
            ("a", "old", vec!["a"]),
            ("old", "bb", vec!["bb"]),
            // It may be on its way back, and wants a signature when it is.
            ("old", "old", vec![]),
        ] {
            let topics = Topics::default();
            let payload = sign_command(&key, &topics, &id(engine), command(target), challenge);
            let topic = topics.topic(&Topic::EngineCommand(id(engine)));
            let found: Vec<_> = answers(&payload)
                .into_keys()
                .map(|name| name.to_string())
                .collect();
            assert_eq!(found, expected, "{engine} {target}");
            assert!(Signature::of(&payload).unwrap().is_good(&topic));
            assert!(Place::shown_in(&payload).is_some());
        }
    }
}
