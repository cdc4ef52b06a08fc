//! The host functions of the test programs: enough of WASI preview 1, and a call that blocks.
#![allow(clippy::unwrap_used)]

use wasmtime::{Caller, Engine, Extern, Linker, Memory, Val};
use wayfare_abi::rewritten as abi;

use super::World;

const SUCCESS: i32 = 0;
const BADF: i32 = 8;
const SPIPE: i32 = 70;

fn memory(caller: &mut Caller<World>) -> Memory {
    caller.get_export("memory").and_then(Extern::into_memory).unwrap()
}

fn put(caller: &mut Caller<World>, at: u32, bytes: &[u8]) {
    memory(caller).write(&mut *caller, at as usize, bytes).unwrap();
}

fn word(caller: &mut Caller<World>, at: u32) -> u32 {
    let mut bytes = [0; 4];
    memory(caller).read(&*caller, at as usize, &mut bytes).unwrap();
    u32::from_le_bytes(bytes)
}

/// Whether a blocking call should unwind: as an engine's would, when a capture of its caller is wanted.
fn unwinds(caller: &mut Caller<World>) -> bool {
    let Some(unwinding) = caller.get_export(abi::UNWINDING).and_then(Extern::into_global) else {
        return false;
    };
    let save = caller
        .get_export(abi::SAVE_MEMORY)
        .and_then(Extern::into_memory)
        .unwrap();
    let wanted = save.data(&*caller)[abi::FLAG_OFFSET as usize] != 0 && !caller.data().never_blocks;
    if wanted {
        unwinding.set(&mut *caller, Val::I32(1)).unwrap();
    }
    wanted
}

/// The functions that the official suite's scripts import. A capture can find the program in each of them.
fn spectest(linker: &mut Linker<World>) {
    use wasmtime::{FuncType, ValType};
    for (name, params) in [
        ("print", &[][..]),
        ("print_i32", &[ValType::I32]),
        ("print_i64", &[ValType::I64]),
        ("print_f32", &[ValType::F32]),
        ("print_f64", &[ValType::F64]),
        ("print_i32_f32", &[ValType::I32, ValType::F32]),
        ("print_f64_f64", &[ValType::F64, ValType::F64]),
    ] {
        let ty = FuncType::new(linker.engine(), params.iter().cloned(), []);
        let print = |mut caller: Caller<World>, _: &[Val], _: &mut [Val]| {
            caller.data_mut().check();
            unwinds(&mut caller);
            Ok(())
        };
        linker.func_new("spectest", name, ty, print).unwrap();
    }
}

