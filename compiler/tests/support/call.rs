//! A call of an exported function, fresh or resumed, and what came of it, in values that mean the same in
//! every store.
#![allow(clippy::unwrap_used)]

use wasmtime::{ExternRef, HeapType, Instance, Store, ThrownException, Trap, Val, ValType};
use wayfare_abi::rewritten as abi;

use super::World;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    I32(i32),
    I64(i64),
    F32(u32),
    F64(u64),
    V128(u128),
    Null,
    Function,
    Extern(u32),
    /// Something of the host's or of the garbage collector's.
    Other,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Returned(Vec<Value>),
    Trapped(Trap),
    /// An exception that nobody caught.
    Threw,
}

pub enum Called {
    Ended(Outcome),
    Captured,
}

/// Which function to call, and what goes on with it after a capture.
#[derive(Clone)]
pub struct Call {
    pub name: String,
    pub resume: String,
    pub args: Vec<Value>,
}

impl Call {
    pub fn export(name: &str, args: Vec<Value>) -> Self {
        Self {
            name: name.to_owned(),
            resume: format!("{}{name}", abi::RESUME_PREFIX),
            args,
        }
    }

    /// What a start section does.
    pub fn start() -> Self {
        Self {
            name: abi::START.to_owned(),
            resume: abi::RESUME.to_owned(),
            args: Vec::new(),
        }
    }

    pub fn fresh(&self, instance: &Instance, store: &mut Store<World>) -> Called {
        issue(instance, store, &self.name, &self.args)
    }

    pub fn resumed(&self, instance: &Instance, store: &mut Store<World>) -> Called {
        issue(instance, store, &self.resume, &[])
    }
}

fn issue(instance: &Instance, store: &mut Store<World>, name: &str, args: &[Value]) -> Called {
    let func = instance.get_func(&mut *store, name);
    let func = func.unwrap_or_else(|| panic!("no function '{name}'"));
    let ty = func.ty(&*store);
    let args: Vec<Val> = args
        .iter()
        .zip(ty.params())
        .map(|(value, ty)| value.to(&ty, store))
        .collect();
    let mut results = vec![Val::I32(0); ty.results().len()];
    let result = func.call(&mut *store, &args, &mut results);
    if result.is_ok()
        && let Some(unwinding) = instance.get_global(&mut *store, abi::UNWINDING)
        && unwinding.get(&mut *store).i32() == Some(1)
    {
        return Called::Captured;
    }
    Called::Ended(match result {
        Ok(()) => Outcome::Returned(results.iter().map(|value| Value::of(value, store)).collect()),
        Err(error) if error.is::<ThrownException>() => {
            store.take_pending_exception();
            Outcome::Threw
        }
        Err(error) => match error.downcast_ref::<Trap>() {
            Some(trap) => Outcome::Trapped(*trap),
            None => panic!("{name}: {error:?}"),
        },
    })
}

impl Value {
    pub fn of(value: &Val, store: &mut Store<World>) -> Self {
        match value {
            Val::I32(v) => Self::I32(*v),
            Val::I64(v) => Self::I64(*v),
            Val::F32(v) => Self::F32(*v),
            Val::F64(v) => Self::F64(*v),
            Val::V128(v) => Self::V128(v.as_u128()),
            Val::FuncRef(Some(_)) => Self::Function,
            Val::ExternRef(Some(reference)) => match reference.data(&*store) {
                Ok(Some(data)) => data
                    .downcast_ref::<u32>()
                    .map_or(Self::Other, |n| Self::Extern(*n)),
                _ => Self::Other,
            },
            Val::FuncRef(None) | Val::ExternRef(None) | Val::AnyRef(None) | Val::ExnRef(None) => Self::Null,
            _ => Self::Other,
        }
    }

    fn to(self, ty: &ValType, store: &mut Store<World>) -> Val {
        match self {
            Self::I32(v) => Val::I32(v),
            Self::I64(v) => Val::I64(v),
            Self::F32(v) => Val::F32(v),
            Self::F64(v) => Val::F64(v),
            Self::V128(v) => Val::V128(v.into()),
            Self::Extern(n) => Val::ExternRef(Some(ExternRef::new(&mut *store, n).unwrap())),
            Self::Null | Self::Function | Self::Other => match ty {
                ValType::Ref(ty) if matches!(ty.heap_type(), HeapType::Extern | HeapType::NoExtern) => {
                    Val::ExternRef(None)
                }
                ValType::Ref(ty) if matches!(ty.heap_type(), HeapType::Exn | HeapType::NoExn) => {
                    Val::ExnRef(None)
                }
                _ => Val::FuncRef(None),
            },
        }
    }
}
