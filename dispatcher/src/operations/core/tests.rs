use wayfare_client::operations::{OperationsWanted, WaitingOrder};
use wayfare_protocol::command::{Command, Target};
use wayfare_protocol::error::Failure;
use wayfare_protocol::event::{MoveReport, Outcome, Phase};
use wayfare_protocol::ids::{BootId, Generation, ProgramId, Term};
use wayfare_protocol::limits::PAGE_BYTES_MAX;

use super::*;

const LIMITS: OperationLimits = OperationLimits {
    operations_max: 3,
    age_ms: 1_000,
};

fn id(number: u8) -> OperationId {
    OperationId::from_bytes([number; 16])
}

fn program() -> ProgramId {
    ProgramId::from_bytes([9; 16])
}

fn engine(name: &str) -> EngineId {
    name.parse().unwrap()
}

fn moving(operation: OperationId) -> GivenCommand {
    GivenCommand {
        command: Command {
            operation,
            client: "c".parse().unwrap(),
            time_limit_ms: 30_000,
            action: Action::Move {
                on: Target {
                    program: program(),
                    generation: None,
                },
                target: engine("b"),
            },
            term: None,
            boot: None,
        },
        by: Some("ann@desk".into()),
        batch: None,
    }
}

fn event(operation: OperationId, body: EventBody) -> Event {
    Event {
        operation,
        engine: engine("a"),
        boot: BootId::from_random([1; 16]),
        verb: "move".into(),
        program: Some(program()),
        body,
    }
}

fn moved() -> EventBody {
    EventBody::Done {
        outcome: Outcome::Moved {
            program: program(),
            generation: Generation(2),
            target: engine("b"),
            report: MoveReport::default(),
        },
    }
}

fn busy() -> EventBody {
    EventBody::Failed {
        failure: Failure::Internal { reason: "no".into() },
    }
}

fn progress() -> EventBody {
    EventBody::Progress {
        phase: Phase::Precopy,
        done_bytes: 1,
        total_bytes: 2,
    }
}

/// What may come of one move, in whatever order.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "a few, in a test")]
enum Step {
    Command,
    Event(EventBody),
    Look,
}

fn play(steps: &[Step]) -> (Operations, Vec<OperationRecord>) {
    let mut operations = Operations::default();
    for (at, step) in steps.iter().enumerate() {
        let now_ms = at as u64 * 100_000;
        match step {
            Step::Command => operations.commanded(&engine("a"), &moving(id(1)), Some("p".into()), now_ms),
            Step::Event(body) => operations.reported(&event(id(1), body.clone()), None, now_ms),
            Step::Look => operations.look(|_| Some((OperationState::Failed, "it is on a".into())), now_ms),
        }
    }
    let ended = operations.take_ended();
    (operations, ended)
}

#[test]
fn an_operation_has_one_end_in_whatever_order_and_however_often_it_is_heard() {
    use OperationState::{Done, Failed, Running, Waiting};
    let (accepted, progress) = (Step::Event(EventBody::Accepted), Step::Event(progress()));
    let (done, failed) = (Step::Event(moved()), Step::Event(busy()));
    let cases: [(&[Step], OperationState, usize); 11] = [
        (&[Step::Command], Waiting, 0),
        (&[Step::Command, Step::Command, accepted.clone()], Running, 0),
        (&[accepted.clone(), Step::Command], Running, 0),
        (
            &[Step::Command, accepted.clone(), progress.clone(), done.clone()],
            Done,
            1,
        ),
        (
            &[done.clone(), Step::Command, accepted.clone(), progress.clone()],
            Done,
            1,
        ),
        (
            &[
                progress.clone(),
                done.clone(),
                done.clone(),
                failed.clone(),
                Step::Command,
            ],
            Done,
            1,
        ),
        (
            &[Step::Command, failed.clone(), done.clone(), Step::Look],
            Failed,
            1,
        ),
        (
            &[failed.clone(), accepted.clone(), Step::Command, done.clone()],
            Failed,
            1,
        ),
        (
            &[
                Step::Command,
                accepted.clone(),
                Step::Look,
                Step::Look,
                progress.clone(),
            ],
            Failed,
            1,
        ),
        // Only the engine's own answer stands above an end that was seen.
        (
            &[Step::Command, Step::Look, done.clone(), failed.clone()],
            Done,
            2,
        ),
        (
            &[Step::Command, Step::Look, accepted.clone(), Step::Command],
            Failed,
            1,
        ),
    ];
    for (steps, state, ends) in cases {
        let (operations, ended) = play(steps);
        let record = operations.get(id(1)).unwrap();
        assert_eq!((record.state, ended.len()), (state, ends), "{steps:?}");
        assert_eq!(record.ended_ms.is_some(), state.is_final(), "{steps:?}");
        assert_eq!(operations.has_open(), !state.is_final(), "{steps:?}");
        if steps.iter().any(|step| matches!(step, Step::Command)) {
            assert_eq!(record.by.as_deref(), Some("ann@desk"), "{steps:?}");
            assert_eq!(
                (record.name.as_deref(), record.target.as_ref()),
                (Some("p"), Some(&engine("b"))),
                "{steps:?}"
            );
        }
    }
}

