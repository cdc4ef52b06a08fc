//! What people ask an engine directly: about devices, which `wayfare device get` and `set` do, for its numbers (`numbers`), and for its journal.
//!
//! A device may take its time, so it is asked on another thread, one question at a time: who asks repeats it until it is answered.

use serde::Deserialize;
use wayfare_devices::{Devices, Trouble};
use wayfare_protocol::device::{DeviceAsk, Reading, SETTING_BYTES_MAX, Setting};
use wayfare_protocol::dispatcher::{Answered, Asker, Request};
use wayfare_protocol::error::Failure;
use wayfare_protocol::ids::{EngineId, Term};
use wayfare_protocol::journal::JournalAsk;
use wayfare_protocol::numbers::NumbersAsk;
use wayfare_protocol::wire;

use super::agent::Agent;
use super::work::{self, Done};

impl Agent {
    pub(super) fn device_asked(&mut self, request: Request) {
        let (asker, body) = request.take_apart();
        if let Ok(NumbersAsk::Numbers { from }) = NumbersAsk::deserialize(&body) {
            return self.numbers_asked(&asker, from);
        }
        if let Some(JournalAsk::Journal { before }) = JournalAsk::of(&body) {
            // Written as events are anyway, and read back: to make values of all that an event may say, boards would need 25 KB of code.
            let page = wire::to_json(&self.core.journal(before, self.now()));
            let page = serde_json::from_slice(&page).expect("what was just written can be read");
            return self.out.answer(&asker, Term::default(), Answered::Done(page));
        }
        let ask = match serde_json::from_value(body) {
            Ok(ask) => ask,
            Err(error) => {
                let reason = format!("this engine cannot read the request: {error}");
                return self.answer_about_device(&asker, Err(Failure::BadRequest { reason }));
            }
        };
        if std::mem::replace(&mut self.is_device_asked, true) {
            return;
        }
        let (devices, engine) = (self.devices.clone(), self.out.engine.clone());
        work::start(
            &mut self.work,
            move || answer(&devices, &engine, &ask),
            move |result| Done::DeviceAnswered { asker, result },
        );
    }

    pub(super) fn device_answered(&mut self, asker: &Asker, result: Result<Reading, Failure>) {
        self.is_device_asked = false;
        self.answer_about_device(asker, result);
    }

    pub(super) fn answer_about_device(&self, asker: &Asker, result: Result<Reading, Failure>) {
        let answer = match result.map(|reading| serde_json::to_value(reading).expect("plain data serialises"))
        {
            Ok(reading) => Answered::Done(reading),
            Err(failure) => Answered::Failed(failure),
        };
        self.out.answer(asker, Term::default(), answer);
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
