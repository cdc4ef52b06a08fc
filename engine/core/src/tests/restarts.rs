//! What an engine makes of its records.

use wayfare_protocol::command::Action;
use wayfare_protocol::error::Failure;
use wayfare_protocol::peer::PeerMessage;

use super::bench::*;
use crate::types::{Disk, Effect, Input, Now, Record, RecordKey};

fn ok(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

#[test]
fn a_running_program_is_started_again() {
    let mut bench = Bench::running();
    assert_eq!(ok(&bench.restart()), ["start"]);
    assert_eq!(bench.state(), "starting");
    assert_eq!(bench.words(started()), [""; 0]);
    assert_eq!(bench.state(), "running");
}

#[test]
fn a_paused_program_stays_paused() {
    let mut bench = Bench::running();
    bench.feed(command(2, Action::Pause { on: on(1) }));
    bench.feed(captured(1, "s"));
    assert_eq!(ok(&bench.restart()), ["start frozen"]);
    bench.feed(started());
    assert_eq!(bench.state(), "paused");
}

#[test]
fn an_accepted_move_is_begun_anew() {
    let mut bench = Bench::running();
    bench.feed(move_to(2, "e2"));
    bench.feed(acknowledges("e2", 2, "module"));
    assert_eq!(ok(&bench.restart()), ["start", "say prepare"]);
    assert_eq!(
        bench.words(acknowledges("e2", 2, "module")),
        [""; 0],
        "it is not up yet"
    );
    assert_eq!(bench.words(started()), ["capture"]);
}

#[test]
fn a_restart_in_doubt_asks_again_and_starts_nothing() {
    let mut bench = Bench::offered();
    assert_eq!(ok(&bench.restart()), ["say commit"]);
    assert_eq!(bench.state(), "in doubt");
    assert_eq!(
        bench.words(says("e2", 2, refused())),
        ["store running", "start", "store failed", "reply failed"]
    );
    let mut bench = Bench::offered();
    bench.restart();
    assert_eq!(
        bench.words(says("e2", 2, adopted(2))),
        ["store done", "reply done", "erase program"]
    );
}

#[test]
fn a_forced_resume_after_a_restart_starts_from_the_offer() {
    let mut bench = Bench::offered();
    bench.restart();
    let resume = Action::Resume {
        on: on(1),
        force: true,
    };
    assert_eq!(
        bench.words(command(3, resume)),
        [
            "store accepted",
            "reply accepted",
            "store running",
            "start",
            "say cancel",
            "store failed",
            "reply failed"
        ]
    );
    assert_eq!(bench.words(started()), ["store done", "reply done"]);
}

#[test]
fn a_crash_between_answer_and_erasure_does_not_bring_the_program_back() {
    let mut bench = Bench::offered();
    let before = bench.records.clone();
    bench.feed(says("e2", 2, adopted(2)));
    let key = RecordKey::Program(program(1));
    bench.records.insert(key, before[&key].clone());
    assert_eq!(ok(&bench.restart()), ["erase program"]);
    assert_eq!(bench.state(), "gone");
}

#[test]
fn a_crash_between_adoption_and_verdict_does_not_lose_the_program() {
    let mut bench = Bench::new("e2");
    let mut source = Bench::running();
    // What operation 2 brought is stored; its verdict is not.
    let Some(Record::Program(mut record)) = source.records.remove(&RecordKey::Program(program(1))) else {
        panic!("it runs");
    };
    record.arrived = operation(2);
    let record = Record::Program(record);
    bench.records.insert(record.key(), record);
    assert_eq!(ok(&bench.restart()), ["store adopted", "start"]);
    assert_eq!(bench.words(says("e1", 2, commit())), ["say adopted"]);
}

#[test]
fn a_wiped_engine_knows_nothing_and_refuses_what_it_had_not_answered() {
    let mut bench = Bench::running();
    bench.records.clear();
    assert_eq!(ok(&bench.restart()), [""; 0]);
    assert_eq!(bench.state(), "gone");
    // Whether it had adopted what its source asks about, it cannot say: so the source goes on.
    for question in [commit(), PeerMessage::Query, commit()] {
        let words = bench.words(says("e2", 9, question));
        assert_eq!(words.last().map(String::as_str), Some("say refused"));
    }
    assert_eq!(ok(&bench.restart()), [""; 0]);
    assert_eq!(bench.words(says("e2", 9, commit())), ["say refused"]);
}

/// 7 is the process that is asked, 6 was there before it on the same folder, and of 5 the folder is lost.
#[test]
fn what_was_ordered_before_an_engine_lost_its_folder_is_not_done_by_it() {
    let taken = ["store accepted", "reply accepted"];
    for (boot, is_taken) in [(Some(7), true), (Some(6), true), (None, true), (Some(5), false)] {
        let mut bench = Bench::new("e1");
        let words = bench.words(command_for(boot, 1, run()));
        assert_eq!(
            words.starts_with(&taken.map(str::to_owned)),
            is_taken,
            "{boot:?}: {words:?}"
        );
        if !is_taken {
            assert_eq!(words, ["reply failed"], "and nothing is remembered of it");
            assert!(matches!(bench.failure(), Failure::Forgotten { .. }));
            assert_eq!(bench.words(command_for(boot, 1, run())), ["reply failed"]);
        }
    }
    let logs = Action::Logs {
        on: on(1),
        since: 0,
        follower: None,
    };
    let mut bench = Bench::running();
    for action in [run(), Action::Kill { on: on(1) }, Action::Pause { on: on(1) }] {
        assert_eq!(bench.words(command_for(Some(5), 2, action)), ["reply failed"]);
        assert!(matches!(bench.failure(), Failure::Forgotten { .. }));
    }
    assert_eq!(bench.state(), "running", "it began after that");
    assert_eq!(bench.words(command_for(Some(5), 3, logs)), ["reply logs"]);
    // What is in its records was meant for it, whatever it knows of processes before.
    assert_eq!(bench.words(command_for(Some(5), 1, run())), ["reply done"]);
}

#[test]
fn operations_that_were_done_are_answered_as_done() {
    // The answer itself did not get stored before the crash.
    let forget_answer = |bench: &mut Bench, number: u8| {
        let key = RecordKey::Operation(operation(number));
        if let Some(Record::Operation(record)) = bench.records.get_mut(&key) {
            record.answer = None;
        }
    };
    let mut bench = Bench::running();
    forget_answer(&mut bench, 1);
    assert_eq!(ok(&bench.restart()), ["start", "store done", "reply done"]);

    let mut bench = Bench::running();
    bench.feed(command(2, Action::Pause { on: on(1) }));
    bench.feed(captured(1, "s"));
    forget_answer(&mut bench, 2);
    assert_eq!(ok(&bench.restart()), ["start frozen", "store done", "reply done"]);

    bench.feed(started());
    let resume = Action::Resume {
        on: on(1),
        force: false,
    };
    bench.feed(command(3, resume));
    forget_answer(&mut bench, 3);
    assert_eq!(ok(&bench.restart()), ["start", "store done", "reply done"]);

    bench.feed(command(4, Action::Kill { on: on(1) }));
    forget_answer(&mut bench, 4);
    assert_eq!(ok(&bench.restart()), ["store done", "reply done"]);
}

#[test]
fn a_move_that_was_overtaken_by_a_kill_is_not_begun_anew() {
    let mut bench = Bench::running();
    bench.feed(move_to(2, "e2"));
    let before = bench.records.clone();
    bench.feed(command(3, Action::Kill { on: on(1) }));
    // A crash right after the kill was accepted.
    let key = RecordKey::Operation(operation(3));
    let Record::Operation(mut kill) = bench.records[&key].clone() else {
        panic!("it was accepted");
    };
    kill.answer = None;
    bench.records = before;
    bench.records.insert(key, Record::Operation(kill));
    assert_eq!(
        ok(&bench.restart()),
        [
            "start",
            "store failed",
            "reply failed",
            "erase program",
            "discard",
            "clear",
            "store done",
            "reply done"
        ]
    );
}

#[test]
fn a_program_that_cannot_be_started_again_has_failed() {
    let mut bench = Bench::running();
    bench.restart();
    let failed = Input::Started {
        program: program(1),
        result: Err(Failure::Internal {
            reason: "its module is gone".into(),
        }),
    };
    assert_eq!(bench.words(failed), ["store ended"]);
    assert_eq!(bench.state(), "failed");
}

#[test]
fn an_unanswered_spawn_asks_the_target_what_became_of_it() {
    let mut bench = Bench::running();
    let spawn = Action::Spawn {
        on: on(1),
        target: peer("e2"),
        copy: program(2),
        copy_name: "copy".into(),
    };
    bench.feed(command(2, spawn));
    assert_eq!(ok(&bench.restart()), ["start", "say cancel"]);
    let again = bench.records.clone();
    assert_eq!(
        bench.words(says("e2", 2, adopted(1))),
        ["store done", "reply done"]
    );
    bench.records = again;
    bench.restart();
    assert_eq!(
        bench.words(says("e2", 2, refused())),
        ["store failed", "reply failed"]
    );
    assert!(matches!(bench.failure(), Failure::Interrupted { .. }));
}

#[test]
fn what_was_taken_before_a_restart_goes_on_whatever_the_disk_is_like() {
    let take = |bench: &Bench, input: Input, disk| {
        let Input::Command(command) = input else {
            panic!("it is a command")
        };
        bench.core.may_take(&command, disk).is_ok()
    };
    let pause = |number| command(number, Action::Pause { on: on(1) });
    let mut bench = Bench::running();
    bench.feed(pause(2));
    bench.restart();
    for (disk, new_run, new_pause) in [
        (Disk::HasRoom, true, true),
        (Disk::Full, false, true),
        (Disk::Stalled, false, false),
    ] {
        assert!(take(&bench, command(1, run()), disk), "answered: {disk:?}");
        assert!(take(&bench, pause(2), disk), "under way: {disk:?}");
        assert_eq!(take(&bench, command(8, run()), disk), new_run, "{disk:?}");
        assert_eq!(take(&bench, pause(9), disk), new_pause, "{disk:?}");
    }
}

#[test]
fn a_program_that_cannot_go_on_from_its_snapshot_keeps_it_until_it_is_killed() {
    let mut bench = Bench::running();
    bench.feed(Input::Stopping);
    bench.feed(captured(1, "s"));
    assert_eq!(ok(&bench.restart()), ["start"]);
    let failure = Failure::Module {
        module: blob("module").digest,
        reason: "its resuming code is too large".into(),
    };
    let failed = Input::Started {
        program: program(1),
        result: Err(failure),
    };
    assert_eq!(bench.words(failed), ["store ended"]);
    let kept = |bench: &Bench| bench.core.blobs_in_use().contains(&blob("s").digest);
    assert!(kept(&bench));
    assert_eq!(ok(&bench.restart()), [""; 0], "it has ended");
    assert!(kept(&bench) && bench.core.blobs.has(blob("s")));
    assert_eq!(bench.state(), "failed");
    bench.feed(command(2, Action::Kill { on: on(1) }));
    assert!(!kept(&bench));
}

#[test]
fn an_engine_that_ends_stores_a_program_that_moves_and_goes_on_with_its_move() {
    let mut bench = Bench::running();
    bench.feed(move_to(2, "e2"));
    assert_eq!(bench.words(Input::Stopping), ["freeze and capture"]);
    assert!(bench.core.hands_over(Now(bench.now)));
    assert_eq!(bench.words(captured(1, "s")), ["store running"]);
    assert_eq!(
        bench.words(acknowledges("e2", 2, "module")),
        ["freeze and capture"]
    );
    bench.feed(captured(2, "base"));
    assert_eq!(bench.words(acknowledges("e2", 2, "base")), ["freeze and capture"]);
    let offered = bench.words(captured(3, "final"));
    assert!(offered.contains(&"say commit".to_owned()), "{offered:?}");
    let adopted = bench.words(says("e2", 2, adopted(2)));
    assert_eq!(adopted, ["store done", "reply done", "erase program", "discard"]);
    assert!(!bench.core.hands_over(Now(bench.now)));
}

#[test]
fn a_move_that_the_end_of_its_engine_overtakes_is_begun_anew_with_the_live_program() {
    let mut bench = Bench::running();
    bench.feed(move_to(2, "e2"));
    bench.feed(acknowledges("e2", 2, "module"));
    // Its base is being captured: first that, then what the next start goes on from, once.
    assert_eq!(bench.words(Input::Stopping), [""; 0]);
    let words = bench.words(captured(1, "base"));
    assert!(words.contains(&"freeze and capture".to_owned()), "{words:?}");
    assert_eq!(bench.words(captured(2, "s")), ["store running"]);
    assert_eq!(ok(&bench.restart()), ["start", "say prepare"]);
    let saved = bench.effects.iter().find_map(|effect| match effect {
        Effect::Start { saved, .. } => *saved,
        _ => None,
    });
    assert_eq!(saved.map(|saved| saved.snapshot), Some(blob("s")));
}

#[test]
fn a_program_that_comes_back_to_an_engine_that_ends_stands_still_as_it_was_stored() {
    let mut bench = Bench::offered();
    bench.feed(Input::Stopping);
    let words = bench.words(says("e2", 2, refused()));
    assert!(words.contains(&"store running".to_owned()), "{words:?}");
    assert!(!words.contains(&"unfreeze".to_owned()), "{words:?}");
}

#[test]
fn a_silent_target_is_not_waited_for_by_an_engine_that_ends() {
    let mut bench = Bench::running();
    bench.feed(move_to(2, "e2"));
    bench.wait(3_000_000);
    assert!(!bench.core.hands_over(Now(bench.now)));
}
