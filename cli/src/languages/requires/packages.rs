//! Packages of npm: which there are, and where they are for the program.
//!
//! Which packages a name means is looked up as Node does it: below `node_modules` of the folder that asks and
//! of those above it, and where a link is found, as pnpm and workspaces make them, at the place that it leads
//! to. Programs have no links, so each package gets a place of its own in the program's folder: the topmost
//! `node_modules`, or where another package of that name is found instead, that of the package which asks, as
//! npm does it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};

use wayfare_protocol::files::DEPTH_MAX;
use wayfare_protocol::folder::FOLDER_FILES_MAX;

use super::{ABOUT, Package, Site, extension_of};
use crate::fail::{Fail, Result};
use crate::languages::source::{files_below, path_text, too_much};

const PACKAGES: &str = "node_modules";
/// Where pnpm has the packages that one project shares with others.
const WORKSPACE: &str = "pnpm-workspace.yaml";

/// What has been asked for by the program's own files, by the folder whose `node_modules` it is in and its
/// name: where it really is, and what asked for it first.
#[derive(Debug, Default)]
pub(super) struct Packages {
    asked: BTreeMap<(PathBuf, String), (PathBuf, Site)>,
}

/// Packages with their places.
#[derive(Debug, Default)]
pub(super) struct Laid {
    /// By their paths in the program's folder.
    pub(super) files: BTreeMap<String, PathBuf>,
    pub(super) names: BTreeSet<String>,
    /// Native add-ons, by the package that has them.
    pub(super) addons: BTreeMap<String, PathBuf>,
}

/// A package that is asked for: from where, under which name.
struct Asked {
    /// The folder in the program that asks: where `node_modules` may be.
    from: PathBuf,
    name: String,
    /// Where it really is.
    folder: PathBuf,
    /// What asks for it, for people.
    by: String,
}

impl Asked {
    /// What is wrong with its files, and what asks for it.
    fn fails(&self, why: &Fail) -> Fail {
        why.within(&format!("package '{}', which {} asks for", self.name, self.by))
    }
}

impl Packages {
    /// Whether a package of this name is found from `folder`. It is taken.
    pub(super) fn take(&mut self, folder: &Path, name: &str, site: Site) -> bool {
        let Some((owner, package)) = find(folder, name) else {
            return false;
        };
        let asked = self.asked.entry((owner, name.to_owned()));
        asked.or_insert((package, site));
        true
    }

    /// Gives each a place, with all that they depend on. `root` is the program's folder.
    pub(super) fn lay(self, root: &Path) -> Result<Laid> {
        let mut laid = Laid::default();
        // The folders of packages by their places, such as `node_modules/left`.
        let mut places: BTreeMap<PathBuf, PathBuf> = BTreeMap::new();
        let asked = self.asked.into_iter().map(|((owner, name), (folder, site))| {
            // What is found above the program's folder is at its top.
            let from = owner.strip_prefix(root).unwrap_or(Path::new("")).to_owned();
            let by = site.to_string();
            Asked {
                from,
                name,
                folder,
                by,
            }
        });
        // Those that the program's own files ask for come first, and have the places where they were found.
        let mut next: VecDeque<(Asked, bool)> = asked.map(|asked| (asked, true)).collect();
        while let Some((asked, is_own)) = next.pop_front() {
            let Some(place) = place_of(&places, &asked, is_own) else {
                continue;
            };
            if place.iter().count() > DEPTH_MAX {
                return Err(too_deep(&asked));
            }
            places.insert(place.clone(), asked.folder.clone());
            laid.take_files(&asked, &place)?;
            if laid.files.len().max(places.len()) > FOLDER_FILES_MAX {
                return Err(asked.fails(&too_much(root, &asked.folder)));
            }
            let about = Package::of(&asked.folder).unwrap_or_default();
            let others = about.dependencies.into_keys();
            let others = others
                .chain(about.optional.into_keys())
                .chain(about.peers.into_keys());
            let found = others.filter_map(|name| Some((find(&asked.folder, &name)?.1, name)));
            next.extend(found.map(|(folder, name)| {
                let from = place.clone();
                let by = format!("package '{}' ({})", asked.name, asked.by);
                (
                    Asked {
                        from,
                        name,
                        folder,
                        by,
                    },
                    false,
                )
            }));
            laid.names.insert(asked.name);
        }
        Ok(laid)
    }
}

impl Laid {
    fn take_files(&mut self, asked: &Asked, place: &Path) -> Result {
        let files = files_below(&asked.folder, |name| name == PACKAGES);
        for file in files.map_err(|fail| asked.fails(&fail))? {
            if extension_of(&file) == Some("node") {
                self.addons.insert(asked.name.clone(), file.clone());
            }
            let inner = file.strip_prefix(&asked.folder).unwrap_or(&file);
            self.files.insert(path_text(&place.join(inner))?, file);
        }
        Ok(())
    }
}

/// Several versions of packages that depend on each other in a circle would be put into each other without an
/// end.
fn too_deep(asked: &Asked) -> Fail {
    let (name, folder) = (&asked.name, asked.folder.display());
    let text = format!(
        "package '{name}' ({folder}): packages in packages more than {} deep",
        DEPTH_MAX / 2
    );
    Fail::new("too-large", text)
        .hint("let the packages that depend on each other have one version of each of them")
}

/// Where it is put: `None` where it is already found from there.
fn place_of(places: &BTreeMap<PathBuf, PathBuf>, asked: &Asked, is_own: bool) -> Option<PathBuf> {
    let place_below = |folder: &Path| folder.join(PACKAGES).join(&asked.name);
    if is_own {
        return Some(place_below(&asked.from));
    }
    // From a package's folder upward, as the runtime looks; what is within `node_modules` itself has none.
    let mut folders = asked
        .from
        .ancestors()
        .filter(|folder| !folder.ends_with(PACKAGES));
    let found = folders.find_map(|folder| places.get(&place_below(folder)));
    match found {
        Some(found) if *found == asked.folder => None,
        // Nearer than that, so that nobody else finds another one than before.
        Some(_) => Some(place_below(&asked.from)),
        None => Some(place_below(Path::new(""))),
    }
}

/// The folder whose `node_modules` has the package, and where that really is.
fn find(from: &Path, name: &str) -> Option<(PathBuf, PathBuf)> {
    let is_plain = |part: &str| !part.is_empty() && !part.starts_with('.');
    if !name.split('/').all(is_plain) {
        return None;
    }
    let mut owners = from.ancestors().filter(|folder| !folder.ends_with(PACKAGES));
    owners.find_map(|owner| {
        let package = owner.join(PACKAGES).join(name);
        let whole = package.is_dir().then(|| package.canonicalize().ok()).flatten()?;
        let is_taken = whole == package || leads_to_package(owner, &whole);
        is_taken.then(|| (owner.to_owned(), whole))
    })
}

/// Whether a link in a folder's `node_modules` leads to a package of the same project: a program of somebody
/// else is not to take along what just anybody has in a folder.
fn leads_to_package(owner: &Path, package: &Path) -> bool {
    let is_project = |folder: &&Path| [ABOUT, WORKSPACE].iter().any(|name| folder.join(name).is_file());
    let project = owner.ancestors().filter(is_project).last().unwrap_or(owner);
    package.starts_with(project) && package.join(ABOUT).is_file()
}
