//! `wayfare-engine`: the engine as a program of its own, for boards.

use std::process::ExitCode;

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
    let arguments = Arguments::parse();
    let ended = match arguments.verb {
        Some(Verb::Init(args)) => init(&args),
        None => shell::run_to_the_end(arguments.engine),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("wayfare-engine: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn init(args: &InitArgs) -> anyhow::Result<()> {
    let path = args.path.display();
    match args.write()? {
        Initialised::Written => println!("wrote {path}: every setting is in it, with its default"),
        Initialised::Kept => println!("{path} is there, and stays as it is; --force writes it anew"),
    }
    Ok(())
}
