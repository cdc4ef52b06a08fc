//! Reads a function's body into the tree of [`crate::body`], validating it on the way, and finds its sites.

use std::ops::Range;

use wasmparser::{BlockType, Catch, FuncValidator, Operator, ValType, ValidatorResources};

use crate::body::{
    Call, Construct, Function, Jump, Kind, Label, LocalUse, Node, ROOT, Segment, Seq, Site, SiteKind,
};
use crate::calls::Calls;
use crate::error::CompileError;
use crate::module::Module;

/// Levels of nested constructs; large `switch` statements make thousands.
pub(crate) const NESTING_MAX: usize = 20_000;
/// Values on the operand stack at a site.
const OPERANDS_MAX: usize = 1_000;

/// A construct whose `end` has not come yet.
struct Open {
    construct: Construct,
    seq: Seq,
    first_site: usize,
}

struct Builder<'m, 'a> {
    module: &'m Module<'a>,
    calls: &'m Calls,
    validator: FuncValidator<ValidatorResources>,
    function: Function,
    open: Vec<Open>,
    seq: Seq,
    /// Constructs opened since code became unreachable; 0: it is reachable.
    dead: usize,
    /// By operand: see [`Site::pushed`].
    pushed: Vec<u32>,
    last_push: u32,
}

impl Function {
    pub(crate) fn parse(module: &Module, calls: &Calls, body_index: usize) -> Result<Self, CompileError> {
        let index = module.imported_functions() + body_index as u32;
        let body = &module.bodies[body_index];
        let ty = module.function_type(index);
        let mut validator = body.validator();
        let mut reader = body.body.get_binary_reader();
        validator
            .read_locals(&mut reader)
            .map_err(|error| module.refuse(index, error.to_string()))?;
        let locals = (0..validator.len_locals())
            .filter_map(|local| validator.get_local_type(local))
            .collect();
        let function = Function {
            index,
            params: ty.params().len(),
            locals,
            results: ty.results().to_vec(),
            root: Seq::default(),
            sites: Vec::new(),
            constructs: 1,
        };
        let mut builder = Builder {
            module,
            calls,
            validator,
            function,
            open: Vec::new(),
            seq: Seq::default(),
            dead: 0,
            pushed: Vec::new(),
            last_push: 0,
        };
        if calls.entry_poll[index as usize] {
            builder.poll(SiteKind::EntryPoll)?;
        }
        let mut operators = body.body.get_operators_reader()?;
        while !operators.eof() {
            let (operator, offset) = operators.read_with_offset()?;
            builder.operator(&operator, offset..operators.original_position())?;
        }
        builder.function.root = builder.seq;
        Ok(builder.function)
    }
}

impl Builder<'_, '_> {
    fn refuse(&self, reason: impl Into<String>) -> CompileError {
        self.module.refuse(self.function.index, reason)
    }

    fn operator(&mut self, operator: &Operator, bytes: Range<usize>) -> Result<(), CompileError> {
        let live = self.dead == 0;
        if live {
            self.before(operator, &bytes)?;
        } else {
            self.skip(operator);
        }
        let arity = operator.operator_arity(&self.validator);
        self.validator
            .op(bytes.start, operator)
            .map_err(|error| self.refuse(error.to_string()))?;
        if self.dead == 0 {
            self.number_operands(arity.map_or(usize::MAX, |(_, results)| results as usize));
        }
        if live && matches!(operator, Operator::Loop { .. }) {
            self.poll(SiteKind::LoopPoll)?;
        }
        Ok(())
    }

    /// After an instruction: what is below its results stands where it stood.
    fn number_operands(&mut self, results: usize) {
        let height = self.validator.operand_stack_height() as usize;
        self.pushed.truncate(height.saturating_sub(results));
        while self.pushed.len() < height {
            self.last_push += 1;
            self.pushed.push(self.last_push);
        }
    }

    /// Unreachable code is only counted, until the construct it stands in goes on or ends.
    fn skip(&mut self, operator: &Operator) {
        match operator {
            Operator::Block { .. }
            | Operator::Loop { .. }
            | Operator::If { .. }
            | Operator::TryTable { .. } => {
                self.dead += 1;
            }
            Operator::Else if self.dead == 1 => {
                self.dead = 0;
                self.otherwise();
            }
            Operator::End if self.dead == 1 => {
                self.dead = 0;
                self.close();
            }
            Operator::End => self.dead -= 1,
            _ => {}
        }
    }

