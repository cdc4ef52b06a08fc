//! `wayfare-engine`: the engine as a program of its own, for boards.
#![forbid(unsafe_code)]

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use wayfare_engine::shell::{self, EngineArgs, InitArgs, Initialised};

/// Runs WebAssembly programs and moves them to other engines while they run.
///
/// Exit codes: 0 stopped in good order, 1 failed, 2 bad usage.
#[derive(Parser)]
#[command(name = "wayfare-engine", version, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    engine: EngineArgs,
}

#[derive(Subcommand)]
enum Verb {
    /// Write a configuration file that explains itself
    Init(InitArgs),
}

fn main() -> ExitCode {
    #[cfg(feature = "compiler")]
    if let Some(ended) = shell::compile_if_asked() {
        return ended;
    }
    let arguments = Arguments::parse();
    let ended = match arguments.verb {
        Some(Verb::Init(args)) => init(&args),
        None => shell::run_to_the_end(arguments.engine),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Whoever should read it may have gone away.
            let _ = writeln!(io::stderr(), "wayfare-engine: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn init(args: &InitArgs) -> anyhow::Result<()> {
    let path = args.path.display();
    let text = match args.write()? {
        Initialised::Written => format!("wrote {path}: every setting is in it, with its default"),
        Initialised::Kept => format!("{path} is there, and stays as it is; --force writes it anew"),
    };
    writeln!(io::stdout(), "{text}").context("cannot write to standard output")
}
