//! Records through full and failing disks, torn and damaged lines, terms that go back, and a folder of an
//! earlier release.

use std::path::{Path, PathBuf};

use super::super::faults::{self, Faults};
use super::super::folder_records::{PREFIX, WASTE_LINES_MIN, files, highest_term};
use super::*;
use crate::fixtures::old_folder;

const FULL: Faults = Faults {
    room: Some(0),
    fails_sync: false,
    fails_cut: false,
};

fn opened(folder: &Path, term: Term) -> Result<RecordLog, FileError> {
    RecordLog::open(&Place::Folder(folder.to_owned()), term)
}

fn reopened(folder: &Path, term: u64) -> BTreeMap<String, String> {
    opened(folder, Term(term)).unwrap().records().clone()
}

fn records<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs.map(|(key, json)| (key.to_owned(), json.to_owned())).into()
}

fn path(folder: &Path, term: u64) -> PathBuf {
    folder.join(format!("{PREFIX}{term:020}"))
}

fn set(log: &mut RecordLog, key: &str, json: &str) -> Result<(), FileError> {
    log.put(key, Some(json.to_owned()));
    log.commit()
}

#[test]
fn what_was_committed_survives_torn_and_damaged_writes() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = opened(folder.path(), Term(1)).unwrap();
    for (key, json) in [("a", Some("1")), ("b", Some("2")), ("a", Some("3")), ("b", None)] {
        log.put(key, json.map(str::to_owned));
    }
    log.commit().unwrap();
    let path = path(folder.path(), 1);
    let whole = std::fs::read(&path).unwrap();
    for torn in [
        &b"0123456789abcdef a 9"[..],
        b"\n",
        b"xyz",
        b"\xff\xfe",
        &[0; 5000],
        b"{\"a\": 1}\n",
    ] {
        std::fs::write(&path, [whole.as_slice(), torn].concat()).unwrap();
        assert_eq!(reopened(folder.path(), 1), records([("a", "3")]));
    }
    for cut in 0..whole.len() {
        std::fs::write(&path, &whole[..cut]).unwrap();
        reopened(folder.path(), 1);
    }
}

/// At every byte, whether or not the piece can be cut off, and with the sync as what fails.
#[test]
fn what_is_committed_after_a_write_that_failed_half_way_is_read_back() {
    let line = "0123456789abcdef b 2\n".len();
    for fails_cut in [false, true] {
        for room in 0..=line {
            let folder = tempfile::tempdir().unwrap();
            let mut log = opened(folder.path(), Term(1)).unwrap();
            set(&mut log, "a", "1").unwrap();
            faults::set(Faults {
                room: Some(room),
                fails_sync: room == line,
                fails_cut,
            });
            let refused = set(&mut log, "b", "2").unwrap_err();
            faults::set(Faults::default());
            assert_eq!(log.records(), &records([("a", "1")]), "taken back");
            assert!(refused.to_string().contains("state-"), "{refused}");
            // Killed here, or going on.
            let killed = reopened_copy(folder.path());
            assert!(!killed.contains_key("b") || fails_cut, "{room}: {killed:?}");
            assert_eq!(killed["a"], "1");
            set(&mut log, "c", "3").unwrap();
            assert_eq!(
                reopened_copy(folder.path()),
                records([("a", "1"), ("c", "3")]),
                "{room}"
            );
        }
    }
}

/// What another dispatcher would find if this one were killed now.
fn reopened_copy(folder: &Path) -> BTreeMap<String, String> {
    let copy = tempfile::tempdir().unwrap();
    for (term, path) in files(folder).unwrap() {
        std::fs::copy(path, self::path(copy.path(), term.0)).unwrap();
    }
    reopened(copy.path(), 99)
}

#[test]
fn a_full_disk_is_named_and_left_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = opened(folder.path(), Term(1)).unwrap();
    faults::set(FULL);
    for _ in 0..3 {
        let error = set(&mut log, "a", "1").unwrap_err().to_string();
        assert!(
            error.contains("state-00000000000000000001: the disk is full"),
            "{error}"
        );
        log.probe().unwrap_err();
    }
    faults::set(Faults::default());
    log.probe().unwrap();
    set(&mut log, "a", "2").unwrap();
    assert_eq!(reopened(folder.path(), 2), records([("a", "2")]));
}

