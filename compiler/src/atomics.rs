//! Atomic instructions as plain ones.
//!
//! A program has one thread and its memories are its own, so an atomic access is an access that traps where
//! it is not aligned. Pulley, which boards interpret, has no atomics: translated here, they run everywhere.
//!
//! Only bodies with atomics change. They get scratch locals of their own, behind the others, so that no index
//! changes.

use wasm_encoder::{BlockType, Encode, Instruction, MemArg};
use wasmparser::{Operator, ValType};

use crate::error::CompileError;
use crate::module::Module;
use crate::sections::{CODE, Code, Locals, Sections};

/// The prefix of atomic instructions' opcodes.
const PREFIX: u8 = 0xfe;

/// What an atomic instruction does.
#[derive(Clone, Copy)]
enum Action {
    Load,
    Store,
    Add,
    Sub,
    And,
    Or,
    Xor,
    Exchange,
    CompareExchange,
    Notify,
    Wait,
    Fence,
}

#[derive(Clone, Copy)]
struct Atomic {
    action: Action,
    /// Of the values; not of the address.
    ty: ValType,
    /// Of the access.
    bytes: u32,
    memarg: wasmparser::MemArg,
}

/// The module without atomics; `None` if it has none.
pub(crate) fn translated(module: &Module) -> Result<Option<Vec<u8>>, CompileError> {
    let mut code = Code::after(module.imported_functions());
    let mut any = false;
    for (body, index) in module.bodies.iter().zip(module.imported_functions()..) {
        let bytes = body.body.as_bytes();
        let body = if bytes.contains(&PREFIX) {
            translate(module, index, &body.body)?
        } else {
            None
        };
        any |= body.is_some();
        code.push(body.as_deref().unwrap_or(bytes));
    }
    if !any {
        return Ok(None);
    }
    let mut sections = Sections::of(module);
    sections.replace(CODE, code.section());
    Ok(Some(sections.finish(&code.hints, module.name_section)))
}

/// `None` if there is nothing to translate.
fn translate(
    module: &Module,
    index: u32,
    body: &wasmparser::FunctionBody,
) -> Result<Option<Vec<u8>>, CompileError> {
    let mut locals = Locals::of(module, index, body)?;
    let mut translation = Translation {
        module,
        scratch: locals.next,
        bytes: Vec::new(),
    };
    let mut any = false;
    let mut operators = body.get_operators_reader()?;
    while !operators.eof() {
        let (operator, offset) = operators.read_with_offset()?;
        match atomic(&operator) {
            Some(atomic) => {
                any = true;
                translation.atomic(atomic);
            }
            None => {
                let range = offset..operators.original_position();
                translation.bytes.extend_from_slice(module.bytes(range));
            }
        }
    }
    if !any {
        return Ok(None);
    }
    for ty in SCRATCH {
        locals.push(1, ty);
    }
    Ok(Some(locals.body(&translation.bytes)))
}

/// An address, a value, what is expected, what was found: in 32 bits, and again in 64.
const SCRATCH: [ValType; 8] = [
    ValType::I32,
    ValType::I32,
    ValType::I32,
    ValType::I32,
    ValType::I64,
    ValType::I64,
    ValType::I64,
    ValType::I64,
];
const ADDRESS: u32 = 0;
const VALUE: u32 = 1;
const EXPECTED: u32 = 2;
const FOUND: u32 = 3;

struct Translation<'m, 'a> {
    module: &'m Module<'a>,
    /// The first of the scratch locals.
    scratch: u32,
    bytes: Vec<u8>,
}

impl Translation<'_, '_> {
    fn atomic(&mut self, atomic: Atomic) {
        let [value, expected, found] = [VALUE, EXPECTED, FOUND].map(|which| self.local(atomic.ty, which));
        match atomic.action {
            Action::Fence => {}
            // Traps on every unshared memory.
            Action::Wait => self.emit(Instruction::Unreachable),
            // Nobody waits.
            Action::Notify => {
                self.emit(Instruction::Drop);
                self.take_address(atomic);
                self.load(atomic);
                self.emit(Instruction::Drop);
                self.emit(Instruction::I32Const(0));
            }
            Action::Load => {
                self.take_address(atomic);
                self.load(atomic);
            }
            Action::Store => {
                self.emit(Instruction::LocalSet(value));
                self.take_address(atomic);
                self.address(atomic);
                self.emit(Instruction::LocalGet(value));
                self.store(atomic);
            }
            Action::CompareExchange => {
                self.emit(Instruction::LocalSet(value));
                self.mask(atomic);
                self.emit(Instruction::LocalSet(expected));
                self.take_address(atomic);
                self.load(atomic);
                self.emit(Instruction::LocalTee(found));
                self.emit(Instruction::LocalGet(expected));
                self.emit(match atomic.ty {
                    ValType::I64 => Instruction::I64Eq,
                    _ => Instruction::I32Eq,
                });
                self.emit(Instruction::If(BlockType::Empty));
                self.address(atomic);
                self.emit(Instruction::LocalGet(value));
                self.store(atomic);
                self.emit(Instruction::End);
                self.emit(Instruction::LocalGet(found));
            }
            Action::Add | Action::Sub | Action::And | Action::Or | Action::Xor | Action::Exchange => {
                self.emit(Instruction::LocalSet(value));
                self.take_address(atomic);
                self.load(atomic);
                self.emit(Instruction::LocalSet(found));
                self.address(atomic);
                if !matches!(atomic.action, Action::Exchange) {
                    self.emit(Instruction::LocalGet(found));
                }
                self.emit(Instruction::LocalGet(value));
                self.modify(atomic);
                self.store(atomic);
                self.emit(Instruction::LocalGet(found));
            }
        }
    }

