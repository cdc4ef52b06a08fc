//! Legacy exceptions (`try`, `catch`, `delegate`, `rethrow`) as those of the final proposal, which runtimes
//! have.
//!
//! ```text
//!   try R                            block R                       what branches to the try mean
//!     body                             block -> exnref             one for each catch, the last outermost
//!   catch $t                             block -> P(t), exnref
//!     handler                              try_table R (catch_ref $t 0) (catch_all_ref 1)
//!   catch_all                                body
//!     rethrow                              end
//!   end                                    br 2
//!                                        end
//!                                        local.set $exception      only where a rethrow means it
//!                                        handler
//!                                        br 1
//!                                      end
//!                                      ...
//! ```
//! A `delegate` throws again inside the body of the try that it names, past those between: that body begins
//! with a block which ends in `throw_ref`. Only functions with a try change. They get locals of their own,
//! behind the others, so that no index changes.

use wasm_encoder::{Catch, Encode, Instruction};
use wasmparser::{FunctionBody, Operator, ValType};

use crate::code::Types;
use crate::error::CompileError;
use crate::exceptions::EXCEPTION;
use crate::module::Module;
use crate::sections::{CODE, Code, Locals, Sections, TYPE};

/// The module without legacy exceptions; `None` if it has none.
pub(crate) fn translated(module: &Module) -> Result<Option<Vec<u8>>, CompileError> {
    let mut code = Code::after(module.imported_functions());
    let mut types = Types::new(&module.types);
    let mut any = false;
    for (body, index) in module.bodies.iter().zip(module.imported_functions()..) {
        let tries = Tries::of(&body.body)?;
        if tries.all.is_empty() {
            code.push(body.body.as_bytes());
            continue;
        }
        any = true;
        code.push(&translate(module, index, &body.body, &tries, &mut types)?);
    }
    if !any {
        return Ok(None);
    }
    let mut sections = Sections::of(module);
    sections.extend(TYPE, types.added().len() as u32, &types.encoded());
    sections.replace(CODE, code.section());
    Ok(Some(sections.finish(&code.hints, module.name_section)))
}

/// What is to be known of a function's tries before the first is translated.
#[derive(Default)]
struct Tries {
    /// In the order in which they begin.
    all: Vec<Try>,
    /// Something is delegated to whoever has called the function.
    is_target: bool,
}

#[derive(Default)]
struct Try {
    handlers: Vec<Handler>,
    delegates: Option<Delegation>,
    /// Something is delegated to it.
    is_target: bool,
}

struct Handler {
    /// `None`: of all exceptions.
    tag: Option<u32>,
    /// It is thrown again by name.
    is_rethrown: bool,
}

#[derive(Clone, Copy)]
enum Delegation {
    /// Nothing is between it and whoever it names.
    Nearest,
    Try(usize),
    Caller,
}

/// A construct around an instruction.
#[derive(Clone, Copy)]
enum Around {
    Plain,
    /// In the body of that try.
    Body(usize),
    /// In that try's handler of this number.
    Handler(usize, usize),
}

impl Tries {
    fn of(body: &FunctionBody) -> Result<Self, CompileError> {
        let mut tries = Self::default();
        let mut around = vec![Around::Plain];
        for operator in body.get_operators_reader()? {
            match operator? {
                Operator::Block { .. }
                | Operator::Loop { .. }
                | Operator::If { .. }
                | Operator::TryTable { .. } => around.push(Around::Plain),
                Operator::Try { .. } => {
                    around.push(Around::Body(tries.all.len()));
                    tries.all.push(Try::default());
                }
                Operator::Catch { tag_index } => tries.handler(&mut around, Some(tag_index)),
                Operator::CatchAll => tries.handler(&mut around, None),
                Operator::Rethrow { relative_depth } => {
                    let outer = around.len() - 1 - relative_depth as usize;
                    if let Around::Handler(which, handler) = around[outer] {
                        tries.all[which].handlers[handler].is_rethrown = true;
                    }
                }
                Operator::Delegate { relative_depth } => {
                    if let Some(Around::Body(which)) = around.pop() {
                        let delegation = tries.delegation(&around, relative_depth as usize);
                        tries.all[which].delegates = Some(delegation);
                    }
                }
                Operator::End => {
                    around.pop();
                }
                _ => {}
            }
        }
        Ok(tries)
    }

