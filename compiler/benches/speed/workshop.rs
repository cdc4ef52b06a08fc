//! Every program in every form for one target, compiled once for all parts of the benchmark.

use std::time::Instant;

use wayfare_compiler::{Form, Report};

use crate::machine::{Code, Machine, Target, Way, rewrite};
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
    code: Vec<Code>,
    pub(crate) compile_ms: [f64; 4],
    pub(crate) resuming_ms: f64,
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
        let (rewrite_ms, rewritten) = timed(|| rewrite(program.wasm, Form::Program));
        let compiled = Way::ALL.map(|way| {
            let wasm = match way {
                Way::Ours => &rewritten.wasm,
                _ => program.wasm,
            };
            timed(|| machines[way as usize].compile(wasm))
        });
        let compile_ms = compiled.each_ref().map(|(ms, _)| *ms);
        let twins = rewrite(program.wasm, Form::Resuming);
        let (resuming_ms, resuming) = timed(|| machines[Way::Ours as usize].compile(&twins.wasm));
        let mut resuming = Some(resuming);
        let code = Way::ALL.map(|way| resuming.take_if(|_| way == Way::Ours));
        let code = compiled
            .into_iter()
            .zip(code)
            .map(|((_, module), resuming)| Code { module, resuming });
        Self {
            name: program.name,
            wasm_bytes: program.wasm.len(),
            rewritten_bytes: rewritten.wasm.len() + twins.wasm.len(),
            report: rewritten.report,
            rewrite_ms,
            code: code.collect(),
            compile_ms,
            resuming_ms,
        }
    }

    pub(crate) fn code(&self, way: Way) -> &Code {
        &self.code[way as usize]
    }

    pub(crate) fn ours(&self) -> &Code {
        self.code(Way::Ours)
    }
}

fn timed<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let begin = Instant::now();
    let result = work();
    (begin.elapsed().as_secs_f64() * 1e3, result)
}
