//! Commands that stay on one engine, and the journal.

use wayfare_protocol::command::Action;
use wayfare_protocol::error::Failure;
use wayfare_protocol::ids::Term;
use wayfare_protocol::peer::PeerMessage;
use wayfare_protocol::status::ProgramState;

use super::bench::*;
use crate::types::{CaptureId, Effect, Input};

fn pause() -> Action {
    Action::Pause { on: on(1) }
}

fn kill() -> Action {
    Action::Kill { on: on(1) }
}

fn exited() -> Input {
    Input::Ended {
        program: program(1),
        state: ProgramState::Exited { code: 0 },
    }
}

#[test]
fn a_run_asks_its_client_for_what_is_lacking() {
    let mut bench = Bench::new("e1");
    for (input, expected) in [
        (
            command(1, run()),
            vec!["store accepted", "reply accepted", "say want"],
        ),
        (chunk("client", 1, "module"), vec!["keep chunk"]),
        (
            complete("module"),
            vec!["say ack", "load module", "progress compile"],
        ),
        (loaded(1), vec!["start frozen"]),
        (
            started(),
            vec!["store running", "unfreeze", "store done", "reply done"],
        ),
    ] {
        assert_eq!(bench.words(input.clone()), expected, "{input:?}");
    }
    assert_eq!(bench.state(), "running");
}

#[test]
fn a_run_whose_client_is_silent_fails_at_its_time_limit() {
    let mut bench = Bench::new("e1");
    bench.feed(command(1, run()));
    let words = bench.wait(31 * SECOND);
    assert_eq!(words[words.len() - 2..], ["store failed", "reply failed"]);
    assert!(words.contains(&"say want".to_owned()));
    assert_eq!(bench.words(chunk("client", 1, "module")), [""; 0]);
}

#[test]
fn the_time_that_a_module_takes_to_compile_is_not_the_time_of_its_run() {
    let mut bench = Bench::new("e1");
    bench.feed(command(1, run()));
    bench.feed(chunk("client", 1, "module"));
    bench.feed(complete("module"));
    let words = bench.wait(300 * SECOND);
    assert!(words.iter().all(|word| word == "progress compile"), "{words:?}");
    // Whoever waits hears of it well within the limit.
    assert!(words.len() >= 30, "{} words", words.len());
    assert_eq!(bench.words(loaded(1)), ["start frozen"]);
    let words = bench.wait(31 * SECOND);
    assert_eq!(words[words.len() - 2..], ["store failed", "reply failed"]);
}

#[test]
fn a_run_whose_module_is_bad_fails_with_the_reason() {
    let mut bench = Bench::new("e1");
    bench.feed(command(1, run()));
    bench.feed(chunk("client", 1, "module"));
    bench.feed(complete("module"));
    let failure = Failure::Module {
        module: blob("module").digest,
        reason: "not WebAssembly".into(),
    };
    let bad = Input::ModuleLoaded {
        operation: operation(1),
        result: Err(failure.clone()),
    };
    assert_eq!(bench.words(bad), ["store failed", "reply failed"]);
    assert_eq!(bench.failure(), failure);
    assert_eq!(bench.state(), "gone");
}

#[test]
fn a_damaged_blob_is_asked_for_again_and_given_up_in_the_end() {
    let mut bench = Bench::new("e1");
    bench.feed(command(1, run()));
    let damaged = || Input::BlobComplete {
        blob: blob("module"),
        intact: false,
    };
    for _ in 0..2 {
        bench.feed(chunk("client", 1, "module"));
        assert_eq!(bench.words(damaged()), ["say want", "say ack"]);
    }
    bench.feed(chunk("client", 1, "module"));
    assert_eq!(bench.words(damaged()), ["store failed", "reply failed"]);
    assert!(matches!(bench.failure(), Failure::Damaged { .. }));
}

#[test]
fn pause_and_resume_store_before_they_act() {
    let mut bench = Bench::running();
    for (input, expected, state) in [
        (
            command(2, pause()),
            vec!["store accepted", "reply accepted", "freeze and capture"],
            "running",
        ),
        (
            captured(1, "s"),
            vec!["store paused", "store done", "reply done"],
            "paused",
        ),
        (
            command(3, pause()),
            vec!["store failed", "reply failed"],
            "paused",
        ),
        (
            command(
                4,
                Action::Resume {
                    on: on(1),
                    force: false,
                },
            ),
            vec![
                "store accepted",
                "reply accepted",
                "store running",
                "unfreeze",
                "store done",
                "reply done",
            ],
            "running",
        ),
    ] {
        assert_eq!(bench.words(input.clone()), expected, "{input:?}");
        assert_eq!(bench.state(), state);
    }
}

