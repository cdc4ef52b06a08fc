//! Records, blobs and terms in a store of objects that fails at any step, is killed there, or belongs to
//! another by now.

use std::collections::BTreeMap;
use std::sync::Arc;

use object_store::memory::InMemory;
use wayfare_protocol::ids::Digest;
use wayfare_protocol::ids::Term;

use super::fragile::Fragile;
use super::objects::{Kind, Objects};
use super::{BlockingObjects, KeptBlobs, Place, RecordLog};

type Model = BTreeMap<String, String>;

fn place(objects: Objects) -> Place {
    Place::Objects(BlockingObjects::new(objects).unwrap()).join("values")
}

fn on(inner: &Arc<InMemory>) -> Place {
    place(Objects::of(inner.clone()))
}

fn opened(inner: &Arc<InMemory>) -> RecordLog {
    RecordLog::open(&on(inner), Term(1)).unwrap()
}

/// What another dispatcher would find if this one were killed now.
fn killed(inner: &Arc<InMemory>) -> Model {
    opened(&Arc::new(inner.fork())).records().clone()
}

fn set(log: &mut RecordLog, key: &str, json: &str) -> Result<(), super::FileError> {
    log.put(key, Some(json.to_owned()));
    log.commit()
}

/// Whether something has failed.
fn play(steps: usize, last_is_done: bool) -> bool {
    let inner = Arc::new(InMemory::new());
    let fragile = Fragile::new(&inner, steps, last_is_done);
    let mut log = RecordLog::open(&place(Objects::of(fragile.clone())), Term(1)).unwrap();
    let mut model = Model::new();
    let mut has_failed = false;
    for number in 0..8 {
        let key = format!("k{}", number % 3);
        let json = (number != 5).then(|| number.to_string());
        let mut wanted = model.clone();
        match &json {
            Some(json) => wanted.insert(key.clone(), json.clone()),
            None => wanted.remove(&key),
        };
        log.put(&key, json);
        match log.commit() {
            Ok(()) => {
                model = wanted;
                assert_eq!(killed(&inner), model, "{steps}: answered, so it is there");
            }
            Err(error) => {
                has_failed = true;
                assert!(!error.is_succeeded(), "{error}");
                assert_eq!(log.records(), &model, "{steps}: taken back");
                let found = killed(&inner);
                assert!(
                    found == model || (last_is_done && found == wanted),
                    "{steps}: {found:?}"
                );
                // It fails on for a while.
                log.probe().unwrap_err();
                fragile.mend();
                log.probe().unwrap();
                assert_eq!(killed(&inner), model, "{steps}: what was refused is not there");
            }
        }
    }
    assert_eq!(killed(&inner), model);
    has_failed
}

#[test]
fn whatever_step_fails_what_was_answered_is_there_and_what_was_refused_is_not() {
    for last_is_done in [false, true] {
        let failed = (1..).take_while(|steps| play(*steps, last_is_done)).count();
        assert!(failed > 8, "{failed}");
    }
}

#[test]
fn whoever_opens_the_store_ends_who_had_it() {
    let inner = Arc::new(InMemory::new());
    let mut first = opened(&inner);
    set(&mut first, "a", "1").unwrap();
    let mut second = opened(&inner);
    let refused = set(&mut first, "a", "stale").unwrap_err();
    assert!(refused.is_succeeded(), "{refused}");
    assert!(
        refused.to_string().contains("another dispatcher has opened"),
        "{refused}"
    );
    // It stays so.
    assert!(first.probe().unwrap_err().is_succeeded());
    set(&mut second, "b", "2").unwrap();
    let expected = [("a", "1"), ("b", "2")].map(|(key, json)| (key.to_owned(), json.to_owned()));
    assert_eq!(killed(&inner), expected.into());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_store_can_be_waited_for_on_the_only_thread_of_a_runtime() {
    let inner = Arc::new(InMemory::new());
    let ticks = tokio::spawn(async { tokio::task::yield_now().await });
    let mut log = opened(&inner);
    for number in 0..600 {
        set(&mut log, "n", &number.to_string()).unwrap();
    }
    ticks.await.unwrap();
    assert_eq!(killed(&inner)["n"], "599");
    let store = Objects::of(inner).join("values");
    assert!(store.list(Kind::Log).await.unwrap().len() <= 256);
    assert_eq!(store.list(Kind::Checkpoint).await.unwrap().len(), 1);
}

#[test]
fn blobs_are_found_by_who_takes_over() {
    let inner = Arc::new(InMemory::new());
    let digest = Digest::of(b"a module");
    let mut blobs = KeptBlobs::open(&on(&inner)).unwrap();
    assert!(!blobs.has(digest) && blobs.read(digest).is_none());
    for _ in 0..2 {
        blobs.keep(digest, b"a module").unwrap();
    }
    let mut blobs = KeptBlobs::open(&on(&inner)).unwrap();
    assert_eq!(blobs.read(digest).as_deref(), Some(&b"a module"[..]));
    assert!(blobs.needless(|_| false).unwrap().is_empty());
    for name in blobs.needless(|_| true).unwrap() {
        blobs.remove(&name).unwrap();
    }
    assert!(!KeptBlobs::open(&on(&inner)).unwrap().has(digest));
}

#[tokio::test]
async fn the_highest_term_is_remembered_by_the_store() {
    let inner = Arc::new(InMemory::new());
    let highest = async || {
        let store = Place::Objects(BlockingObjects::new(Objects::of(inner.clone())).unwrap());
        store.highest_term(["values", "files"].into_iter()).await
    };
    assert_eq!(highest().await, Term(0));
    for (term, expected) in [(3, 3), (7, 7), (5, 7), (5, 7)] {
        RecordLog::open(&on(&inner), Term(term)).unwrap();
        assert_eq!(highest().await, Term(expected));
    }
}

#[test]
fn records_of_a_later_release_are_refused_by_their_format() {
    let inner = Arc::new(InMemory::new());
    let objects = BlockingObjects::new(Objects::of(inner.clone())).unwrap();
    let later = br#"{"format":2,"opening":1,"records":[]}"#;
    objects
        .join("values")
        .put(Kind::Log, &format!("{:020}", 1), later)
        .unwrap();
    let refused = RecordLog::open(&on(&inner), Term(1)).unwrap_err().to_string();
    assert!(refused.contains("format 2 is of a later release"), "{refused}");
}
