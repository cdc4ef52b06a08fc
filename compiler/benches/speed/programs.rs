//! The benchmark programs, built by `benches/build` from `benches/programs/`. Each takes its amount of work,
//! in per mille of 0.3 to 0.6 s of native code, as its only argument, and prints a checksum.

pub(crate) struct Program {
    pub(crate) name: &'static str,
    pub(crate) wasm: &'static [u8],
}

macro_rules! programs {
    ($($name:literal)*) => {
        &[ $( Program { name: $name, wasm: include_bytes!(concat!("../wasm/", $name, ".wasm")) } ),* ]
    };
}

pub(crate) const ALL: &[Program] = programs!(
    "gemm" "floyd-warshall" "jacobi-2d" "nbody" "sha256" "sieve" "quicksort" "fib" "binary-trees" "quickjs"
);
