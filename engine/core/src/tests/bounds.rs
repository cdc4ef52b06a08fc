//! Nothing that comes from outside makes the core panic, or grow without bound.

use std::collections::BTreeSet;

use wayfare_protocol::command::Action;
use wayfare_protocol::error::Failure;
use wayfare_protocol::event::EventBody;
use wayfare_protocol::ids::{Blob, Digest, Generation, OperationId, ProgramId};
use wayfare_protocol::journal::{ENTRIES_PER_ANSWER, JournalEntry};
use wayfare_protocol::limits::{LISTED_BYTES_MAX, REASON_BYTES_MAX};
use wayfare_protocol::peer::{Envelope, PeerMessage};
use wayfare_protocol::status::ProgramState;
use wayfare_protocol::wire;

use super::bench::*;
use super::random::Random;
use crate::timing::{ARRIVALS_MAX, ENDED_PROGRAMS_MAX, FINISHED_OPERATIONS_MAX, VERDICTS_MAX};
use crate::types::{CaptureId, Effect, Input, Now, Record, RecordKey};

fn count(bench: &Bench, wanted: impl Fn(&RecordKey) -> bool) -> usize {
    bench.records.keys().filter(|key| wanted(key)).count()
}

#[test]
fn the_oldest_answers_are_forgotten() {
    let mut bench = Bench::running();
    let mut random = Random::new(1);
    for _ in 0..FINISHED_OPERATIONS_MAX + 50 {
        let Input::Command(mut kill) = command(0, Action::Kill { on: on(9) }) else {
            unreachable!()
        };
        kill.operation = OperationId::from_random(random.bytes());
        bench.feed(Input::Command(kill));
    }
    let operations = count(&bench, |k| matches!(k, RecordKey::Operation(_)));
    assert_eq!(operations, FINISHED_OPERATIONS_MAX);
    assert!(!bench.records.contains_key(&RecordKey::Operation(operation(1))));
}

#[test]
fn the_journal_is_told_from_its_newest_order_on_with_when_each_ended() {
    let mut bench = Bench::running();
    bench.wait(SECOND);
    let orders = 2 * ENTRIES_PER_ANSWER;
    for number in 0..orders {
        // There is no such program: each is refused, which is an answer.
        bench.feed(command(100 + number as u8, Action::Kill { on: on(9) }));
    }
    bench.wait(SECOND);
    bench.feed(move_to(2, "e2"));
    bench.feed(command(3, Action::Snapshot { on: on(1) }));
    let pages = |bench: &Bench| {
        let (mut all, mut sizes, mut before) = (Vec::new(), Vec::new(), None);
        loop {
            let page = bench.core.journal(before, Now(bench.now));
            sizes.push(page.entries.len());
            all.extend(page.entries);
            before = page.next;
            if before.is_none() {
                return (all, sizes);
            }
        }
    };
    let (all, sizes) = pages(&bench);
    assert!(sizes.iter().all(|size| *size <= ENTRIES_PER_ANSWER), "{sizes:?}");
    let operations: Vec<OperationId> = all.iter().map(|entry| entry.event.operation).collect();
    let mut expected = vec![operation(2)];
    expected.extend((0..orders).rev().map(|number| operation(100 + number as u8)));
    assert_eq!(operations[..expected.len()], expected, "without what only reads");
    assert_eq!(all[0].event.body, EventBody::Accepted);
    assert_eq!(
        (all[0].ended_ago_ms, &all[0].target),
        (None, &Some("e2".parse().unwrap()))
    );
    assert_eq!(all[1].ended_ago_ms, Some(1_000));
    assert!(all[1].event.body.is_final());
    // That is not known across a restart.
    bench.restart();
    let (again, _) = pages(&bench);
    let of = |all: &[JournalEntry]| {
        all[1..]
            .iter()
            .map(|entry| entry.event.operation)
            .collect::<Vec<_>>()
    };
    assert_eq!(of(&again), of(&all));
    assert_eq!(again[1].ended_ago_ms, None);
}