    fn before(&mut self, operator: &Operator, bytes: &Range<usize>) -> Result<(), CompileError> {
        match operator {
            Operator::Block { blockty } => self.open(Kind::Block, *blockty)?,
            Operator::Loop { blockty } => self.open(Kind::Loop, *blockty)?,
            Operator::If { blockty } => self.open(Kind::If, *blockty)?,
            Operator::TryTable { try_table } => {
                let catches = try_table
                    .catches
                    .iter()
                    .map(|catch| (*catch, self.label(catch_depth(catch))))
                    .collect();
                self.open(Kind::Try, try_table.ty)?;
                self.open.last_mut().expect("just opened").construct.catches = catches;
            }
            Operator::Throw { .. } | Operator::ThrowRef => self.jump(Jump::Throw(bytes.clone())),
            Operator::Else => self.otherwise(),
            Operator::End => self.close(),
            Operator::Br { relative_depth } => self.jump(Jump::Br(self.label(*relative_depth))),
            Operator::BrIf { relative_depth } => self.jump(Jump::BrIf(self.label(*relative_depth))),
            Operator::BrTable { targets } => {
                let labels = targets
                    .targets()
                    .map(|depth| depth.map(|depth| self.label(depth)))
                    .collect::<Result<_, _>>()?;
                self.jump(Jump::BrTable(labels, self.label(targets.default())));
            }
            Operator::Return => self.jump(Jump::Return),
            Operator::Unreachable => self.jump(Jump::Unreachable),
            Operator::Call { function_index } if self.calls.unwinds[*function_index as usize] => {
                self.direct_call(*function_index, bytes)?;
            }
            Operator::CallIndirect { type_index, .. } if self.calls.indirect_unwinds(*type_index) => {
                let ty = &self.module.types[*type_index as usize];
                let call = Call::Copied(bytes.clone());
                self.site(SiteKind::Call, ty.params().len() + 1, ty.results().to_vec(), call)?;
            }
            // The host cannot tail call: issue the call here, where it can be issued again.
            Operator::ReturnCall { function_index } if self.is_blocking(*function_index) => {
                self.direct_call(*function_index, bytes)?;
                self.jump(Jump::Return);
            }
            Operator::ReturnCall { .. } | Operator::ReturnCallIndirect { .. } => {
                self.jump(Jump::TailCall(bytes.clone()));
            }
            Operator::DataDrop { data_index } => self.drop_segment(Segment::Data(*data_index), bytes),
            Operator::ElemDrop { elem_index } => self.drop_segment(Segment::Elements(*elem_index), bytes),
            Operator::LocalGet { local_index } => self.plain(bytes, Some(LocalUse::Get(*local_index))),
            Operator::LocalSet { local_index } => self.plain(bytes, Some(LocalUse::Set(*local_index))),
            Operator::LocalTee { local_index } => self.plain(bytes, Some(LocalUse::Tee(*local_index))),
            _ => self.plain(bytes, None),
        }
        Ok(())
    }

    fn plain(&mut self, bytes: &Range<usize>, used: Option<LocalUse>) {
        match self.seq.nodes.last_mut() {
            Some(Node::Plain { bytes: run, locals }) if run.end == bytes.start => {
                run.end = bytes.end;
                locals.extend(used);
            }
            _ => self.seq.nodes.push(Node::Plain {
                bytes: bytes.clone(),
                locals: used.into_iter().collect(),
            }),
        }
    }

    fn drop_segment(&mut self, segment: Segment, bytes: &Range<usize>) {
        self.seq.nodes.push(Node::Drop {
            segment,
            bytes: bytes.clone(),
        });
    }

    fn label(&self, depth: u32) -> Label {
        match (depth as usize).cmp(&self.open.len()) {
            std::cmp::Ordering::Less => self.open[self.open.len() - 1 - depth as usize].construct.label,
            _ => ROOT,
        }
    }

    fn jump(&mut self, jump: Jump) {
        if !matches!(jump, Jump::BrIf(_)) {
            self.dead = 1;
        }
        self.seq.nodes.push(Node::Jump(jump));
    }

