//! Values and what is remembered of requests: repeats, crashes, bounds, several programs at once.

use std::collections::BTreeMap;

use tokio::time::Instant;
use wayfare_protocol::error::Failure;
use wayfare_protocol::ids::{Generation, ProgramId, Term};
use wayfare_protocol::values::{Key, VALUE_BYTES_MAX, Value, ValueAnswer, ValueAsk, ValueRequest};

use super::super::durable::faults::{self, Faults};
use super::super::durable::{Place, RecordLog};
use super::super::fixtures::old_folder;
use super::{RETRY, Service};
use wayfare_dispatcher_core::values::{BYTES_MAX, Change, PROGRAMS_MAX, RECORDS_MAX, Values};

/// Values, and the records that would be on disk.
#[derive(Default)]
struct World {
    values: Values,
    disk: BTreeMap<String, String>,
}

impl World {
    fn ask(&mut self, program: u8, number: u64, what: ValueAsk) -> ValueAnswer {
        self.ask_as(program, 1, number, what)
    }

    fn ask_as(&mut self, program: u8, generation: u64, number: u64, what: ValueAsk) -> ValueAnswer {
        let request = ValueRequest {
            program: ProgramId::from_bytes([program; 16]),
            generation: Generation(generation),
            number,
            what,
        };
        let (answer, changes) = self.values.ask(request);
        self.keep(&changes);
        answer
    }

    fn keep(&mut self, changes: &[Change]) {
        for (key, json) in changes {
            match json {
                Some(json) => self.disk.insert(key.clone(), json.clone()),
                None => self.disk.remove(key),
            };
        }
    }

    fn restart(&mut self) {
        self.values = Values::load(&self.disk);
    }
}

fn key(key: &str) -> Key {
    Key::of_program("p", key).unwrap()
}

fn get(at: &str) -> ValueAsk {
    ValueAsk::Get { key: key(at) }
}

fn set(at: &str, value: &str) -> ValueAsk {
    ValueAsk::Set {
        key: key(at),
        value: Value::new(value.into()).unwrap(),
    }
}

fn compare_and_set(at: &str, expected: u64, value: &str) -> ValueAsk {
    ValueAsk::CompareAndSet {
        key: key(at),
        expected,
        value: Value::new(value.into()).unwrap(),
    }
}

fn is(version: u64, value: &str) -> ValueAnswer {
    ValueAnswer::Value {
        version,
        value: Value::new(value.into()).unwrap(),
    }
}

#[test]
fn values_are_set_compared_and_removed() {
    let mut world = World::default();
    for (number, what, expected) in [
        (0, get("a"), ValueAnswer::Absent),
        (
            0,
            compare_and_set("a", 1, "x"),
            ValueAnswer::Conflict { version: 0 },
        ),
        (1, compare_and_set("a", 0, "x"), ValueAnswer::Set { version: 1 }),
        (
            2,
            compare_and_set("a", 0, "y"),
            ValueAnswer::Conflict { version: 1 },
        ),
        (3, set("b", "b"), ValueAnswer::Set { version: 2 }),
        (4, compare_and_set("a", 1, "y"), ValueAnswer::Set { version: 3 }),
        (5, get("a"), is(3, "y")),
        (5, ValueAsk::Remove { key: key("a") }, ValueAnswer::Removed),
        (6, ValueAsk::Remove { key: key("a") }, ValueAnswer::Removed),
        (7, get("a"), ValueAnswer::Absent),
        (7, set("a", "z"), ValueAnswer::Set { version: 4 }),
    ] {
        assert_eq!(world.ask(1, number, what.clone()), expected, "{what:?}");
        // Whatever was answered is there after a restart.
        world.restart();
    }
}

#[test]
fn versions_are_never_used_again_even_if_the_last_value_was_removed() {
    let mut world = World::default();
    world.ask(1, 0, set("a", "x"));
    world.ask(1, 1, ValueAsk::Remove { key: key("a") });
    world.restart();
    assert_eq!(world.ask(1, 2, set("a", "x")), ValueAnswer::Set { version: 2 });
}

#[test]
fn a_repeat_is_answered_and_not_done_again() {
    let mut world = World::default();
    world.ask(1, 0, set("a", "x"));
    assert_eq!(
        world.ask(1, 1, compare_and_set("a", 1, "y")),
        ValueAnswer::Set { version: 2 }
    );
    world.ask(2, 0, set("a", "z"));
    for _ in 0..2 {
        // By another engine, and with what the program finds there now: it is the same wish.
        let again = world.ask_as(1, 5, 1, compare_and_set("a", 3, "z"));
        assert_eq!(again, ValueAnswer::Set { version: 2 });
        assert_eq!(world.ask(2, 9, get("a")), is(3, "z"), "nothing was changed");
        world.restart();
    }
    assert_eq!(
        world.ask(1, 1, set("a", "?")),
        ValueAnswer::Stale,
        "its copy lives on higher"
    );
    // A program that was set back and went another way.
    assert_eq!(
        world.ask_as(1, 5, 1, set("other", "o")),
        ValueAnswer::Set { version: 4 }
    );
}

