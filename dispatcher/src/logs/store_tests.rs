use wayfare_protocol::limits::PAYLOAD_BYTES_MAX;
use wayfare_protocol::log::{LogText, Stream};
use wayfare_protocol::status::ProgramState;

use super::*;
use crate::durable::faults::{self, Faults};

const LIMITS: LogLimits = LogLimits {
    bytes_max: 2 << 20,
    program_bytes_max: 512 << 10,
    age_ms: 1_000_000,
};

fn id(number: u8) -> ProgramId {
    ProgramId::from_random([number; 16])
}

fn entry(at_ms: u64, name: &str, numbers: std::ops::Range<u64>, text: &str) -> Entry {
    let line = |line| LogLine {
        line,
        stream: Stream::Stdout,
        text: LogText::Text(format!("{line} {text}")),
        open: false,
        at_ms,
    };
    Entry {
        at_ms,
        name: name.into(),
        engine: "a".parse().unwrap(),
        lines: numbers.map(line).collect(),
        end: None,
    }
}

fn wanted(number: u8) -> LinesWanted {
    LinesWanted {
        program: id(number),
        from: 0,
        last: None,
        since_ms: None,
        until_ms: None,
    }
}

/// The numbers of all that is wanted, page by page.
fn all(store: &LogStore, mut wanted: LinesWanted) -> Vec<u64> {
    let mut found = Vec::new();
    loop {
        let page = store.lines_page(&wanted).unwrap();
        assert!(serde_json::to_vec(&page).unwrap().len() + 1024 < PAYLOAD_BYTES_MAX);
        found.extend(page.lines.iter().map(|line| line.line));
        match page.next {
            Some(next) => (wanted.from, wanted.last) = (next, None),
            None => return found,
        }
    }
}

fn open(folder: &Path, term: u64) -> LogStore {
    LogStore::open(folder, Term(term), LIMITS).unwrap()
}

#[test]
fn lines_are_read_in_parts_across_files_and_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path(), 1);
    let long = "x".repeat(1_000);
    for number in 0..60 {
        let at_ms = 1_000 + number;
        store
            .add(id(1), &entry(at_ms, "p", number * 5..number * 5 + 5, &long))
            .unwrap();
        store
            .add(id(2), &entry(at_ms, "q", number..number + 1, "y"))
            .unwrap();
    }
    assert!(store.files.len() >= 3, "{}", store.files.len());
    for store in [store, open(folder.path(), 2)] {
        assert_eq!(all(&store, wanted(1)), (0..300).collect::<Vec<_>>());
        assert_eq!(all(&store, wanted(2)), (0..60).collect::<Vec<_>>());
        let from = LinesWanted {
            from: 290,
            ..wanted(1)
        };
        assert_eq!(all(&store, from), (290..300).collect::<Vec<_>>());
        let last = LinesWanted {
            last: Some(120),
            ..wanted(1)
        };
        assert_eq!(all(&store, last), (180..300).collect::<Vec<_>>());
        let more = LinesWanted {
            last: Some(9_000),
            ..wanted(2)
        };
        assert_eq!(all(&store, more).len(), 60);
        let during = LinesWanted {
            since_ms: Some(1_010),
            until_ms: Some(1_012),
            ..wanted(1)
        };
        assert_eq!(all(&store, during), (50..60).collect::<Vec<_>>());
        assert_eq!(store.program(id(1)).unwrap().next, 300);
        assert_eq!(all(&store, wanted(3)).len(), 0);
    }
}

