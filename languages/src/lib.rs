//! Languages whose interpreter travels inside the command: JavaScript. `languages/build` makes what is in `wasm/`.
#![forbid(unsafe_code)]

/// The runtime of `js/`, as a WASI command: its first argument is the path of a program.
pub const JAVASCRIPT: &[u8] = include_bytes!("../wasm/js.wasm");