    fn handler(&mut self, around: &mut [Around], tag: Option<u32>) {
        if let Some(last) = around.last_mut()
            && let Around::Body(which) | Around::Handler(which, _) = *last
        {
            *last = Around::Handler(which, self.all[which].handlers.len());
            let is_rethrown = false;
            self.all[which].handlers.push(Handler { tag, is_rethrown });
        }
    }

    /// Whoever it names that is no try's body, the next try around it is meant.
    fn delegation(&mut self, around: &[Around], depth: usize) -> Delegation {
        let body = |around: &Around| match around {
            Around::Body(which) => Some(*which),
            _ => None,
        };
        let outer = &around[..around.len() - depth];
        let target = outer.iter().rev().find_map(body);
        let nearest = around.iter().rev().find_map(body);
        if target == nearest {
            return Delegation::Nearest;
        }
        match target {
            Some(which) => {
                self.all[which].is_target = true;
                Delegation::Try(which)
            }
            None => {
                self.is_target = true;
                Delegation::Caller
            }
        }
    }
}

fn translate(
    module: &Module,
    index: u32,
    body: &FunctionBody,
    tries: &Tries,
    types: &mut Types,
) -> Result<Vec<u8>, CompileError> {
    let mut locals = Locals::of(module, index, body)?;
    let mut translation = Translation {
        module,
        types,
        tries,
        begun: 0,
        labels: 1,
        open: vec![Open::plain(0)],
        caller: None,
        exceptions: locals.next,
        exceptions_held: 0,
        exceptions_max: 0,
        bytes: Vec::new(),
    };
    translation.begin();
    let mut operators = body.get_operators_reader()?;
    while !operators.eof() {
        let (operator, offset) = operators.read_with_offset()?;
        if !translation.operator(&operator) {
            let range = offset..operators.original_position();
            translation.bytes.extend_from_slice(module.bytes(range));
        }
    }
    if translation.exceptions_max > 0 {
        locals.push(translation.exceptions_max, EXCEPTION);
    }
    Ok(locals.body(&translation.bytes))
}

struct Translation<'m, 'a> {
    module: &'m Module<'a>,
    types: &'m mut Types,
    tries: &'m Tries,
    /// Of the tries.
    begun: usize,
    /// Those that are open in what is written; a label's number is how many were open before it.
    labels: u32,
    /// The constructs of the original that are open, outermost first.
    open: Vec<Open>,
    /// The label behind which what is delegated to the caller is thrown.
    caller: Option<u32>,
    /// The first of the locals that hold exceptions,
    exceptions: u32,
    /// how many do here, and at most.
    exceptions_held: u32,
    exceptions_max: u32,
    bytes: Vec<u8>,
}

/// A construct of the original.
struct Open {
    /// What branches to it mean.
    label: u32,
    of: Option<OpenTry>,
}

struct OpenTry {
    which: usize,
    /// The label behind which what is delegated to it is thrown.
    target: Option<u32>,
    /// In its handlers: the local that holds what was caught, if it is thrown again.
    exception: Option<u32>,
    handlers_begun: usize,
}

impl Open {
    fn plain(label: u32) -> Self {
        Self { label, of: None }
    }
}

impl Translation<'_, '_> {
    fn begin(&mut self) {
        if self.tries.is_target {
            self.caller = Some(self.block(&[], &[EXCEPTION]));
        }
    }

