//! Every program in every form for one target, compiled once for all parts of the benchmark.

use std::time::Instant;

use wasmtime::Module;
use wayfare_compiler::Report;

use crate::machine::{Machine, Target, Way, rewrite};
use crate::programs::Program;

pub(crate) struct Workshop {
    pub(crate) target: Target,
    /// In the order of [`Way::ALL`].
    pub(crate) machines: [Machine; 4],
    pub(crate) pieces: Vec<Piece>,
}

/// A program, ready to run in every way.
pub(crate) struct Piece {
    pub(crate) name: &'static str,
    pub(crate) wasm_bytes: usize,
    pub(crate) rewritten_bytes: usize,
    pub(crate) report: Report,
    pub(crate) rewrite_ms: f64,
    /// In the order of [`Way::ALL`].
    pub(crate) modules: [Module; 4],
    pub(crate) compile_ms: [f64; 4],
}

impl Workshop {
    pub(crate) fn new(target: Target, programs: &[&'static Program]) -> Self {
        let machines = Way::ALL.map(|way| Machine::new(target, way));
        let pieces = programs
            .iter()
            .map(|program| Piece::new(&machines, program))
            .collect();
        Self {
            target,
            machines,
            pieces,
        }
    }

    pub(crate) fn ours(&self) -> &Machine {
        &self.machines[Way::Ours as usize]
    }
}

impl Piece {
    fn new(machines: &[Machine; 4], program: &Program) -> Self {
        eprintln!("compiling {}", program.name);
        let (rewrite_ms, rewritten) = timed(|| rewrite(program.wasm));
        let compiled = Way::ALL.map(|way| {
            let wasm = match way {
                Way::Ours => &rewritten.wasm,
                _ => program.wasm,
            };
            timed(|| machines[way as usize].compile(wasm))
        });
        let compile_ms = compiled.each_ref().map(|(ms, _)| *ms);
        Self {
            name: program.name,
            wasm_bytes: program.wasm.len(),
            rewritten_bytes: rewritten.wasm.len(),
            report: rewritten.report,
            rewrite_ms,
            modules: compiled.map(|(_, module)| module),
            compile_ms,
        }
    }

    pub(crate) fn ours(&self) -> &Module {
        &self.modules[Way::Ours as usize]
    }

    pub(crate) fn raw(&self) -> &Module {
        &self.modules[Way::Raw as usize]
    }
}

fn timed<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let begin = Instant::now();
    let result = work();
    (begin.elapsed().as_secs_f64() * 1e3, result)
}
