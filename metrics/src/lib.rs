//! What engines measure, in the text that Prometheus reads (OpenMetrics 1.0): of the whole fleet as the
//! gateway serves it, and of one engine as that serves it itself. Both have the same names, so that one
//! dashboard shows either.
//!
//! Always: each scrape begins with a new [`Scrape`], so that there is no state here; the size grows with the
//! number of engines and programs; names are labels, and escaped here, because the library writes them as
//! they are.
#![forbid(unsafe_code)]

mod engines;
mod programs;

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use engines::EngineMetrics;
use programs::ProgramMetrics;

pub use engines::MeasuredEngine;
pub use programs::MeasuredProgram;

/// Where metrics are served.
pub const PATH: &str = "/metrics";
/// What [`Scrape::text`] is, for whoever sends it on.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AlarmLabels {
    kind: String,
    subject: String,
}

/// What one scrape has found.
#[derive(Debug)]
pub struct Scrape {
    registry: Registry,
    engines: EngineMetrics,
    programs: ProgramMetrics,
    alarms: Option<Family<AlarmLabels, Gauge>>,
}

impl Default for Scrape {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("wayfare");
        Self {
            engines: EngineMetrics::register(&mut registry),
            programs: ProgramMetrics::register(&mut registry),
            alarms: None,
            registry,
        }
    }
}

impl Scrape {
    pub fn engine(&mut self, engine: &MeasuredEngine<'_>) {
        self.engines.set(engine);
    }

    pub fn program(&mut self, program: &MeasuredProgram<'_>) {
        self.programs.set(program);
    }

    /// The alarms that stand, by kind and subject. Who knows of alarms says so even where there is none.
    pub fn alarms<'a>(&mut self, standing: impl IntoIterator<Item = (&'a str, &'a str)>) {
        let family = self.alarms.get_or_insert_with(|| {
            let family = Family::default();
            self.registry
                .register("alarm", "An alarm that stands", family.clone());
            family
        });
        for (kind, subject) in standing {
            let labels = AlarmLabels {
                kind: escaped(kind),
                subject: escaped(subject),
            };
            family.get_or_create(&labels).set(1);
        }
    }

    pub fn text(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing to a string does not fail");
        text
    }
}

type GaugeOf<L> = Family<L, Gauge<f64, AtomicU64>>;
type CounterOf<L> = Family<L, Counter<f64, AtomicU64>>;

fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

/// A label's value as OpenMetrics 1.0 has it (`escaped-string`): engines say what their programs are called,
/// and a quote or a new line there would end the value, or begin a line of its own.
fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use wayfare_protocol::ids::{EngineId, Generation, ProgramId};
    use wayfare_protocol::numbers::{MachineNumbers, ProgramNumbers, Traffic};

    use super::*;

    fn sample<'a>(text: &'a str, name: &str) -> &'a str {
        let mut lines = text.lines().filter_map(|line| line.strip_prefix(name));
        let found = lines.next().unwrap_or_else(|| panic!("no {name} in {text}"));
        assert_eq!(lines.next(), None, "{name} is there once");
        found
    }

    #[test]
    fn a_name_cannot_end_its_label() {
        let mut scrape = Scrape::default();
        scrape.alarms([("lost", "a\"} 7\nforged{x=\"\\")]);
        let text = scrape.text();
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(
            lines,
            [r#"wayfare_alarm{kind="lost",subject="a\"} 7\nforged{x=\"\\"} 1"#]
        );
    }

    #[test]
    fn what_is_not_known_is_left_out_and_units_are_those_of_the_names() {
        let engine: EngineId = "pi-1".parse().unwrap();
        let mut scrape = Scrape::default();
        let machine = MachineNumbers {
            cpu_us: Some(1_500_000),
            temperature_millidegrees: Some(-500),
            ..MachineNumbers::default()
        };
        scrape.engine(&MeasuredEngine {
            engine: &engine,
            online: true,
            programs: 1,
            machine: Some(&machine),
            clock_ahead_ms: None,
        });
        let numbers = ProgramNumbers {
            program: ProgramId::from_random([1; 16]),
            generation: Generation(3),
            uptime_us: 2_000_000,
            cpu_us: Some(250_000),
            memory_bytes: 65_536,
            traffic: Traffic {
                received_messages: 2,
                ..Traffic::default()
            },
            waiting_messages: 1,
            log_lines: 7,
            checkpoint_age_ms: None,
            baseline: false,
        };
        scrape.program(&MeasuredProgram {
            name: "hog\"",
            engine: &engine,
            instance: None,
            numbers: &numbers,
            restarts: None,
            moves: None,
        });
        let text = scrape.text();
        assert_eq!(
            sample(&text, "wayfare_engine_cpu_seconds_total{"),
            "engine=\"pi-1\"} 1.5"
        );
        assert_eq!(
            sample(&text, "wayfare_engine_temperature_celsius{"),
            "engine=\"pi-1\"} -0.5"
        );
        let cpu = sample(&text, "wayfare_program_cpu_seconds_total{");
        assert!(
            cpu.contains("name=\"hog\\\"\"") && cpu.ends_with("} 0.25"),
            "{cpu}"
        );
        assert!(sample(&text, "wayfare_program_uptime_seconds{").ends_with("} 2.0"));
        assert!(sample(&text, "wayfare_program_log_lines_total{").ends_with("} 7.0"));
        for absent in [
            "wayfare_engine_memory_bytes{",
            "wayfare_engine_clock_ahead_seconds{",
            "wayfare_program_checkpoint_age_seconds{",
            "wayfare_program_moves_total{",
            "wayfare_alarm",
        ] {
            assert!(!text.contains(absent), "{absent} in {text}");
        }
        assert!(text.ends_with("# EOF\n"), "{text}");
    }
}