#[test]
fn what_is_too_old_to_be_known_is_not_done() {
    let mut world = World::default();
    for number in 0..RECORDS_MAX + 10 {
        world.ask(1, number, set("a", "x"));
    }
    for _ in 0..2 {
        assert_eq!(world.ask(1, 9, set("a", "x")), ValueAnswer::Stale);
        assert_eq!(world.ask(1, 10, set("a", "x")), ValueAnswer::Set { version: 11 });
        world.restart();
    }
}

/// The journal is written in order, and a crash may leave a beginning of what one request changes.
#[test]
fn a_torn_change_is_wholly_there_or_not_at_all() {
    let mut world = World::default();
    world.ask(1, 0, set("a", "x"));
    let request = |number, value| ValueRequest {
        program: ProgramId::from_bytes([1; 16]),
        generation: Generation(1),
        number,
        what: set("a", value),
    };
    let before = world.disk.clone();
    let (_, changes) = world.values.ask(request(1, "y"));
    assert_eq!(changes.len(), 2);
    for mask in 0..4 {
        world.disk = before.clone();
        let kept: Vec<Change> = (0..2)
            .filter(|at| mask & 1 << at != 0)
            .map(|at| changes[at].clone())
            .collect();
        world.keep(&kept);
        world.restart();
        // Asked again, since it was not answered, it is done once.
        assert_eq!(
            world.ask(1, 1, set("a", "y")),
            ValueAnswer::Set { version: 2 },
            "{mask}"
        );
        assert_eq!(world.ask(1, 2, get("a")), is(2, "y"), "{mask}");
    }
}

#[test]
fn everything_is_bounded() {
    let mut world = World::default();
    let large = "x".repeat(VALUE_BYTES_MAX);
    let fits = (0..).take_while(|number| {
        let answer = world.values.ask(ValueRequest {
            program: ProgramId::from_bytes([1; 16]),
            generation: Generation(1),
            number: *number,
            what: set(&format!("k{number}"), &large),
        });
        matches!(answer.0, ValueAnswer::Set { .. })
    });
    let fits = fits.count();
    assert!(
        fits <= BYTES_MAX / VALUE_BYTES_MAX && fits + 2 > BYTES_MAX / VALUE_BYTES_MAX,
        "{fits}"
    );
    let room = world.ask(1, 90_000, ValueAsk::Remove { key: key("k0") });
    assert_eq!(room, ValueAnswer::Removed);
    assert!(matches!(
        world.ask(1, 90_001, set("k0", &large)),
        ValueAnswer::Set { .. }
    ));

    let mut world = World::default();
    for program in 0..PROGRAMS_MAX as u32 + 50 {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&program.to_le_bytes());
        let (_, changes) = world.values.ask(ValueRequest {
            program: ProgramId::from_bytes(id),
            generation: Generation(1),
            number: 0,
            what: compare_and_set("a", 99, "x"),
        });
        world.keep(&changes);
    }
    assert_eq!(
        world.disk.len(),
        2 * PROGRAMS_MAX,
        "a record and a generation each"
    );
}

#[test]
fn lists_come_in_pages_by_key() {
    let mut world = World::default();
    for (number, key) in (0..2_000).rev().enumerate() {
        world.ask(1, number as u64, set(&format!("k{key:04}"), "value"));
    }
    world.ask(1, 2_000, set("other", "value"));
    let (mut keys, mut pages, mut after) = (Vec::new(), 0, None);
    loop {
        let what = ValueAsk::List {
            prefix: "p/k".into(),
            after: after.clone(),
        };
        let ValueAnswer::Listed { values } = world.ask(1, 0, what) else {
            panic!("no list");
        };
        let Some(last) = values.last() else { break };
        after = Some(last.key.clone());
        pages += 1;
        keys.extend(values.iter().map(|listed| listed.key.as_str().to_owned()));
    }
    assert!(pages > 1);
    let expected: Vec<_> = (0..2_000).map(|number| format!("p/k{number:04}")).collect();
    assert_eq!(keys, expected);
}