#[test]
fn the_oldest_verdicts_are_forgotten_but_never_about_programs_that_are_here() {
    let mut bench = Bench::new("e2");
    bench.feed(says("e1", 2, prepare(2)));
    bench.feed(chunk("e1", 2, "module"));
    bench.feed(complete("module"));
    bench.feed(loaded(2));
    bench.feed(chunk("e1", 2, "base"));
    bench.feed(complete("base"));
    bench.feed(says("e1", 2, commit()));
    bench.feed(chunk("e1", 2, "final"));
    bench.feed(complete("final"));
    bench.feed(Input::SnapshotVerified {
        operation: operation(2),
        result: Ok(()),
    });
    bench.feed(started());
    let mut random = Random::new(1);
    for _ in 0..VERDICTS_MAX + 50 {
        bench.feed(Input::Peer(Envelope {
            operation: OperationId::from_random(random.bytes()),
            from: peer("e1"),
            message: PeerMessage::Query,
        }));
    }
    assert!(count(&bench, |k| matches!(k, RecordKey::Arrival(_))) <= VERDICTS_MAX + 1);
    assert_eq!(bench.words(says("e1", 2, PeerMessage::Query)), ["say adopted"]);
}

#[test]
fn no_more_programs_come_than_there_is_room_for() {
    let mut bench = Bench::new("e2");
    let mut random = Random::new(1);
    let mut wanted = 0;
    for _ in 0..ARRIVALS_MAX * 4 {
        let PeerMessage::Prepare {
            generation,
            spec,
            blobs,
            ..
        } = prepare(2)
        else {
            unreachable!()
        };
        let message = PeerMessage::Prepare {
            program: ProgramId::from_random(random.bytes()),
            generation,
            spec,
            memory_bytes: 0,
            paused: false,
            devices: Default::default(),
            blobs,
        };
        let operation = OperationId::from_random(random.bytes());
        let from = peer("e1");
        let input = Input::Peer(Envelope {
            operation,
            from,
            message,
        });
        wanted += usize::from(bench.words(input) == ["say want"]);
    }
    assert_eq!(wanted, 4, "as many as `programs_max`");
    bench.wait(61 * SECOND);
    assert!(
        bench.core.arrivals.is_empty(),
        "a silent source's program is not waited for"
    );
    assert!(bench.core.next_wakeup().is_none());
}

#[test]
fn an_arrival_that_is_being_verified_or_started_is_not_forgotten() {
    let mut bench = Bench::new("e2");
    bench.feed(says("e1", 2, prepare(2)));
    for name in ["module", "base", "final"] {
        if name == "final" {
            bench.feed(says("e1", 2, commit()));
        }
        bench.feed(chunk("e1", 2, name));
        bench.feed(complete(name));
        bench.feed(loaded(2));
    }
    bench.wait(100 * SECOND);
    let verified = Input::SnapshotVerified {
        operation: operation(2),
        result: Ok(()),
    };
    assert_eq!(bench.words(verified), ["start frozen"]);
    bench.wait(100 * SECOND);
    bench.feed(started());
    assert_eq!(bench.state(), "running");
}

#[test]
fn what_is_too_large_is_refused() {
    let mut bench = Bench::new("e2");
    let mut large = spec();
    large.memory_bytes_max = Some(2 << 20);
    let run = Action::Run {
        program: program(1),
        spec: large,
        snapshot: None,
        generation: None,
        follower: None,
    };
    bench.feed(command(1, run));
    assert!(matches!(bench.failure(), Failure::NoRoom { .. }));
    let mut large = spec();
    large.module.bytes = u64::MAX;
    let run = Action::Run {
        program: program(1),
        spec: large,
        snapshot: None,
        generation: None,
        follower: None,
    };
    bench.feed(command(2, run));
    assert!(matches!(bench.failure(), Failure::TooLarge { .. }));
}

/// However many programs there are and whatever they died of: each has a status of its own, and the engine's
/// stays small.
#[test]
fn no_status_grows_with_the_programs() {
    let mut bench = Bench::running();
    let mut random = Random::new(1);
    let mut is_listed = true;
    for ended in 0..ENDED_PROGRAMS_MAX {
        let program = ProgramId::from_random(random.bytes());
        let Input::Command(mut run) = command(0, run()) else {
            unreachable!()
        };
        run.operation = OperationId::from_random(random.bytes());
        if let Action::Run { program: id, .. } = &mut run.action {
            *id = program;
        }
        let operation = run.operation;
        bench.feed(Input::Command(run));
        let result = Ok(());
        bench.feed(Input::ModuleLoaded { operation, result });
        let result = Ok(());
        bench.feed(Input::Started { program, result });
        let reason = "unreachable, in \u{1}".to_owned() + &"a::long::name::".repeat(10_000);
        let state = ProgramState::Failed { reason };
        for effect in bench.feed(Input::Ended { program, state }) {
            match effect {
                Effect::PublishProgram(status) => {
                    assert!(wire::encode(status).len() < 4 * REASON_BYTES_MAX);
                }
                Effect::PublishEngine { live, listed, .. } => {
                    assert_eq!(*live, 1);
                    assert!(wire::to_json(listed).len() <= LISTED_BYTES_MAX + 2);
                    is_listed = !listed.is_empty();
                    assert!(is_listed || ended > 2, "{ended}");
                }
                _ => {}
            }
        }
    }
    assert!(!is_listed, "they would take too much of a message");
    assert_eq!(bench.core.statuses().len(), ENDED_PROGRAMS_MAX + 1);
}