    /// Whether it has written something for the instruction.
    fn operator(&mut self, operator: &Operator) -> bool {
        match operator {
            Operator::Try { blockty } => self.begin_try(*blockty),
            Operator::Catch { .. } | Operator::CatchAll => self.begin_handler(),
            Operator::Delegate { .. } => self.end_delegating(),
            Operator::Rethrow { relative_depth } => {
                let held = self
                    .outer(*relative_depth)
                    .of
                    .as_ref()
                    .and_then(|of| of.exception);
                let held = held.expect("validated: a handler's, which was seen to be thrown again");
                self.emit(&Instruction::LocalGet(held));
                self.emit(&Instruction::ThrowRef);
            }
            Operator::End => return self.end(),
            Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } => {
                self.open.push(Open::plain(self.labels));
                self.labels += 1;
                return false;
            }
            Operator::TryTable { try_table } => self.begin_try_table(try_table),
            Operator::Br { relative_depth } => {
                let depth = self.depth_of(*relative_depth);
                self.emit(&Instruction::Br(depth));
            }
            Operator::BrIf { relative_depth } => {
                let depth = self.depth_of(*relative_depth);
                self.emit(&Instruction::BrIf(depth));
            }
            Operator::BrTable { targets } => {
                let all = targets.targets();
                let all: Vec<u32> = all
                    .map(|target| self.depth_of(target.expect("validated")))
                    .collect();
                let default = self.depth_of(targets.default());
                self.emit(&Instruction::BrTable(all.into(), default));
            }
            _ => return false,
        }
        true
    }

    fn outer(&self, relative_depth: u32) -> &Open {
        &self.open[self.open.len() - 1 - relative_depth as usize]
    }

    fn depth(&self, label: u32) -> u32 {
        self.labels - 1 - label
    }

    /// How far what a branch of the original means is from here.
    fn depth_of(&self, relative_depth: u32) -> u32 {
        self.depth(self.outer(relative_depth).label)
    }

    fn begin_try(&mut self, ty: wasmparser::BlockType) {
        let (params, results) = self.module.block_values(ty).expect("validated");
        let which = self.begun;
        self.begun += 1;
        let tries = self.tries;
        let described = &tries.all[which];
        let label = match described.delegates {
            Some(Delegation::Nearest) => self.block(&params, &results),
            Some(delegation) => self.try_delegating(delegation, &params, &results),
            None => self.try_with_handlers(&described.handlers, &params, &results),
        };
        let is_target = described.is_target;
        let target = is_target.then(|| self.block(&params, &[EXCEPTION]));
        self.open.push(Open {
            label,
            of: Some(OpenTry {
                which,
                target,
                exception: None,
                handlers_begun: 0,
            }),
        });
    }

    fn try_delegating(&mut self, delegation: Delegation, params: &[ValType], results: &[ValType]) -> u32 {
        let target = match delegation {
            Delegation::Try(which) => self.open.iter().find_map(|open| {
                let of = open.of.as_ref().filter(|of| of.which == which)?;
                of.target
            }),
            Delegation::Caller | Delegation::Nearest => self.caller,
        };
        let label = self.depth(target.expect("whoever is named has begun with a block for it"));
        let ty = self.types.block(params, results);
        let clauses = vec![Catch::AllRef { label }];
        self.emit(&Instruction::TryTable(ty, clauses.into()));
        self.labels += 1;
        self.labels - 1
    }

    fn try_with_handlers(&mut self, handlers: &[Handler], params: &[ValType], results: &[ValType]) -> u32 {
        let label = self.block(params, results);
        let mut caught = Vec::new();
        for handler in handlers.iter().rev() {
            let given = self.given(handler);
            caught.push(self.block(params, &given));
        }
        let clauses: Vec<Catch> = handlers
            .iter()
            .zip(caught.iter().rev())
            .map(|(handler, label)| {
                let label = self.depth(*label);
                match (handler.tag, handler.is_rethrown) {
                    (Some(tag), true) => Catch::OneRef { tag, label },
                    (Some(tag), false) => Catch::One { tag, label },
                    (None, true) => Catch::AllRef { label },
                    (None, false) => Catch::All { label },
                }
            })
            .collect();
        let ty = self.types.block(params, results);
        self.emit(&Instruction::TryTable(ty, clauses.into()));
        self.labels += 1;
        label
    }

    /// What stands on the stack where a handler begins, with what is thrown again on top.
    fn given(&self, handler: &Handler) -> Vec<ValType> {
        let module = self.module;
        let values = handler.tag.map_or(&[][..], |tag| {
            let ty = module.tags[tag as usize];
            module.types[ty as usize].params()
        });
        let exception = handler.is_rethrown.then_some(EXCEPTION);
        values.iter().copied().chain(exception).collect()
    }

    /// After the body or a handler: to the try's end, and to what the next handler is given.
    fn begin_handler(&mut self) {
        let mut open = self.open.pop().expect("validated");
        let of = open.of.as_mut().expect("validated: it is a try's");
        self.end_part(open.label, of);
        let tries = self.tries;
        let handler = &tries.all[of.which].handlers[of.handlers_begun];
        of.handlers_begun += 1;
        // Its block ends here.
        self.close();
        if handler.is_rethrown {
            let local = self.exceptions + self.exceptions_held;
            self.exceptions_held += 1;
            self.exceptions_max = self.exceptions_max.max(self.exceptions_held);
            of.exception = Some(local);
            self.emit(&Instruction::LocalSet(local));
        }
        self.open.push(open);
    }

    /// The end of a try's body, or of a handler before another or its own end.
    fn end_part(&mut self, label: u32, of: &mut OpenTry) {
        if of.handlers_begun == 0 {
            self.end_body(of);
        }
        if of.exception.take().is_some() {
            self.exceptions_held -= 1;
        }
        let depth = self.depth(label);
        self.emit(&Instruction::Br(depth));
    }

    /// The end of what is inside of the instruction that catches.
    fn end_body(&mut self, of: &mut OpenTry) {
        self.end_target(of.target.take());
        self.close();
    }

    /// What was delegated is thrown here.
    fn end_target(&mut self, target: Option<u32>) {
        if target.is_some() {
            // Past it, with the results.
            self.emit(&Instruction::Br(1));
            self.close();
            self.emit(&Instruction::ThrowRef);
        }
    }

    fn end_delegating(&mut self) {
        let mut open = self.open.pop().expect("validated");
        let of = open.of.as_mut().expect("validated: it is a try's");
        self.end_body(of);
    }

    /// Whether it has written it.
    fn end(&mut self) -> bool {
        let mut open = self.open.pop().expect("validated");
        if let Some(of) = &mut open.of {
            self.end_part(open.label, of);
            self.close();
            return true;
        }
        if self.open.is_empty() && self.caller.is_some() {
            self.emit(&Instruction::Return);
            self.close();
            self.emit(&Instruction::ThrowRef);
        }
        self.labels -= 1;
        false
    }

    fn begin_try_table(&mut self, try_table: &wasmparser::TryTable) {
        let (params, results) = self.module.block_values(try_table.ty).expect("validated");
        let clauses = try_table.catches.iter().map(|catch| match *catch {
            wasmparser::Catch::One { tag, label } => Catch::One {
                tag,
                label: self.depth_of(label),
            },
            wasmparser::Catch::OneRef { tag, label } => Catch::OneRef {
                tag,
                label: self.depth_of(label),
            },
            wasmparser::Catch::All { label } => Catch::All {
                label: self.depth_of(label),
            },
            wasmparser::Catch::AllRef { label } => Catch::AllRef {
                label: self.depth_of(label),
            },
        });
        let clauses: Vec<Catch> = clauses.collect();
        let ty = self.types.block(&params, &results);
        self.emit(&Instruction::TryTable(ty, clauses.into()));
        self.open.push(Open::plain(self.labels));
        self.labels += 1;
    }

    /// Opens a block; answers its label.
    fn block(&mut self, params: &[ValType], results: &[ValType]) -> u32 {
        let ty = self.types.block(params, results);
        self.emit(&Instruction::Block(ty));
        self.labels += 1;
        self.labels - 1
    }

    fn close(&mut self) {
        self.emit(&Instruction::End);
        self.labels -= 1;
    }

    fn emit(&mut self, instruction: &Instruction) {
        instruction.encode(&mut self.bytes);
    }
}
