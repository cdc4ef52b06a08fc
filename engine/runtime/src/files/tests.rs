//! The scratch folder against tables and against a model that is too simple to be wrong; descriptors;
//! snapshots.

use std::collections::BTreeMap;

use wayfare_protocol::files::{DEPTH_MAX, Opening};

use super::scratch::{SCRATCH_BYTES_MAX, Stat, Times};
use super::*;

fn path(text: &str) -> Vec<String> {
    text.split('/')
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

fn creating() -> Opening {
    Opening {
        create: true,
        write: true,
        ..Opening::default()
    }
}

fn create(scratch: &mut Scratch, name: &str) -> Result<Stat, Errno> {
    scratch.open(&path(name), creating(), 0)
}

#[test]
fn what_is_opened_is_there_and_of_the_right_kind() {
    let mut scratch = Scratch::default();
    scratch.make_folder(&path("d"), 1).unwrap();
    create(&mut scratch, "d/f").unwrap();
    let plain = Opening::default();
    for (name, opening, expected) in [
        ("d/f", plain, Ok(false)),
        ("d", plain, Ok(true)),
        ("", plain, Ok(true)),
        ("d/g", plain, Err(Errno::NOENT)),
        ("d/f/g", plain, Err(Errno::NOTDIR)),
        ("x/g", creating(), Err(Errno::NOENT)),
        (
            "d/f",
            Opening {
                exclusive: true,
                ..creating()
            },
            Err(Errno::EXIST),
        ),
        (
            "d/f",
            Opening {
                folder: true,
                ..plain
            },
            Err(Errno::NOTDIR),
        ),
        ("d", creating(), Err(Errno::ISDIR)),
        (
            "d",
            Opening {
                folder: true,
                ..plain
            },
            Ok(true),
        ),
        (
            "d/n",
            Opening {
                folder: true,
                create: true,
                ..plain
            },
            Err(Errno::NOENT),
        ),
    ] {
        let found = scratch.open(&path(name), opening, 2).map(|stat| stat.is_folder);
        assert_eq!(found, expected, "{name} {opening:?}");
    }
}

#[test]
fn names_are_changed_as_posix_says() {
    let mut scratch = Scratch::default();
    for folder in ["a", "a/b", "e"] {
        scratch.make_folder(&path(folder), 0).unwrap();
    }
    for file in ["f", "g", "a/f"] {
        create(&mut scratch, file).unwrap();
    }
    for (from, to, expected) in [
        ("nothing", "x", Err(Errno::NOENT)),
        ("a", "a/b/c", Err(Errno::INVAL)),
        ("f", "a", Err(Errno::ISDIR)),
        ("a", "f", Err(Errno::NOTDIR)),
        ("e", "a", Err(Errno::NOTEMPTY)),
        ("f", "f", Ok(())),
        ("f", "missing/f", Err(Errno::NOENT)),
        ("f", "g/f", Err(Errno::NOTDIR)),
        ("", "x", Err(Errno::INVAL)),
        ("f", "g", Ok(())),
        ("a/b", "e", Ok(())),
        ("g", "e/f", Ok(())),
    ] {
        assert_eq!(scratch.rename(&path(from), &path(to), 0), expected, "{from} {to}");
    }
    assert!(scratch.find(&path("e/f")).is_ok() && scratch.find(&path("f")) == Err(Errno::NOENT));
    for (name, expected) in [
        ("a/f", Err(Errno::NOTDIR)),
        ("e", Err(Errno::NOTEMPTY)),
        ("nothing", Err(Errno::NOENT)),
    ] {
        assert_eq!(scratch.remove_folder(&path(name), 0), expected, "{name}");
    }
    assert_eq!(scratch.unlink(&path("e"), 0), Err(Errno::ISDIR));
    assert_eq!(scratch.bytes, scratch.count_bytes());
}

#[test]
fn everything_is_bounded_and_a_refused_write_changes_nothing() {
    let mut files = Files::default();
    let node = create(&mut files.scratch, "f").unwrap().node;
    for (offset, length) in [
        (SCRATCH_BYTES_MAX as u64, 1),
        (u64::MAX, 1),
        (u64::MAX - 1, 1),
        (1 << 40, 1),
    ] {
        assert!(
            files.scratch.write(node, offset, &vec![1; length], 0).is_err(),
            "{offset}"
        );
    }
    assert_eq!(files.scratch.set_length(node, u64::MAX, 0), Err(Errno::NOSPC));
    assert_eq!(files.scratch.stat(node).unwrap().bytes, 0);
    files.scratch.set_length(node, 7 << 20, 0).unwrap();
    files.scratch.set_length(node, 0, 0).unwrap();
    let made = (0..10_000).take_while(|number| create(&mut files.scratch, &format!("n{number}")).is_ok());
    assert!(made.count() < 5_000);
    let opened = (0..1_000).take_while(|_| {
        let descriptor = Descriptor::of(Of::Scratch(node));
        files.insert(descriptor).is_ok()
    });
    // But for the streams and the mounts.
    assert_eq!(opened.count(), DESCRIPTORS_MAX - 6);
}

#[test]
fn an_open_file_outlives_its_name_and_no_longer() {
    let mut files = Files::default();
    let node = create(&mut files.scratch, "f").unwrap().node;
    let fd = files
        .insert(Descriptor::of(Of::Scratch(node)))
        .unwrap()
        .cast_signed();
    files.scratch.write(node, 0, b"still", 0).unwrap();
    files.scratch.unlink(&path("f"), 0).unwrap();
    let mut files = Files::restore(&files.save(), Folders::default()).unwrap();
    assert_eq!(files.scratch.read(node, 0, 9).unwrap(), b"still");
    files.close(fd).unwrap();
    assert_eq!(files.scratch.read(node, 0, 9), Err(Errno::BADF));
    assert_eq!(files.scratch.bytes, files.scratch.count_bytes());
    assert_eq!(files.close(fd), Err(Errno::BADF));
}

fn head(saved: &[u8]) -> &str {
    let length = u32::from_le_bytes(saved[..4].try_into().unwrap()) as usize;
    std::str::from_utf8(&saved[4..4 + length]).unwrap()
}

fn folder(name: &str, node: u64) -> Descriptor {
    Descriptor::of(Of::Folder {
        mount: Mount::Scratch,
        path: path(name),
        node: Some(node),
    })
}

#[test]
fn what_earlier_releases_do_not_know_is_in_a_snapshot_only_where_it_is_used() {
    let mut files = Files::default();
    files.scratch.make_folder(&path("d"), 0).unwrap();
    let node = create(&mut files.scratch, "f").unwrap().node;
    let fd = files
        .insert(Descriptor::of(Of::Scratch(node)))
        .unwrap()
        .cast_signed();
    let open = files.insert(folder("d", 2)).unwrap().cast_signed();
    let new = ["streams", "Stream", "Removed", "flags", "accessed_ns"];
    let has = |files: &Files| new.map(|word| head(&files.save()).contains(&format!("\"{word}\"")));
    assert_eq!(has(&files), [false; 5]);
    // A stream that is closed, a stream elsewhere, a folder that is gone.
    files.close(2).unwrap();
    assert_eq!(has(&files), [true, true, false, false, false]);
    files.renumber(1, fd).unwrap();
    files.scratch.remove_folder(&path("d"), 0).unwrap();
    files.removed(Mount::Scratch, &path("d"));
    assert_eq!(has(&files), [true, true, true, false, false]);
    let mut restored = Files::restore(&files.save(), Folders::default()).unwrap();
    assert_eq!(restored, files);
    assert_eq!(restored.stream(fd), Ok(Some(StandardStream::Output)));
    assert_eq!(restored.stream(1), Err(Errno::BADF));
    assert_eq!(restored.folder(open), Err(Errno::NOENT));
    assert_eq!(restored.insert(Descriptor::of(Of::Scratch(node))), Ok(1));
}

/// As the first release wrote it.
#[test]
fn files_of_earlier_releases_have_the_standard_streams() {
    let head = r#"{"scratch":{"nodes":{"1":{"content":{"Folder":{"f":2}},"modified_ns":5},
        "2":{"content":"File","modified_ns":6}},"next":3},"lengths":[3],"descriptors":{
        "3":{"of":{"Mount":"Scratch"},"offset":0,"read":true,"write":false,"append":false},
        "5":{"of":{"Folder":{"mount":"Scratch","path":[]}},"offset":0,"read":true,"write":false,"append":false},
        "6":{"of":{"Scratch":2},"offset":1,"read":true,"write":true,"append":true}}}"#;
    let saved = [&(head.len() as u32).to_le_bytes()[..], head.as_bytes(), b"abc"].concat();
    let mut files = Files::restore(&saved, Folders::default()).unwrap();
    for (fd, stream) in (0..).zip(StandardStream::ALL) {
        assert_eq!(files.stream(fd), Ok(Some(stream)));
    }
    assert_eq!(files.folder(5), Ok((Mount::Scratch, &[][..])));
    let stat = files.scratch.stat(2).unwrap();
    assert!(stat.is_named && stat.accessed_ns == 6);
    files.scratch.unlink(&path("f"), 0).unwrap();
    assert_eq!(files.scratch.read(2, 0, 9).unwrap(), b"abc");
    files.close(6).unwrap();
    assert_eq!(files.scratch.stat(2), Err(Errno::BADF));
}

