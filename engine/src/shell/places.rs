//! The orders by which the programs are here that are here: the places that were signed for them, on disk, to
//! be shown in their statuses.
//!
//! A file for each program, written when its order is taken: a line for each generation, "generation place",
//! and one for its warrant, "warrant signature". One that is lost costs nothing but the proof: what is
//! claimed then ends no copy elsewhere, and the program does not move.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use wayfare_protocol::ids::{Generation, ProgramId};
use wayfare_protocol::trust::place::{Holding, Place};
use wayfare_protocol::trust::warrant::Warrant;

use super::store::write_durably;

const FOLDER: &str = "places";
/// The present generation of a program, and those that are about to come, or did not.
const GENERATIONS_MAX: usize = 4;
/// As much of a file as has something to say.
const FILE_BYTES_MAX: u64 = 4096;

pub(super) struct Places {
    folder: PathBuf,
    known: BTreeMap<ProgramId, Proofs>,
}

/// What was signed for one program.
#[derive(Default)]
struct Proofs {
    places: BTreeMap<Generation, Place>,
    warrant: Option<Warrant>,
}

impl Places {
    /// Those of an engine's folder.
    pub(super) fn open(data: &Path) -> Self {
        let folder = data.join(FOLDER);
        let files = fs::read_dir(&folder).into_iter().flatten().flatten();
        let known = files.filter_map(|file| {
            let program = file.file_name().to_str()?.parse().ok()?;
            let is_small = file.metadata().ok()?.len() <= FILE_BYTES_MAX;
            let text = is_small.then(|| fs::read_to_string(file.path()).ok()).flatten()?;
            Some((program, Proofs::read(&text)))
        });
        Self {
            known: known.collect(),
            folder,
        }
    }

    pub(super) fn keep(&mut self, holding: &Holding, place: Place) {
        let proofs = self.known.entry(holding.program).or_default();
        if proofs.places.insert(holding.generation, place) == Some(place) {
            return;
        }
        while proofs.places.len() > GENERATIONS_MAX {
            proofs.places.pop_first();
        }
        self.write(holding.program);
    }

    pub(super) fn keep_warrant(&mut self, program: ProgramId, warrant: Warrant) {
        let proofs = self.known.entry(program).or_default();
        if proofs.warrant.replace(warrant) != Some(warrant) {
            self.write(program);
        }
    }

    fn write(&self, program: ProgramId) {
        let Some(proofs) = self.known.get(&program) else {
            return;
        };
        let written = fs::create_dir_all(&self.folder)
            .and_then(|()| write_durably(&self.folder, &program.to_string(), proofs.text().as_bytes()));
        if let Err(error) = written {
            tracing::warn!(%error, "cannot store by which order a program is here");
        }
    }

    pub(super) fn of(&self, program: ProgramId, generation: Generation) -> Option<&Place> {
        self.known.get(&program)?.places.get(&generation)
    }

    pub(super) fn warrant(&self, program: ProgramId) -> Option<&Warrant> {
        self.known.get(&program)?.warrant.as_ref()
    }

    /// Forgets all others: of programs that are not here any more.
    pub(super) fn keep_only(&mut self, programs: &BTreeSet<ProgramId>) {
        let known: Vec<ProgramId> = self.known.keys().copied().collect();
        for program in known {
            if !programs.contains(&program) {
                self.forget(program);
            }
        }
    }

    pub(super) fn forget(&mut self, program: ProgramId) {
        if self.known.remove(&program).is_some() {
            // One that stays is of a program that is nowhere.
            let _ = fs::remove_file(self.folder.join(program.to_string()));
        }
    }
}

impl Proofs {
    fn text(&self) -> String {
        let places = self.places.iter();
        let mut text: String = places
            .map(|(generation, place)| format!("{generation} {}\n", place.0))
            .collect();
        if let Some(warrant) = &self.warrant {
            text.push_str(&format!("warrant {}\n", warrant.0));
        }
        text
    }

    /// As much as can be read.
    fn read(text: &str) -> Self {
        let mut proofs = Self::default();
        for (word, signature) in text.lines().filter_map(|line| line.split_once(' ')) {
            let Ok(signature) = signature.parse() else {
                continue;
            };
            match word.parse() {
                Ok(generation) => {
                    proofs.places.insert(Generation(generation), Place(signature));
                }
                Err(_) => proofs.warrant = Some(Warrant(signature)),
            }
        }
        proofs
    }
}

#[cfg(test)]
mod tests {
    use wayfare_protocol::code::SecretKey;
    use wayfare_protocol::topics::Topics;

    use super::*;

    #[test]
    fn places_are_kept_across_starts_until_their_program_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let program = ProgramId::random();
        let holding = |generation| Holding {
            program,
            generation: Generation(generation),
            engine: "a".parse().unwrap(),
        };
        let key = SecretKey::from_random([1; 32]);
        let place = |generation| Place::sign(&key, &Topics::default(), &holding(generation));
        let mut places = Places::open(folder.path());
        for generation in 1..=9 {
            places.keep(&holding(generation), place(generation));
        }
        let warrant = Warrant(place(1).0);
        places.keep_warrant(program, warrant);
        let again = Places::open(folder.path());
        assert_eq!(again.warrant(program), Some(&warrant));
        assert_eq!(again.of(program, Generation(9)), Some(&place(9)));
        assert_eq!(again.of(program, Generation(6)), Some(&place(6)));
        assert_eq!(again.of(program, Generation(5)), None, "they are not many");
        places.keep_only(&[program].into());
        assert!(places.of(program, Generation(9)).is_some());
        places.keep_only(&BTreeSet::new());
        assert_eq!(Places::open(folder.path()).of(program, Generation(9)), None);
    }
}
