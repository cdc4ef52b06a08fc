//! The `wayfare` command: parse, one library call, print.
#![forbid(unsafe_code)]

mod args;
mod config;

mod context;
mod fail;
mod manifest;
mod output;
mod waiting;

mod children;
mod demo;
mod verbs;

use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = match args::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(done) => return done.print(),
    };
    let output = output::Output::new(cli.global.json);
    match verbs::run(cli, output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fail) => fail.print(output),
    }
}