#[test]
fn open_folders_are_where_they_were_renamed_to() {
    let mut files = Files::default();
    let fds: Vec<i32> = [("a", 2), ("a/b", 3), ("ab", 4), ("c", 5)]
        .map(|(name, node)| files.insert(folder(name, node)).unwrap().cast_signed())
        .into();
    files.renamed(Mount::Fleet, &path("a"), &path("x"));
    files.renamed(Mount::Scratch, &path("a"), &path("c"));
    files.renamed(Mount::Scratch, &path("c/b"), &path("c/b"));
    let found: Vec<_> = fds
        .iter()
        .map(|fd| files.folder(*fd).map(|(_, path)| path.join("/")))
        .collect();
    let expected = [Ok("c"), Ok("c/b"), Ok("ab"), Err(Errno::NOENT)];
    assert_eq!(found, expected.map(|path| path.map(str::to_owned)));
}

#[test]
fn a_folder_does_not_become_deeper_than_paths_can_be() {
    let mut scratch = Scratch::default();
    let deep = ["d"; DEPTH_MAX].map(str::to_owned);
    for depth in 1..DEPTH_MAX {
        scratch.make_folder(&deep[..depth], 0).unwrap();
    }
    scratch.make_folder(&path("e"), 0).unwrap();
    assert_eq!(scratch.rename(&path("d"), &path("e/d"), 0), Ok(()));
    assert_eq!(scratch.rename(&path("e"), &path("f"), 0), Ok(()));
    scratch.make_folder(&path("g"), 0).unwrap();
    assert_eq!(
        scratch.rename(&path("f"), &path("g/f"), 0),
        Err(Errno::NAMETOOLONG)
    );
}

