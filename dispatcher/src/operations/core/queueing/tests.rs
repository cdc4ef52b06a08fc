use std::collections::BTreeMap;

use wayfare_client::operations::EXPIRED;
use wayfare_protocol::command::{Action, Command, GivenCommand, Target};
use wayfare_protocol::ids::ProgramId;

use super::*;

fn id(number: u8) -> OperationId {
    OperationId::from_bytes([number; 16])
}

/// Ann's `VERB p`, to the engine, as it is told of by this release.
fn order(number: u8, verb: &str, engine: &str) -> WaitingOrder {
    WaitingOrder {
        operation: id(number),
        verb: verb.into(),
        program: Some("p".into()),
        engine: Some(engine.into()),
        by: Some("ann@desk".into()),
        time_limit_ms: 600_000,
        queueing: None,
        same: Some(Digest::of(format!("{verb} {engine}").as_bytes())),
        lease_ms: Some(1_000),
    }
}

fn with(order: WaitingOrder, policy: QueuePolicy, key: Option<&str>) -> WaitingOrder {
    let key = key.map(str::to_owned);
    WaitingOrder {
        queueing: Some(Queueing { policy, key }),
        ..order
    }
}

fn command(number: u8) -> GivenCommand {
    GivenCommand {
        command: Command {
            operation: id(number),
            client: "c".parse().unwrap(),
            time_limit_ms: 30_000,
            action: Action::Pause {
                on: Target {
                    program: ProgramId::from_bytes([9; 16]),
                    generation: None,
                },
            },
            term: None,
            boot: None,
        },
        by: None,
        batch: None,
    }
}

fn supersedes(orders: &[u8]) -> Admission {
    Admission::Admitted {
        supersedes: orders.iter().copied().map(id).collect(),
    }
}

/// What becomes of an order when this one waits already: joins it, supersedes it, or neither.
fn beside(waiting: &WaitingOrder, order: &WaitingOrder) -> &'static str {
    let mut operations = Operations::default();
    assert_eq!(operations.queue(waiting, 1), supersedes(&[]));
    let admission = operations.queue(order, 2);
    // The same request again is answered alike.
    assert_eq!(operations.queue(order, 3), admission);
    let superseded = operations.superseded_by(waiting.operation);
    match admission {
        Admission::Joins(record) => {
            assert_eq!(record.operation, waiting.operation);
            assert!(operations.get(order.operation).is_none(), "it is no operation");
            "joins"
        }
        Admission::Admitted { supersedes } if supersedes.is_empty() => {
            assert_eq!(superseded, None);
            "neither"
        }
        Admission::Admitted { supersedes } => {
            assert_eq!(supersedes, [waiting.operation]);
            assert_eq!(superseded, Some((order.operation, Some("ann@desk".into()))));
            "supersedes"
        }
    }
}

#[test]
fn an_order_joins_or_supersedes_those_that_its_key_means_and_no_others() {
    use QueuePolicy::{Coalesce, Supersede};
    let move_b = order(1, "move", "b");
    let run_b = order(1, "run", "b");
    let keyed = with(order(1, "kill", "x"), Coalesce, Some("night"));
    let of_before = WaitingOrder {
        same: None,
        lease_ms: None,
        ..order(1, "move", "b")
    };
    let of_another_program = WaitingOrder {
        program: Some("q".into()),
        ..order(1, "move", "b")
    };
    for (waiting, order, becomes) in [
        (&move_b, order(2, "move", "b"), "neither"),
        (&move_b, with(order(2, "move", "b"), Coalesce, None), "joins"),
        (&move_b, with(order(2, "move", "c"), Coalesce, None), "neither"),
        (
            &move_b,
            with(order(2, "move", "c"), Supersede, None),
            "supersedes",
        ),
        (&move_b, with(order(2, "kill", "b"), Supersede, None), "neither"),
        (
            &of_another_program,
            with(order(2, "move", "c"), Supersede, None),
            "neither",
        ),
        // What starts something there is another order elsewhere: a loop over boards ends none of its own.
        (&run_b, with(order(2, "run", "c"), Supersede, None), "neither"),
        (&run_b, with(order(2, "run", "b"), Supersede, None), "supersedes"),
        (
            &keyed,
            with(order(2, "move", "b"), Coalesce, Some("night")),
            "joins",
        ),
        (
            &keyed,
            with(order(2, "move", "b"), Supersede, Some("night")),
            "supersedes",
        ),
        (
            &keyed,
            with(order(2, "kill", "x"), Coalesce, Some("day")),
            "neither",
        ),
        (
            &move_b,
            with(order(2, "move", "b"), Coalesce, Some("night")),
            "neither",
        ),
        // Its client is of the release before: it says nothing of what it asks for.
        (&of_before, with(order(2, "move", "b"), Coalesce, None), "neither"),
        (
            &of_before,
            with(order(2, "move", "c"), Supersede, None),
            "supersedes",
        ),
    ] {
        assert_eq!(beside(waiting, &order), becomes, "{waiting:?} {order:?}");
    }
}

