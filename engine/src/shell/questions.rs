//! What people ask an engine directly: about devices, which `wayfare device get` and `set` do, for its
//! numbers (`numbers`), for its journal, and for the open calls of a program.
//!
//! A device may take its time, so it is asked on another thread, one question at a time: who asks repeats it
//! until it is answered.

use std::sync::Arc;

use serde::Deserialize;
use tokio::task::JoinSet;
use wayfare_devices::{Devices, Trouble};
use wayfare_protocol::device::{DeviceAsk, Reading, SETTING_BYTES_MAX, Setting};
use wayfare_protocol::dispatcher::{Answered, Asker};
use wayfare_protocol::error::Failure;
use wayfare_protocol::ids::{EngineId, ProgramId};
use wayfare_protocol::journal::JournalAsk;
use wayfare_protocol::numbers::NumbersAsk;
use wayfare_protocol::open_calls::OpenCallsAsk;

use super::work::{self, Done};

/// What is asked, as it is read.
pub(super) enum Question {
    Numbers(Option<ProgramId>),
    Journal(Option<u64>),
    OpenCalls(ProgramId),
    Device(DeviceAsk),
}

pub(super) fn read(body: serde_json::Value) -> Result<Question, Failure> {
    if let Ok(NumbersAsk::Numbers { from }) = NumbersAsk::deserialize(&body) {
        return Ok(Question::Numbers(from));
    }
    if let Some(JournalAsk::Journal { before }) = JournalAsk::of(&body) {
        return Ok(Question::Journal(before));
    }
    if let Some(OpenCallsAsk::OpenCalls { program }) = OpenCallsAsk::of(&body) {
        return Ok(Question::OpenCalls(program));
    }
    serde_json::from_value(body)
        .map(Question::Device)
        .map_err(|error| Failure::BadRequest {
            reason: format!("this engine cannot read the request: {error}"),
        })
}

/// Questions about devices.
pub(super) struct DeviceQuestions {
    devices: Arc<Devices>,
    engine: EngineId,
    is_one_asked: bool,
}

impl DeviceQuestions {
    pub(super) fn new(devices: Arc<Devices>, engine: EngineId) -> Self {
        Self {
            devices,
            engine,
            is_one_asked: false,
        }
    }

    pub(super) fn begin(&mut self, asker: Asker, ask: DeviceAsk, work: &mut JoinSet<Done>) {
        if std::mem::replace(&mut self.is_one_asked, true) {
            return;
        }
        let (devices, engine) = (self.devices.clone(), self.engine.clone());
        work::start(
            work,
            move || answer(&devices, &engine, &ask),
            move |result| Done::DeviceAnswered { asker, result },
        );
    }

    /// What came of it.
    pub(super) fn end(&mut self, result: Result<Reading, Failure>) -> Answered {
        self.is_one_asked = false;
        match result.map(|reading| serde_json::to_value(reading).expect("plain data serialises")) {
            Ok(reading) => Answered::Done(reading),
            Err(failure) => Answered::Failed(failure),
        }
    }
}

fn answer(devices: &Devices, engine: &EngineId, ask: &DeviceAsk) -> Result<Reading, Failure> {
    let (DeviceAsk::Get { alias } | DeviceAsk::Set { alias, .. }) = ask;
    let set = match ask {
        DeviceAsk::Get { .. } => Ok(()),
        DeviceAsk::Set {
            setting: Setting::Received { bytes },
            ..
        } if bytes.len() > SETTING_BYTES_MAX => {
            return Err(Failure::TooLarge {
                what: "what is received".into(),
                bytes: bytes.len() as u64,
                bytes_max: SETTING_BYTES_MAX as u64,
            });
        }
        DeviceAsk::Set { setting, .. } => devices.set(alias, setting),
    };
    set.and_then(|()| devices.reading(alias))
        .map_err(|trouble| match trouble {
            Trouble::NotHere => Failure::NoDevice {
                engine: engine.clone(),
                alias: alias.clone(),
            },
            trouble => Failure::BadRequest {
                reason: format!("device '{alias}' of engine {engine}: {trouble}"),
            },
        })
}
