//! Random changes by several programs, against files as plain bytes by their paths; with restarts.

use std::collections::BTreeMap;

use super::*;
use crate::durable::Kind;

const NAMES: [&str; 6] = ["/a", "/b", "/d/a", "/d/b", "/d/e", "/e"];

#[derive(Debug, Clone, PartialEq, Eq)]
enum Thing {
    Folder,
    File(Vec<u8>),
}

/// What there is, by path; the root is always.
#[derive(Debug, Default)]
struct Model(BTreeMap<String, Thing>);

impl Model {
    fn has_folder_for(&self, path: &str) -> bool {
        match path.rsplit_once('/') {
            Some(("", _)) => true,
            Some((folder, _)) => self.0.get(folder) == Some(&Thing::Folder),
            None => false,
        }
    }

    fn is_empty(&self, path: &str) -> bool {
        !self.0.keys().any(|other| other.starts_with(&format!("{path}/")))
    }

    fn file(&mut self, path: &str) -> Option<&mut Vec<u8>> {
        match self.0.get_mut(path) {
            Some(Thing::File(bytes)) => Some(bytes),
            _ => None,
        }
    }

    /// Whether it can be, and has been.
    fn open(&mut self, path: &str) -> bool {
        match self.0.get(path) {
            Some(Thing::File(_)) => true,
            Some(Thing::Folder) => false,
            None if self.has_folder_for(path) => {
                self.0.insert(path.to_owned(), Thing::File(Vec::new()));
                true
            }
            None => false,
        }
    }

    fn rename(&mut self, from: &str, to: &str) -> bool {
        let is_inside = to.starts_with(&format!("{from}/"));
        if !self.0.contains_key(from) || is_inside || !self.has_folder_for(to) {
            return false;
        }
        if from == to {
            return true;
        }
        let is_file = matches!(self.0[from], Thing::File(_));
        let fits = match self.0.get(to) {
            None => true,
            Some(Thing::File(_)) => is_file,
            Some(Thing::Folder) => !is_file && self.is_empty(to),
        };
        if fits {
            let moved: Vec<String> = self
                .0
                .keys()
                .filter(|path| *path == from || path.starts_with(&format!("{from}/")))
                .cloned()
                .collect();
            for path in moved {
                let thing = self.0.remove(&path).unwrap();
                self.0.insert(format!("{to}{}", &path[from.len()..]), thing);
            }
        }
        fits
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % end
    }
}

#[tokio::test]
async fn files_are_as_a_simple_model_has_them() {
    for seed in 0..30 {
        let mut random = Random(seed);
        let mut world = World::new().await;
        let mut model = Model::default();
        for number in 0..150 {
            step(&mut world, &mut model, &mut random, number).await;
            if random.below(20) == 0 {
                world.restart().await;
            }
        }
        let blocks = world.store.list(Kind::Block).await.unwrap();
        for path in model.0.keys().cloned().collect::<Vec<_>>() {
            let expected = model.file(&path).cloned();
            match expected {
                Some(bytes) => assert_eq!(world.content(&path).await, Some(bytes), "{seed} {path}"),
                None => assert!(matches!(
                    world.ask(9, 0, stat(&path)).await,
                    FileAnswer::Stat { .. }
                )),
            }
        }
        world.restart().await;
        let after = world.store.list(Kind::Block).await.unwrap();
        assert_eq!(blocks, after, "{seed}: nothing was left lying about");
    }
}

async fn step(world: &mut World, model: &mut Model, random: &mut Random, number: u64) {
    let program = 1 + random.below(3) as u8;
    let name = NAMES[random.below(NAMES.len())];
    let other = NAMES[random.below(NAMES.len())];
    let (what, expected) = match random.below(8) {
        0 => {
            let can = !model.0.contains_key(name) && model.has_folder_for(name);
            if can {
                model.0.insert(name.to_owned(), Thing::Folder);
            }
            (make(name), can)
        }
        1 => {
            let can = model.file(name).is_some();
            if can {
                model.0.remove(name);
            }
            (unlink(name), can)
        }
        2 => {
            let can = model.0.get(name) == Some(&Thing::Folder) && model.is_empty(name);
            if can {
                model.0.remove(name);
            }
            (remove(name), can)
        }
        3 => {
            let can = model.rename(name, other);
            (rename(name, other), can)
        }
        4 => {
            let bytes = model.file(name).cloned();
            let can = bytes.is_some_and(|bytes| {
                let can = model.open(other);
                if can {
                    *model.file(other).unwrap() = bytes;
                }
                can
            });
            (copy(name, None, other), can)
        }
        _ => return write(world, model, random, (program, number, name)).await,
    };
    let answer = world.ask(program, number * 2, what.clone()).await;
    let found = !matches!(answer, FileAnswer::Refused { .. });
    assert_eq!(found, expected, "{what:?}: {answer:?}, {model:?}");
}

async fn write(
    world: &mut World,
    model: &mut Model,
    random: &mut Random,
    (program, number, name): (u8, u64, &str),
) {
    let answer = world.ask(program, number * 2, open(name, creating())).await;
    let can = model.open(name);
    assert_eq!(
        matches!(answer, FileAnswer::Opened { .. }),
        can,
        "{name}: {answer:?}"
    );
    let Some(bytes) = model.file(name).filter(|_| can) else {
        return;
    };
    let held = Held::of(&answer);
    let text = vec![number as u8; 1 + random.below(30_000)];
    let offset = random.below(bytes.len() + 1_000);
    let what = match random.below(3) {
        0 => {
            bytes.extend(&text);
            held.append(&text)
        }
        1 => {
            bytes.resize(offset, 0);
            held.set_length(offset as u64)
        }
        _ => {
            let end = offset + text.len();
            bytes.resize(bytes.len().max(end), 0);
            bytes[offset..end].copy_from_slice(&text);
            held.write(offset as u64, &text)
        }
    };
    let answer = world.ask(program, number * 2 + 1, what).await;
    assert!(matches!(answer, FileAnswer::Written { .. }), "{answer:?}");
}