#[test]
fn a_full_disk_does_not_hinder_a_start() {
    let folder = tempfile::tempdir().unwrap();
    set(&mut opened(folder.path(), Term(1)).unwrap(), "a", "1").unwrap();
    for term in [2, 3] {
        faults::set(FULL);
        let mut log = opened(folder.path(), Term(term)).unwrap();
        assert_eq!(log.records(), &records([("a", "1")]));
        set(&mut log, "b", "2").unwrap_err();
        faults::set(Faults::default());
    }
    let mut log = opened(folder.path(), Term(4)).unwrap();
    set(&mut log, "b", "2").unwrap();
    assert_eq!(reopened(folder.path(), 5), records([("a", "1"), ("b", "2")]));
}

#[test]
fn a_full_disk_does_not_hinder_a_file_that_should_be_written_anew() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = opened(folder.path(), Term(1)).unwrap();
    for number in 0..WASTE_LINES_MIN {
        log.put("a", Some(number.to_string()));
    }
    log.commit().unwrap();
    // There is room for a line, and for no second file.
    log.put("b", Some("x".repeat(5_000)));
    log.commit().unwrap();
    faults::set(Faults {
        room: Some(100),
        ..Faults::default()
    });
    set(&mut log, "c", "3").unwrap();
    faults::set(Faults::default());
    assert_eq!(reopened(folder.path(), 2)["c"], "3");
}

#[test]
fn an_earlier_terms_late_writes_are_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = opened(folder.path(), Term(1)).unwrap();
    set(&mut first, "a", "1").unwrap();
    let mut second = opened(folder.path(), Term(2)).unwrap();
    set(&mut first, "a", "stale").unwrap();
    set(&mut second, "b", "2").unwrap();
    assert_eq!(reopened(folder.path(), 3), records([("a", "1"), ("b", "2")]));
}

#[test]
fn a_term_that_went_back_takes_nothing_back() {
    let folder = tempfile::tempdir().unwrap();
    set(&mut opened(folder.path(), Term(5)).unwrap(), "a", "before").unwrap();
    // The broker has forgotten that there ever was a term.
    for (key, term) in [("b", 1), ("c", 1), ("d", 2)] {
        set(&mut opened(folder.path(), Term(term)).unwrap(), key, "after").unwrap();
    }
    let expected = records([("a", "before"), ("b", "after"), ("c", "after"), ("d", "after")]);
    assert_eq!(reopened(folder.path(), 3), expected);
    assert!(highest_term([folder.path()].into_iter()) > Term(5));
}

#[test]
fn the_highest_term_of_folders_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (folder.path().join("one"), folder.path().join("other"));
    opened(&one, Term(3)).unwrap();
    opened(&other, Term(7)).unwrap();
    std::fs::write(other.join("state-what"), "").unwrap();
    std::fs::write(other.join("state-00000000000000000009.new"), "").unwrap();
    let none = folder.path().join("none");
    let folders = [one.as_path(), other.as_path(), none.as_path()];
    assert_eq!(highest_term(folders.into_iter()), Term(7));
}

#[test]
fn the_file_does_not_grow_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = opened(folder.path(), Term(1)).unwrap();
    for number in 0..3 * WASTE_LINES_MIN {
        set(&mut log, "a", &number.to_string()).unwrap();
    }
    let content = std::fs::read_to_string(path(folder.path(), 1)).unwrap();
    assert!(content.lines().count() <= WASTE_LINES_MIN + 2);
    assert_eq!(
        reopened(folder.path(), 2)["a"],
        (3 * WASTE_LINES_MIN - 1).to_string()
    );
    for term in 3..6 {
        reopened(folder.path(), term);
        std::fs::write(path(folder.path(), term).with_extension("new"), "torn").unwrap();
    }
    let names = std::fs::read_dir(folder.path()).unwrap();
    assert!(names.count() <= 3, "the last two, and what was torn");
}

#[test]
fn a_file_of_the_release_before_is_read_and_of_a_later_one_refused() {
    let folder = old_folder("values");
    let found = reopened(folder.path(), 3);
    assert_eq!(found.len(), 5);
    assert_eq!(found["g-3c4c20404b104f5da29413b8a486bbd8"], "1");
    std::fs::write(path(folder.path(), 9), "wayfare-log 2\n").unwrap();
    let refused = opened(folder.path(), Term(10)).unwrap_err().to_string();
    assert!(refused.contains("format 2 is of a later release"), "{refused}");
}
