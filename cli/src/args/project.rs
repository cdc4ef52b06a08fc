//! What can be typed to begin a project, to have one's fleet looked at, and to be told what documents look
//! like.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use wayfare_protocol::ids::is_name;

use super::fleet::FleetArgs;
use super::values::{parse_age, parse_duration};

#[derive(Debug, Args)]
pub(crate) struct NewArgs {
    /// Its folder, whose last part names the program
    #[arg(value_name = "FOLDER", value_parser = parse_folder)]
    pub(crate) folder: PathBuf,
    /// What it is written in
    #[arg(long, value_enum, value_name = "LANGUAGE", default_value = "js")]
    pub(crate) lang: NewLanguage,
    /// Of a project in Rust: a folder with the crate wayfare-guest [default: Wayfare's repository]
    #[arg(long, value_name = "DIR")]
    pub(crate) guest: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum NewLanguage {
    Js,
    Python,
    Rust,
    C,
}

#[derive(Debug, Args)]
pub(crate) struct SupportBundleArgs {
    /// File to be made, such as bundle.tar.gz
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// How far back operations and events go
    #[arg(long, value_name = "TIME", default_value = "1d", value_parser = parse_age)]
    pub(crate) since: Duration,
    /// How long the dispatcher may take for each part
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    pub(crate) timeout: Duration,
    #[command(flatten)]
    pub(crate) fleet: FleetArgs,
}

#[derive(Debug, Args)]
pub(crate) struct SchemaArgs {
    /// As it is typed, such as: app status
    #[arg(value_name = "VERB")]
    pub(crate) verb: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Where they go, such as ~/.local/share/man/man1; made if it is not there
    #[arg(value_name = "FOLDER")]
    pub(crate) folder: PathBuf,
}

fn parse_folder(text: &str) -> Result<PathBuf, String> {
    let folder = PathBuf::from(text);
    let name = folder.file_name().and_then(|name| name.to_str());
    match name.filter(|name| is_name(name) && !name.contains('.')) {
        Some(_) => Ok(folder),
        None => Err("its last part is to name a program: letters, digits, '-' and '_'".to_owned()),
    }
}