/// Five hundred that run, and their engine restarts: it says that it is there, and all of them, in small
/// messages.
#[test]
fn an_engine_with_500_programs_says_so_in_small_messages_after_a_restart() {
    const PROGRAMS: usize = 500;
    let mut bench = Bench::running();
    let key = RecordKey::Program(program(1));
    let Record::Program(record) = bench.records[&key].clone() else {
        unreachable!()
    };
    let mut random = Random::new(1);
    for number in 1..PROGRAMS {
        let mut record = record.clone();
        record.program = ProgramId::from_random(random.bytes());
        record.spec.name = format!("some-program-{number}");
        let record = Record::Program(record);
        bench.records.insert(record.key(), record);
    }
    bench.restart();
    let programs: Vec<ProgramId> = bench
        .core
        .statuses()
        .iter()
        .map(|status| status.program)
        .collect();
    for program in programs {
        let result = Ok(());
        bench.feed(Input::Started { program, result });
    }
    bench.effects.clear();
    bench.feed(Input::Connected);
    let mut said = BTreeSet::new();
    let mut engine = Vec::new();
    for effect in &bench.effects {
        match effect {
            Effect::PublishProgram(status) => {
                assert!(wire::encode(status).len() < 4 * REASON_BYTES_MAX);
                assert_eq!(status.state, ProgramState::Running);
                said.insert(status.program);
            }
            Effect::PublishEngine { live, listed, .. } => {
                assert!(wire::to_json(listed).len() <= LISTED_BYTES_MAX + 2);
                engine.push((*live, listed.len()));
            }
            _ => {}
        }
    }
    assert_eq!(
        (said.len(), engine.last()),
        (PROGRAMS, Some(&(PROGRAMS as u32, 0)))
    );
}

#[test]
fn ended_programs_are_kept_up_to_a_number() {
    let mut bench = Bench::running();
    let mut random = Random::new(1);
    let end = |bench: &mut Bench, program| {
        let state = ProgramState::Exited { code: 0 };
        bench.feed(Input::Ended { program, state });
    };
    end(&mut bench, program(1));
    for _ in 0..ENDED_PROGRAMS_MAX + 5 {
        let program = ProgramId::from_random(random.bytes());
        let Input::Command(mut run) = command(0, run()) else {
            unreachable!()
        };
        run.operation = OperationId::from_random(random.bytes());
        if let Action::Run { program: id, .. } = &mut run.action {
            *id = program;
        }
        let operation = run.operation;
        bench.feed(Input::Command(run));
        bench.feed(Input::ModuleLoaded {
            operation,
            result: Ok(()),
        });
        bench.feed(Input::Started {
            program,
            result: Ok(()),
        });
        end(&mut bench, program);
    }
    assert_eq!(bench.core.statuses().len(), ENDED_PROGRAMS_MAX);
    assert_eq!(
        count(&bench, |k| matches!(k, RecordKey::Program(_))),
        ENDED_PROGRAMS_MAX
    );
    assert!(!bench.records.contains_key(&RecordKey::Program(program(1))));
}

/// Any input in any state: from a few ids, so that they often meet.
#[test]
fn nonsense_does_no_harm() {
    for seed in 0..100 {
        let mut random = Random::new(seed);
        let mut bench = Bench::running();
        for _ in 0..500 {
            bench.now += random.below(SECOND / 2);
            let input = nonsense(&mut random);
            bench.feed(input);
            assert!(bench.core.arrivals.len() <= ARRIVALS_MAX);
            assert!(bench.core.blobs_in_use().len() < 200);
            assert!(bench.core.next_wakeup().is_none_or(|at| at.0 > bench.now));
        }
        bench.restart();
    }
}

