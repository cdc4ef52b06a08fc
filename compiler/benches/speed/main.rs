//! How fast rewritten programs are, how large, how quickly captured, and how they go on after a move.
//!
//! `cargo bench -p wayfare-compiler --bench speed` measures everything and prints tables in Markdown: nothing
//! is asserted but that each program computes the same in all ways of running it. Under `cargo test
//! --benches` it only checks that, with tiny work. `-- --help` lists what can be chosen.
//!
//! Times are of the program's own thread on the processor, so that other load on the machine disturbs little;
//! ways of running are interleaved and compared within a round.

mod machine;
mod moves;
mod options;
mod pace;
mod programs;
mod resident;
mod sizes;
mod state;
mod table;
mod workshop;

use std::process::ExitCode;

use machine::{Code, Machine, Target, Way};
use options::{Options, Part};
use programs::Program;
use workshop::Workshop;

/// Room for the deepest recursion, also of twins.
const STACK_BYTES: usize = 64 << 20;

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(text) => {
            eprintln!("{text}");
            return ExitCode::FAILURE;
        }
    };
    let thread = std::thread::Builder::new()
        .stack_size(STACK_BYTES)
        .spawn(move || measure(&options))
        .expect("a thread can be started");
    match thread.join() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn measure(options: &Options) {
    let programs = options.programs();
    if let Some(way) = options.once {
        for target in &options.targets {
            run_once(options, *target, way, &programs);
        }
        return;
    }
    for target in &options.targets {
        let workshop = Workshop::new(*target, &programs);
        if options.does(Part::Pace) {
            pace::measure(options, &workshop);
        }
        if options.does(Part::Size) {
            sizes::show(&workshop);
        }
        if options.does(Part::Moved) {
            moves::moved(options, &workshop);
        }
        if options.does(Part::Freeze) {
            moves::freezing(options, &workshop);
        }
    }
}

/// For profilers: nothing but the programs, one way.
fn run_once(options: &Options, target: Target, way: Way, programs: &[&Program]) {
    let machine = Machine::new(target, way);
    for program in programs {
        let code = Code {
            module: machine.compile(&way.form(program)),
            resuming: None,
        };
        let mut process = machine.start(&code, options.per_mille(target));
        process.run();
        println!(
            "{} {:.0} ms: {}",
            program.name,
            process.busy.as_secs_f64() * 1e3,
            process.stdout().trim_end()
        );
    }
}
