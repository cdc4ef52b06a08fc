use std::collections::BTreeMap;

use wayfare_client::operations::OperationState;
use wayfare_protocol::command::{Action, Command, GivenCommand, Target};
use wayfare_protocol::error::Failure;
use wayfare_protocol::event::{Event, EventBody, Outcome};
use wayfare_protocol::ids::{BootId, OperationId, ProgramId, Term};

use super::super::WHOLE;
use super::*;

const LIMITS: OperationLimits = OperationLimits {
    operations_max: 100,
    age_ms: 60_000,
};
const NOW_MS: u64 = 1_000_000;

fn id(number: u8) -> OperationId {
    OperationId::from_bytes([number; 16])
}

fn engine() -> EngineId {
    "a".parse().unwrap()
}

fn program() -> ProgramId {
    ProgramId::from_bytes([9; 16])
}

fn killed() -> EventBody {
    EventBody::Done {
        outcome: Outcome::Killed { program: program() },
    }
}

fn failed() -> EventBody {
    EventBody::Failed {
        failure: Failure::Internal { reason: "no".into() },
    }
}

fn event(number: u8, body: EventBody) -> Event {
    Event {
        operation: id(number),
        engine: engine(),
        boot: BootId::from_random([1; 16]),
        verb: "kill".into(),
        program: Some(program()),
        body,
    }
}

fn entry(number: u8, body: EventBody, ended_ago_ms: Option<u64>) -> JournalEntry {
    JournalEntry {
        client: "c".parse().unwrap(),
        term: None,
        name: Some("p".into()),
        target: None,
        copy: None,
        ended_ago_ms,
        event: event(number, body),
    }
}

/// Known: an order that was heard and ended, one whose end was not heard, and one whose end was guessed.
fn known() -> Operations {
    let mut operations = Operations::default();
    operations.reported(&event(1, killed()), None, 10);
    operations.reported(&event(2, EventBody::Accepted), None, 20);
    operations.reported(&event(3, EventBody::Accepted), None, 30);
    let due_ms = operations.all[&id(2)].due_ms;
    operations.all.get_mut(&id(2)).unwrap().due_ms = u64::MAX;
    operations.look(
        |_| Some((OperationState::Failed, "it is there".into())),
        due_ms + 30,
    );
    operations.take_ended();
    operations
}

fn state(operations: &Operations, number: u8) -> Option<(OperationState, bool)> {
    let record = operations.get(id(number))?;
    Some((record.state, record.is_inferred))
}

#[test]
fn what_was_not_heard_is_as_the_engine_remembers_it_and_what_was_heard_stays() {
    use OperationState::{Done, Failed, Running};
    let mut operations = known();
    assert_eq!(state(&operations, 3), Some((Failed, true)));
    let journal = vec![
        entry(5, EventBody::Accepted, None),
        entry(4, failed(), Some(500)),
        entry(3, killed(), Some(700)),
        entry(2, killed(), Some(900)),
        // Whatever it says of what has had its end.
        entry(1, failed(), Some(1_000)),
    ];
    let mut recall = Recall::default();
    assert!(operations.recalled(&engine(), &mut recall, journal.clone(), LIMITS, NOW_MS));
    for (number, expected) in [(1, Done), (2, Done), (3, Done), (4, Failed), (5, Running)] {
        assert_eq!(state(&operations, number), Some((expected, false)), "{number}");
    }
    let missed = operations.get(id(4)).unwrap();
    assert_eq!(
        (missed.by.as_deref(), missed.name.as_deref(), missed.ended_ms),
        (Some("client c"), Some("p"), Some(NOW_MS - 500))
    );
    let ends = operations.take_ended().len();
    assert_eq!(ends, 3, "each is told once");
    // Asked again, nothing is news but what is under way.
    operations.recalled(&engine(), &mut recall, journal, LIMITS, NOW_MS + 1);
    assert!(operations.take_ended().is_empty());
    // Who gave it is known better once its client says it again.
    operations.commanded(
        &engine(),
        &GivenCommand {
            command: Command {
                operation: id(4),
                client: "c".parse().unwrap(),
                time_limit_ms: 1,
                action: Action::Kill {
                    on: Target {
                        program: program(),
                        generation: None,
                    },
                },
                term: None,
                boot: None,
            },
            by: Some("ann@desk".into()),
            batch: None,
        },
        None,
        NOW_MS + 2,
    );
    assert_eq!(operations.get(id(4)).unwrap().by.as_deref(), Some("ann@desk"));
    assert_eq!(state(&operations, 4), Some((Failed, false)));
}

#[test]
fn what_is_not_kept_any_more_does_not_come_back() {
    let mut operations = known();
    let mut recall = Recall::default();
    let by_the_dispatcher = JournalEntry {
        term: Some(Term(3)),
        ..entry(7, killed(), None)
    };
    let newest = vec![entry(8, killed(), Some(LIMITS.age_ms)), by_the_dispatcher];
    // When 7 ended is not known: that depends on what is older.
    assert!(operations.recalled(&engine(), &mut recall, newest, LIMITS, NOW_MS));
    assert_eq!((state(&operations, 8), state(&operations, 7)), (None, None));
    let older = vec![entry(2, killed(), None), entry(6, killed(), None)];
    assert!(operations.recalled(&engine(), &mut recall, older, LIMITS, NOW_MS));
    assert!(state(&operations, 7).is_some() && state(&operations, 6).is_none());
    assert_eq!(operations.get(id(7)).unwrap().by.as_deref(), Some(DISPATCHER));
    // Nothing older is known: 6 was forgotten.
    let oldest = Vec::new();
    operations.recalled(&engine(), &mut recall, oldest, LIMITS, NOW_MS);
    assert!(state(&operations, 6).is_none());
    // And nobody speaks for another engine.
    let other = "b".parse().unwrap();
    let foreign = vec![entry(9, killed(), Some(1))];
    assert!(!operations.recalled(&other, &mut Recall::default(), foreign, LIMITS, NOW_MS));
    assert!(state(&operations, 9).is_none());
}

#[test]
fn a_list_that_has_never_forgotten_takes_all_that_it_has_not_heard_of() {
    let nothing = BTreeMap::<String, String>::new();
    let mut operations = Operations::read(nothing.iter());
    let mut recall = Recall::default();
    let journal = vec![entry(2, killed(), None), entry(1, failed(), None)];
    assert!(operations.recalled(&engine(), &mut recall, journal.clone(), LIMITS, NOW_MS));
    assert!(state(&operations, 1).is_some() && state(&operations, 2).is_some());
    // Its successor knows that, until something is forgotten.
    let kept = BTreeMap::from([(WHOLE.to_owned(), "true".to_owned())]);
    assert!(Operations::read(kept.iter()).is_whole());
    operations.forget(LIMITS, NOW_MS + LIMITS.age_ms + 1);
    assert!(!operations.is_whole() && state(&operations, 1).is_none());
    operations.recalled(
        &engine(),
        &mut recall,
        journal,
        LIMITS,
        NOW_MS + LIMITS.age_ms + 1,
    );
    assert_eq!(state(&operations, 1), None);
}

#[test]
fn where_all_is_known_one_page_is_enough() {
    let mut operations = Operations::default();
    operations.reported(&event(1, killed()), None, 10);
    let mut recall = Recall::default();
    let page = vec![entry(1, killed(), None)];
    assert!(!operations.recalled(&engine(), &mut recall, page, LIMITS, NOW_MS));
}