    fn emit(&mut self, instruction: Instruction) {
        instruction.encode(&mut self.bytes);
    }

    fn local(&self, ty: ValType, which: u32) -> u32 {
        self.scratch + which + if ty == ValType::I64 { 4 } else { 0 }
    }

    fn is_64(&self, atomic: Atomic) -> bool {
        self.module.memories[atomic.memarg.memory as usize].memory64
    }

    fn address_local(&self, atomic: Atomic) -> u32 {
        let ty = if self.is_64(atomic) {
            ValType::I64
        } else {
            ValType::I32
        };
        self.local(ty, ADDRESS)
    }

    /// Takes the address from the stack; traps unless the access is aligned.
    fn take_address(&mut self, atomic: Atomic) {
        let address = self.address_local(atomic);
        self.emit(Instruction::LocalSet(address));
        let mask = atomic.bytes - 1;
        if mask == 0 {
            return;
        }
        let offset = (atomic.memarg.offset & u64::from(mask)) as u32;
        self.emit(Instruction::LocalGet(address));
        if self.is_64(atomic) {
            self.emit(Instruction::I32WrapI64);
        }
        if offset != 0 {
            self.emit(Instruction::I32Const(offset as i32));
            self.emit(Instruction::I32Add);
        }
        self.emit(Instruction::I32Const(mask as i32));
        self.emit(Instruction::I32And);
        self.emit(Instruction::If(BlockType::Empty));
        self.emit(Instruction::Unreachable);
        self.emit(Instruction::End);
    }

    fn address(&mut self, atomic: Atomic) {
        let address = self.address_local(atomic);
        self.emit(Instruction::LocalGet(address));
    }

    /// What was expected is compared in the width of the access.
    fn mask(&mut self, atomic: Atomic) {
        match (atomic.ty, atomic.bytes) {
            (ValType::I32, 1 | 2) => {
                self.emit(Instruction::I32Const((1 << (8 * atomic.bytes)) - 1));
                self.emit(Instruction::I32And);
            }
            (ValType::I64, 1 | 2 | 4) => {
                self.emit(Instruction::I64Const((1 << (8 * atomic.bytes)) - 1));
                self.emit(Instruction::I64And);
            }
            _ => {}
        }
    }

    fn modify(&mut self, atomic: Atomic) {
        let is_64 = atomic.ty == ValType::I64;
        self.emit(match (atomic.action, is_64) {
            (Action::Add, false) => Instruction::I32Add,
            (Action::Add, true) => Instruction::I64Add,
            (Action::Sub, false) => Instruction::I32Sub,
            (Action::Sub, true) => Instruction::I64Sub,
            (Action::And, false) => Instruction::I32And,
            (Action::And, true) => Instruction::I64And,
            (Action::Or, false) => Instruction::I32Or,
            (Action::Or, true) => Instruction::I64Or,
            (Action::Xor, false) => Instruction::I32Xor,
            (Action::Xor, true) => Instruction::I64Xor,
            // The new value is what stands there.
            _ => return,
        });
    }

    fn load(&mut self, atomic: Atomic) {
        self.address(atomic);
        let memarg = memarg(atomic);
        self.emit(match (atomic.ty, atomic.bytes) {
            (ValType::I64, 1) => Instruction::I64Load8U(memarg),
            (ValType::I64, 2) => Instruction::I64Load16U(memarg),
            (ValType::I64, 4) => Instruction::I64Load32U(memarg),
            (ValType::I64, _) => Instruction::I64Load(memarg),
            (_, 1) => Instruction::I32Load8U(memarg),
            (_, 2) => Instruction::I32Load16U(memarg),
            _ => Instruction::I32Load(memarg),
        });
    }

