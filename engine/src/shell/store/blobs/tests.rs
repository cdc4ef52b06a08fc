use super::*;

const CHUNK: usize = 64 * 1024;

fn send(blobs: &mut Blobs, blob: Blob, content: &[u8]) -> Reception {
    let mut last = Reception::More;
    for (index, chunk) in content.chunks(CHUNK).enumerate() {
        assert_eq!(last, Reception::More);
        last = blobs.keep_chunk(blob, (index * CHUNK) as u64, chunk).unwrap();
    }
    last
}

fn files_in(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn content(bytes: usize, seed: u8) -> Vec<u8> {
    (0..bytes)
        .map(|at| (at as u8).wrapping_mul(seed).wrapping_add((at >> 8) as u8))
        .collect()
}

#[test]
fn small_and_large_blobs_arrive_and_survive_a_start_once_durable() {
    let folder = tempfile::tempdir().unwrap();
    let mut blobs = Blobs::open(folder.path()).unwrap();
    for (bytes, seed) in [(1, 1), (CHUNK, 3), (CHUNK + 1, 5), (6 << 20, 7)] {
        let content = content(bytes, seed);
        let blob = Blob::of(&content);
        assert_eq!(
            send(&mut blobs, blob, &content),
            Reception::Complete { intact: true }
        );
        assert_eq!(blobs.source(blob.digest).unwrap().read().unwrap(), content);
        assert_eq!(blobs.read_at(blob.digest, 0, 1).unwrap(), content[..1]);
        // Said again, it is complete again.
        assert_eq!(
            send(&mut blobs, blob, &content),
            Reception::Complete { intact: true }
        );
        let mut restarted = Blobs::open(&folder.path().join("nowhere")).unwrap();
        assert!(restarted.source(blob.digest).is_none());
        blobs.make_durable(blob.digest).unwrap();
        let mut restarted = Blobs::open(folder.path()).unwrap();
        assert_eq!(restarted.source(blob.digest).unwrap().read().unwrap(), content);
        assert_eq!(
            restarted.read_at(blob.digest, bytes as u64 - 1, 1).unwrap(),
            content[bytes - 1..]
        );
        assert!(restarted.read_at(blob.digest, bytes as u64, 1).is_err());
    }
}

#[test]
fn unfinished_blobs_are_gone_after_a_start() {
    let folder = tempfile::tempdir().unwrap();
    let mut blobs = Blobs::open(folder.path()).unwrap();
    let content = content(6 << 20, 9);
    let blob = Blob::of(&content);
    // One cut off, one whole and never synced.
    assert_eq!(
        blobs.keep_chunk(blob, 0, &content[..CHUNK]).unwrap(),
        Reception::More
    );
    let other = Blob::of(&content[1..]);
    assert_eq!(
        send(&mut blobs, other, &content[1..]),
        Reception::Complete { intact: true }
    );
    assert_eq!(files_in(folder.path()).len(), 2);
    let blobs = Blobs::open(folder.path()).unwrap();
    assert_eq!(blobs.list().count(), 0);
    assert!(files_in(folder.path()).is_empty());
}

#[test]
fn damaged_blobs_are_refused_and_can_be_sent_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut blobs = Blobs::open(folder.path()).unwrap();
    for bytes in [CHUNK, 6 << 20] {
        let good = content(bytes, 11);
        let blob = Blob::of(&good);
        let mut bad = good.clone();
        bad[bytes / 2] ^= 1;
        assert_eq!(
            send(&mut blobs, blob, &bad),
            Reception::Complete { intact: false }
        );
        assert!(blobs.source(blob.digest).is_none());
        assert!(files_in(folder.path()).is_empty());
        assert_eq!(
            send(&mut blobs, blob, &good),
            Reception::Complete { intact: true }
        );
        blobs.sweep(&BTreeSet::new(), Instant::now());
        assert!(files_in(folder.path()).is_empty());
    }
}

#[test]
fn a_blob_written_out_survives_only_once_it_is_durable() {
    let folder = tempfile::tempdir().unwrap();
    for durable in [false, true] {
        let mut blobs = Blobs::open(folder.path()).unwrap();
        let blob = Blob::of(b"snapshot");
        blobs.hold(blob, Bytes::from_static(b"snapshot"));
        assert!(blobs.write_out(blob.digest).unwrap().is_some());
        if durable {
            blobs.make_durable(blob.digest).unwrap();
            assert!(blobs.write_out(blob.digest).unwrap().is_none());
        }
        let mut restarted = Blobs::open(folder.path()).unwrap();
        assert_eq!(restarted.source(blob.digest).is_some(), durable);
        assert_eq!(files_in(folder.path()).len(), usize::from(durable));
    }
}

#[test]
fn chunks_out_of_order_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut blobs = Blobs::open(folder.path()).unwrap();
    let content = content(CHUNK * 3, 13);
    let blob = Blob::of(&content);
    let mut keep = |index: usize| {
        let chunk = &content[index * CHUNK..(index + 1) * CHUNK];
        blobs.keep_chunk(blob, (index * CHUNK) as u64, chunk).unwrap()
    };
    assert_eq!(keep(1), Reception::OutOfOrder);
    assert_eq!(keep(0), Reception::More);
    assert_eq!(keep(2), Reception::OutOfOrder);
    assert_eq!(keep(1), Reception::More);
    assert_eq!(keep(1), Reception::OutOfOrder);
    assert_eq!(keep(2), Reception::Complete { intact: true });
}

#[test]
fn a_blob_damaged_on_disk_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let mut blobs = Blobs::open(folder.path()).unwrap();
    let blob = Blob::of(b"snapshot");
    blobs.hold(blob, Bytes::from_static(b"snapshot"));
    blobs.make_durable(blob.digest).unwrap();
    std::fs::write(folder.path().join(blob.digest.to_string()), b"snapshoT").unwrap();
    let mut blobs = Blobs::open(folder.path()).unwrap();
    let error = blobs.source(blob.digest).unwrap().read().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
}

#[test]
fn sweeping_keeps_what_is_used_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let mut blobs = Blobs::open(folder.path()).unwrap();
    let mut keep = |content: &'static [u8]| {
        let blob = Blob::of(content);
        blobs.hold(blob, Bytes::from_static(content));
        blobs.make_durable(blob.digest).unwrap();
        blob.digest
    };
    let used = keep(b"used snapshot");
    let unused = keep(b"unused snapshot");
    blobs.sweep(&[used].into(), Instant::now());
    assert_eq!(blobs.list().map(|blob| blob.digest).collect::<Vec<_>>(), [used]);
    assert_eq!(files_in(folder.path()), [used.to_string()]);
    assert!(blobs.source(unused).is_none());
}

#[test]
fn what_memory_cannot_hold_goes_to_files() {
    let folder = tempfile::tempdir().unwrap();
    let mut blobs = Blobs::open(folder.path()).unwrap();
    let mut digests = Vec::new();
    for seed in 0..12 {
        let content = content(4 << 20, 2 * seed + 1);
        let blob = Blob::of(&content);
        digests.push(blob.digest);
        blobs.hold(blob, content.into());
    }
    let in_memory: u64 = blobs
        .kept
        .values()
        .filter(|k| k.copy.is_some())
        .map(|k| k.bytes)
        .sum();
    assert!(in_memory <= MEMORY_BYTES_MAX, "{in_memory}");
    for digest in digests {
        blobs.source(digest).unwrap().read().unwrap();
        blobs.make_durable(digest).unwrap();
    }
    assert!(files_in(folder.path()).iter().all(|name| !name.contains('.')));
}
