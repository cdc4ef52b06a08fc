//! The `wayfare` command: parse, one library call, print.
#![deny(unsafe_code)]
// One place prints: `output`.
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod args;
mod completing;
mod config;

mod context;
mod contexts;
mod fail;
mod folders;
mod interrupt;
mod languages;
mod local;
mod manifest;
mod output;
mod query;
mod schema;
mod service_log;
mod stubs;
mod trusting;
mod waiting;
mod whole;

mod children;
mod demo;
mod verbs;

use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::env::CompleteEnv;

fn main() -> ExitCode {
    // For an engine that this command runs.
    if let Some(ended) = wayfare_engine::shell::compile_if_asked() {
        return ended;
    }
    // If a shell asks for completion, it is answered, and that is all.
    CompleteEnv::with_factory(args::Cli::command)
        .var(completing::VARIABLE)
        .complete();
    let cli = match args::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(not_run) => return not_run.print(),
    };
    if cli.global.no_trunc {
        output::show_whole_rows();
    }
    let output = output::Output::new(cli.global.json);
    match verbs::run(cli, output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fail) => fail.print(output),
    }
}