#[test]
fn how_a_program_ended_is_kept_and_that_it_began_anew() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path(), 1);
    store.add(id(1), &entry(1, "p", 0..1, "x")).unwrap();
    let state = ProgramState::Failed {
        reason: "unreachable".into(),
    };
    let ended = StoredEnd::Ended { state };
    for end in [ended.clone(), StoredEnd::None, ended.clone()] {
        let entry = Entry {
            end: Some(end.clone()),
            ..entry(2, "", 0..0, "")
        };
        store.add(id(1), &entry).unwrap();
        assert_eq!(store.program(id(1)).unwrap().end, end);
    }
    // What was on its way comes behind.
    store.add(id(1), &entry(3, "", 1..2, "x")).unwrap();
    for store in [store, open(folder.path(), 2)] {
        let kept = store.program(id(1)).unwrap();
        assert_eq!((&kept.end, kept.name.as_str(), kept.next), (&ended, "p", 2));
        let found = |wanted: &str| store.programs_page(wanted, None).programs.len();
        assert_eq!(
            [found(""), found("p"), found(&id(1).to_string()[..6]), found("q")],
            [1, 1, 1, 0]
        );
        assert_eq!(store.programs_page("", Some(id(1))).programs, []);
    }
}

#[test]
fn one_that_prints_much_takes_no_room_from_others_and_all_together_are_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path(), 1);
    store.add(id(2), &entry(1, "quiet", 0..10, "y")).unwrap();
    let long = "x".repeat(1_000);
    for number in 0..4_000 {
        store
            .add(id(1), &entry(2, "loud", number..number + 1, &long))
            .unwrap();
    }
    let on_disk = |folder: &Path| -> u64 {
        files(folder)
            .unwrap()
            .iter()
            .map(|path| path.metadata().unwrap().len())
            .sum()
    };
    assert!(on_disk(folder.path()) <= LIMITS.program_bytes_max + 3 * store.file_bytes_max());
    for store in [&store, &open(folder.path(), 2)] {
        assert_eq!(all(store, wanted(2)), (0..10).collect::<Vec<_>>());
        let loud = all(store, wanted(1));
        assert_eq!(loud.last(), Some(&3_999));
        assert!(
            loud.is_sorted() && loud.len() > 300 && loud.len() < 700,
            "{}",
            loud.len()
        );
    }
    // Many of them push out the oldest.
    for number in 0..4_000 {
        let program = id(10 + (number % 8) as u8);
        store
            .add(program, &entry(3, "many", number..number + 1, &long))
            .unwrap();
    }
    assert!(
        on_disk(folder.path()) <= LIMITS.bytes_max,
        "{}",
        on_disk(folder.path())
    );
    assert!(store.program(id(2)).is_none(), "nothing of it is left");
    assert_eq!(all(&store, wanted(2)).len(), 0);
}

#[test]
fn what_is_too_old_goes() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path(), 1);
    store.add(id(1), &entry(1, "old", 0..1, "x")).unwrap();
    let mut store = open(folder.path(), 2);
    store.add(id(2), &entry(500_000, "new", 0..1, "x")).unwrap();
    store.clean(1_000_002).unwrap();
    assert!(store.program(id(1)).is_none());
    assert_eq!(all(&store, wanted(2)), [0]);
    assert_eq!(files(folder.path()).unwrap().len(), 1);
}

#[test]
fn a_line_that_a_full_disk_refuses_or_that_is_damaged_takes_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path(), 1);
    store.add(id(1), &entry(1, "p", 0..1, "before")).unwrap();
    for room in [0, 1, 30] {
        faults::set(Faults {
            room: Some(room),
            ..Faults::default()
        });
        store.add(id(1), &entry(1, "p", 1..2, "refused")).unwrap_err();
        faults::set(Faults::default());
    }
    store.add(id(1), &entry(1, "p", 2..3, "after")).unwrap();
    assert_eq!(all(&store, wanted(1)), [0, 2]);
    let path = &files(folder.path()).unwrap()[0];
    let mut bytes = std::fs::read(path).unwrap();
    bytes.extend_from_slice(b"0123456789abcdef half of a li");
    let first = bytes.windows(6).position(|window| window == b"before").unwrap();
    bytes[first] = b'B';
    std::fs::write(path, bytes).unwrap();
    let mut store = open(folder.path(), 2);
    assert_eq!(all(&store, wanted(1)), [2]);
    store.add(id(1), &entry(1, "p", 3..4, "more")).unwrap();
    assert_eq!(all(&store, wanted(1)), [2, 3]);
}
