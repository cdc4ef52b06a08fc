//! How long a program takes to its first output where nothing of it is compiled yet, and how large its code is.
//!
//! `cargo bench -p wayfare-compiler --bench first` prints tables in Markdown for QuickJS, and for what else is named behind
//! `--`: paths of WASI commands, of which only the code is looked at, since they may ask for more than this benchmark offers.
//! Raw wasmtime is measured in the same rounds. Under `cargo test --benches` it is one round of a small program, to see that
//! it works. `--rounds N`: 5; medians are printed.
//! * *first output*: from the module's bytes to what the program prints;
//! * *resuming code*: made when the program runs already, and read by what only a captured program needs.

// The other benchmark's, of which this one needs a part.
#[path = "../speed/machine.rs"]
#[allow(dead_code)]
mod machine;
#[path = "../speed/programs.rs"]
mod programs;
#[path = "../speed/table.rs"]
#[allow(dead_code)]
mod table;

use std::error::Error;
use std::time::Instant;

use machine::{Code, Machine, Target, Way, rewrite};
use table::{Table, median};
use wasmtime::Module;
use wayfare_compiler::Form;

/// Room for the deepest recursion.
const STACK_BYTES: usize = 64 << 20;
const ROUNDS: usize = 5;

/// What is measured of one program, times in ms.
#[derive(Default)]
struct Figures {
    raw_compiled: Vec<f64>,
    raw_output: Vec<f64>,
    rewritten: Vec<f64>,
    compiled: Vec<f64>,
    output: Vec<f64>,
    resuming_rewritten: Vec<f64>,
    resuming_compiled: Vec<f64>,
    bytes: [usize; 3],
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut rounds = ROUNDS;
    let (mut is_bench, mut paths) = (false, Vec::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--bench" => is_bench = true,
            "--rounds" => rounds = arguments.next().ok_or("--rounds needs a number")?.parse()?,
            path if !path.starts_with('-') => paths.push(path.to_owned()),
            _ => {}
        }
    }
    let name = if is_bench { "quickjs" } else { "fib" };
    let rounds = if is_bench { rounds.max(1) } else { 1 };
    let found = programs::ALL.iter().find(|program| program.name == name);
    let mut programs = vec![(name.to_owned(), found.ok_or("no such program")?.wasm.to_vec())];
    for path in paths {
        programs.push((path.clone(), std::fs::read(&path)?));
    }
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
    let thread = thread.spawn(move || {
        for (index, (name, wasm)) in programs.iter().enumerate() {
            let mut figures = Figures::default();
            for round in 0..rounds {
                eprintln!("{name}, round {} of {rounds}", round + 1);
                figures.measure(wasm, index == 0);
            }
            figures.show(name, wasm.len());
        }
    })?;
    thread.join().map_err(|_| "the benchmark panicked".into())
}

impl Figures {
    /// `runs`: the program needs no more than this benchmark offers.
    fn measure(&mut self, wasm: &[u8], runs: bool) {
        let (raw, ours) = (
            Machine::new(Target::Native, Way::Raw),
            Machine::new(Target::Native, Way::Ours),
        );
        let begun = Instant::now();
        let module = raw.compile(wasm);
        self.raw_compiled.push(ms(begun));
        self.bytes[0] = code_bytes(&module);
        if runs {
            run(&raw, module);
            self.raw_output.push(ms(begun));
        }

        let begun = Instant::now();
        let program = rewrite(wasm, Form::Program);
        self.rewritten.push(ms(begun));
        let compiling = Instant::now();
        let module = ours.compile(&program.wasm);
        self.compiled.push(ms(compiling));
        self.bytes[1] = code_bytes(&module);
        if runs {
            run(&ours, module);
            self.output.push(ms(begun));
        }

        let begun = Instant::now();
        let resuming = rewrite(wasm, Form::Resuming);
        self.resuming_rewritten.push(ms(begun));
        let compiling = Instant::now();
        let module = ours.compile(&resuming.wasm);
        self.resuming_compiled.push(ms(compiling));
        self.bytes[2] = code_bytes(&module);
    }

    fn show(&self, name: &str, wasm_bytes: usize) {
        let mb = |bytes: usize| format!("{:.1}", bytes as f64 / 1e6);
        let time = |times: &Vec<f64>| match times.is_empty() {
            true => String::new(),
            false => format!("{:.0}", median(times)),
        };
        let title = format!("{name}, {} MB of WebAssembly", mb(wasm_bytes));
        let columns = [
            "",
            "rewrite ms",
            "compile ms",
            "first output ms",
            "code MB",
            "code / raw",
        ];
        let mut table = Table::new(&title, &columns);
        let ratio = |bytes: usize| format!("{:.2}", bytes as f64 / self.bytes[0] as f64);
        let rows = [
            (
                "raw",
                String::new(),
                time(&self.raw_compiled),
                time(&self.raw_output),
                self.bytes[0],
            ),
            (
                "program",
                time(&self.rewritten),
                time(&self.compiled),
                time(&self.output),
                self.bytes[1],
            ),
            (
                "resuming code",
                time(&self.resuming_rewritten),
                time(&self.resuming_compiled),
                String::new(),
                self.bytes[2],
            ),
        ];
        for (name, rewrite, compile, output, bytes) in rows {
            table.row(vec![
                name.to_owned(),
                rewrite,
                compile,
                output,
                mb(bytes),
                ratio(bytes),
            ]);
        }
        table.print();
    }
}

/// As little as it can do until it prints.
fn run(machine: &Machine, module: Module) {
    let code = Code {
        module,
        resuming: None,
    };
    let mut process = machine.start(&code, 0);
    process.run();
    assert!(!process.stdout().is_empty(), "it prints something");
}

fn code_bytes(module: &Module) -> usize {
    module.functions().map(|function| function.len).sum()
}

fn ms(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}
