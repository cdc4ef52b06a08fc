//! The engine as a program of its own, for the tests and benches of this package.

use std::io::Read;
use std::process::ExitCode;

use clap::Parser;
use wayfare_engine::shell::{self, EngineArgs};

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    engine: EngineArgs,
    /// End at once when standard input closes, so that no engine outlives a test that was killed.
    #[arg(long)]
    until_stdin_closes: bool,
}

fn main() -> anyhow::Result<ExitCode> {
    if let Some(ended) = shell::compile_if_asked() {
        return Ok(ended);
    }
    let arguments = Arguments::parse();
    if arguments.until_stdin_closes {
        std::thread::spawn(|| {
            while matches!(std::io::stdin().lock().read(&mut [0]), Ok(1..)) {}
            std::process::exit(1);
        });
    }
    shell::run_to_the_end(arguments.engine)?;
    Ok(ExitCode::SUCCESS)
}
