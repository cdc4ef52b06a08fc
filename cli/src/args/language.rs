//! What can be typed about languages.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::DryRunArgs;
use super::fleet::AskArgs;
use super::values::parse_variable;

#[derive(Debug, Subcommand)]
pub(crate) enum LanguageVerb {
    /// Add a language: a module that runs source text, which `wayfare run` then takes
    Add(Box<LanguageAddArgs>),
    /// List languages
    Ls(LanguageLsArgs),
    /// Remove a language; programs that run in it run on
    Rm(LanguageRmArgs),
}

#[derive(Debug, Subcommand)]
pub(crate) enum JsVerb {
    /// Show what a program takes along, what it declares, and what it requires that is not there; ends with 1
    /// if there is such
    Check {
        /// A program, or a folder whose app.toml names one, or which has a file 'main'
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct LanguageAddArgs {
    /// Its name; or a language.toml, which says all of this
    #[arg(value_name = "NAME|FILE")]
    pub(crate) name: String,
    /// The interpreter, a WASI command
    #[arg(long, value_name = "FILE")]
    pub(crate) module: Option<PathBuf>,
    /// What the names of its programs end with, such as .py
    #[arg(long = "ext", value_name = "EXTENSION")]
    pub(crate) extensions: Vec<String>,
    /// A folder that its programs see at /library
    #[arg(long, value_name = "DIR")]
    pub(crate) library: Option<PathBuf>,
    /// A variable that its programs have
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_variable)]
    pub(crate) env: Vec<(String, String)>,
    /// Memory of a program, unless `run` says otherwise, such as 64M
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory: Option<String>,
    #[command(flatten)]
    pub(crate) dry: DryRunArgs,
    #[command(flatten)]
    pub(crate) ask: AskArgs,
    /// The interpreter's arguments, with {program} for the path of what is run [default: {program}]
    #[arg(last = true, value_name = "ARGS")]
    pub(crate) args: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct LanguageLsArgs {
    #[command(flatten)]
    pub(crate) ask: AskArgs,
}

#[derive(Debug, Args)]
pub(crate) struct LanguageRmArgs {
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) dry: DryRunArgs,
    #[command(flatten)]
    pub(crate) ask: AskArgs,
}
