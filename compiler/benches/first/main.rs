//! How long a program takes to its first output where nothing of it is compiled yet, and how large its code
//! is.
//!
//! `cargo bench -p wayfare-compiler --bench first` prints tables in Markdown for QuickJS, and for what else
//! is named behind `--`: paths of WASI commands, of which only the code is looked at, since they may ask for
//! more than this benchmark offers. Raw wasmtime is measured in the same rounds. Under `cargo test --benches`
//! it is one round of a small program, to see that it works. `--rounds N`: 5; medians are printed.
//! `--only-starts` leaves resuming code out, which takes longest.
//! * *first output*: from the module's bytes to what the program prints, compiled by all processors;
//! * *pace*: time on the processor for the same work, over raw Cranelift's;
//! * *quick*: Cranelift without optimisation; *Winch*: wasmtime's other compiler, which makes one pass;
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
use std::time::{Duration, Instant};

use machine::{Code, Machine, Target, Way, rewrite};
use table::{Table, median};
use wasmtime::{Config, Module, OptLevel, Strategy};
use wayfare_compiler::Form;

/// Room for the deepest recursion.
const STACK_BYTES: usize = 64 << 20;
const ROUNDS: usize = 5;
/// What is run for the pace, of all that the program can do.
const WORK_PER_MILLE: u32 = 20;

/// Who compiles.
#[derive(Clone, Copy, Debug)]
enum Compiler {
    Cranelift,
    Quick,
    Winch,
}

/// What is compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    Raw,
    Program,
    Resuming,
}

const ROWS: [(Piece, Compiler); 8] = [
    (Piece::Raw, Compiler::Cranelift),
    (Piece::Raw, Compiler::Quick),
    (Piece::Raw, Compiler::Winch),
    (Piece::Program, Compiler::Cranelift),
    (Piece::Program, Compiler::Quick),
    (Piece::Program, Compiler::Winch),
    (Piece::Resuming, Compiler::Cranelift),
    (Piece::Resuming, Compiler::Winch),
];

/// What is measured, times in ms.
struct Row {
    piece: Piece,
    compiler: Compiler,
    rewritten: Vec<f64>,
    on_one: Vec<f64>,
    on_all: Vec<f64>,
    output: Vec<f64>,
    work: Vec<f64>,
    bytes: usize,
    refusal: Option<String>,
}

impl Compiler {
    fn set(self, config: &mut Config) {
        match self {
            Self::Cranelift => config,
            Self::Quick => config.cranelift_opt_level(OptLevel::None),
            Self::Winch => config.strategy(Strategy::Winch),
        };
    }
}

impl Piece {
    fn way(self) -> Way {
        match self {
            Self::Raw => Way::Raw,
            Self::Program | Self::Resuming => Way::Ours,
        }
    }

    fn of(self, wasm: &[u8], compiler: Compiler) -> Vec<u8> {
        match (self, compiler) {
            (Self::Raw, _) => wasm.to_vec(),
            (Self::Program, _) => rewrite(wasm, Form::Program).wasm,
            (Self::Resuming, _) => rewrite(wasm, Form::Resuming).wasm,
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut rounds = ROUNDS;
    let (mut is_bench, mut only_starts, mut paths) = (false, false, Vec::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--bench" => is_bench = true,
            "--only-starts" => only_starts = true,
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
            let wanted = |(piece, _): &(Piece, Compiler)| *piece != Piece::Resuming || !only_starts;
            let mut rows: Vec<Row> = ROWS.into_iter().filter(wanted).map(Row::new).collect();
            for round in 0..rounds {
                for row in &mut rows {
                    eprintln!("{name}, round {} of {rounds}: {}", round + 1, row.name());
                    row.measure(wasm, index == 0);
                }
            }
            show(name, wasm.len(), &rows);
        }
    })?;
    thread.join().map_err(|_| "the benchmark panicked".into())
}

impl Row {
    fn new((piece, compiler): (Piece, Compiler)) -> Self {
        Self {
            piece,
            compiler,
            rewritten: Vec::new(),
            on_one: Vec::new(),
            on_all: Vec::new(),
            output: Vec::new(),
            work: Vec::new(),
            bytes: 0,
            refusal: None,
        }
    }

    fn name(&self) -> String {
        format!("{:?}, {:?}", self.piece, self.compiler).to_lowercase()
    }

    /// `runs`: the program needs no more than this benchmark offers.
    fn measure(&mut self, wasm: &[u8], runs: bool) {
        let (piece, compiler) = (self.piece, self.compiler);
        let machine = |is_parallel: bool| {
            Machine::with(Target::Native, piece.way(), |config| {
                compiler.set(config.parallel_compilation(is_parallel));
            })
        };
        let (one, all) = (machine(false), machine(true));
        let begun = Instant::now();
        let form = piece.of(wasm, compiler);
        let rewritten = ms(begun);
        let compiling = Instant::now();
        let module = match all.try_compile(&form) {
            Ok(module) => module,
            Err(error) => {
                self.refusal = Some(error.root_cause().to_string());
                return;
            }
        };
        self.on_all.push(ms(compiling));
        self.bytes = code_bytes(&module);
        if runs && piece != Piece::Resuming {
            run(&all, &module, 0);
            self.output.push(ms(begun));
            self.work
                .push(run(&all, &module, WORK_PER_MILLE).as_secs_f64() * 1e3);
        }
        self.rewritten.push(rewritten);
        let compiling = Instant::now();
        one.compile(&form);
        self.on_one.push(ms(compiling));
    }
}

fn show(name: &str, wasm_bytes: usize, rows: &[Row]) {
    let mb = |bytes: usize| format!("{:.1}", bytes as f64 / 1e6);
    let time = |times: &Vec<f64>| match times.is_empty() {
        true => String::new(),
        false => format!("{:.0}", median(times)),
    };
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let title = format!(
        "{name}, {} MB of WebAssembly, {processors} processors",
        mb(wasm_bytes)
    );
    let columns = [
        "",
        "rewrite ms",
        "compile ms: one thread",
        "all",
        "first output ms",
        "code MB",
        "code / raw",
        "pace / raw",
    ];
    let mut table = Table::new(&title, &columns);
    let raw_bytes = rows[0].bytes.max(1);
    for row in rows {
        let rewritten = match row.piece {
            Piece::Raw => String::new(),
            Piece::Program | Piece::Resuming => time(&row.rewritten),
        };
        let mut cells = vec![row.name(), rewritten];
        cells.extend([&row.on_one, &row.on_all, &row.output].map(time));
        cells.extend(match &row.refusal {
            Some(refusal) => [format!("refused: {refusal}"), String::new()],
            None => [
                mb(row.bytes),
                format!("{:.2}", row.bytes as f64 / raw_bytes as f64),
            ],
        });
        cells.push(match row.work.is_empty() {
            true => String::new(),
            false => format!("{:.2}", median(&row.work) / median(&rows[0].work)),
        });
        table.row(cells);
    }
    table.print();
}

/// Time on the processor for some of its work; for none it prints all the same.
fn run(machine: &Machine, module: &Module, per_mille: u32) -> Duration {
    let code = Code {
        module: module.clone(),
        resuming: None,
    };
    let mut process = machine.start(&code, per_mille);
    process.run();
    assert!(!process.stdout().is_empty(), "it prints something");
    process.busy
}

fn code_bytes(module: &Module) -> usize {
    module.functions().map(|function| function.len).sum()
}

fn ms(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}