#[test]
fn what_was_kept_is_what_a_successor_goes_on_from() {
    let (mut operations, _) = play(&[Step::Command, Step::Event(EventBody::Accepted)]);
    let kept: BTreeMap<String, String> = operations
        .take_changed()
        .into_iter()
        .map(|(operation, json)| (operation.to_string(), json.unwrap()))
        .chain([
            ("torn".to_owned(), "{".to_owned()),
            (id(2).to_string(), "{}".to_owned()),
        ])
        .collect();
    let mut successor = Operations::read(kept.iter());
    assert_eq!(successor.get(id(1)), operations.get(id(1)));
    assert!(!successor.is_changed() && successor.has_open());
    // The answer came while nobody listened: the program's status tells.
    assert!(!successor.has_due(0) && successor.has_due(u64::MAX));
    successor.look(|_| None, u64::MAX / 2);
    assert!(successor.has_open(), "in doubt");
    successor.look(|_| Some((OperationState::Done, "it is on b".into())), u64::MAX);
    let record = successor.get(id(1)).unwrap();
    assert_eq!((record.state, record.is_inferred), (OperationState::Done, true));
    assert!(successor.is_changed() && successor.take_ended().len() == 1);
}

#[test]
fn an_order_that_waits_can_be_withdrawn_until_it_is_given() {
    let order = WaitingOrder {
        operation: id(1),
        verb: "move".into(),
        program: Some("p".into()),
        engine: Some("b".into()),
        by: Some("ann@desk".into()),
        time_limit_ms: 1_000,
        queueing: None,
        same: None,
        lease_ms: None,
    };
    let mut operations = Operations::default();
    assert!(operations.withdrawable(id(1)).is_err());
    operations.waits(&order, 5);
    operations.waits(&order, 6);
    assert_eq!(operations.withdrawable(id(1)), Ok(()));
    operations.not_given(id(1), OperationState::Cancelled, None, "by bob".into(), 7);
    operations.not_given(id(1), OperationState::Failed, None, "again".into(), 8);
    let record = operations.get(id(1)).unwrap();
    assert_eq!(
        (record.state, record.ended_ms),
        (OperationState::Cancelled, Some(7))
    );
    assert_eq!(operations.take_ended().len(), 1);

    let mut operations = Operations::default();
    operations.waits(&order, 5);
    operations.commanded(&engine("a"), &moving(id(1)), None, 6);
    let late = operations.withdrawable(id(1)).unwrap_err().0;
    assert!(late.contains("a has the command to move"), "{late}");
    operations.not_given(id(1), OperationState::Cancelled, None, "too late".into(), 7);
    assert_eq!(operations.get(id(1)).unwrap().state, OperationState::Waiting);
    operations.reported(&event(id(1), moved()), None, 8);
    let record = operations.get(id(1)).unwrap();
    assert_eq!((record.state, record.begun_ms), (OperationState::Done, 5));

    let mut operations = Operations::default();
    operations.waits(&order, 5);
    operations.look(|_| None, 5 + 1_000 + ANSWER_GRACE_MS);
    assert_eq!(
        operations.get(id(1)).unwrap().state,
        OperationState::Failed,
        "its client is gone"
    );
}

#[test]
fn what_reads_and_what_applications_do_all_the_time_is_no_operation() {
    let on = Target {
        program: program(),
        generation: None,
    };
    let given = |action, term| GivenCommand {
        command: Command {
            action,
            term,
            ..moving(id(1)).command
        },
        by: None,
        batch: None,
    };
    let logs = Action::Logs {
        on,
        since: 0,
        follower: None,
    };
    let mut operations = Operations::default();
    operations.commanded(&engine("a"), &given(logs, None), None, 0);
    operations.commanded(
        &engine("a"),
        &given(Action::Snapshot { on }, Some(Term(1))),
        None,
        0,
    );
    for verb in ["logs", "report", "snapshot"] {
        let event = Event {
            verb: verb.into(),
            ..event(id(1), EventBody::Accepted)
        };
        operations.reported(&event, None, 0);
    }
    assert!(operations.get(id(1)).is_none());
    operations.commanded(&engine("a"), &given(Action::Kill { on }, Some(Term(1))), None, 0);
    assert_eq!(operations.get(id(1)).unwrap().by.as_deref(), Some(DISPATCHER));
    operations.commanded(&engine("a"), &given(Action::Kill { on }, None), None, 0);
    assert_eq!(
        operations.get(id(1)).unwrap().by.as_deref(),
        Some(DISPATCHER),
        "a repeat"
    );
}

