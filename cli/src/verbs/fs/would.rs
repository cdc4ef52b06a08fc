//! `wayfare fs ... --dry-run`: what would become of files, or what would refuse it. Nothing is changed.

use std::path::Path;

use serde::Serialize;
use wayfare_client::files::{Files, FilesError};
use wayfare_protocol::files::{FileKind, FilePath, FileRefusal, FileStat};

use super::{Change, STANDARD, inside, last_name};
use crate::args::fs::FsRmArgs;
use crate::fail::{Fail, Result};
use crate::output::{Output, Text};

/// One thing that would be done.
#[derive(Debug, Serialize)]
struct Would {
    would: &'static str,
    path: FilePath,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<FilePath>,
    /// The version that it would be.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
}

impl Would {
    fn new(would: &'static str, path: FilePath) -> Self {
        Self {
            would,
            path,
            from: None,
            version: None,
        }
    }

    fn sentence(&self) -> String {
        let from = self
            .from
            .as_ref()
            .map_or_else(String::new, |from| format!("{from} to "));
        let version = self
            .version
            .map_or_else(String::new, |version| format!(", as version {version}"));
        format!("would {} {from}{}{version}", self.would, self.path)
    }
}

pub(super) async fn would(files: &Files<'_>, change: &Change, output: Output) -> Result {
    let all = match change {
        Change::Put(args) => {
            let is_standard = args.file == Path::new(STANDARD);
            let name = args.file.file_name().and_then(|name| name.to_str());
            let path = match name.filter(|_| !is_standard) {
                Some(name) => inside(files, &args.path, name).await?,
                None => args.path.clone(),
            };
            if !is_standard {
                std::fs::File::open(&args.file).map_err(|error| Fail::file(&args.file, &error))?;
            }
            vec![written(files, "write", path).await?]
        }
        Change::Remove(args) => removed(files, args).await?,
        Change::MakeFolder(args) => {
            match found(files, &args.path).await? {
                Some(stat) if !(args.parents && stat.kind == FileKind::Folder) => {
                    return Err(refused(&args.path, FileRefusal::Exists));
                }
                None if !args.parents => in_a_folder(files, &args.path).await?,
                _ => {}
            }
            vec![Would::new("make", args.path.clone())]
        }
        Change::Rename(args) => {
            files.stat(&args.from).await?;
            let to = inside(files, &args.to, last_name(&args.from)).await?;
            in_a_folder(files, &to).await?;
            let from = Some(args.from.clone());
            vec![Would {
                from,
                ..Would::new("rename", to)
            }]
        }
        Change::Copy(args) => {
            let versions = files.history(&args.from).await?;
            if let Some(wanted) = args.version
                && !versions.iter().any(|one| one.version == wanted)
            {
                return Err(refused(&args.from, FileRefusal::NoVersion));
            }
            let to = inside(files, &args.to, last_name(&args.from)).await?;
            let from = Some(args.from.clone());
            vec![Would {
                from,
                ..written(files, "copy", to).await?
            }]
        }
    };
    output.print(&all, |all| all.iter().map(Would::sentence).collect::<Text>())
}

/// All that goes, in the order in which it would.
async fn removed(files: &Files<'_>, args: &FsRmArgs) -> Result<Vec<Would>> {
    let mut all = Vec::new();
    for path in &args.paths {
        let mut remaining = vec![(path.clone(), files.stat(path).await?.kind)];
        let mut found = Vec::new();
        while let Some((path, kind)) = remaining.pop() {
            if kind == FileKind::Folder {
                let listed = files.list(&path).await?;
                if !args.recursive && !listed.is_empty() {
                    return Err(refused(&path, FileRefusal::NotEmpty));
                }
                for one in listed {
                    let names: Vec<&str> = path.names().chain([one.name.as_str()]).collect();
                    let inner = FilePath::of_names(&names);
                    remaining.extend(inner.map(|inner| (inner, one.stat.kind)));
                }
            }
            found.push(Would::new("remove", path));
        }
        // What is in a folder goes before it.
        all.extend(found.into_iter().rev());
    }
    Ok(all)
}

async fn written(files: &Files<'_>, would: &'static str, path: FilePath) -> Result<Would> {
    let version = match found(files, &path).await? {
        Some(stat) => stat.version + 1,
        None => {
            in_a_folder(files, &path).await?;
            1
        }
    };
    Ok(Would {
        version: Some(version),
        ..Would::new(would, path)
    })
}

async fn found(files: &Files<'_>, path: &FilePath) -> Result<Option<FileStat>> {
    match files.stat(path).await {
        Ok(stat) => Ok(Some(stat)),
        Err(FilesError::Refused {
            why: FileRefusal::Absent,
            ..
        }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Refuses what stands in no folder.
async fn in_a_folder(files: &Files<'_>, path: &FilePath) -> Result {
    let names: Vec<&str> = path.names().collect();
    let Some((_, folder)) = names.split_last() else {
        return Err(refused(path, FileRefusal::Impossible));
    };
    // Above the first there is the root, which is always there.
    let Some(folder) = FilePath::of_names(folder).filter(|_| !folder.is_empty()) else {
        return Ok(());
    };
    match files.stat(&folder).await?.kind {
        FileKind::Folder => Ok(()),
        FileKind::File => Err(refused(&folder, FileRefusal::NotFolder)),
    }
}

fn refused(path: &FilePath, why: FileRefusal) -> Fail {
    let path = path.clone();
    FilesError::Refused { path, why }.into()
}
