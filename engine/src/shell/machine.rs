//! What the engine says about the machine it runs on.

use wayfare_protocol::status::EngineAbout;

use super::options::EngineOptions;

/// As the workspace pins it: wasmtime does not say it itself.
const WASMTIME_VERSION: &str = "48.0.8";

pub(crate) fn about(options: &EngineOptions) -> EngineAbout {
    EngineAbout {
        version: env!("CARGO_PKG_VERSION").into(),
        platform: format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
        wasmtime: WASMTIME_VERSION.into(),
        compiles: cfg!(feature = "compiler"),
        processors: std::thread::available_parallelism().map_or(1, |count| count.get() as u32),
        memory_bytes: memory_bytes().unwrap_or(0),
        programs_max: u32::try_from(options.programs_max).unwrap_or(u32::MAX),
        program_memory_bytes_max: options.program_memory_bytes_max,
    }
}

fn memory_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let kib = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    kib.trim()
        .strip_suffix("kB")?
        .trim()
        .parse()
        .ok()
        .map(|kib: u64| kib * 1024)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_version_of_wasmtime_is_the_pinned_one() {
        let pinned = format!("wasmtime = {{ version = \"={}\"", super::WASMTIME_VERSION);
        assert!(include_str!("../../../Cargo.toml").contains(&pinned));
    }
}
