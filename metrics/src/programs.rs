//! The metrics of programs. Counters begin at zero where a program comes to another engine, which is one of
//! its labels.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::registry::{Registry, Unit};
use wayfare_protocol::ids::EngineId;
use wayfare_protocol::numbers::ProgramNumbers;

use crate::{CounterOf, GaugeOf, escaped, seconds};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProgramLabels {
    program: String,
    name: String,
    engine: String,
    /// `application/component/number`, or nothing.
    instance: String,
}

/// What was measured of a program, and what is known of it.
#[derive(Debug, Clone, Copy)]
pub struct MeasuredProgram<'a> {
    pub name: &'a str,
    pub engine: &'a EngineId,
    /// `application/component/number`; `None`: it is none, or nobody knows here.
    pub instance: Option<&'a str>,
    pub numbers: &'a ProgramNumbers,
    /// `None`: nobody knows here.
    pub restarts: Option<u32>,
    pub moves: Option<u32>,
}

#[derive(Debug, Default)]
pub(crate) struct ProgramMetrics {
    uptime: GaugeOf<ProgramLabels>,
    cpu: CounterOf<ProgramLabels>,
    memory: GaugeOf<ProgramLabels>,
    received: CounterOf<ProgramLabels>,
    received_bytes: CounterOf<ProgramLabels>,
    sent: CounterOf<ProgramLabels>,
    sent_bytes: CounterOf<ProgramLabels>,
    waiting: GaugeOf<ProgramLabels>,
    lines: CounterOf<ProgramLabels>,
    checkpoint_age: GaugeOf<ProgramLabels>,
    restarts: CounterOf<ProgramLabels>,
    moves: CounterOf<ProgramLabels>,
}

impl ProgramMetrics {
    pub(crate) fn register(to: &mut Registry) -> Self {
        let all = Self::default();
        let help = "Since the program came to its engine";
        to.register_with_unit("program_uptime", help, Unit::Seconds, all.uptime.clone());
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

    pub(crate) fn set(&self, measured: &MeasuredProgram<'_>) {
        let (numbers, traffic) = (measured.numbers, &measured.numbers.traffic);
        let labels = ProgramLabels {
            program: numbers.program.to_string(),
            name: escaped(measured.name),
            engine: measured.engine.to_string(),
            instance: measured.instance.map(escaped).unwrap_or_default(),
        };
        let gauge = |family: &GaugeOf<ProgramLabels>, value: f64| {
            family.get_or_create(&labels).set(value);
        };
        let counter = |family: &CounterOf<ProgramLabels>, value: f64| {
            family.get_or_create(&labels).inc_by(value);
        };
        gauge(&self.uptime, seconds(numbers.uptime_us));
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
        if let Some(restarts) = measured.restarts {
            counter(&self.restarts, f64::from(restarts));
        }
        if let Some(moves) = measured.moves {
            counter(&self.moves, f64::from(moves));
        }
    }
}