#[test]
fn a_pause_that_fails_lets_the_program_run_on() {
    let mut bench = Bench::running();
    bench.feed(command(2, pause()));
    let failed = Input::Captured {
        program: program(1),
        capture: CaptureId(1),
        result: Err(Failure::Internal { reason: "no".into() }),
    };
    assert_eq!(bench.words(failed), ["unfreeze", "store failed", "reply failed"]);
    // So does one that comes too late.
    bench.feed(command(3, pause()));
    let words = bench.wait(31 * SECOND);
    assert_eq!(words, ["store failed", "reply failed"]);
    assert_eq!(bench.words(captured(2, "s")), ["unfreeze"]);
    assert_eq!(bench.state(), "running");
}

#[test]
fn the_same_command_twice_is_done_once() {
    let mut bench = Bench::running();
    bench.feed(command(2, pause()));
    assert_eq!(bench.words(command(2, pause())), ["reply accepted"]);
    bench.feed(captured(1, "s"));
    let answer = bench.effects.iter().find(|e| word(e) == "reply done").cloned();
    for _ in 0..2 {
        assert_eq!(bench.words(command(2, pause())), ["reply done"]);
        assert_eq!(bench.effects.first().cloned(), answer);
    }
    bench.restart();
    assert_eq!(bench.words(command(2, pause())), ["reply done"]);
    // A refusal is an answer as well.
    let unknown = || command(9, Action::Kill { on: on(8) });
    assert_eq!(bench.words(unknown()), ["store failed", "reply failed"]);
    assert_eq!(bench.words(unknown()), ["reply failed"]);
    assert_eq!(
        bench.words(command(2, kill())),
        ["reply failed"],
        "another command under an old id"
    );
}

#[test]
fn one_operation_at_a_time_but_a_kill_wins() {
    let mut bench = Bench::running();
    bench.feed(move_to(2, "e2"));
    for (number, action) in [
        (3, pause()),
        (4, Action::Snapshot { on: on(1) }),
        (
            5,
            Action::Move {
                on: on(1),
                target: peer("e3"),
            },
        ),
    ] {
        bench.feed(command(number, action));
        let busy = Failure::Busy {
            program: program(1),
            operation: operation(2),
        };
        assert_eq!(bench.failure(), busy);
    }
    assert_eq!(
        bench.words(command(6, kill())),
        [
            "store accepted",
            "reply accepted",
            "erase program",
            "discard",
            "clear",
            "say cancel",
            "store failed",
            "reply failed",
            "store done",
            "reply done"
        ]
    );
    assert_eq!(bench.state(), "gone");
}

#[test]
fn a_kill_in_doubt_is_not_safe() {
    let mut bench = Bench::offered();
    assert_eq!(bench.words(command(3, kill())), ["store failed", "reply failed"]);
    assert!(matches!(bench.failure(), Failure::Busy { .. }));
}

#[test]
fn a_kill_stops_a_run_that_is_under_way() {
    let mut bench = Bench::new("e1");
    bench.feed(command(1, run()));
    assert_eq!(
        bench.words(command(2, kill())),
        [
            "store accepted",
            "reply accepted",
            "store failed",
            "reply failed",
            "store done",
            "reply done"
        ]
    );
}

#[test]
fn a_program_that_ends_in_mid_move_fails_the_move() {
    let mut bench = Bench::running();
    bench.feed(move_to(2, "e2"));
    assert_eq!(
        bench.words(exited()),
        ["store ended", "say cancel", "store failed", "reply failed"]
    );
    assert!(matches!(bench.failure(), Failure::Ended { .. }));
    assert_eq!(bench.state(), "exited");
    let logs = Action::Logs {
        on: on(1),
        since: 0,
        follower: None,
    };
    assert_eq!(bench.words(command(3, logs)), ["reply logs"]);
    assert_eq!(
        bench.words(command(4, kill())),
        [
            "store accepted",
            "reply accepted",
            "erase program",
            "clear",
            "store done",
            "reply done"
        ]
    );
}

