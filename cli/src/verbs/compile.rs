//! `wayfare compile`: what the dispatcher does for engines without a compiler, by hand; and as the process
//! that it is for the dispatcher, of this release and, by its `--compiler`, of others.

use std::io::Read;
use std::path::Path;
use std::time::Instant;

use serde_json::json;
use wayfare_client::CommandError;
use wayfare_dispatcher::compilers::{
    COMPILER_FORMAT, Compiler, CompilerAbout, OutsideCompiler, OutsideLimits,
};
use wayfare_protocol::code::CodeTarget;
use wayfare_protocol::code::unsigned::Unsigned;
use wayfare_protocol::ids::Digest;
use wayfare_protocol::limits::MODULE_BYTES_MAX;
use wayfare_runtime::ahead;

use super::module::Module;
use crate::args::services::CompileArgs;
use crate::fail::{Fail, Result};
use crate::output::{Output, Text, bytes, write_out};

/// Those of every process that compiles here, but for its time and memory.
pub(super) fn limits() -> OutsideLimits {
    OutsideLimits {
        confine: Some(wayfare_runtime::confine),
        ..OutsideLimits::default()
    }
}

/// This very verb, in a process of its own for each module: any engine names modules, and what compiling one
/// takes is known when it is done.
pub(super) fn own(limits: OutsideLimits) -> Result<Compiler> {
    let this = OutsideCompiler::this(about(), limits);
    this.map(Compiler::Outside).map_err(|error| {
        Fail::new(
            "compiler",
            format!("cannot find this program's own file: {error}"),
        )
    })
}

fn about() -> CompilerAbout {
    let CodeTarget { wasmtime, abi, .. } = ahead::here();
    CompilerAbout {
        format: COMPILER_FORMAT,
        compiler: ahead::compiler(),
        wasmtime,
        abi,
        architectures: ahead::architectures(),
    }
}

pub(super) fn run(args: &CompileArgs, output: Output) -> Result {
    let Some(named) = args.module.as_deref().filter(|_| !args.about) else {
        return output.print(&about(), page);
    };
    let wasm = if named == "-" {
        from_standard_input()?
    } else {
        Module::find(named)?.wasm
    };
    let mut target = ahead::here();
    if let Some(architecture) = &args.target {
        target.architecture.clone_from(architecture);
    }
    let (module, begun) = (Digest::of(&wasm), Instant::now());
    let code = ahead::compile(module, &wasm, &target).map_err(CommandError::Refused)?;
    let ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    if let Some(path) = &args.output {
        write(path, &code, module, &target)?;
        if path == Path::new("-") {
            return Ok(());
        }
    }
    let document = json!({
        "module": module, "target": target, "compiler": ahead::compiler(),
        "bytes": code.len(), "ms": ms, "output": args.output,
    });
    output.print(&document, |_| {
        let size = bytes(code.len() as u64);
        let place = args
            .output
            .as_ref()
            .map(|path| format!(", in {}", path.display()));
        format!(
            "{size} of code for {target}, made in {ms} ms{}",
            place.unwrap_or_default()
        )
    })
}

fn page(about: &CompilerAbout) -> Text {
    let architectures: Vec<&str> = about.architectures.iter().map(String::as_str).collect();
    Text::page(&[
        ("compiler", about.compiler.clone()),
        ("wasmtime", about.wasmtime.clone()),
        ("ABI", about.abi.clone()),
        ("architectures", architectures.join(", ")),
    ])
}

fn from_standard_input() -> Result<Vec<u8>> {
    let mut wasm = Vec::new();
    std::io::stdin()
        .lock()
        .take(MODULE_BYTES_MAX + 1)
        .read_to_end(&mut wasm)
        .map_err(|error| Fail::new("file", format!("standard input: {error}")))?;
    if wasm.len() as u64 > MODULE_BYTES_MAX {
        let message =
            format!("the module on standard input has more than {MODULE_BYTES_MAX} bytes, the limit");
        return Err(Fail::new("refused", message));
    }
    Ok(wasm)
}

fn write(path: &Path, code: &[u8], module: Digest, target: &CodeTarget) -> Result {
    let compiler = ahead::compiler();
    let unsigned = Unsigned {
        compiler: &compiler,
        code,
    };
    let bytes = unsigned
        .encode(module, target)
        .map_err(|error| Fail::new("bad-usage", error.to_string()))?;
    if path == Path::new("-") {
        return write_out(&bytes);
    }
    std::fs::write(path, &bytes).map_err(|error| Fail::file(path, &error))
}