/// Three programs count, each set back now and then to an earlier point, with restarts of the dispatcher in between.
#[test]
fn a_count_by_programs_that_are_set_back_is_their_sum() {
    for seed in 0..50u64 {
        let mut random = seed;
        let mut below = |end: u64| {
            random = random
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (random >> 33) % end
        };
        let mut world = World::default();
        // Of each program: how often it has counted, its next number, and both at its last checkpoint.
        let mut programs = [((0u64, 0u64), (0u64, 0u64)); 3];
        while programs.iter().any(|((counted, _), _)| *counted < 20) {
            let at = below(3) as usize;
            let ((counted, number), checkpoint) = programs[at];
            match below(10) {
                0 => programs[at].0 = checkpoint,
                1 => programs[at].1 = (counted, number),
                2 => world.restart(),
                _ if counted == 20 => {}
                _ => {
                    let id = at as u8 + 1;
                    let (version, there) = match world.ask(id, number, get("n")) {
                        ValueAnswer::Value { version, value } => {
                            let text = String::from_utf8(value.as_bytes().to_vec()).unwrap();
                            (version, text.parse::<u64>().unwrap())
                        }
                        _ => (0, 0),
                    };
                    // Somebody may be quicker.
                    let version = version - version.min(below(8) / 7);
                    let next = (there + 1).to_string();
                    let answer = world.ask(id, number, compare_and_set("n", version, &next));
                    let is_counted = matches!(answer, ValueAnswer::Set { .. });
                    programs[at].0 = (counted + u64::from(is_counted), number + 1);
                }
            }
        }
        let sum = world.ask(9, 0, get("n"));
        assert!(
            matches!(&sum, ValueAnswer::Value { value, .. } if value.as_bytes() == b"60"),
            "{seed}: {sum:?}"
        );
    }
}

/// The service over a disk that can fail.
struct Stored {
    folder: tempfile::TempDir,
    service: Service,
    now: Instant,
}

impl Stored {
    fn new(folder: tempfile::TempDir) -> Self {
        let service =
            Service::new(RecordLog::open(&Place::Folder(folder.path().to_owned()), Term(3)).unwrap());
        let now = Instant::now();
        Self { folder, service, now }
    }

    fn ask(&mut self, number: u64, what: ValueAsk) -> Result<ValueAnswer, Failure> {
        let request = ValueRequest {
            program: ProgramId::from_bytes([1; 16]),
            generation: Generation(1),
            number,
            what,
        };
        let answers = self.service.serve(&[Ok(request)], self.now);
        self.now += RETRY;
        answers.into_iter().next().unwrap()
    }

    fn set(&mut self, number: u64) -> Result<ValueAnswer, Failure> {
        self.ask(number, set(&format!("k{number}"), "v"))
    }

    fn has(&mut self, number: u64) -> bool {
        self.ask(0, get(&format!("k{number}"))).unwrap() != ValueAnswer::Absent
    }

    /// What another dispatcher finds when this one is killed now.
    fn killed(&self) -> Self {
        let copy = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(self.folder.path()).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        }
        Self::new(copy)
    }
}

#[test]
fn answered_value_survives_a_write_that_failed_half_way() {
    for fails_cut in [false, true] {
        // Up to more than a change writes.
        for room in 0..600 {
            let mut stored = Stored::new(tempfile::tempdir().unwrap());
            stored.set(1).unwrap();
            faults::set(Faults {
                room: Some(room),
                fails_cut,
                ..Faults::default()
            });
            let is_set = match stored.set(2) {
                Ok(_) => true,
                Err(refused) => {
                    let refused = refused.to_string();
                    assert!(refused.contains("the disk is full"), "{refused}");
                    assert!(stored.has(1) && !stored.has(2), "what is refused is not seen");
                    assert_eq!(stored.set(1), Ok(ValueAnswer::Set { version: 1 }), "asked again");
                    false
                }
            };
            assert!(is_set || room < 599, "a change has to fit at last");
            faults::set(Faults::default());
            stored.set(3).unwrap();
            let mut killed = stored.killed();
            assert!(killed.has(1) && killed.has(3), "room for {room}");
            assert_eq!(killed.has(2), is_set, "room for {room}");
        }
    }
}

#[test]
fn a_full_disk_refuses_changes_and_answers_the_rest_until_there_is_room() {
    let mut stored = Stored::new(tempfile::tempdir().unwrap());
    stored.set(1).unwrap();
    faults::set(Faults {
        room: Some(0),
        ..Faults::default()
    });
    for number in 2..5 {
        let refused = stored.set(number).unwrap_err().to_string();
        assert!(
            refused.contains("state-00000000000000000003: the disk is full"),
            "{refused}"
        );
        assert!(stored.has(1) && !stored.has(number));
    }
    faults::set(Faults::default());
    assert_eq!(
        stored.set(5),
        Ok(ValueAnswer::Set { version: 2 }),
        "refused changes took no version"
    );
    assert!(stored.killed().has(5));
}

#[test]
fn values_of_the_release_before_are_there() {
    let mut stored = Stored::new(old_folder("values"));
    let key = Key::try_from("/c/n".to_owned()).unwrap();
    let expected = ValueAnswer::Value {
        version: 3,
        value: Value::new("3".into()).unwrap(),
    };
    assert_eq!(stored.ask(0, ValueAsk::Get { key }), Ok(expected));
}
