//! Commands with and without followers, between releases.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_json::{Value, json};
use wayfare_protocol::command::{Action, Target};
use wayfare_protocol::ids::{OperationId, ProgramId};
use wayfare_protocol::log::Follower;

#[test]
fn a_command_without_a_follower_is_what_earlier_releases_said_and_understood() {
    let program = ProgramId::from_random([1; 16]);
    let earlier = json!({ "do": "logs", "on": { "program": program, "generation": 2 }, "since": 7 });
    let action: Action = serde_json::from_value(earlier.clone()).unwrap();
    let Action::Logs {
        since: 7,
        follower: None,
        ..
    } = action
    else {
        panic!("{action:?}")
    };
    assert_eq!(serde_json::to_value(&action).unwrap(), earlier);
}

#[test]
fn a_follower_is_one_more_field() {
    let action = Action::Logs {
        on: Target {
            program: ProgramId::from_random([1; 16]),
            generation: None,
        },
        since: u64::MAX,
        follower: Some(Follower {
            id: OperationId::from_random([2; 16]),
            received_below: 5,
            lease_ms: 20_000,
        }),
    };
    let mut document = serde_json::to_value(&action).unwrap();
    assert_eq!(
        serde_json::from_value::<Action>(document.clone()).unwrap(),
        action
    );
    // What an earlier release sees: it ignores fields that it does not know.
    let Value::Object(fields) = &mut document else {
        panic!("{document}")
    };
    assert!(fields.remove("follower").is_some());
    fields.insert("of a later release".into(), json!(true));
    assert!(matches!(
        serde_json::from_value(document).unwrap(),
        Action::Logs {
            since: u64::MAX,
            follower: None,
            ..
        }
    ));
}
