//! The metrics of engines, labelled `engine`.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::registry::{Registry, Unit};
use wayfare_protocol::ids::EngineId;
use wayfare_protocol::numbers::MachineNumbers;

use crate::{CounterOf, GaugeOf, seconds};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EngineLabels {
    engine: String,
}

/// What is known of an engine.
#[derive(Debug, Clone, Copy)]
pub struct MeasuredEngine<'a> {
    pub engine: &'a EngineId,
    pub online: bool,
    /// That have not ended.
    pub programs: u64,
    /// `None`: it was not measured.
    pub machine: Option<&'a MachineNumbers>,
    /// Of the clock of whoever measured.
    pub clock_ahead_ms: Option<i64>,
}

#[derive(Debug, Default)]
pub(crate) struct EngineMetrics {
    online: GaugeOf<EngineLabels>,
    programs: GaugeOf<EngineLabels>,
    cpu: CounterOf<EngineLabels>,
    memory: GaugeOf<EngineLabels>,
    memory_available: GaugeOf<EngineLabels>,
    disk_free: GaugeOf<EngineLabels>,
    written: CounterOf<EngineLabels>,
    temperature: GaugeOf<EngineLabels>,
    round_trip: GaugeOf<EngineLabels>,
    clock_ahead: GaugeOf<EngineLabels>,
}

impl EngineMetrics {
    pub(crate) fn register(to: &mut Registry) -> Self {
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

    pub(crate) fn set(&self, measured: &MeasuredEngine<'_>) {
        let labels = EngineLabels {
            engine: measured.engine.to_string(),
        };
        let gauge = |family: &GaugeOf<EngineLabels>, value: Option<f64>| {
            if let Some(value) = value {
                family.get_or_create(&labels).set(value);
            }
        };
        let counter = |family: &CounterOf<EngineLabels>, value: Option<f64>| {
            if let Some(value) = value {
                family.get_or_create(&labels).inc_by(value);
            }
        };
        gauge(&self.online, Some(f64::from(u8::from(measured.online))));
        gauge(&self.programs, Some(measured.programs as f64));
        let Some(machine) = measured.machine else { return };
        let bytes = |bytes: Option<u64>| bytes.map(|bytes| bytes as f64);
        counter(&self.cpu, machine.cpu_us.map(seconds));
        gauge(&self.memory, bytes(machine.memory_bytes));
        gauge(
            &self.memory_available,
            bytes(machine.machine_memory_available_bytes),
        );
        gauge(&self.disk_free, bytes(machine.disk_free_bytes));
        counter(&self.written, bytes(machine.disk_written_bytes));
        let temperature = machine.temperature_millidegrees;
        gauge(
            &self.temperature,
            temperature.map(|millidegrees| millidegrees as f64 / 1e3),
        );
        gauge(&self.round_trip, machine.round_trip_us.map(seconds));
        gauge(
            &self.clock_ahead,
            measured.clock_ahead_ms.map(|ms| ms as f64 / 1e3),
        );
    }
}