#[test]
fn the_oldest_are_forgotten_and_those_under_way_last() {
    let mut operations = Operations::default();
    for number in 1..=5 {
        operations.commanded(&engine("a"), &moving(id(number)), None, u64::from(number));
        if number != 1 {
            operations.reported(&event(id(number), moved()), None, u64::from(number));
        }
    }
    let there = |operations: &Operations| -> Vec<u8> {
        (1..=9)
            .filter(|number| operations.get(id(*number)).is_some())
            .collect()
    };
    operations.take_changed();
    operations.forget_many(LIMITS, 10);
    assert_eq!(there(&operations), [1, 4, 5]);
    let gone = operations.take_changed();
    assert_eq!(gone, [(id(2), None), (id(3), None)]);
    operations.forget(LIMITS, 1_005);
    assert_eq!(there(&operations), [1, 5], "too old, and under way");
    for number in 6..=9 {
        operations.commanded(&engine("a"), &moving(id(number)), None, u64::from(number));
    }
    operations.forget(LIMITS, 10);
    assert_eq!(there(&operations), [7, 8, 9], "too many are under way");
}

#[test]
fn pages_have_the_latest_first_and_only_what_is_wanted() {
    let mut operations = Operations::default();
    for number in 1..=200 {
        operations.commanded(
            &engine("a"),
            &moving(id(number)),
            Some("p".into()),
            u64::from(number),
        );
    }
    operations.reported(&event(id(7), moved()), None, 7);
    let all = |wanted: OperationsWanted| -> Vec<u64> {
        let mut found: Vec<OperationRecord> = Vec::new();
        loop {
            let page = operations.page(&OperationsWanted {
                after: found.last().map(OperationRecord::place),
                ..wanted.clone()
            });
            assert!(serde_json::to_vec(&page).unwrap().len() < PAGE_BYTES_MAX + 64 * 200);
            found.extend(page.operations);
            if !page.more {
                return found.iter().map(|record| record.begun_ms).collect();
            }
        }
    };
    let wanted = OperationsWanted::default;
    assert_eq!(all(wanted()), (1..=200).rev().collect::<Vec<u64>>());
    let since_ms = Some(199);
    assert_eq!(all(OperationsWanted { since_ms, ..wanted() }), [200, 199]);
    let state = Some(OperationState::Done);
    assert_eq!(all(OperationsWanted { state, ..wanted() }), [7]);
    for (engine, by, program, count) in [
        (Some("b"), None, None, 200),
        (Some("c"), None, None, 0),
        (None, Some("ann"), Some("p"), 200),
        (None, Some("bob"), None, 0),
        (None, None, Some("0909"), 200),
        (None, None, Some("q"), 0),
    ] {
        let wanted = OperationsWanted {
            engine: engine.map(str::to_owned),
            by: by.map(str::to_owned),
            program: program.map(str::to_owned),
            ..wanted()
        };
        assert_eq!(all(wanted.clone()).len(), count, "{wanted:?}");
    }
    assert!(
        operations.find("0101").is_ok() && operations.find("zz").is_err() && operations.find("").is_err()
    );
}

/// There is no record of it: whoever asks for it gets the sum of its parts.
#[test]
fn a_batch_is_what_its_parts_are() {
    let mut operations = Operations::default();
    let batch = id(0xba);
    for part in [1, 2] {
        let given = GivenCommand {
            batch: Some(batch),
            ..moving(id(part))
        };
        operations.commanded(&engine("a"), &given, None, u64::from(part));
    }
    operations.commanded(&engine("a"), &moving(id(3)), None, 3);
    let shown = |operations: &Operations| operations.shown("baba").unwrap();
    assert_eq!(
        (shown(&operations).state, shown(&operations).begun_ms),
        (OperationState::Running, 1)
    );
    let gone = EventBody::Failed {
        failure: Failure::Internal {
            reason: "gone".into(),
        },
    };
    let killed = Outcome::Killed { program: program() };
    operations.reported(&event(id(1), EventBody::Done { outcome: killed }), None, 10);
    operations.reported(&event(id(2), gone), None, 20);
    let record = shown(&operations);
    assert_eq!(
        (record.state, record.ended_ms),
        (OperationState::Failed, Some(20))
    );
    assert_eq!(record.by.as_deref(), Some("ann@desk"));
    assert_eq!(record.reason.as_deref(), Some("1 of 2 operations failed"));
    let wanted = OperationsWanted {
        batch: Some("BABA".into()),
        ..OperationsWanted::default()
    };
    assert_eq!(operations.page(&wanted).operations.len(), 2);
    assert!(operations.shown("bb").is_err(), "nobody has given that");
}
