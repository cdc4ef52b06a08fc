//! What can be typed about the fleet's files.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use wayfare_protocol::files::FilePath;

use super::DryRunArgs;
use super::fleet::AskArgs;
use super::query::QueryArgs;
use super::values::{parse_file_path, parse_size};

#[derive(Debug, Subcommand)]
pub(crate) enum FsVerb {
    /// List a folder, or a file
    Ls(FsLsArgs),
    /// Print a file
    Cat(FsCatArgs),
    /// Make a file of this machine's the next version of one of the fleet's
    Put(FsPutArgs),
    /// Fetch a file
    Get(FsGetArgs),
    /// Remove files, and folders with nothing in them
    Rm(FsRmArgs),
    /// Make a folder
    Mkdir(FsMkdirArgs),
    /// Rename, or move into a folder
    Mv(FsMvArgs),
    /// Copy a file, or an earlier version of it
    Cp(FsCpArgs),
    /// List the versions of a file that are kept
    History(FsPathArgs),
}

#[derive(Debug, Args)]
pub(crate) struct FsLsArgs {
    #[arg(value_name = "PATH", default_value = "/fleet", value_parser = parse_file_path)]
    pub(crate) path: FilePath,
    #[command(flatten)]
    pub(crate) query: QueryArgs,
    #[command(flatten)]
    pub(crate) ask: AskArgs,
}

#[derive(Debug, Args)]
pub(crate) struct FsCatArgs {
    #[arg(value_name = "PATH", value_parser = parse_file_path)]
    pub(crate) path: FilePath,
    /// An earlier version, as `history` lists it
    #[arg(long, value_name = "NUMBER")]
    pub(crate) version: Option<u64>,
    /// Where to begin, in bytes
    #[arg(long, value_name = "OFFSET", default_value_t = 0)]
    pub(crate) offset: u64,
    /// How much, such as 512 or 64K [default: to the end]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) bytes: Option<u64>,
    #[command(flatten)]
    pub(crate) ask: AskArgs,
}

#[derive(Debug, Args)]
pub(crate) struct FsPutArgs {
    /// '-' is this command's standard input
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Of the fleet's file, or of a folder for it to go into
    #[arg(value_name = "PATH", value_parser = parse_file_path)]
    pub(crate) path: FilePath,
    #[command(flatten)]
    pub(crate) dry: DryRunArgs,
    #[command(flatten)]
    pub(crate) ask: AskArgs,
}

#[derive(Debug, Args)]
pub(crate) struct FsGetArgs {
    #[arg(value_name = "PATH", value_parser = parse_file_path)]
    pub(crate) path: FilePath,
    /// A file, or a folder for it to go into; '-' is this command's standard output [default: here, under its
    /// name]
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// An earlier version, as `history` lists it
    #[arg(long, value_name = "NUMBER")]
    pub(crate) version: Option<u64>,
    #[command(flatten)]
    pub(crate) ask: AskArgs,
}

#[derive(Debug, Args)]
pub(crate) struct FsRmArgs {
    #[arg(value_name = "PATH", required = true, value_parser = parse_file_path)]
    pub(crate) paths: Vec<FilePath>,
    /// Folders with all that is in them
    #[arg(short, long)]
    pub(crate) recursive: bool,
    #[command(flatten)]
    pub(crate) dry: DryRunArgs,
    #[command(flatten)]
    pub(crate) ask: AskArgs,
}

#[derive(Debug, Args)]
pub(crate) struct FsMkdirArgs {
    #[arg(value_name = "PATH", value_parser = parse_file_path)]
    pub(crate) path: FilePath,
    /// With the folders that it is in; one that is there is no error
    #[arg(short, long)]
    pub(crate) parents: bool,
    #[command(flatten)]
    pub(crate) dry: DryRunArgs,
    #[command(flatten)]
    pub(crate) ask: AskArgs,
}

#[derive(Debug, Args)]
pub(crate) struct FsMvArgs {
    #[arg(value_name = "FROM", value_parser = parse_file_path)]
    pub(crate) from: FilePath,
    #[arg(value_name = "TO", value_parser = parse_file_path)]
    pub(crate) to: FilePath,
    #[command(flatten)]
    pub(crate) dry: DryRunArgs,
    #[command(flatten)]
    pub(crate) ask: AskArgs,
}

#[derive(Debug, Args)]
pub(crate) struct FsCpArgs {
    #[arg(value_name = "FROM", value_parser = parse_file_path)]
    pub(crate) from: FilePath,
    #[arg(value_name = "TO", value_parser = parse_file_path)]
    pub(crate) to: FilePath,
    /// An earlier version, as `history` lists it
    #[arg(long, value_name = "NUMBER")]
    pub(crate) version: Option<u64>,
    #[command(flatten)]
    pub(crate) dry: DryRunArgs,
    #[command(flatten)]
    pub(crate) ask: AskArgs,
}

#[derive(Debug, Args)]
pub(crate) struct FsPathArgs {
    #[arg(value_name = "PATH", value_parser = parse_file_path)]
    pub(crate) path: FilePath,
    #[command(flatten)]
    pub(crate) ask: AskArgs,
}
