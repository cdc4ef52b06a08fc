//! `wayfare fs`: the fleet's files.

mod would;

use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::json;
use tokio::io::AsyncRead;
use wayfare_client::files::{Extent, Files, FilesError};
use wayfare_protocol::files::{FileKind, FilePath, FileRefusal, FileStat, FileVersion, ListedFile};
use wayfare_protocol::ids::PeerName;

use self::would::would;
use crate::args::DryRunArgs;
use crate::args::fleet::AskArgs;
use crate::args::fs::{FsCatArgs, FsCpArgs, FsGetArgs, FsMkdirArgs, FsMvArgs, FsPutArgs, FsRmArgs, FsVerb};
use crate::context::with_services;
use crate::fail::{Fail, Result};
use crate::output::{Foreign, Output, Text, bytes, moment};
use crate::query::Query;
use crate::waiting::Bytes;
use wayfare_client::rows::FILE_FIELDS;

/// What `cat --json` puts into one document.
const DOCUMENT_BYTES_MAX: usize = 1 << 20;
const STANDARD: &str = "-";

pub(crate) async fn run(verb: FsVerb, output: Output) -> Result {
    match verb {
        FsVerb::Ls(args) => {
            let query = Query::new(&args.query, &FILE_FIELDS)?;
            with_files(&args.ask, async |files| {
                list(files, &args.path, &query, output).await
            })
            .await
        }
        FsVerb::Cat(args) => with_files(&args.ask, async |files| cat(files, &args, output).await).await,
        FsVerb::Get(args) => with_files(&args.ask, async |files| get(files, &args, output).await).await,
        FsVerb::Put(args) => {
            let (ask, dry) = (args.ask.clone(), args.dry);
            change(&ask, dry, Change::Put(args), output).await
        }
        FsVerb::Rm(args) => {
            let (ask, dry) = (args.ask.clone(), args.dry);
            change(&ask, dry, Change::Remove(args), output).await
        }
        FsVerb::Mkdir(args) => {
            let (ask, dry) = (args.ask.clone(), args.dry);
            change(&ask, dry, Change::MakeFolder(args), output).await
        }
        FsVerb::Mv(args) => {
            let (ask, dry) = (args.ask.clone(), args.dry);
            change(&ask, dry, Change::Rename(args), output).await
        }
        FsVerb::Cp(args) => {
            let (ask, dry) = (args.ask.clone(), args.dry);
            change(&ask, dry, Change::Copy(args), output).await
        }
        FsVerb::History(args) => {
            with_files(&args.ask, async |files| {
                let versions = files.history(&args.path).await?;
                output.print(&versions, |versions| versions_table(versions))
            })
            .await
        }
    }
}

/// What changes files.
enum Change {
    Put(FsPutArgs),
    Remove(FsRmArgs),
    MakeFolder(FsMkdirArgs),
    Rename(FsMvArgs),
    Copy(FsCpArgs),
}

async fn change(ask: &AskArgs, dry: DryRunArgs, change: Change, output: Output) -> Result {
    changing_files(ask, async |files| {
        if dry.dry_run {
            return would(files, &change, output).await;
        }
        match &change {
            Change::Put(args) => put(files, args, output).await,
            Change::Remove(args) => remove(files, args, output).await,
            Change::MakeFolder(args) => make_folder(files, args, output).await,
            Change::Rename(args) => {
                let to = inside(files, &args.to, last_name(&args.from)).await?;
                files.rename(&args.from, &to).await?;
                output.print(&json!({ "from": args.from, "path": to }), |_| {
                    format!("{} is {to} now", args.from)
                })
            }
            Change::Copy(args) => {
                let to = inside(files, &args.to, last_name(&args.from)).await?;
                files.copy(&args.from, args.version, &to).await?;
                let stat = files.stat(&to).await?;
                print_file(output, &to, &stat)
            }
        }
    })
    .await
}

