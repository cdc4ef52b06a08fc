//! What the engine says about the machine it runs on.

use std::time::Instant;

use wayfare_devices::Devices;
use wayfare_protocol::ids::{BootId, EngineId};
use wayfare_protocol::numbers::MachineNumbers;
use wayfare_protocol::status::{DiskWear, EngineAbout, EngineState, EngineStatus, MachineLoad};

use super::memory;
use super::options::{CodeFrom, EngineOptions};
use wayfare_runtime::ahead;

/// `signs_statuses`: it has a key of its own, and reason to.
pub(crate) fn about(options: &EngineOptions, devices: &Devices, signs_statuses: bool) -> EngineAbout {
    EngineAbout {
        version: env!("CARGO_PKG_VERSION").into(),
        platform: format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
        code: ahead::here(),
        compiles: options.code.compiles(),
        tells_health: true,
        signs_statuses,
        processors: std::thread::available_parallelism().map_or(1, |count| count.get() as u32),
        memory_bytes: memory::bytes().unwrap_or(0),
        programs_max: u32::try_from(options.programs_max).unwrap_or(u32::MAX),
        devices: devices.offered(),
        program_memory_bytes_max: options.program_memory_bytes_max,
        host: options.host.clone(),
        labels: options.labels.clone(),
        trusts: match &options.code {
            CodeFrom::Signed(keys) => keys.clone(),
            // It needs nobody's.
            #[cfg(feature = "compiler")]
            CodeFrom::Compiler(_) => Vec::new(),
        },
    }
}

/// What is published last, by us or by the broker. Whoever finds it can tell whose it was.
pub(crate) fn offline(engine: EngineId, boot: BootId, about: EngineAbout) -> EngineStatus {
    EngineStatus {
        about: Some(about),
        ..EngineStatus::new(engine, boot, EngineState::Offline)
    }
}

/// `None` where the system does not tell. `begun` is the engine's start.
pub(crate) fn load(begun: Instant) -> Option<MachineLoad> {
    let average = std::fs::read_to_string("/proc/loadavg").ok()?;
    let last_minute: f64 = average.split(' ').next()?.parse().ok()?;
    Some(MachineLoad {
        memory_available_bytes: memory::line("MemAvailable:")?,
        processor_millicores: (last_minute.max(0.0) * 1000.0) as u64,
        disk: written_bytes().map(|written_bytes| DiskWear {
            written_bytes,
            seconds: begun.elapsed().as_secs(),
        }),
    })
}

/// What is measured of the engine's process and of the machine, apart from what others have to know of.
pub(crate) fn measured(begun: Instant) -> MachineNumbers {
    let load = load(begun);
    MachineNumbers {
        uptime_us: u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX),
        cpu_us: read("/proc/self/stat").and_then(|text| cpu_us_in(&text)),
        memory_bytes: read("/proc/self/status").and_then(|text| memory::bytes_in(&text, "VmRSS:")),
        machine_memory_available_bytes: load.map(|load| load.memory_available_bytes),
        machine_load_millicores: load.map(|load| load.processor_millicores),
        disk_written_bytes: written_bytes(),
        temperature_millidegrees: temperature(),
        ..MachineNumbers::default()
    }
}

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// Microseconds of a clock tick: there are 100 a second for programs, on every processor that Linux has but
/// Alpha (`USER_HZ`).
const TICK_US: u64 = 10_000;

/// The 14th and 15th field of proc(5)'s `stat`; the second is the name in parentheses, which may hold
/// anything.
fn cpu_us_in(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    Some(ticks()?.saturating_add(ticks()?).saturating_mul(TICK_US))
}

/// In thousandths of a degree, as the kernel gives it (Documentation/ABI/testing/sysfs-class-thermal).
fn temperature() -> Option<i64> {
    let zones = std::fs::read_dir("/sys/class/thermal").ok()?;
    let zone = |entry: std::io::Result<std::fs::DirEntry>| -> Option<i64> {
        let path = entry.ok()?.path().join("temp");
        std::fs::read_to_string(path).ok()?.trim().parse().ok()
    };
    zones.filter_map(zone).max()
}

/// By this process, to files on disks: what was cut off before it got there does not count.
fn written_bytes() -> Option<u64> {
    written_bytes_in(&std::fs::read_to_string("/proc/self/io").ok()?)
}

fn written_bytes_in(text: &str) -> Option<u64> {
    let count = |what: &str| -> Option<u64> {
        text.lines()
            .find_map(|line| line.strip_prefix(what))?
            .trim()
            .parse()
            .ok()
    };
    Some(count("write_bytes:")?.saturating_sub(count("cancelled_write_bytes:")?))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_machine_tells_its_load() {
        let load = super::load(std::time::Instant::now()).expect("this is Linux");
        assert!(load.memory_available_bytes > 0);
        assert!(Some(load.memory_available_bytes) <= super::memory::line("MemTotal:"));
    }

    #[test]
    fn the_engine_knows_what_it_uses() {
        let numbers = super::measured(std::time::Instant::now());
        assert!(numbers.memory_bytes.expect("this is Linux") > 1 << 20);
        assert!(numbers.cpu_us.is_some(), "this is Linux");
    }

    #[test]
    fn time_on_processors_is_found_behind_any_name() {
        let stat = "12 (a) b) R 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20";
        assert_eq!(super::cpu_us_in(stat), Some(3_000_000));
        for nonsense in ["", "12 (a) R 1 2", "12 a R 1 2 3 4 5 6 7 8 9 10 250 50"] {
            assert_eq!(super::cpu_us_in(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn what_was_written_is_read_and_nonsense_is_not() {
        let text = "rchar: 9\nwchar: 8\nread_bytes: 7\nwrite_bytes: 8192\ncancelled_write_bytes: 4096\n";
        assert_eq!(super::written_bytes_in(text), Some(4096));
        let cut_off = text.replace("8192", "0");
        assert_eq!(super::written_bytes_in(&cut_off), Some(0));
        for nonsense in ["", "write_bytes: 1", &text.replace("8192", "-1")] {
            assert_eq!(super::written_bytes_in(nonsense), None, "{nonsense}");
        }
    }
}
