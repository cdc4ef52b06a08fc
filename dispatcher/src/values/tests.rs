//! Values and what is remembered of requests: repeats, crashes, bounds, several programs at once.

use std::collections::BTreeMap;

use tokio::time::Instant;
use wayfare_protocol::error::Failure;
use wayfare_protocol::ids::{Generation, ProgramId, Term};
use wayfare_protocol::pattern::Pattern;
use wayfare_protocol::values::{
    Changed, Key, OneChange, TOGETHER_BYTES_MAX, TOGETHER_MAX, VALUE_BYTES_MAX, Value, ValueAnswer, ValueAsk,
    ValueRequest,
};

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
        (7, set("a", "z"), ValueAnswer::Set { version: 5 }),
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
    assert_eq!(
        world.ask(1, 2, set("a", "x")),
        ValueAnswer::Set { version: 3 },
        "2 was the removal's"
    );
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
        // By another engine, and with what the program finds there now: it is the same request.
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

/// Three programs count, each set back now and then to an earlier point, with restarts of the dispatcher in
/// between.
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

fn change(at: &str, value: Option<&str>, expected: Option<u64>) -> OneChange {
    OneChange {
        key: key(at),
        value: value.map(|value| Value::new(value.into()).unwrap()),
        expected,
    }
}

fn set_many(changes: &[OneChange]) -> ValueAsk {
    ValueAsk::SetMany {
        changes: changes.to_vec(),
    }
}

fn pattern(text: &str) -> Pattern {
    Pattern::try_from(text.to_owned()).unwrap()
}

/// All that matches, as keys, versions and texts.
fn there(world: &mut World, text: &str) -> Vec<(String, u64, String)> {
    let what = ValueAsk::Matching {
        pattern: pattern(text),
        after: None,
    };
    let ValueAnswer::Matching { values, is_all: true } = world.ask(9, 0, what) else {
        panic!("a short list")
    };
    let text = |one: Changed| String::from_utf8(one.value.unwrap().as_bytes().to_vec()).unwrap();
    values
        .into_iter()
        .map(|one| (one.key.as_str().to_owned(), one.version, text(one)))
        .collect()
}

#[test]
fn many_values_are_changed_together_or_none_is() {
    let mut world = World::default();
    world.ask(1, 0, set("/a", "1"));
    world.ask(1, 1, set("/b", "1"));
    let changes = [
        change("/a", Some("2"), Some(1)),
        change("/b", None, Some(2)),
        change("/c", Some("2"), Some(0)),
    ];
    let refused = [&changes[..], &[change("/b", None, Some(7))]].concat();
    let conflict = ValueAnswer::ConflictAt {
        key: key("/b"),
        version: 2,
    };
    assert_eq!(world.ask(1, 2, set_many(&refused)), conflict);
    let before = [
        ("/a".to_owned(), 1, "1".to_owned()),
        ("/b".to_owned(), 2, "1".to_owned()),
    ];
    assert_eq!(there(&mut world, "#"), before);
    world.values.take_changed();
    let done = ValueAnswer::SetMany { count: 3, version: 5 };
    for _ in 0..2 {
        assert_eq!(
            world.ask(1, 3, set_many(&changes)),
            done,
            "asked again, it is answered again"
        );
        world.restart();
    }
    let after = [
        ("/a".to_owned(), 4, "2".to_owned()),
        ("/c".to_owned(), 5, "2".to_owned()),
    ];
    assert_eq!(there(&mut world, "#"), after);
    assert_eq!(world.ask(1, 4, set("/b", "3")), ValueAnswer::Set { version: 6 });
    let many = vec![change("/x", None, None); TOGETHER_MAX + 1];
    assert_eq!(world.ask(1, 5, set_many(&many)), ValueAnswer::Full);
}

#[test]
fn what_a_crash_tore_off_of_changes_that_were_made_together_is_done_when_it_is_read_again() {
    let request = |number, what| ValueRequest {
        program: ProgramId::from_bytes([1; 16]),
        generation: Generation(1),
        number,
        what,
    };
    let changes = [
        change("/a", Some("2"), None),
        change("/b", None, None),
        // Not there yet.
        change("/c", Some("2"), None),
    ];
    for cut in 0..20 {
        let mut world = World::default();
        world.ask(1, 0, set("/a", "1"));
        world.ask(1, 1, set("/b", "1"));
        let before = there(&mut world, "#");
        let (answer, mut lines) = world.values.ask(request(2, set_many(&changes)));
        let is_whole = cut >= lines.len();
        lines.truncate(cut);
        world.keep(&lines);
        world.restart();
        let repairs = world.values.take_repairs();
        let after = there(&mut world, "#");
        if cut == 0 {
            assert_eq!(after, before);
            continue;
        }
        let expected = [
            ("/a".to_owned(), 4, "2".to_owned()),
            ("/c".to_owned(), 5, "2".to_owned()),
        ];
        assert_eq!(after, expected, "cut at {cut}");
        let (again, more) = world.values.ask(request(2, set_many(&changes)));
        assert_eq!((again, more), (answer, vec![]), "cut at {cut}: it was done");
        // It goes on from there, and is torn in what comes next.
        for lines in 0..=repairs.len() {
            let mut later = World {
                values: Values::load(&world.disk),
                disk: world.disk.clone(),
            };
            later.values.take_repairs();
            let (_, more) = later.values.ask(request(3, set("/c", "3")));
            let (_, removed) = later.values.ask(request(4, ValueAsk::Remove { key: key("/a") }));
            later.keep(&repairs[..lines]);
            let is_stored = lines == repairs.len();
            if is_stored {
                later.keep(&more);
                later.keep(&removed);
            }
            later.restart();
            let now = there(&mut later, "#");
            match is_stored {
                true => assert_eq!(now, [("/c".to_owned(), 6, "3".to_owned())], "cut at {cut}"),
                false => assert_eq!(now, expected, "cut at {cut} and {lines}"),
            }
        }
        if is_whole {
            break;
        }
    }
}