#[test]
fn a_command_for_another_generation_is_refused() {
    let mut bench = Bench::running();
    let mut stale = on(1);
    stale.generation = Some(wayfare_protocol::ids::Generation(7));
    bench.feed(command(2, Action::Kill { on: stale }));
    assert!(matches!(bench.failure(), Failure::StaleGeneration { .. }));
}

#[test]
fn a_snapshot_can_be_fetched_for_a_while() {
    let mut bench = Bench::running();
    assert_eq!(
        bench.words(command(2, Action::Snapshot { on: on(1) })),
        ["store accepted", "reply accepted", "capture"]
    );
    assert_eq!(bench.words(captured(1, "s")), ["store done", "reply done"]);
    let want = || {
        let missing = vec![blob("s").digest, blob("module").digest, blob("other").digest];
        says("client", 2, PeerMessage::Want { missing })
    };
    assert_eq!(bench.words(want()), ["send chunk", "send chunk"]);
    assert!(bench.core.blobs_in_use().contains(&blob("s").digest));
    assert_eq!(bench.words(acknowledges("client", 2, "s")), [""; 0]);
    bench.feed(acknowledges("client", 2, "module"));
    bench.wait(130 * SECOND);
    assert!(!bench.core.blobs_in_use().contains(&blob("s").digest));
    assert_eq!(bench.words(want()), ["say refused"]);
}

#[test]
fn a_checkpoint_is_stored_at_each_interval() {
    let mut bench = Bench::running();
    bench.core.identity.checkpoint_interval_us = Some(10 * SECOND);
    bench.core.plan_checkpoint(program(1));
    assert_eq!(bench.wait(11 * SECOND), ["capture"]);
    assert_eq!(bench.words(captured(1, "s")), ["store running"]);
    assert!(bench.core.blobs_in_use().contains(&blob("s").digest));
    assert_eq!(bench.wait(11 * SECOND), ["capture"]);
    bench.feed(captured(2, "t"));
    assert!(
        !bench.core.blobs_in_use().contains(&blob("s").digest),
        "the older one is let go"
    );
}

#[test]
fn every_change_of_state_is_published_once() {
    let mut bench = Bench::running();
    let published = |effects: &[Effect]| {
        let program = effects
            .iter()
            .filter(|e| matches!(e, Effect::PublishProgram(_)))
            .count();
        let engine = effects
            .iter()
            .filter(|e| matches!(e, Effect::PublishEngine { .. }))
            .count();
        (program, engine)
    };
    assert_eq!(published(bench.feed(move_to(2, "e2"))), (1, 1));
    assert_eq!(published(bench.feed(Input::Tick)), (0, 0));
    assert_eq!(published(bench.feed(Input::Connected)), (1, 1));
    let report = Input::Report {
        operation: operation(3),
        client: peer("client"),
    };
    assert_eq!(published(bench.feed(report)), (0, 1));
    let memory = Input::MemoryBytes {
        program: program(1),
        bytes: 5,
    };
    assert_eq!(published(bench.feed(memory)), (0, 0));
    bench.wait(6 * SECOND);
    assert_eq!(bench.core.statuses()[0].memory_bytes, 5);
}

/// So that what a broker brings back of an earlier connection is known by its number.
#[test]
fn what_is_published_on_a_connection_has_numbers_above_all_of_before() {
    let mut bench = Bench::running();
    let numbers = |effects: &[Effect]| {
        let of_program = |effect: &Effect| match effect {
            Effect::PublishProgram(status) => Some(status.sequence),
            _ => None,
        };
        let after = |effect: &Effect| match effect {
            Effect::PublishEngine { statuses_after, .. } => Some(*statuses_after),
            _ => None,
        };
        let all: Vec<u64> = effects.iter().filter_map(of_program).collect();
        (all, effects.iter().find_map(after))
    };
    let mut before = bench.core.statuses()[0].sequence;
    for connection in 0..3 {
        let (all, Some(after)) = numbers(bench.feed(Input::Connected)) else {
            panic!("nothing is said on connection {connection}");
        };
        assert!(
            before < after && all.len() == 1 && all[0] > after,
            "{before} {after} {all:?}"
        );
        let (changed, said) = numbers(bench.feed(command(10 + connection, Action::Pause { on: on(1) })));
        assert_eq!(said.unwrap_or(after), after, "the connection is the same");
        before = changed.into_iter().chain(all).max().unwrap();
    }
}