#[test]
fn times_are_set_one_by_one() {
    let mut scratch = Scratch::default();
    let node = scratch.open(&path("f"), creating(), 5).unwrap().node;
    for (accessed_ns, modified_ns, expected) in [
        (None, Some(1), (5, 1)),
        (Some(2), None, (2, 1)),
        (None, None, (2, 1)),
        (Some(3), Some(4), (3, 4)),
    ] {
        let times = Times {
            accessed_ns,
            modified_ns,
        };
        scratch.set_times(node, times).unwrap();
        let stat = scratch.stat(node).unwrap();
        assert_eq!((stat.accessed_ns, stat.modified_ns), expected);
    }
}

#[test]
fn folders_are_listed_whole_while_they_are_emptied() {
    let mut scratch = Scratch::default();
    for number in 0..20 {
        create(&mut scratch, &format!("f{number}")).unwrap();
    }
    let (mut after, mut seen) = (0, 0);
    while let Some((stat, name)) = scratch.list(super::scratch::ROOT, after).unwrap().first() {
        let name = (*name).to_owned();
        after = stat.node;
        seen += 1;
        scratch.unlink(&path(&name), 0).unwrap();
    }
    assert_eq!(seen, 20);
}

/// A random number generator that needs no other crate.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 33) % end
    }
}