fn nonsense(random: &mut Random) -> Input {
    let number = random.below(6) as u8;
    let names = ["module", "base", "final", "other"];
    let name = *random.pick(&names);
    let peers = ["e1", "e2", "client"];
    let from = *random.pick(&peers);
    let result = if random.per_mille(700) {
        Ok(())
    } else {
        Err(Failure::Cancelled)
    };
    let huge = Blob {
        digest: Digest::of(name.as_bytes()),
        bytes: u64::MAX,
    };
    let extremes = [0, 1, 5, 10, u64::MAX - 5, u64::MAX];
    match random.below(25) {
        0 => command(number, run()),
        1 => move_to(number, from),
        2 => command(number, Action::Pause { on: on(1) }),
        3 => {
            let force = random.per_mille(500);
            command(number, Action::Resume { on: on(1), force })
        }
        4 => command(number, Action::Snapshot { on: on(1) }),
        5 => command(number, Action::Kill { on: on(1) }),
        6 => {
            let spawn = Action::Spawn {
                on: on(1),
                target: peer(from),
                copy: program(2),
                copy_name: "copy".into(),
            };
            command(number, spawn)
        }
        7 => says(from, number, prepare(random.below(4))),
        8 => says(from, number, commit()),
        9 => says(from, number, PeerMessage::Query),
        10 => says(from, number, PeerMessage::Cancel),
        11 => says(from, number, adopted(*random.pick(&extremes))),
        12 => says(from, number, refused()),
        13 => {
            let missing = vec![blob(name).digest, blob("module").digest];
            says(from, number, PeerMessage::Want { missing })
        }
        14 => {
            let digest = blob(name).digest;
            let received = *random.pick(&extremes);
            says(from, number, PeerMessage::Ack { digest, received })
        }
        15 => {
            let blob = if random.per_mille(200) { huge } else { blob(name) };
            Input::Chunk {
                operation: operation(number),
                from: peer(from),
                blob,
                offset: *random.pick(&extremes),
                bytes: *random.pick(&extremes),
            }
        }
        16 => chunk(from, number, name),
        17 => Input::BlobComplete {
            blob: blob(name),
            intact: random.per_mille(800),
        },
        18 => Input::ModuleLoaded {
            operation: operation(number),
            result,
        },
        19 => Input::SnapshotVerified {
            operation: operation(number),
            result,
        },
        20 => Input::Started {
            program: program(1),
            result,
        },
        21 => Input::Captured {
            program: program(1),
            capture: CaptureId(random.below(20)),
            result: result.map(|()| blob(name)),
        },
        22 => Input::Fenced {
            program: program(1),
            generation: Generation(random.below(4)),
        },
        23 => Input::StatusHeard {
            program: program(1),
            stands: random.below(2) == 0,
        },
        _ => Input::Ended {
            program: program(1),
            state: ProgramState::Running,
        },
    }
}

#[test]
fn programs_that_come_must_fit_beside_those_that_are_here() {
    let offer = |memory: u64| {
        let PeerMessage::Prepare { generation, spec, .. } = prepare(2) else {
            unreachable!()
        };
        PeerMessage::Prepare {
            program: ProgramId::from_random([2; 16]),
            generation,
            spec,
            memory_bytes: memory,
            paused: false,
            devices: Default::default(),
            blobs: vec![],
        }
    };
    // Of 1.5 MiB for all.
    let here = Input::MemoryBytes {
        program: ProgramId::from_random([1; 16]),
        bytes: 1 << 20,
    };
    for (memory, expected) in [(1 << 19, "say want"), ((1 << 19) + 1, "store refused")] {
        let mut bench = Bench::running();
        bench.feed(here.clone());
        assert_eq!(bench.words(says("e2", 5, offer(memory)))[0], expected, "{memory}");
    }
    let mut bench = Bench::running();
    bench.feed(here);
    bench.feed(Input::Ended {
        program: ProgramId::from_random([1; 16]),
        state: ProgramState::Exited { code: 0 },
    });
    let after = bench.words(says("e2", 5, offer(1 << 20)));
    assert_eq!(after[0], "say want", "what has ended has no memory");
    let mut bench = Bench::running();
    assert_eq!(bench.words(says("e2", 5, offer(1 << 20)))[0], "say want");
    let mut other = offer(1 << 20);
    if let PeerMessage::Prepare { program, .. } = &mut other {
        *program = ProgramId::from_random([3; 16]);
    }
    assert_eq!(
        bench.words(says("e2", 6, other)),
        ["store refused", "say refused"],
        "the one that is on its way counts"
    );
}
