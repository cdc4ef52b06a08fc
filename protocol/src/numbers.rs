//! What engines measure, of themselves and of their programs, when somebody asks.
//!
//! Nothing is measured and nothing published for it while nobody asks: a question is a watcher's lease, which
//! ends with it. Counters only grow while a program is at an engine, and begin at zero there, so that a rate
//! is the difference of two answers by the time between them, which the engine's own clock measures.

use serde::{Deserialize, Serialize};

use crate::ids::{BootId, EngineId, Generation, ProgramId};

/// The dispatcher's service for numbers of the fleet.
pub const SERVICE: &str = "numbers";
/// Programs in one answer: what is more is asked for from [`EngineNumbers::next`] on.
pub const PROGRAMS_PER_ANSWER: usize = 128;

/// The body of a [`crate::dispatcher::Request`] to [`crate::topics::Topic::EngineDevice`], which engines of
/// earlier releases refuse as one that they cannot read. Answered with [`EngineNumbers`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
pub enum NumbersAsk {
    Numbers {
        /// The first program; those before were in an answer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<ProgramId>,
    },
}

/// What an engine has measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineNumbers {
    pub engine: EngineId,
    pub boot: BootId,
    /// The engine's clock, in milliseconds since 1970.
    pub clock_ms: u64,
    pub machine: MachineNumbers,
    /// In the order of their ids.
    pub programs: Vec<ProgramNumbers>,
    /// Where the next answer begins; `None`: this is the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<ProgramId>,
}

/// The engine's process and its machine. What the system does not tell is not there.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct MachineNumbers {
    /// Since the engine's start, as are all counters here.
    pub uptime_us: u64,
    /// Of the engine's process, programs and compiling included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub machine_memory_available_bytes: Option<u64>,
    /// Thousandths of a processor that everything on the machine asked for in the last minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub machine_load_millicores: Option<u64>,
    /// Where the engine keeps its data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_free_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_bytes: Option<u64>,
    /// What the engine has written to disks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_written_bytes: Option<u64>,
    /// Of the hottest place that the machine measures, in thousandths of a degree Celsius.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature_millidegrees: Option<i64>,
    /// From publishing to the broker's acknowledgement, the last time that this was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub round_trip_us: Option<u64>,
}

/// A program since it came to this engine, or was started there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramNumbers {
    pub program: ProgramId,
    pub generation: Generation,
    pub uptime_us: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_us: Option<u64>,
    /// Linear memory.
    pub memory_bytes: u64,
    #[serde(flatten)]
    pub traffic: Traffic,
    /// Messages that have come and that it has not taken.
    #[serde(default)]
    pub waiting_messages: u64,
    #[serde(default)]
    pub log_lines: u64,
    /// Since its state was stored last; `None`: it was not, since it came here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint_age_ms: Option<u64>,
    /// It runs on code that was made in one pass, until optimised code is there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub baseline: bool,
}

/// Messages of a program, without repeats; bytes are those of their payloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Traffic {
    pub received_messages: u64,
    pub received_bytes: u64,
    pub sent_messages: u64,
    pub sent_bytes: u64,
}

impl Traffic {
    pub fn received(&mut self, bytes: usize) {
        self.received_messages += 1;
        self.received_bytes += bytes as u64;
    }

    pub fn sent(&mut self, bytes: usize) {
        self.sent_messages += 1;
        self.sent_bytes += bytes as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{NAME_BYTES_MAX, PAYLOAD_BYTES_MAX};
    use crate::wire;

    #[test]
    fn the_largest_answer_fits_into_a_message() {
        let program = ProgramNumbers {
            program: ProgramId::from_random([0xff; 16]),
            generation: Generation(u64::MAX),
            uptime_us: u64::MAX,
            cpu_us: Some(u64::MAX),
            memory_bytes: u64::MAX,
            traffic: Traffic {
                received_messages: u64::MAX,
                received_bytes: u64::MAX,
                sent_messages: u64::MAX,
                sent_bytes: u64::MAX,
            },
            waiting_messages: u64::MAX,
            log_lines: u64::MAX,
            checkpoint_age_ms: Some(u64::MAX),
            baseline: true,
        };
        let numbers = EngineNumbers {
            engine: "e".repeat(NAME_BYTES_MAX).parse().unwrap(),
            boot: BootId::from_random([1; 16]),
            clock_ms: u64::MAX,
            machine: MachineNumbers {
                uptime_us: u64::MAX,
                cpu_us: Some(u64::MAX),
                memory_bytes: Some(u64::MAX),
                machine_memory_available_bytes: Some(u64::MAX),
                machine_load_millicores: Some(u64::MAX),
                disk_free_bytes: Some(u64::MAX),
                disk_bytes: Some(u64::MAX),
                disk_written_bytes: Some(u64::MAX),
                temperature_millidegrees: Some(i64::MIN),
                round_trip_us: Some(u64::MAX),
            },
            programs: vec![program; PROGRAMS_PER_ANSWER],
            next: Some(ProgramId::from_random([0xff; 16])),
        };
        let bytes = wire::to_json(&numbers).len();
        assert!(bytes < PAYLOAD_BYTES_MAX - 1024, "{bytes}");
        assert_eq!(wire::from_json(&wire::to_json(&numbers)), Ok(numbers));
    }

    /// What an engine that measures less would say.
    #[test]
    fn what_is_not_measured_is_not_there() {
        let program = ProgramId::from_random([1; 16]);
        let text = format!(
            r#"{{"engine":"a","boot":"{}","clock_ms":1,"machine":{{"uptime_us":5,"later":1}},
               "programs":[{{"program":"{program}","generation":1,"uptime_us":2,"memory_bytes":3}}]}}"#,
            BootId::from_random([1; 16])
        );
        let numbers: EngineNumbers = wire::from_json(text.as_bytes()).unwrap();
        assert_eq!((numbers.machine.cpu_us, numbers.machine.uptime_us), (None, 5));
        assert_eq!(
            (numbers.programs[0].cpu_us, numbers.programs[0].traffic),
            (None, Traffic::default())
        );
    }
}