async fn remove(files: &Files<'_>, args: &FsRmArgs, output: Output) -> Result {
    // A reader that has gone away does not leave half of them where they are.
    let mut printed = Ok(());
    let mut removed = |path: &FilePath| {
        if printed.is_ok() {
            printed = output.print(&json!({ "removed": path }), |_| format!("removed {path}"));
        }
    };
    for path in &args.paths {
        if args.recursive {
            files.remove_all(path, &mut removed).await?;
        } else {
            files.remove(path).await?;
            removed(path);
        }
    }
    printed
}

/// With files that are to be changed: not while the fleet is held.
pub(super) async fn changing_files(args: &AskArgs, work: impl AsyncFnOnce(&Files<'_>) -> Result) -> Result {
    with_services(&args.fleet, async |fleet| {
        fleet.refuse_if_held().await?;
        work(&Files::new(fleet, user(), args.timeout)).await
    })
    .await
}

/// In whose name files are changed.
fn user() -> PeerName {
    let user = std::env::var("USER").ok().and_then(|user| user.parse().ok());
    user.unwrap_or_else(|| "wayfare".parse().expect("letters make a name"))
}

pub(super) async fn with_files(args: &AskArgs, work: impl AsyncFnOnce(&Files<'_>) -> Result) -> Result {
    with_services(&args.fleet, async |fleet| {
        work(&Files::new(fleet, user(), args.timeout)).await
    })
    .await
}

async fn list(files: &Files<'_>, path: &FilePath, query: &Query<ListedFile>, output: Output) -> Result {
    let stat = files.stat(path).await?;
    let listed = match stat.kind {
        FileKind::Folder => files.list(path).await?,
        FileKind::File => vec![ListedFile {
            name: last_name(path).to_owned(),
            stat,
        }],
    };
    let listed = query.of(listed);
    query.print(
        &listed,
        output,
        |file| file.name.clone(),
        |file| json!(file),
        files_table,
    )
}

pub(super) fn files_table(listed: &[ListedFile]) -> Text {
    let row = |file: &ListedFile| match file.stat.kind {
        FileKind::Folder => vec![
            format!("{}/", file.name),
            "-".into(),
            "-".into(),
            moment(file.stat.modified_ms),
        ],
        FileKind::File => vec![
            file.name.clone(),
            bytes(file.stat.bytes),
            file.stat.version.to_string(),
            moment(file.stat.modified_ms),
        ],
    };
    Text::table(&["NAME", "LENGTH", "VERSION", "CHANGED"], listed.iter().map(row))
}

pub(super) fn versions_table(versions: &[FileVersion]) -> Text {
    let row = |one: &FileVersion| {
        vec![
            one.version.to_string(),
            bytes(one.bytes),
            moment(one.modified_ms),
            one.by.clone(),
        ]
    };
    Text::table(&["VERSION", "LENGTH", "CHANGED", "BY"], versions.iter().map(row))
}

async fn cat(files: &Files<'_>, args: &FsCatArgs, output: Output) -> Result {
    let extent = Extent {
        version: args.version,
        offset: args.offset,
        bytes: args.bytes,
        ..Extent::default()
    };
    if output == Output::Human {
        return to_standard_output(files, &args.path, extent).await;
    }
    let mut content = Vec::new();
    let mut is_too_long = false;
    let read = files.read(&args.path, extent, |piece, total| {
        is_too_long = total > DOCUMENT_BYTES_MAX as u64;
        if is_too_long {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        content.extend_from_slice(piece);
        Ok(())
    });
    let read = read.await;
    if is_too_long {
        let message = format!("{} has more than 1 MiB, too much for a document", args.path);
        return Err(Fail::new("too-large", message).hint("`wayfare fs get` fetches it into a file"));
    }
    read?;
    let text = std::str::from_utf8(&content).ok().map(str::to_owned);
    let document =
        json!({ "path": args.path, "bytes": content.len(), "text": text, "base64": base64(content) });
    output.print(&document, ToString::to_string)
}

/// As values are: the same type has no more bytes than a request.
fn base64(content: Vec<u8>) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(content)
}

async fn to_standard_output(files: &Files<'_>, path: &FilePath, extent: Extent) -> Result {
    let mut foreign = Foreign::new();
    let read = files.read(path, extent, |piece, _| foreign.piece(piece)).await;
    if let Err(FilesError::Io(error)) = &read {
        return Err(Fail::standard_output(error));
    }
    read?;
    foreign.finish()
}

async fn put(files: &Files<'_>, args: &FsPutArgs, output: Output) -> Result {
    let is_standard = args.file == Path::new(STANDARD);
    let name = args.file.file_name().and_then(|name| name.to_str());
    let path = match name.filter(|_| !is_standard) {
        Some(name) => inside(files, &args.path, name).await?,
        None => args.path.clone(),
    };
    let (source, total): (Box<dyn AsyncRead + Unpin>, _) = match is_standard {
        true => (Box::new(tokio::io::stdin()), None),
        false => {
            let failed = |error| Fail::file(&args.file, &error);
            let file = tokio::fs::File::open(&args.file).await.map_err(failed)?;
            let length = file.metadata().await.map_err(failed)?.len();
            (Box::new(file), Some(length))
        }
    };
    let bar = Bytes::new(output, "sending", total);
    let written = files.write(&path, source, |done| bar.show(done)).await;
    bar.clear();
    written?;
    let stat = files.stat(&path).await?;
    print_file(output, &path, &stat)
}

async fn get(files: &Files<'_>, args: &FsGetArgs, output: Output) -> Result {
    let extent = Extent {
        version: args.version,
        ..Extent::default()
    };
    let target = match &args.file {
        Some(file) if file == Path::new(STANDARD) => {
            return to_standard_output(files, &args.path, extent).await;
        }
        Some(file) if file.is_dir() => file.join(last_name(&args.path)),
        Some(file) => file.clone(),
        None => PathBuf::from(last_name(&args.path)),
    };
    let failed = |error: std::io::Error| Fail::file(&target, &error);
    let folder = match target.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    // All of it or nothing: what was there stays there until then.
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    let bar = Bytes::new(output, "fetching", None);
    let mut done = 0;
    let read = files.read(&args.path, extent, |piece, total| {
        file.write_all(piece)?;
        done += piece.len() as u64;
        bar.show_of(done, total);
        Ok(())
    });
    let read = read.await;
    bar.clear();
    read?;
    file.persist(&target).map_err(|error| failed(error.error))?;
    let document = json!({ "path": args.path, "file": target, "bytes": done });
    output.print(&document, |_| {
        format!("{} is in {}, {}", args.path, target.display(), bytes(done))
    })
}

async fn make_folder(files: &Files<'_>, args: &FsMkdirArgs, output: Output) -> Result {
    let names: Vec<&str> = args.path.names().collect();
    let first = if args.parents { 1 } else { names.len() };
    for count in first..=names.len() {
        let path = FilePath::of_names(&names[..count]).expect("the beginning of a path is one");
        match files.make_folder(&path).await {
            Err(FilesError::Refused {
                why: FileRefusal::Exists,
                ..
            }) if args.parents && files.stat(&path).await?.kind == FileKind::Folder => {}
            made => made?,
        }
    }
    output.print(&json!({ "path": args.path }), |_| {
        format!("{} is there", args.path)
    })
}

/// `path`, or what is called `name` in it if it is a folder.
async fn inside(files: &Files<'_>, path: &FilePath, name: &str) -> Result<FilePath> {
    match files.stat(path).await {
        Ok(stat) if stat.kind == FileKind::Folder => {
            let names: Vec<&str> = path.names().chain([name]).collect();
            FilePath::of_names(&names)
                .ok_or_else(|| Fail::usage(format!("'{name}' cannot be the name of a file in {path}")))
        }
        Ok(_)
        | Err(FilesError::Refused {
            why: FileRefusal::Absent,
            ..
        }) => Ok(path.clone()),
        Err(error) => Err(error.into()),
    }
}

fn last_name(path: &FilePath) -> &str {
    path.names().last().unwrap_or_default()
}

fn print_file(output: Output, path: &FilePath, stat: &FileStat) -> Result {
    output.print(&json!({ "path": path, "stat": stat }), |_| {
        format!("{path} has {}, version {}", bytes(stat.bytes), stat.version)
    })
}