    /// Address and value are on the stack.
    fn store(&mut self, atomic: Atomic) {
        let memarg = memarg(atomic);
        self.emit(match (atomic.ty, atomic.bytes) {
            (ValType::I64, 1) => Instruction::I64Store8(memarg),
            (ValType::I64, 2) => Instruction::I64Store16(memarg),
            (ValType::I64, 4) => Instruction::I64Store32(memarg),
            (ValType::I64, _) => Instruction::I64Store(memarg),
            (_, 1) => Instruction::I32Store8(memarg),
            (_, 2) => Instruction::I32Store16(memarg),
            _ => Instruction::I32Store(memarg),
        });
    }
}

fn memarg(atomic: Atomic) -> MemArg {
    MemArg {
        offset: atomic.memarg.offset,
        align: atomic.bytes.trailing_zeros(),
        memory_index: atomic.memarg.memory,
    }
}

/// One action in all its widths: returns if the operator is one of them.
macro_rules! widths {
    ($operator:expr, $action:expr, $($name:ident $ty:ident $bytes:literal),*) => {
        match $operator {
            $(Operator::$name { memarg } => {
                return Some(Atomic { action: $action, ty: ValType::$ty, bytes: $bytes, memarg: *memarg });
            })*
            _ => {}
        }
    };
}

/// One action that reads and writes, in all its widths.
macro_rules! rmw {
    ($operator:expr, $action:expr, $a:ident $b:ident $c:ident $d:ident $e:ident $f:ident $g:ident) => {
        widths!($operator, $action, $a I32 4, $b I32 1, $c I32 2, $d I64 8, $e I64 1, $f I64 2, $g I64 4)
    };
}

#[rustfmt::skip]
fn atomic(operator: &Operator) -> Option<Atomic> {
    widths!(operator, Action::Load,
        I32AtomicLoad I32 4, I32AtomicLoad8U I32 1, I32AtomicLoad16U I32 2,
        I64AtomicLoad I64 8, I64AtomicLoad8U I64 1, I64AtomicLoad16U I64 2, I64AtomicLoad32U I64 4);
    widths!(operator, Action::Store,
        I32AtomicStore I32 4, I32AtomicStore8 I32 1, I32AtomicStore16 I32 2,
        I64AtomicStore I64 8, I64AtomicStore8 I64 1, I64AtomicStore16 I64 2, I64AtomicStore32 I64 4);
    rmw!(operator, Action::Add, I32AtomicRmwAdd I32AtomicRmw8AddU I32AtomicRmw16AddU
        I64AtomicRmwAdd I64AtomicRmw8AddU I64AtomicRmw16AddU I64AtomicRmw32AddU);
    rmw!(operator, Action::Sub, I32AtomicRmwSub I32AtomicRmw8SubU I32AtomicRmw16SubU
        I64AtomicRmwSub I64AtomicRmw8SubU I64AtomicRmw16SubU I64AtomicRmw32SubU);
    rmw!(operator, Action::And, I32AtomicRmwAnd I32AtomicRmw8AndU I32AtomicRmw16AndU
        I64AtomicRmwAnd I64AtomicRmw8AndU I64AtomicRmw16AndU I64AtomicRmw32AndU);
    rmw!(operator, Action::Or, I32AtomicRmwOr I32AtomicRmw8OrU I32AtomicRmw16OrU
        I64AtomicRmwOr I64AtomicRmw8OrU I64AtomicRmw16OrU I64AtomicRmw32OrU);
    rmw!(operator, Action::Xor, I32AtomicRmwXor I32AtomicRmw8XorU I32AtomicRmw16XorU
        I64AtomicRmwXor I64AtomicRmw8XorU I64AtomicRmw16XorU I64AtomicRmw32XorU);
    rmw!(operator, Action::Exchange, I32AtomicRmwXchg I32AtomicRmw8XchgU I32AtomicRmw16XchgU
        I64AtomicRmwXchg I64AtomicRmw8XchgU I64AtomicRmw16XchgU I64AtomicRmw32XchgU);
    rmw!(operator, Action::CompareExchange, I32AtomicRmwCmpxchg I32AtomicRmw8CmpxchgU I32AtomicRmw16CmpxchgU
        I64AtomicRmwCmpxchg I64AtomicRmw8CmpxchgU I64AtomicRmw16CmpxchgU I64AtomicRmw32CmpxchgU);
    widths!(operator, Action::Notify, MemoryAtomicNotify I32 4);
    widths!(operator, Action::Wait, MemoryAtomicWait32 I32 4, MemoryAtomicWait64 I64 8);
    let memarg = wasmparser::MemArg { align: 0, max_align: 0, offset: 0, memory: 0 };
    matches!(operator, Operator::AtomicFence)
        .then_some(Atomic { action: Action::Fence, ty: ValType::I32, bytes: 1, memarg })
}