#[test]
fn what_is_given_is_neither_joined_nor_superseded() {
    for policy in [QueuePolicy::Coalesce, QueuePolicy::Supersede] {
        let mut operations = Operations::default();
        operations.queue(&order(1, "move", "b"), 1);
        operations.commanded(&"a".parse().unwrap(), &command(1), None, 2);
        let later = with(order(2, "move", "b"), policy, None);
        assert_eq!(operations.queue(&later, 3), supersedes(&[]), "{policy:?}");
        // And who superseded it too late takes nothing away.
        let mut operations = Operations::default();
        operations.queue(&order(1, "move", "b"), 1);
        operations.queue(&with(order(2, "move", "c"), QueuePolicy::Supersede, None), 2);
        operations.commanded(&"a".parse().unwrap(), &command(1), None, 3);
        assert_eq!(operations.superseded_by(id(1)), None);
        assert!(operations.withdrawable(id(1)).is_err());
    }
}

#[test]
fn several_wait_and_the_first_of_them_is_joined_and_all_are_superseded() {
    let mut operations = Operations::default();
    operations.queue(&order(3, "move", "b"), 1);
    operations.queue(&order(2, "move", "b"), 2);
    let Admission::Joins(joined) =
        operations.queue(&with(order(4, "move", "b"), QueuePolicy::Coalesce, None), 3)
    else {
        panic!("it is given itself")
    };
    assert_eq!(joined.operation, id(3));
    let last = with(order(5, "move", "c"), QueuePolicy::Supersede, None);
    assert_eq!(operations.queue(&last, 4), supersedes(&[2, 3]));
    // Nobody joins what is superseded, and a later one supersedes this too.
    let late = with(order(6, "move", "b"), QueuePolicy::Coalesce, None);
    assert_eq!(operations.queue(&late, 5), supersedes(&[]));
    let latest = with(order(7, "move", "d"), QueuePolicy::Supersede, None);
    assert_eq!(operations.queue(&latest, 6), supersedes(&[2, 3, 5, 6]));
    // One that is superseded does not supersede its successor when its request comes again.
    assert_eq!(operations.queue(&last, 7), supersedes(&[2, 3, 6]));
    assert_eq!(operations.superseded_by(id(7)), None);
}

#[test]
fn a_superseded_order_ends_once_whoever_says_so() {
    use OperationState::{Cancelled, Failed};
    // Its client says so, one of the release before that knows nothing of it, and one that gives up at that
    // moment.
    for state in [Cancelled, Failed] {
        let mut operations = Operations::default();
        operations.queue(&order(1, "move", "b"), 1);
        operations.queue(&with(order(2, "move", "c"), QueuePolicy::Supersede, None), 2);
        assert_eq!(operations.get(id(1)).unwrap().word(), "waiting");
        for _ in 0..2 {
            operations.not_given(id(1), state, None, "withdrawn".into(), 3);
        }
        let record = operations.get(id(1)).unwrap();
        assert_eq!((record.state, record.word()), (Cancelled, SUPERSEDED));
        assert_eq!(
            record.reason.as_deref(),
            Some("superseded by operation 02020202 of ann@desk")
        );
        assert_eq!(operations.take_ended().len(), 1);
    }
    // Its client is gone.
    let mut operations = Operations::default();
    operations.queue(&order(1, "move", "b"), 1);
    operations.queue(&with(order(2, "move", "c"), QueuePolicy::Supersede, None), 2);
    operations.look(|_| None, 1 + 1_000 + ANSWER_GRACE_MS);
    let record = operations.get(id(1)).unwrap();
    assert_eq!((record.word(), record.is_inferred), (SUPERSEDED, true));
}

#[test]
fn an_order_waits_as_long_as_its_client_says_so() {
    let lapse_ms = 1_000 + ANSWER_GRACE_MS;
    let mut operations = Operations::default();
    let order = order(1, "move", "b");
    operations.queue(&order, 0);
    operations.take_changed();
    operations.waits(&order, 10_000);
    assert!(!operations.is_changed(), "nothing is written for it");
    operations.look(|_| None, lapse_ms);
    assert_eq!(operations.get(id(1)).unwrap().word(), "waiting");
    // A successor has not heard of it yet.
    let kept: BTreeMap<String, String> = [(id(1).to_string(), {
        operations.put_back([id(1)].into_iter());
        operations.take_changed().remove(0).1.unwrap()
    })]
    .into();
    let mut successor = Operations::read(kept.iter());
    successor.grant_time(1_000_000);
    successor.look(|_| None, 1_000_000);
    assert_eq!(successor.get(id(1)).unwrap().word(), "waiting");
    let same = with(super::tests::order(2, "move", "b"), QueuePolicy::Coalesce, None);
    assert!(matches!(successor.queue(&same, 1_000_001), Admission::Joins(_)));
    successor.look(|_| None, 1_000_000 + ANSWER_GRACE_MS);
    let record = successor.get(id(1)).unwrap();
    assert_eq!((record.word(), record.is_inferred), ("failed", true));
}

#[test]
fn an_order_that_was_not_given_in_time_has_expired() {
    let mut operations = Operations::default();
    operations.queue(&order(1, "move", "b"), 1);
    let (failed, error) = (OperationState::Failed, Some(EXPIRED.to_owned()));
    operations.not_given(id(1), failed, error, "not given within 10 min".into(), 2);
    let record = operations.get(id(1)).unwrap();
    assert_eq!((record.state, record.word()), (failed, EXPIRED));
    assert_eq!(
        operations.withdrawable(id(1)),
        Err(TooLate("operation 01010101 is expired already".into()))
    );
}