#[test]
fn a_status_that_another_has_overwritten_is_published_again_and_no_other() {
    let mut bench = Bench::running();
    let heard = |stands| Input::StatusHeard {
        program: program(1),
        stands,
    };
    let told = |effects: &[Effect]| -> Vec<u64> {
        let sequence = |effect: &Effect| match effect {
            Effect::PublishProgram(status) => Some(status.sequence),
            Effect::PublishEngine { .. } => panic!("nothing of the engine has changed"),
            _ => None,
        };
        effects.iter().filter_map(sequence).collect()
    };
    let before = bench.core.statuses()[0].sequence;
    assert!(
        told(bench.feed(heard(false))).is_empty(),
        "its own may be on its way"
    );
    bench.now += SECOND / 10;
    assert!(told(bench.feed(heard(true))).is_empty());
    bench.now += SECOND;
    assert!(told(bench.feed(Input::Tick)).is_empty(), "it came");
    assert_eq!(bench.core.next_wakeup(), None);
    // However often it is overwritten.
    for _ in 0..1_000 {
        bench.now += SECOND / 1_000;
        assert!(told(bench.feed(heard(false))).len() <= 1);
    }
    bench.now += SECOND;
    let again = told(bench.feed(Input::Tick));
    assert!(again.len() == 1 && again[0] > before, "{again:?}");
    let count = again[0] - before;
    assert!((2..=5).contains(&count), "{count} in two seconds");
    // Of what is not here, or was handed over, others say what is.
    let nobody = Input::StatusHeard {
        program: program(9),
        stands: false,
    };
    bench.feed(nobody);
    assert_eq!(bench.core.next_wakeup(), None);
}

/// Load goes with a status, and a status goes to whoever asks, and with what has changed.
#[test]
fn an_engine_that_nobody_asks_tells_nothing_for_a_day() {
    let mut bench = Bench::running();
    bench.feed(Input::MemoryBytes {
        program: program(1),
        bytes: 5,
    });
    let day = bench.now + 24 * 60 * 60 * SECOND;
    let mut told = 0;
    while let Some(at) = bench.core.next_wakeup().filter(|at| at.0 <= day) {
        bench.now = at.0;
        for effect in bench.feed(Input::Tick) {
            match effect {
                Effect::PublishEngine { .. } => told += 1,
                Effect::PublishProgram(status) => assert_eq!(status.memory_bytes, 5),
                Effect::Reply { .. } | Effect::Peer { .. } => panic!("{effect:?}"),
                _ => {}
            }
        }
    }
    assert_eq!(told, 1, "that it has more memory now, and nothing else");
}

#[test]
fn a_dispatcher_that_has_been_succeeded_is_not_obeyed() {
    let in_term = |number: u8, term: Option<u64>| {
        let Input::Command(mut command) = command(number, pause()) else {
            unreachable!("it is made as one");
        };
        command.term = term.map(Term);
        Input::Command(command)
    };
    let mut bench = Bench::new("e1");
    bench.feed(in_term(1, Some(2)));
    assert_eq!(bench.words(in_term(2, Some(1))), ["reply failed"]);
    let failure = Failure::StaleTerm {
        engine: peer("e1"),
        term: Term(1),
        actual: Term(2),
    };
    assert_eq!(bench.failure(), failure);
    for obeyed in [Some(2), None, Some(3)] {
        bench.words(in_term(3, obeyed));
        assert_ne!(bench.failure(), failure, "{obeyed:?}");
    }
}

/// The order of a dispatcher that was succeeded comes once more, late: its successor has the answer under the
/// same id.
#[test]
fn a_late_copy_of_an_order_that_was_carried_out_has_the_answer_that_it_had() {
    let in_term = |term: u64| {
        let Input::Command(mut command) = command(2, pause()) else {
            unreachable!("it is made as one");
        };
        command.term = Some(Term(term));
        Input::Command(command)
    };
    let mut bench = Bench::running();
    bench.feed(in_term(2));
    bench.feed(captured(1, "s"));
    assert_eq!(bench.words(in_term(3)), ["reply done"]);
    assert_eq!(bench.words(in_term(2)), ["reply done"]);
}
