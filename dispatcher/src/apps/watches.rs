//! What alarms are raised and cleared by, beside what cannot be stored: engines and their clocks, who stands
//! by, and the broker.

use std::time::Duration;

use tokio::time::Instant;
use wayfare_client::documents::now_ms;
use wayfare_dispatcher_core::alarms::broker::{HELD_LEASES, Outage};
use wayfare_dispatcher_core::alarms::clocks::{ClockNews, ClockReading, Clocks};
use wayfare_dispatcher_core::alarms::standbys::{StandbyNews, Standbys};
use wayfare_protocol::ids::{EngineId, PeerName};

use super::alarms::AlarmKind;
use super::{Done, Service, millis, now};
use crate::options::{RECONNECT, ServiceOptions};

/// Between two looks at which clocks are to be read.
const CLOCKS_PERIOD: Duration = Duration::from_secs(5);
/// An engine that takes longer says little of its clock.
const CLOCK_TIMEOUT: Duration = Duration::from_secs(3);
/// For how many leases too few may stand by.
const STANDBY_LEASES: u32 = 3;
/// What the alarm of the broker is about, by whatever address each dispatcher knows it,
const BROKER: &str = "broker";
/// and that of who stands by.
const DISPATCHERS: &str = "dispatchers";

/// What is watched for alarms, of one term.
pub(super) struct Watches {
    clocks: Clocks,
    clocks_at: Instant,
    standbys: Standbys,
}

impl Watches {
    pub(super) fn new(options: &ServiceOptions) -> Self {
        Self {
            clocks: Clocks::default(),
            clocks_at: Instant::now(),
            standbys: Standbys::new(options.standbys, millis(options.lease * STANDBY_LEASES)),
        }
    }
}

impl Service {
    /// Raises and clears alarms by what is seen now.
    pub(super) fn see_to_alarms(&mut self) {
        self.see_to_broker();
        self.see_to_standbys();
        self.see_to_clocks();
        self.see_to_engines();
    }

    /// The broker was lost before this term.
    pub(super) fn broker_was_lost(&mut self, outage: Outage) {
        let text = format!(
            "dispatcher {} had no broker for {} s: meanwhile nothing was ordered, decided or kept",
            self.context.options.name,
            outage.lasted_ms / 1_000,
        );
        let event = self
            .alarms
            .raise(AlarmKind::BrokerLost, BROKER, &text, outage.since_ms);
        self.tell_alarm(event);
    }

    /// A term ends with its connection: as long as it lasts, so long the broker was there.
    fn see_to_broker(&mut self) {
        if self.begun.elapsed() < self.context.options.lease * HELD_LEASES {
            return;
        }
        let why = "the connection to the broker holds again";
        let event = self.alarms.clear(AlarmKind::BrokerLost, BROKER, why);
        self.tell_alarm(event);
    }

    /// Another says that it stands by.
    pub(super) fn stands_by(&mut self, dispatcher: PeerName, every_ms: u64) {
        // One that acts now may have said so before.
        if dispatcher != self.context.options.name {
            let now_ms = now(self.begun).ms;
            self.watches.standbys.heard(dispatcher, every_ms, now_ms);
        }
    }

    fn see_to_standbys(&mut self) {
        let (now, kind) = (now(self.begun), AlarmKind::NoStandby);
        let event = match self.watches.standbys.judge(now.ms) {
            Some(StandbyNews::TooFew(text)) => self.alarms.raise(kind, DISPATCHERS, &text, now.wall_ms),
            Some(StandbyNews::Enough) => {
                let why = "as many dispatchers stand by as are wanted";
                self.alarms.clear(kind, DISPATCHERS, why)
            }
            None => None,
        };
        self.tell_alarm(event);
    }

    /// Reads the clocks that it is time for.
    fn see_to_clocks(&mut self) {
        if self.watches.clocks_at > Instant::now() {
            return;
        }
        self.watches.clocks_at = Instant::now() + CLOCKS_PERIOD;
        let here = self.core.here();
        for engine in self.watches.clocks.due(&here, now(self.begun).ms) {
            let client = self.context.client.clone();
            self.work.spawn(async move {
                let asked = Instant::now();
                let clock = client.clock_of(&engine, CLOCK_TIMEOUT).await;
                let reading = clock.ok().map(|clock_ms| ClockReading {
                    clock_ms,
                    answered_ms: now_ms(),
                    took_ms: millis(asked.elapsed()),
                });
                Done::Clock { engine, reading }
            });
        }
    }

    pub(super) fn clock_read(&mut self, engine: &EngineId, reading: Option<ClockReading>) {
        let (now, kind) = (now(self.begun), AlarmKind::ClockSkew);
        let event = match self.watches.clocks.read(engine, reading, now.ms) {
            Some(ClockNews::Wrong(text)) => self.alarms.raise(kind, engine.as_str(), &text, now.wall_ms),
            Some(ClockNews::Right) => {
                let why = format!("the clock of engine {engine} is as the dispatcher's again");
                self.alarms.clear(kind, engine.as_str(), &why)
            }
            None => None,
        };
        self.tell_alarm(event);
    }

    /// Engines that are unreachable, and alarms of those that are forgotten.
    fn see_to_engines(&mut self) {
        // Who is not here yet may be on its way: a broker that restarts has everybody's will.
        if self.begun.elapsed() < RECONNECT {
            return;
        }
        let kind = AlarmKind::EngineUnreachable;
        let now_ms = now(self.begun).wall_ms;
        let unreachable = self.core.unreachable();
        for subject in self.alarms.subjects(kind) {
            if !unreachable.keys().any(|engine| engine.as_str() == subject) {
                let why =
                    format!("engine {subject} is back, has stopped by itself, was cordoned or forgotten");
                let event = self.alarms.clear(kind, &subject, &why);
                self.tell_alarm(event);
            }
        }
        for subject in self.alarms.subjects(AlarmKind::ClockSkew) {
            if !self.core.has_engine(&subject) {
                let why = format!("engine {subject} is not there any more");
                let event = self.alarms.clear(AlarmKind::ClockSkew, &subject, &why);
                self.tell_alarm(event);
            }
        }
        for (engine, word) in unreachable {
            let Some(word) = word else { continue };
            let text = format!("engine {engine} {word}, and has not said that it stops");
            let event = self.alarms.raise(kind, engine.as_str(), &text, now_ms);
            self.tell_alarm(event);
        }
    }
}