/// Whole paths to contents; `None` is a folder.
type Model = BTreeMap<Vec<String>, Option<Vec<u8>>>;

/// Whether `at` can be given to something new.
fn is_free(model: &Model, at: &[String]) -> bool {
    let folder = &at[..at.len() - 1];
    !model.contains_key(at) && (folder.is_empty() || matches!(model.get(folder), Some(None)))
}

#[test]
fn random_histories_agree_with_a_map_of_paths() {
    for seed in 0..40 {
        let mut random = Random(seed);
        let (mut files, mut model) = (Files::default(), Model::new());
        for step in 0..300 {
            let mut some = || {
                let depth = 1 + random.below(3) as usize;
                (0..depth)
                    .map(|_| ["a", "b", "c"][random.below(3) as usize].to_owned())
                    .collect::<Vec<_>>()
            };
            let (one, other) = (some(), some());
            let scratch = &mut files.scratch;
            match random.below(6) {
                0 => {
                    let expected = is_free(&model, &one);
                    assert_eq!(scratch.make_folder(&one, 0).is_ok(), expected, "{seed} {step}");
                    if expected {
                        model.insert(one, None);
                    }
                }
                1 | 2 => {
                    let expected = is_free(&model, &one) || matches!(model.get(&one), Some(Some(_)));
                    let opened = scratch.open(&one, creating(), 0);
                    assert_eq!(opened.is_ok(), expected, "{seed} {step}");
                    if let Ok(stat) = opened {
                        let offset = random.below(50);
                        let bytes = vec![step as u8; random.below(50) as usize];
                        scratch.write(stat.node, offset, &bytes, 0).unwrap();
                        let content = model.entry(one).or_insert(Some(Vec::new())).as_mut().unwrap();
                        let end = offset as usize + bytes.len();
                        if !bytes.is_empty() {
                            content.resize(content.len().max(end), 0);
                            content[offset as usize..end].copy_from_slice(&bytes);
                        }
                    }
                }
                3 => {
                    let is_file = matches!(model.get(&one), Some(Some(_)));
                    assert_eq!(scratch.unlink(&one, 0).is_ok(), is_file, "{seed} {step}");
                    if is_file {
                        model.remove(&one);
                    }
                }
                4 => {
                    let is_empty = !model.keys().any(|key| key.starts_with(&one) && *key != one);
                    let expected = matches!(model.get(&one), Some(None)) && is_empty;
                    assert_eq!(scratch.remove_folder(&one, 0).is_ok(), expected, "{seed} {step}");
                    if expected {
                        model.remove(&one);
                    }
                }
                _ => {
                    if scratch.rename(&one, &other, 0).is_ok() && one != other {
                        let moved: Vec<_> = model
                            .keys()
                            .filter(|key| key.starts_with(&one))
                            .cloned()
                            .collect();
                        assert!(!moved.is_empty(), "{seed} {step}");
                        for key in moved {
                            let content = model.remove(&key).unwrap();
                            let new = [&other[..], &key[one.len()..]].concat();
                            model.insert(new, content);
                        }
                    }
                }
            }
            if step % 50 == 0 {
                let restored = Files::restore(&files.save(), Folders::default()).expect("what was saved");
                assert_eq!(restored, files, "{seed} {step}");
                files = restored;
            }
        }
        for (at, content) in &model {
            let node = files.scratch.find(at).expect("the model has it");
            match content {
                Some(content) => assert_eq!(files.scratch.read(node, 0, usize::MAX).unwrap(), content),
                None => assert!(files.scratch.stat(node).unwrap().is_folder),
            }
        }
        let nodes = files.scratch.nodes.len();
        assert_eq!(nodes, model.len() + 1, "nothing besides: {seed}");
        assert_eq!(files.scratch.bytes, files.scratch.count_bytes());
    }
}

