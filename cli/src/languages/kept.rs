//! Languages as the fleet keeps them, and a program made ready to be run with one.

use std::path::Path;
use std::time::Duration;

use wayfare_client::Client;
use wayfare_client::files::{Extent, Files, FilesError};
use wayfare_protocol::files::{FileKind, FilePath, FileRefusal};
use wayfare_protocol::folder::{FOLDER_BYTES_MAX, FolderName};
use wayfare_protocol::limits::MODULE_BYTES_MAX;

use super::cache::{Cache, Version};
use super::made::Made;
use super::source::{Source, pack_folder, read_bounded};
use super::{Language, MANIFEST_BYTES_MAX, builtin};
use crate::fail::{Fail, Result};
use crate::output::Output;
use crate::waiting::Bytes;

/// Below `/fleet`.
const ROOT: &str = "languages";
const ABOUT: &str = "language.json";
const MODULE: &str = "module.wasm";
const LIBRARY: &str = "library";

fn path(names: &[&str]) -> FilePath {
    let names: Vec<&str> = [ROOT].iter().chain(names).copied().collect();
    FilePath::of_names(&names).expect("a language's name is a file's")
}

fn is_absent(error: &FilesError) -> bool {
    matches!(
        error,
        FilesError::Refused {
            why: FileRefusal::Absent,
            ..
        }
    )
}

/// All of them, by name.
pub(crate) async fn all(files: &Files<'_>) -> Result<Vec<Language>> {
    let listed = match files.list(&path(&[])).await {
        Err(error) if is_absent(&error) => return Ok(Vec::new()),
        listed => listed?,
    };
    let mut languages = Vec::new();
    for folder in listed.iter().filter(|file| file.stat.kind == FileKind::Folder) {
        let about = path(&[&folder.name, ABOUT]);
        let bytes = match read(files, &about, MANIFEST_BYTES_MAX, Output::Json).await {
            Ok(bytes) => bytes,
            // One that is being added, or removed.
            Err(fail) if fail.is("absent") => continue,
            Err(fail) => return Err(fail),
        };
        let language: std::result::Result<Language, _> = serde_json::from_slice(&bytes);
        languages.push(language.map_err(|error| Fail::new("language", format!("{about}: {error}")))?);
    }
    Ok(languages)
}

/// Adds a language, or makes it another one. `base` is where its module and library are looked for.
pub(crate) async fn add(
    files: &Files<'_>,
    mut language: Language,
    base: &Path,
    output: Output,
) -> Result<Language> {
    let (module, library) = readied(files, &language, base).await?;
    for names in [&[][..], &[&*language.name][..]] {
        match files.make_folder(&path(names)).await {
            Err(FilesError::Refused {
                why: FileRefusal::Exists,
                ..
            }) => {}
            made => made?,
        }
    }
    write(files, &path(&[&language.name, MODULE]), &module, output).await?;
    if let Some(library) = &library {
        write(files, &path(&[&language.name, LIBRARY]), library, output).await?;
    }
    language.module = MODULE.into();
    language.library = library.map(|_| LIBRARY.into());
    let about = serde_json::to_vec_pretty(&language).expect("plain data serialises");
    write(files, &path(&[&language.name, ABOUT]), &about, output).await?;
    Ok(language)
}

/// The module and the library of a language that could be added; refuses one that could not.
pub(crate) async fn readied(
    files: &Files<'_>,
    language: &Language,
    base: &Path,
) -> Result<(Vec<u8>, Option<Vec<u8>>)> {
    let taken = all(files).await?.into_iter().find(|other| {
        other.name != language.name
            && other
                .extensions
                .iter()
                .any(|one| language.extensions.contains(one))
    });
    if let Some(other) = taken {
        let text = format!("'{}' has one of these extensions already", other.name);
        return Err(
            Fail::new("exists", text).hint(format!("`wayfare language rm {}` removes it", other.name))
        );
    }
    let module = read_bounded(&base.join(&language.module), MODULE_BYTES_MAX)?;
    let library = language
        .library
        .as_ref()
        .map(|folder| pack_folder(&base.join(folder)));
    Ok((module, library.transpose()?))
}

pub(crate) async fn remove(files: &Files<'_>, name: &str) -> Result {
    // Nobody begins to use it from here on.
    match files.remove(&path(&[name, ABOUT])).await {
        Err(error) if is_absent(&error) => return Err(absent(name)),
        removed => removed?,
    }
    Ok(files.remove_all(&path(&[name]), |_| {}).await?)
}

pub(crate) fn absent(name: &str) -> Fail {
    Fail::new("absent", format!("no language '{name}' is here")).hint("`wayfare language ls` lists them")
}