pub fn linker(engine: &Engine) -> Linker<World> {
    let mut linker = Linker::new(engine);
    spectest(&mut linker);
    let wasi = "wasi_snapshot_preview1";
    linker
        .func_wrap("test", "block", |mut caller: Caller<World>, value: i32| {
            caller.data_mut().check();
            if unwinds(&mut caller) {
                99
            } else {
                value.wrapping_mul(3)
            }
        })
        .unwrap();
    linker
        .func_wrap("test", "print", |mut caller: Caller<World>, value: i64| {
            let line = format!("{value}\n");
            caller.data_mut().stdout.extend(line.as_bytes());
        })
        .unwrap();
    linker
        .func_wrap(
            wasi,
            "args_sizes_get",
            |mut caller: Caller<World>, count: u32, size: u32| {
                let (n, bytes) = (
                    caller.data().args.len(),
                    caller.data().args.iter().map(|a| a.len() + 1).sum::<usize>(),
                );
                put(&mut caller, count, &(n as u32).to_le_bytes());
                put(&mut caller, size, &(bytes as u32).to_le_bytes());
                SUCCESS
            },
        )
        .unwrap();
    linker
        .func_wrap(
            wasi,
            "args_get",
            |mut caller: Caller<World>, pointers: u32, mut buffer: u32| {
                for (index, arg) in caller.data().args.clone().iter().enumerate() {
                    put(&mut caller, pointers + 4 * index as u32, &buffer.to_le_bytes());
                    put(&mut caller, buffer, arg.as_bytes());
                    put(&mut caller, buffer + arg.len() as u32, &[0]);
                    buffer += arg.len() as u32 + 1;
                }
                SUCCESS
            },
        )
        .unwrap();
    linker
        .func_wrap(
            wasi,
            "environ_sizes_get",
            |mut caller: Caller<World>, count: u32, size: u32| {
                put(&mut caller, count, &[0; 4]);
                put(&mut caller, size, &[0; 4]);
                SUCCESS
            },
        )
        .unwrap();
    linker
        .func_wrap(wasi, "environ_get", |_: u32, _: u32| SUCCESS)
        .unwrap();
    linker
        .func_wrap(
            wasi,
            "clock_time_get",
            |mut caller: Caller<World>, _: u32, _: u64, out: u32| {
                caller.data_mut().clock_ns += 50_000_000;
                let now = caller.data().clock_ns;
                put(&mut caller, out, &now.to_le_bytes());
                SUCCESS
            },
        )
        .unwrap();
    linker
        .func_wrap(
            wasi,
            "random_get",
            |mut caller: Caller<World>, at: u32, size: u32| {
                put(&mut caller, at, &vec![7; size as usize]);
                SUCCESS
            },
        )
        .unwrap();
    linker.func_wrap(wasi, "fd_close", |_: u32| SUCCESS).unwrap();
    linker
        .func_wrap(wasi, "fd_seek", |_: u32, _: i64, _: u32, _: u32| SPIPE)
        .unwrap();
    linker
        .func_wrap(
            wasi,
            "fd_fdstat_get",
            |mut caller: Caller<World>, fd: u32, out: u32| {
                if fd > 2 {
                    return BADF;
                }
                let mut stat = [0; 24];
                stat[0] = 2; // character device
                put(&mut caller, out, &stat);
                SUCCESS
            },
        )
        .unwrap();
    linker
        .func_wrap(
            wasi,
            "fd_write",
            |mut caller: Caller<World>, fd: u32, vectors: u32, count: u32, out: u32| {
                if unwinds(&mut caller) {
                    return -1;
                }
                let mut total = 0;
                for index in 0..count {
                    let (at, size) = (
                        word(&mut caller, vectors + 8 * index),
                        word(&mut caller, vectors + 8 * index + 4),
                    );
                    let mut bytes = vec![0; size as usize];
                    memory(&mut caller)
                        .read(&caller, at as usize, &mut bytes)
                        .unwrap();
                    total += size;
                    if fd == 1 {
                        caller.data_mut().stdout.extend(bytes);
                    }
                }
                put(&mut caller, out, &total.to_le_bytes());
                SUCCESS
            },
        )
        .unwrap();
    linker
        .func_wrap(
            wasi,
            "fd_read",
            |mut caller: Caller<World>, _: u32, vectors: u32, _: u32, out: u32| {
                if unwinds(&mut caller) {
                    return -1;
                }
                let (at, size) = (word(&mut caller, vectors), word(&mut caller, vectors + 4));
                let world = caller.data_mut();
                let rest = &world.stdin[world.stdin_at..];
                let chunk = rest[..rest.len().min(size as usize)].to_vec();
                world.stdin_at += chunk.len();
                put(&mut caller, at, &chunk);
                put(&mut caller, out, &(chunk.len() as u32).to_le_bytes());
                SUCCESS
            },
        )
        .unwrap();
    linker
        .func_wrap(
            wasi,
            "poll_oneoff",
            |mut caller: Caller<World>, from: u32, to: u32, _: u32, out: u32| {
                if unwinds(&mut caller) {
                    return -1;
                }
                let mut event = [0; 32];
                memory(&mut caller)
                    .read(&caller, from as usize, &mut event[..8])
                    .unwrap();
                put(&mut caller, to, &event);
                put(&mut caller, out, &1u32.to_le_bytes());
                SUCCESS
            },
        )
        .unwrap();
    linker
        .func_wrap(
            wasi,
            "proc_exit",
            |mut caller: Caller<World>, code: i32| -> wasmtime::Result<()> {
                caller.data_mut().exit = Some(code);
                Err(wasmtime::Error::msg("exit"))
            },
        )
        .unwrap();
    linker
}
