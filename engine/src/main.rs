//! `wayfare-engine`: the engine as a program of its own, for boards.

use std::process::ExitCode;

use clap::Parser;
use wayfare_engine::shell::{self, EngineArgs};

/// Runs WebAssembly programs and moves them to other engines while they run.
///
/// Exit codes: 0 stopped in good order, 1 failed, 2 bad usage.
#[derive(Parser)]
#[command(name = "wayfare-engine", version)]
struct Arguments {
    #[command(flatten)]
    engine: EngineArgs,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match shell::run_to_the_end(&arguments.engine) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("wayfare-engine: {error:#}");
            ExitCode::FAILURE
        }
    }
}