    /// The operand stack as it is now, and where the innermost construct's part begins.
    fn stack(&self) -> Result<(Vec<ValType>, usize), CompileError> {
        let height = self.validator.operand_stack_height() as usize;
        if height > OPERANDS_MAX {
            return Err(self.refuse(format!(
                "more than {OPERANDS_MAX} values on the operand stack: split the function"
            )));
        }
        let stack = (0..height)
            .rev()
            .map(|depth| self.validator.get_operand_type(depth).flatten())
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| self.refuse("an operand of unknown type"))?;
        let base = self
            .validator
            .get_control_frame(0)
            .map_or(0, |frame| frame.height);
        Ok((stack, base))
    }

    fn is_blocking(&self, function: u32) -> bool {
        function < self.module.imported_functions() && self.calls.unwinds[function as usize]
    }

    fn poll(&mut self, kind: SiteKind) -> Result<(), CompileError> {
        self.site(kind, 0, Vec::new(), Call::None)
    }

    fn direct_call(&mut self, function: u32, bytes: &Range<usize>) -> Result<(), CompileError> {
        let ty = self.module.function_type(function);
        let (kind, call) = if self.is_blocking(function) {
            (SiteKind::Blocking, Call::Import(function))
        } else {
            (SiteKind::Call, Call::Copied(bytes.clone()))
        };
        self.site(kind, ty.params().len(), ty.results().to_vec(), call)?;
        let polls_first = self.calls.entry_poll[function as usize];
        self.function.sites.last_mut().expect("just added").polls_first = polls_first;
        Ok(())
    }

    fn site(
        &mut self,
        kind: SiteKind,
        args: usize,
        results: Vec<ValType>,
        call: Call,
    ) -> Result<(), CompileError> {
        let (stack, base) = self.stack()?;
        self.seq.nodes.push(Node::Site(self.function.sites.len()));
        self.function.sites.push(Site {
            kind,
            base,
            pushed: self.pushed[..stack.len()].to_vec(),
            stack,
            call,
            args,
            results,
            polls_first: false,
            live: Vec::new(),
        });
        Ok(())
    }

    fn open(&mut self, kind: Kind, ty: BlockType) -> Result<(), CompileError> {
        if self.open.len() >= NESTING_MAX {
            return Err(self.refuse(format!(
                "more than {NESTING_MAX} nested constructs: split the function"
            )));
        }
        let values = self.module.block_values(ty);
        let (params, results) = values.ok_or_else(|| self.refuse("a block of unknown type"))?;
        let (stack, base) = self.stack()?;
        let sites = self.function.sites.len();
        let construct = Construct {
            label: self.function.constructs,
            kind,
            params,
            results,
            base,
            stack,
            catches: Vec::new(),
            body: Seq::default(),
            otherwise: None,
            sites: sites..sites,
            otherwise_sites: usize::MAX,
            copies: 1,
        };
        self.function.constructs += 1;
        self.open.push(Open {
            construct,
            seq: std::mem::take(&mut self.seq),
            first_site: sites,
        });
        Ok(())
    }

    fn otherwise(&mut self) {
        let open = self.open.last_mut().expect("validated: `else` stands in an `if`");
        open.construct.body = std::mem::take(&mut self.seq);
        open.construct.otherwise_sites = self.function.sites.len();
    }

    fn close(&mut self) {
        // The function's own `end` closes no construct.
        let Some(Open {
            mut construct,
            seq,
            first_site,
        }) = self.open.pop()
        else {
            return;
        };
        let inner = std::mem::replace(&mut self.seq, seq);
        if construct.otherwise_sites == usize::MAX {
            construct.body = inner;
            construct.otherwise_sites = self.function.sites.len();
        } else {
            construct.otherwise = Some(inner);
        }
        construct.sites = first_site..self.function.sites.len();
        if construct.sites.is_empty() {
            construct.stack = Vec::new();
        }
        self.seq.nodes.push(Node::Construct(Box::new(construct)));
    }
}

fn catch_depth(catch: &Catch) -> u32 {
    match *catch {
        Catch::One { label, .. }
        | Catch::OneRef { label, .. }
        | Catch::All { label }
        | Catch::AllRef { label } => label,
    }
}
