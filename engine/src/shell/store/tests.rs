use super::*;
use bytes::Bytes;
use wayfare_core::types::{Disposition, ProgramRecord, Saved};
use wayfare_protocol::command::ProgramSpec;
use wayfare_protocol::ids::{Blob, Generation, OperationId, ProgramId};

fn engine() -> EngineId {
    "a".parse().unwrap()
}

fn open(folder: &Path) -> (Store, Vec<Record>) {
    Store::open(folder, &engine()).unwrap()
}

fn program(module: Blob, snapshot: Option<Blob>) -> Record {
    Record::Program(ProgramRecord {
        program: ProgramId::random(),
        spec: ProgramSpec {
            name: "p".into(),
            module,
            args: vec![],
            env: [].into(),
            stdin: None,
            memory_bytes_max: None,
            grants: Default::default(),
            ports: Default::default(),
            health_every_ms: None,
        },
        generation: Generation(1),
        begun: Generation(1),
        saved: snapshot.map(|snapshot| Saved { snapshot, base: None }),
        disposition: Disposition::Running,
        arrived: OperationId::random(),
    })
}

/// Snapshots, logins and messages are in it.
#[test]
fn a_folder_that_others_may_read_is_closed_to_them() {
    use std::os::unix::fs::PermissionsExt;
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("data");
    std::fs::create_dir(&folder).unwrap();
    std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o755)).unwrap();
    drop(open(&folder));
    assert_eq!(
        std::fs::metadata(&folder).unwrap().permissions().mode() & 0o007,
        0
    );
}

#[test]
fn two_engines_never_share_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path());
    assert!(matches!(
        Store::open(folder.path(), &engine()),
        Err(OpenError::InUse(_))
    ));
    drop(first);
    open(folder.path());
    let other = "b".parse().unwrap();
    assert!(matches!(
        Store::open(folder.path(), &other),
        Err(OpenError::Owner { .. })
    ));
}

#[test]
fn a_folder_of_another_format_is_refused_and_a_damaged_format_file_is_not() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()));
    let path = folder.path().join("format");
    std::fs::write(&path, "format 2\nengine a\n").unwrap();
    assert!(matches!(
        Store::open(folder.path(), &engine()),
        Err(OpenError::Format { found: 2, .. })
    ));
    for damaged in [&b""[..], b"\xff\xfe", b"format x\n"] {
        std::fs::write(&path, damaged).unwrap();
        drop(open(folder.path()));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "format 1\nengine a\n");
    }
}

#[test]
fn a_record_is_committed_only_with_the_blobs_it_names() {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, _) = open(folder.path());
    let (module, snapshot) = (Blob::of(b"\0asm"), Blob::of(b"snapshot"));
    store.blobs.hold(module, Bytes::from_static(b"\0asm"));
    store.blobs.hold(snapshot, Bytes::from_static(b"snapshot"));
    let record = program(module, Some(snapshot));
    store.put(&record);
    store.commit().unwrap();
    drop(store);
    let (mut store, records) = open(folder.path());
    assert_eq!(records, [record]);
    for blob in [module, snapshot] {
        assert!(store.blobs.source(blob.digest).unwrap().read().is_ok());
    }
}

#[test]
fn damaged_records_are_moved_aside_and_the_rest_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, _) = open(folder.path());
    let mut records: Vec<Record> = (0..3).map(|_| program(Blob::of(b"m"), None)).collect();
    records.iter().for_each(|record| store.put(record));
    store.commit().unwrap();
    drop(store);
    let path = folder.path().join("journal");
    let mut journal = std::fs::read(&path).unwrap();
    let middle = journal.len() / 2;
    journal[middle] ^= 1;
    std::fs::write(&path, journal).unwrap();
    records.remove(1);
    records.sort_by_key(Record::key);
    for _ in 0..2 {
        let (mut store, found) = open(folder.path());
        assert_eq!(found, records);
        store.commit().unwrap();
    }
    let aside: Vec<_> = std::fs::read_dir(folder.path().join("damaged"))
        .unwrap()
        .collect();
    assert_eq!(aside.len(), 1, "moved aside once, gone from the journal then");
}

#[test]
fn the_reserve_is_given_once_for_a_full_disk_and_for_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, _) = open(folder.path());
    let full = io::Error::from(io::ErrorKind::StorageFull);
    let reserve = folder.path().join("reserve");
    assert!(reserve.exists() && store.has_room());
    assert!(!store.reserve.gives_way(&io::ErrorKind::NotFound.into()));
    assert!(store.reserve.gives_way(&full));
    assert!(!reserve.exists() && !store.has_room());
    assert!(!store.reserve.gives_way(&full), "only once");
    store.keep_room();
    assert!(reserve.exists() && store.has_room());
}
