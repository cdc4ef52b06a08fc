//! The fleet's numbers in the text that Prometheus reads (OpenMetrics 1.0), at `/metrics`. Each scrape measures; there is no state here.
//!
//! Always: the size grows with the number of engines and programs, as every scrape of them does; names are
//! labels, and escaped here, because the library writes them as they are.

use std::sync::atomic::AtomicU64;

use futures::try_join;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use wayfare_client::app::programs::ProgramAbout;
use wayfare_client::numbers::{EngineLoad, ProgramLoad};
use wayfare_client::{Client, CommandError, EngineView, ProgramView};

/// What [`text`] is, for whoever sends it on.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EngineLabels {
    engine: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProgramLabels {
    program: String,
    name: String,
    engine: String,
    /// `application/component/number`, or nothing.
    instance: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AlarmLabels {
    kind: String,
    subject: String,
}

type EngineGauge = Family<EngineLabels, Gauge<f64, AtomicU64>>;
type EngineCounter = Family<EngineLabels, Counter<f64, AtomicU64>>;
type ProgramGauge = Family<ProgramLabels, Gauge<f64, AtomicU64>>;
type ProgramCounter = Family<ProgramLabels, Counter<f64, AtomicU64>>;

/// Measures the fleet, as the acting dispatcher sees it, and writes that down.
pub async fn text(fleet: &Client) -> Result<String, CommandError> {
    // At the same time: each may have to wait for the dispatcher.
    let asked = try_join!(fleet.numbers(), fleet.programs_about(), fleet.alarms());
    let (numbers, about, alarms) = asked?;
    let (numbers, about) = (numbers.unwrap_or_default(), about.unwrap_or_default());
    let engines = fleet.engines().await?;
    let programs = fleet.programs().await?;
    let mut registry = Registry::with_prefix("wayfare");

    let engine_metrics = EngineMetrics::register(&mut registry);
    for view in &engines {
        engine_metrics.set(view, numbers.engines.get(&view.engine));
    }
    let program_metrics = ProgramMetrics::register(&mut registry);
    for view in &programs {
        let program = view.status.program;
        // What has ended uses nothing.
        if let Some(load) = numbers.programs.get(&program) {
            program_metrics.set(view, load, about.get(&program));
        }
    }
    let standing: Family<AlarmLabels, Gauge> = Family::default();
    registry.register("alarm", "An alarm that stands", standing.clone());
    for alarm in alarms {
        let labels = AlarmLabels {
            kind: escaped(&alarm.kind),
            subject: escaped(&alarm.subject),
        };
        standing.get_or_create(&labels).set(1);
    }
    let mut text = String::new();
    encode(&mut text, &registry).expect("writing to a string does not fail");
    Ok(text)
}

#[derive(Default)]
struct EngineMetrics {
    online: EngineGauge,
    programs: EngineGauge,
    cpu: EngineCounter,
    memory: EngineGauge,
    memory_available: EngineGauge,
    disk_free: EngineGauge,
    written: EngineCounter,
    temperature: EngineGauge,
    round_trip: EngineGauge,
    clock_ahead: EngineGauge,
}

impl EngineMetrics {
    fn register(to: &mut Registry) -> Self {
        let all = Self::default();
        to.register("engine_online", "Whether the engine is there", all.online.clone());
        to.register(
            "engine_programs",
            "Programs that have not ended",
            all.programs.clone(),
        );
        let help = "Time on processors of the engine's process, programs included";
        to.register_with_unit("engine_cpu", help, Unit::Seconds, all.cpu.clone());
        let help = "Memory of the engine's process";
        to.register_with_unit("engine_memory", help, Unit::Bytes, all.memory.clone());
        let help = "Memory that the machine has to give";
        to.register_with_unit(
            "engine_machine_memory_available",
            help,
            Unit::Bytes,
            all.memory_available.clone(),
        );
        let help = "Room on the disk that the engine keeps its data on";
        to.register_with_unit("engine_disk_free", help, Unit::Bytes, all.disk_free.clone());
        let help = "What the engine has written to disks";
        to.register_with_unit("engine_disk_written", help, Unit::Bytes, all.written.clone());
        let help = "Of the hottest place that the machine measures";
        to.register_with_unit("engine_temperature", help, Unit::Celsius, all.temperature.clone());
        let help = "How long the broker takes to acknowledge";
        to.register_with_unit(
            "engine_broker_round_trip",
            help,
            Unit::Seconds,
            all.round_trip.clone(),
        );
        let help = "How far the engine's clock is ahead of the dispatcher's";
        to.register_with_unit("engine_clock_ahead", help, Unit::Seconds, all.clock_ahead.clone());
        all
    }

    fn set(&self, view: &EngineView, load: Option<&EngineLoad>) {
        let labels = EngineLabels {
            engine: view.engine.to_string(),
        };
        let gauge = |family: &EngineGauge, value: Option<f64>| {
            if let Some(value) = value {
                family.get_or_create(&labels).set(value);
            }
        };
        let counter = |family: &EngineCounter, value: Option<f64>| {
            if let Some(value) = value {
                family.get_or_create(&labels).inc_by(value);
            }
        };
        gauge(&self.online, Some(f64::from(u8::from(view.online))));
        gauge(&self.programs, Some(f64::from(view.programs)));
        let Some(load) = load else { return };
        let numbers = &load.numbers;
        counter(&self.cpu, numbers.cpu_us.map(seconds));
        gauge(&self.memory, numbers.memory_bytes.map(|bytes| bytes as f64));
        let available = numbers.machine_memory_available_bytes;
        gauge(&self.memory_available, available.map(|bytes| bytes as f64));
        gauge(&self.disk_free, numbers.disk_free_bytes.map(|bytes| bytes as f64));
        counter(
            &self.written,
            numbers.disk_written_bytes.map(|bytes| bytes as f64),
        );
        let temperature = numbers.temperature_millidegrees;
        gauge(
            &self.temperature,
            temperature.map(|millidegrees| millidegrees as f64 / 1e3),
        );
        gauge(&self.round_trip, numbers.round_trip_us.map(seconds));
        gauge(&self.clock_ahead, load.clock_ahead_ms.map(|ms| ms as f64 / 1e3));
    }
}

#[derive(Default)]
struct ProgramMetrics {
    cpu: ProgramCounter,
    memory: ProgramGauge,
    received: ProgramCounter,
    received_bytes: ProgramCounter,
    sent: ProgramCounter,
    sent_bytes: ProgramCounter,
    waiting: ProgramGauge,
    lines: ProgramCounter,
    checkpoint_age: ProgramGauge,
    restarts: ProgramCounter,
    moves: ProgramCounter,
}

impl ProgramMetrics {
    fn register(to: &mut Registry) -> Self {
        let all = Self::default();
        let help = "Time on processors since the program came to its engine, as are all counters of programs";
        to.register_with_unit("program_cpu", help, Unit::Seconds, all.cpu.clone());
        to.register_with_unit("program_memory", "Linear memory", Unit::Bytes, all.memory.clone());
        to.register(
            "program_received_messages",
            "Messages that came",
            all.received.clone(),
        );
        let help = "Their payloads";
        to.register_with_unit("program_received", help, Unit::Bytes, all.received_bytes.clone());
        to.register("program_sent_messages", "Messages that it sent", all.sent.clone());
        to.register_with_unit("program_sent", help, Unit::Bytes, all.sent_bytes.clone());
        to.register(
            "program_waiting_messages",
            "Messages that it has not taken",
            all.waiting.clone(),
        );
        to.register("program_log_lines", "Lines that it printed", all.lines.clone());
        let help = "Since its state was stored last";
        to.register_with_unit(
            "program_checkpoint_age",
            help,
            Unit::Seconds,
            all.checkpoint_age.clone(),
        );
        let help = "How often an instance was started again";
        to.register("program_restarts", help, all.restarts.clone());
        to.register(
            "program_moves",
            "How often it came to another engine",
            all.moves.clone(),
        );
        all
    }

    fn set(&self, view: &ProgramView, load: &ProgramLoad, about: Option<&ProgramAbout>) {
        let labels = ProgramLabels {
            program: view.status.program.to_string(),
            name: escaped(&view.status.name),
            engine: load.engine.to_string(),
            instance: about
                .and_then(|about| about.instance.as_deref())
                .map(escaped)
                .unwrap_or_default(),
        };
        let gauge = |family: &ProgramGauge, value: f64| {
            family.get_or_create(&labels).set(value);
        };
        let counter = |family: &ProgramCounter, value: f64| {
            family.get_or_create(&labels).inc_by(value);
        };
        let (numbers, traffic) = (&load.numbers, &load.numbers.traffic);
        if let Some(cpu_us) = numbers.cpu_us {
            counter(&self.cpu, seconds(cpu_us));
        }
        gauge(&self.memory, numbers.memory_bytes as f64);
        counter(&self.received, traffic.received_messages as f64);
        counter(&self.received_bytes, traffic.received_bytes as f64);
        counter(&self.sent, traffic.sent_messages as f64);
        counter(&self.sent_bytes, traffic.sent_bytes as f64);
        gauge(&self.waiting, numbers.waiting_messages as f64);
        counter(&self.lines, numbers.log_lines as f64);
        if let Some(age_ms) = numbers.checkpoint_age_ms {
            gauge(&self.checkpoint_age, age_ms as f64 / 1e3);
        }
        if let Some(restarts) = about.and_then(|about| about.restarts) {
            counter(&self.restarts, f64::from(restarts));
        }
        if let Some(moves) = about.and_then(|about| about.moves) {
            counter(&self.moves, f64::from(moves));
        }
    }
}

fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

/// A label's value as OpenMetrics 1.0 has it (`escaped-string`): engines say what their programs are called, and
/// a quote or a new line there would end the value, or begin a line of its own.
fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_end_its_label() {
        let mut registry = Registry::default();
        let family: Family<AlarmLabels, Gauge> = Family::default();
        registry.register("alarm", "It stands", family.clone());
        let labels = AlarmLabels {
            kind: escaped("lost"),
            subject: escaped("a\"} 7\nforged{x=\"\\"),
        };
        family.get_or_create(&labels).set(1);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(lines, [r#"alarm{kind="lost",subject="a\"} 7\nforged{x=\"\\"} 1"#]);
    }
}