/// Makes `source` ready, with what the command or the fleet has of its language.
pub(crate) async fn make(fleet: &Client, source: &Source, limit: Duration, output: Output) -> Result<Made> {
    if let Some(made) = builtin::make(source, output)? {
        return Ok(made);
    }
    let files = Files::new(fleet, "wayfare".parse().expect("letters make a name"), limit);
    let languages = all(&files).await?;
    let language = languages
        .iter()
        .find(|one| one.extensions.contains(&source.extension));
    let Some(language) = language.cloned() else {
        return Err(unknown(source, &languages));
    };
    let cache = Cache::of_user(|name| std::env::var_os(name));
    let part = async |part: &str, bytes_max| {
        let path = path(&[&language.name, part]);
        let content = cached(&files, (&cache, fleet.fleet_name()), &path, bytes_max, output).await;
        content.map_err(|fail| {
            if fail.is("absent") {
                lacking(&language, part)
            } else {
                fail
            }
        })
    };
    let module = part(MODULE, MODULE_BYTES_MAX).await?;
    let library = match language.library {
        Some(_) => Some(part(LIBRARY, FOLDER_BYTES_MAX).await?),
        None => None,
    };
    let program = (source.main.as_str(), source.pack()?);
    let mut made = Made::new(language, module, source.name(), program);
    made.folders
        .extend(library.map(|library| (FolderName::Library, library)));
    Ok(made)
}

/// Somebody has removed what belongs to it.
fn lacking(language: &Language, part: &str) -> Fail {
    let name = &language.name;
    let text = format!(
        "the language '{name}' lacks its {part}: {} is not there",
        path(&[name, part])
    );
    Fail::new("no-language", text).hint(format!(
        "`wayfare language add` with its manifest or options adds '{name}' anew"
    ))
}

fn unknown(source: &Source, languages: &[Language]) -> Fail {
    let known: Vec<String> = languages
        .iter()
        .map(|one| format!("{} (.{})", one.name, one.extensions.join(", .")))
        .collect();
    let known = match known.as_slice() {
        [] => "JavaScript is built in, and the fleet has no other language yet".to_owned(),
        known => format!("JavaScript is built in, and the fleet has {}", known.join(", ")),
    };
    let (path, extension) = (source.path.display(), &source.extension);
    Fail::new(
        "no-language",
        format!("{path}: no module, and no language runs .{extension}: {known}"),
    )
    .hint(format!(
        "`wayfare language add NAME --module INTERPRETER.wasm --ext .{extension}` adds one"
    ))
}

/// A file of a language, which may have been fetched before.
async fn cached(
    files: &Files<'_>,
    (cache, fleet): (&Cache, &str),
    path: &FilePath,
    bytes_max: u64,
    output: Output,
) -> Result<Vec<u8>> {
    let stat = match files.stat(path).await {
        Err(error) if is_absent(&error) => {
            return Err(Fail::new("absent", format!("{path} is not there")));
        }
        stat => stat?,
    };
    let version = Version {
        fleet,
        path,
        stat: &stat,
    };
    if let Some(content) = cache.find(&version, bytes_max) {
        return Ok(content);
    }
    let content = read(files, path, bytes_max, output).await?;
    // Else it may be of a version after that.
    if files.stat(path).await.is_ok_and(|after| after == stat) {
        cache.keep(&version, &content);
    }
    Ok(content)
}

async fn read(files: &Files<'_>, path: &FilePath, bytes_max: u64, output: Output) -> Result<Vec<u8>> {
    let bar = Bytes::new(output, "fetching", None);
    let mut content = Vec::new();
    let mut is_too_long = false;
    let done = files.read(path, Extent::default(), |piece, total| {
        is_too_long = total > bytes_max;
        if is_too_long {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        content.extend_from_slice(piece);
        bar.show_of(content.len() as u64, total);
        Ok(())
    });
    let done = done.await;
    bar.clear();
    match done {
        _ if is_too_long => Err(Fail::new(
            "too-large",
            format!("{path}: more than {bytes_max} bytes"),
        )),
        Err(error) if is_absent(&error) => Err(Fail::new("absent", format!("{path} is not there"))),
        done => {
            done?;
            Ok(content)
        }
    }
}

async fn write(files: &Files<'_>, path: &FilePath, content: &[u8], output: Output) -> Result {
    let bar = Bytes::new(output, "sending", Some(content.len() as u64));
    let written = files.write(path, content, |done| bar.show(done)).await;
    bar.clear();
    written?;
    Ok(())
}