#[test]
fn damaged_files_are_refused() {
    let mut files = Files::default();
    let node = create(&mut files.scratch, "f").unwrap().node;
    files.scratch.write(node, 0, b"content", 0).unwrap();
    files.insert(Descriptor::of(Of::Scratch(node))).unwrap();
    let good = files.save();
    assert_eq!(Files::restore(&good, Folders::default()).as_ref(), Ok(&files));
    for cut in 1..good.len() {
        assert!(Files::restore(&good[..cut], Folders::default()).is_err(), "{cut}");
    }
    let text = |from: &str, to: &str| {
        let head = u32::from_le_bytes(good[..4].try_into().unwrap()) as usize;
        let json = std::str::from_utf8(&good[4..4 + head]).unwrap();
        assert!(json.contains(from), "{json}");
        let json = json.replace(from, to);
        [
            &(json.len() as u32).to_le_bytes()[..],
            json.as_bytes(),
            b"content",
        ]
        .concat()
    };
    for (from, to) in [
        (r#""f":2"#, r#""f":3"#),
        (r#""f":2"#, r#""..":2"#),
        (r#""f":2"#, r#""f":1"#),
        (r#""f":2"#, r#""f":2,"g":2"#),
        (r#"{"Scratch":2}"#, r#"{"Scratch":9}"#),
        (r#""lengths":[7]"#, r#""lengths":[8]"#),
        (r#""lengths":[7]"#, r#""lengths":[7,0]"#),
        (r#""next":3"#, r#""next":2"#),
    ] {
        assert!(
            Files::restore(&text(from, to), Folders::default()).is_err(),
            "{from} {to}"
        );
    }
}

/// A program that has not used `/wayfare` can be taken by engines that know nothing of it, and one of theirs
/// is taken here.
#[test]
fn the_mount_of_lines_is_in_a_snapshot_only_where_it_was_used() {
    let touched = |files: &Files| {
        let saved = files.save();
        assert_eq!(Files::restore(&saved, Folders::default()).as_ref(), Ok(files));
        String::from_utf8_lossy(&saved).to_lowercase().contains("wayfare")
    };
    let mut files = Files::default();
    assert!(files.save().is_empty());
    let node = create(&mut files.scratch, "f").unwrap().node;
    assert_eq!(
        files.insert(Descriptor::of(Of::Scratch(node))),
        Ok(6),
        "behind the mounts"
    );
    assert!(!touched(&files));
    let mut used = files.clone();
    used.insert(Descriptor::of(Of::Wayfare(WayfareFile::In))).unwrap();
    assert!(touched(&used));
    let mut begun = files.clone();
    begun.channel.begun = b"{\"do\":".to_vec();
    begun.channel.reading = b"\xff\n".to_vec();
    assert!(touched(&begun));
    let mut closed = files.clone();
    closed.close(5).unwrap();
    assert!(touched(&closed), "it stays closed");
    // As an earlier release leaves it, with another file at the mount's place.
    let mut earlier = files.clone();
    earlier.renumber(6, 5).unwrap();
    let saved = String::from_utf8(earlier.save().split_off(4)).unwrap();
    let saved = saved
        .split_once(",\"wayfare\"")
        .map(|(head, _)| format!("{head}}}"));
    let saved = saved.expect("it is not usual here");
    let saved = [&(saved.len() as u32).to_le_bytes()[..], saved.as_bytes()].concat();
    let restored = Files::restore(&saved, Folders::default()).unwrap();
    assert_eq!(restored.get(5).unwrap().of, Of::Scratch(node));
}

#[test]
fn few_descriptors_have_a_content_of_their_own() {
    let me = || {
        Descriptor::of(Of::Wayfare(WayfareFile::Plain {
            of: wayfare::Plain::Me,
            content: wayfare::Content(b"{}\n".to_vec()),
            is_fresh: true,
        }))
    };
    let mut files = Files::default();
    for _ in 0..wayfare::CONTENTS_MAX {
        files.insert(me()).unwrap();
    }
    assert_eq!(files.insert(me()), Err(Errno::MFILE));
    assert!(files.insert(Descriptor::of(Of::Wayfare(WayfareFile::In))).is_ok());
    assert_eq!(
        Files::restore(&files.save(), Folders::default()).as_ref(),
        Ok(&files)
    );
}