#[test]
fn what_matches_a_pattern_is_read_in_pages_and_set_at_once() {
    let mut world = World::default();
    let long = "x".repeat(20_000);
    for number in 0..9 {
        world.ask(1, number, set(&format!("/lamps/{number}/level"), &long));
    }
    world.ask(1, 9, set("/lamps/0/colour", "red"));
    let (mut keys, mut after) = (Vec::new(), None);
    loop {
        let what = ValueAsk::Matching {
            pattern: pattern("/lamps/+/level"),
            after,
        };
        let ValueAnswer::Matching { values, is_all } = world.ask(2, 0, what) else {
            panic!("no list")
        };
        assert!(!values.is_empty());
        after = values.last().map(|last| last.key.clone());
        keys.extend(values.into_iter().map(|one| one.key));
        if is_all {
            break;
        }
    }
    assert_eq!(keys.len(), 9);
    assert!(keys.is_sorted());
    let what = ValueAsk::SetMatching {
        pattern: pattern("/lamps/+/level"),
        value: Value::new(b"0".to_vec()).unwrap(),
    };
    let done = ValueAnswer::SetMany {
        count: 9,
        version: 19,
    };
    assert_eq!(world.ask(1, 10, what.clone()), done);
    assert_eq!(world.ask(1, 10, what), done, "again");
    assert_eq!(there(&mut world, "/lamps/+/level")[8].1, 19);
    assert_eq!(there(&mut world, "/lamps/0/colour")[0].2, "red");
}

#[test]
fn requests_of_programs_are_remembered_however_much_people_change() {
    let mut world = World::default();
    let done = world.ask(1, 0, set("/a", "1"));
    for person in 0..PROGRAMS_MAX as u64 + 10 {
        let mut id = [2; 16];
        id[..8].copy_from_slice(&person.to_le_bytes());
        world.values.ask(ValueRequest {
            program: ProgramId::from_bytes(id),
            generation: Generation(0),
            number: 0,
            what: set("/a", "2"),
        });
    }
    assert_eq!(world.ask(1, 0, set("/a", "1")), done, "a repeat");
}

#[test]
fn what_is_changed_together_is_bounded_by_its_bytes() {
    let mut world = World::default();
    let count = TOGETHER_BYTES_MAX / VALUE_BYTES_MAX;
    for number in 0..count as u64 {
        world.ask(1, number, set(&format!("/lamps/{number}"), "off"));
    }
    let what = |bytes| ValueAsk::SetMatching {
        pattern: pattern("/lamps/+"),
        value: Value::new(vec![0; bytes]).unwrap(),
    };
    let number = count as u64;
    assert_eq!(world.ask(1, number, what(VALUE_BYTES_MAX)), ValueAnswer::Full);
    let done = world.ask(1, number, what(VALUE_BYTES_MAX / 2));
    assert!(matches!(done, ValueAnswer::SetMany { .. }), "{done:?}");
}

#[test]
fn each_change_is_told_once_with_its_version_and_no_repeat_is() {
    let mut world = World::default();
    world.ask(1, 0, set("/a", "1"));
    world.ask(1, 0, set("/a", "1"));
    world.ask(1, 1, ValueAsk::Remove { key: key("/a") });
    world.ask(1, 2, ValueAsk::Remove { key: key("/a") });
    world.ask(
        1,
        3,
        set_many(&[change("/b", Some("2"), None), change("/a", Some("2"), None)]),
    );
    let told: Vec<_> = world.values.take_changed();
    let told: Vec<_> = told
        .iter()
        .map(|one| (one.key.as_str(), one.version, one.value.is_some()))
        .collect();
    assert_eq!(
        told,
        [
            ("/a", 1, true),
            ("/a", 2, false),
            ("/a", 3, true),
            ("/b", 4, true)
        ]
    );
    assert!(world.values.take_changed().is_empty());
}
