//! When a program begins another life: what it numbers is no repeat from then on.

use wayfare_protocol::command::Action;
use wayfare_protocol::grants::Grants;
use wayfare_protocol::ids::{Generation, Term};

use super::bench::*;
use crate::types::{Effect, Input, Record, RecordKey};

/// As which generations lives began, by the programs that are started or run on.
fn begun(effects: &[Effect]) -> Vec<u64> {
    let begun = effects.iter().filter_map(|effect| match effect {
        Effect::Start { begun, .. } | Effect::Unfreeze { begun, .. } => Some(begun.0),
        _ => None,
    });
    begun.collect()
}

fn of_topics() -> Grants {
    Grants {
        subscribe: vec!["in".into()],
        ..Grants::default()
    }
}

fn of_calls() -> Grants {
    Grants {
        serve: vec!["shop".into()],
        ..Grants::default()
    }
}

#[test]
fn a_start_begins_a_life_unless_the_acting_dispatcher_lets_it_go_on_from_a_checkpoint() {
    let (nothing, topics, calls) = (Grants::default(), of_topics(), of_calls());
    for (snapshot, generation, acts, grants, expected) in [
        (false, None, false, &nothing, 1),
        (false, Some(1001), true, &nothing, 1001),
        (true, Some(1001), true, &nothing, 0),
        // What it was sent since is lost: what it does from here on is something else.
        (true, Some(1001), true, &topics, 1001),
        (true, Some(1001), true, &calls, 1001),
        (true, Some(1001), false, &nothing, 1001),
        (true, None, false, &nothing, 1),
    ] {
        let mut bench = Bench::new("e1");
        let mut spec = spec();
        *spec.grants = grants.clone();
        let run = Action::Run {
            program: program(1),
            spec,
            snapshot: snapshot.then(|| blob("snapshot")),
            generation: generation.map(Generation),
            follower: None,
        };
        let Input::Command(mut command) = command(1, run) else {
            unreachable!()
        };
        command.term = acts.then_some(Term(1));
        bench.feed(Input::Command(command));
        bench.feed(chunk("client", 1, "module"));
        bench.feed(complete("module"));
        bench.feed(chunk("client", 1, "snapshot"));
        bench.feed(complete("snapshot"));
        bench.feed(loaded(1));
        if snapshot {
            bench.feed(Input::SnapshotVerified {
                operation: operation(1),
                result: Ok(()),
            });
        }
        let what = format!("{snapshot} {generation:?} {acts} {grants:?}");
        assert_eq!(begun(&bench.effects), [expected], "{what}");
        bench.feed(started());
        assert_eq!(begun(&bench.effects), [expected], "{what}");
        bench.restart();
        assert_eq!(begun(&bench.effects), [expected], "{what}, after a restart");
    }
}

#[test]
fn a_program_that_is_taken_back_by_force_begins_a_life() {
    let mut bench = Bench::offered();
    let force = true;
    bench.feed(command(4, Action::Resume { on: on(1), force }));
    assert_eq!(begun(&bench.effects), [1001]);
    bench.restart();
    assert_eq!(begun(&bench.effects), [1001], "from the state that was offered");
}

#[test]
fn a_program_of_an_earlier_release_goes_on_with_its_life() {
    let mut bench = Bench::running();
    let key = RecordKey::Program(program(1));
    let mut json = serde_json::to_value(&bench.records[&key]).unwrap();
    assert!(json.as_object_mut().unwrap().remove("begun").is_some());
    let record: Record = serde_json::from_value(json).unwrap();
    bench.records.insert(key, record);
    bench.restart();
    assert_eq!(begun(&bench.effects), [0]);
}

/// An engine that was away may have a copy of the generation that this one has replaced.
#[test]
fn a_program_that_has_replaced_a_copy_leaves_a_tombstone_when_it_is_killed() {
    for (generation, expected) in [
        (None, None),
        (Some(1000), None),
        (Some(1001), Some(Generation(1001))),
    ] {
        let mut bench = Bench::new("e1");
        let run = Action::Run {
            program: program(1),
            spec: spec(),
            snapshot: None,
            generation: generation.map(Generation),
            follower: None,
        };
        bench.feed(command(1, run));
        bench.feed(chunk("client", 1, "module"));
        bench.feed(complete("module"));
        bench.feed(loaded(1));
        bench.feed(started());
        bench.feed(command(2, Action::Kill { on: on(1) }));
        let left = bench.effects.iter().find_map(|effect| match effect {
            Effect::ClearProgram { tombstone, .. } => Some(tombstone.clone()),
            _ => None,
        });
        let left = left.expect("its status does not stay");
        assert!(
            left.iter().all(|left| left.is_tombstone_of_an_engine()),
            "{left:?}"
        );
        assert_eq!(left.map(|left| left.generation), expected);
    }
}
