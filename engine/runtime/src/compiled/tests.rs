use wasmtime::{Engine as WasmtimeEngine, Module};

use super::*;

fn provenance() -> Provenance {
    Provenance::of(&WasmtimeEngine::default())
}

fn replaced(from: &str, to: &str) -> Provenance {
    let Provenance::Own(lines) = provenance() else {
        panic!("{:?}", provenance())
    };
    assert!(lines.contains(from), "{lines}");
    Provenance::Own(lines.replacen(from, to, 1))
}

fn compiled() -> Compiled {
    let wasm = wat::parse_str("(module (func (export \"f\")))").unwrap();
    let module = Module::new(&WasmtimeEngine::default(), &wasm).unwrap();
    Compiled::of(Digest::of(&wasm), Piece::Program, &module).unwrap()
}

fn written(compiled: &Compiled) -> Vec<u8> {
    let mut bytes = Vec::new();
    compiled.write_to(&provenance(), &mut bytes).unwrap();
    assert_eq!(bytes.len() as u64, compiled.bytes_written(&provenance()));
    bytes
}

#[test]
fn what_was_written_is_read() {
    let compiled = compiled();
    let read = Compiled::verify(written(&compiled), compiled.module, Piece::Program, &provenance());
    let Ok(read) = read else { panic!("refused") };
    assert_eq!(read.code(), compiled.code());
    assert_eq!(read.module(), compiled.module());
}

#[test]
fn no_torn_and_no_changed_bytes_are_taken() {
    let compiled = compiled();
    let bytes = written(&compiled);
    let refusal =
        |bytes: Vec<u8>| Compiled::verify(bytes, compiled.module, Piece::Program, &provenance()).err();
    let header = provenance().header(compiled.module, Piece::Program).len();
    // All of header and checksum, and places all over the code.
    let places =
        (0..bytes.len()).filter(|place| *place < header + 64 || *place + 64 > bytes.len() || place % 61 == 0);
    for place in places {
        let damaged = Some(CompiledError::Damaged { bytes: place });
        assert_eq!(refusal(bytes[..place].to_vec()), damaged, "cut to {place}");
        for change in [0x01, 0x80, 0xff] {
            let mut flipped = bytes.clone();
            flipped[place] ^= change;
            let damaged = Some(CompiledError::Damaged { bytes: bytes.len() });
            assert_eq!(refusal(flipped), damaged, "byte {place} changed by {change:02x}");
        }
    }
    let longer = [&bytes[..], &[0]].concat();
    assert!(refusal(longer).is_some());
    let zeros = vec![0; bytes.len()];
    assert!(refusal(zeros).is_some());
}

#[test]
fn whole_files_of_something_else_are_named() {
    let compiled = compiled();
    for (from, to, line) in [
        ("compiler ", "compiler 9", "compiler 9"),
        ("revision ", "revision 1", "compiler "),
        ("abi ", "abi 9", "abi 9"),
        ("fd_read", "fd_pread", "abi "),
        ("wasmtime ", "wasmtime 0", "wasmtime 0"),
        ("target ", "target z80-", "target z80-"),
    ] {
        let mut bytes = Vec::new();
        let other = replaced(from, to);
        compiled.write_to(&other, &mut bytes).unwrap();
        match Compiled::verify(bytes, compiled.module, Piece::Program, &provenance()).err() {
            Some(CompiledError::Other { found }) if found.starts_with(line) => {}
            other => panic!("{from}: {other:?}"),
        }
    }
    let refused = Compiled::verify(written(&compiled), Digest([7; 32]), Piece::Program, &provenance());
    let found = format!("module {}", compiled.module);
    assert_eq!(refused.err(), Some(CompiledError::Other { found }));
    let refused = Compiled::verify(
        written(&compiled),
        compiled.module,
        Piece::Resuming,
        &provenance(),
    );
    let found = "piece program".to_owned();
    assert_eq!(refused.err(), Some(CompiledError::Other { found }));
}

#[test]
fn settings_that_change_the_code_change_the_provenance() {
    let mut config = wasmtime::Config::new();
    config.cranelift_opt_level(wasmtime::OptLevel::None);
    let other = WasmtimeEngine::new(&config).unwrap();
    assert_ne!(Provenance::of(&other), provenance());
    // And those that do not, do not: the stack of a resumed program.
    let mut config = wasmtime::Config::new();
    config.max_wasm_stack(1 << 20).async_stack_size(1 << 20);
    let other = WasmtimeEngine::new(&config).unwrap();
    assert_eq!(Provenance::of(&other), provenance());
}
