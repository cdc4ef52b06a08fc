//! Devices that are not there: what a program sets is written down, what it reads can be set. For machines
//! without such devices, and for tests.
//!
//! Outputs keep the last levels that they had. A sensor gives its samples in turn, again and again. Behind an
//! I2C bus there are 256 registers, and the first byte written is the number of the next one; SPI gives back
//! what it is given; a serial port keeps what it is sent.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wayfare_protocol::device::{DeviceKind, Reading, Setting};

use crate::feed::Feed;
use crate::port::{Bus, Edge, Input, Output, Port, Sample, Sensor, Serial};

/// Levels of an output that are kept.
const LEVELS_MAX: usize = 1024;
/// Bytes that a serial port keeps of what it was sent.
const SENT_BYTES_MAX: usize = 1024;
const EDGES_MAX: usize = 256;
const RECEIVED_BYTES_MAX: usize = 64 << 10;

pub(super) struct Simulated {
    state: Mutex<State>,
    edges: Feed<Edge>,
    received: Feed<u8>,
}

#[derive(Debug)]
struct State {
    /// `None`: an output that nobody drives.
    level: Option<bool>,
    /// How often an output has changed, and what to.
    changes: u64,
    levels: VecDeque<Option<bool>>,
    samples: Vec<f64>,
    next_sample: usize,
    registers: [u8; 256],
    register: u8,
    sent: VecDeque<u8>,
}

/// Shared, because what can be set and looked at is behind the same port.
struct Handle(Arc<Simulated>);

pub(super) fn port(kind: DeviceKind, simulated: &Arc<Simulated>) -> Port {
    let handle = || Box::new(Handle(simulated.clone()));
    match kind {
        DeviceKind::GpioIn => Port::Input(handle()),
        DeviceKind::GpioOut => Port::Output(handle()),
        DeviceKind::I2c => Port::Bus(handle()),
        DeviceKind::Spi => Port::Bus(Box::new(Loop)),
        DeviceKind::Adc => Port::Sensor(handle()),
        DeviceKind::Serial => Port::Serial(handle()),
    }
}

impl Simulated {
    pub(super) fn new(samples: Vec<f64>) -> Self {
        Self {
            state: Mutex::new(State {
                level: None,
                changes: 0,
                levels: VecDeque::new(),
                samples,
                next_sample: 0,
                registers: [0; 256],
                register: 0,
                sent: VecDeque::new(),
            }),
            edges: Feed::new(EDGES_MAX),
            received: Feed::new(RECEIVED_BYTES_MAX),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What an output is driven to, written down if it changes.
    fn change(&self, level: Option<bool>) {
        let mut state = self.lock();
        if state.level == level {
            return;
        }
        state.level = level;
        state.changes += 1;
        state.levels.push_back(level);
        if state.levels.len() > LEVELS_MAX {
            state.levels.pop_front();
        }
    }

    /// For people and tests.
    pub(super) fn reading(&self, kind: DeviceKind) -> Reading {
        let state = self.lock();
        match kind {
            DeviceKind::GpioIn => Reading::Level {
                active: state.level.unwrap_or(false),
            },
            DeviceKind::GpioOut => Reading::Output {
                active: state.level,
                changes: state.changes,
                last: state.levels.iter().copied().collect(),
            },
            DeviceKind::Adc => {
                let scaled = state.samples.get(state.next_sample).copied().unwrap_or(0.0);
                let Sample { raw, scaled } = sample(scaled);
                Reading::Sample { raw, scaled }
            }
            DeviceKind::I2c | DeviceKind::Spi => Reading::Bytes {
                bytes: state.registers.to_vec(),
            },
            DeviceKind::Serial => Reading::Bytes {
                bytes: state.sent.iter().copied().collect(),
            },
        }
    }

    /// What a program will read. `false` where nothing of the kind is read.
    pub(super) fn set(&self, kind: DeviceKind, setting: &Setting) -> bool {
        match (kind, setting) {
            (DeviceKind::GpioIn, Setting::Level { active }) => {
                let before = self.lock().level.replace(*active);
                match (before.unwrap_or(false), *active) {
                    (false, true) => self.edges.push(&[Edge::Rising]),
                    (true, false) => self.edges.push(&[Edge::Falling]),
                    _ => {}
                }
            }
            (DeviceKind::Adc, Setting::Sample { scaled }) => {
                let mut state = self.lock();
                (state.samples, state.next_sample) = (vec![*scaled], 0);
            }
            (DeviceKind::Serial, Setting::Received { bytes }) => self.received.push(bytes),
            _ => return false,
        }
        true
    }
}

fn sample(scaled: f64) -> Sample {
    Sample {
        raw: scaled.round() as i64,
        scaled,
    }
}

impl Output for Handle {
    fn drive(&self, active: bool) -> io::Result<()> {
        self.0.change(Some(active));
        Ok(())
    }

    fn release(&self) -> io::Result<()> {
        self.0.change(None);
        Ok(())
    }
}

impl Input for Handle {
    fn level(&self) -> io::Result<bool> {
        Ok(self.0.lock().level.unwrap_or(false))
    }

    fn edges(&self) -> io::Result<&Feed<Edge>> {
        Ok(&self.0.edges)
    }
}

impl Bus for Handle {
    fn transfer(&self, write: &[u8], read: &mut [u8]) -> io::Result<()> {
        let mut state = self.0.lock();
        if let Some((register, values)) = write.split_first() {
            state.register = *register;
            for value in values {
                let at = state.register;
                state.registers[usize::from(at)] = *value;
                state.register = at.wrapping_add(1);
            }
        }
        for value in read {
            let at = state.register;
            *value = state.registers[usize::from(at)];
            state.register = at.wrapping_add(1);
        }
        Ok(())
    }
}

/// A bus whose output leads to its input.
struct Loop;

impl Bus for Loop {
    fn transfer(&self, write: &[u8], read: &mut [u8]) -> io::Result<()> {
        for (out, into) in write.iter().zip(read) {
            *into = *out;
        }
        Ok(())
    }
}

impl Sensor for Handle {
    fn sample(&self) -> io::Result<Sample> {
        let mut state = self.0.lock();
        let scaled = state.samples.get(state.next_sample).copied().unwrap_or(0.0);
        state.next_sample = (state.next_sample + 1) % state.samples.len().max(1);
        Ok(sample(scaled))
    }
}

impl Serial for Handle {
    fn send(&self, bytes: &[u8], _: Duration) -> io::Result<usize> {
        let mut state = self.0.lock();
        state.sent.extend(bytes);
        let over = state.sent.len().saturating_sub(SENT_BYTES_MAX);
        state.sent.drain(..over);
        Ok(bytes.len())
    }

    fn received(&self) -> io::Result<&Feed<u8>> {
        Ok(&self.0.received)
    }
}
