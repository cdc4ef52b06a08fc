//! The broker of a test: a real Mosquitto, or the embedded one.

use std::net::SocketAddr;
use std::time::Duration;

use wayfare_link::mosquitto::{MosquittoOptions, MosquittoProcess, Persistence};
use wayfare_link::{BrokerOptions, BrokerUrl, EmbeddedBroker, LinkOptions, Message};
use wayfare_protocol::ids::ProgramId;

use crate::within;

const LOOK_PERIOD: Duration = Duration::from_millis(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Where it is not installed: the embedded broker, loudly, or a failed test if skipping is not allowed.
    Mosquitto,
    Embedded,
    /// Mosquitto with its sessions and queues in a folder; as [`Kind::Mosquitto`] where it is not installed.
    MosquittoWithFolder,
}

#[derive(Debug)]
pub struct Broker {
    address: SocketAddr,
    running: Running,
}

#[derive(Debug)]
enum Running {
    Mosquitto(MosquittoProcess),
    Embedded(EmbeddedBroker),
    Stopped,
}

impl Broker {
    pub async fn start(kind: Kind) -> Self {
        let persistence = match kind {
            Kind::MosquittoWithFolder => Persistence::Folder,
            Kind::Mosquitto | Kind::Embedded => Persistence::None,
        };
        if kind != Kind::Embedded
            && let Some(process) = mosquitto(persistence).await
        {
            return Self {
                address: process.local_addr(),
                running: Running::Mosquitto(process),
            };
        }
        let broker = EmbeddedBroker::start(BrokerOptions::loopback()).await;
        let broker = broker.expect("the embedded broker starts");
        Self {
            address: broker.local_addr(),
            running: Running::Embedded(broker),
        }
    }

    pub fn url(&self) -> BrokerUrl {
        self.address.into()
    }

    /// Ends it as a crash would: whatever it had in memory is gone, retained messages included.
    pub async fn kill(&mut self) {
        self.running = match std::mem::replace(&mut self.running, Running::Stopped) {
            Running::Mosquitto(mut process) => {
                process.kill();
                Running::Mosquitto(process)
            }
            Running::Embedded(broker) => {
                broker.shutdown().await.expect("the embedded broker stops");
                Running::Stopped
            }
            Running::Stopped => Running::Stopped,
        };
    }

    /// Ends it in good order, with what it keeps in its folder. False: it has none.
    pub async fn stop(&mut self) -> bool {
        let Running::Mosquitto(mut process) = std::mem::replace(&mut self.running, Running::Stopped) else {
            return false;
        };
        let stopped = tokio::task::spawn_blocking(move || process.stop().map(|()| process));
        let stopped = stopped.await.expect("stopping does not panic");
        self.running = Running::Mosquitto(stopped.expect("mosquitto stops"));
        true
    }

    /// Has it store all that it has acknowledged by now: what a crash takes from Mosquitto is what came since it last did. False:
    /// it keeps nothing.
    pub async fn store(&self) -> bool {
        let Running::Mosquitto(process) = &self.running else {
            return false;
        };
        let marker = ProgramId::random().to_string();
        let (link, _events) =
            wayfare_link::connect(LinkOptions::new(self.url(), "marker")).expect("sound options");
        let message = Message::new("marker", marker.clone()).retained();
        let published = within("a publish", link.publish_acknowledged(message)).await;
        published.expect("the link is open");
        link.close().await;
        process.store().expect("a signal can be sent");
        let stored = async {
            // Nothing tells that it has, except its file.
            while !process.has_stored(marker.as_bytes()) {
                tokio::time::sleep(LOOK_PERIOD).await;
            }
        };
        within("mosquitto to store", stored).await;
        true
    }

    /// Starts it again at the same address.
    pub async fn start_again(&mut self) {
        self.running = match std::mem::replace(&mut self.running, Running::Stopped) {
            Running::Mosquitto(mut process) => {
                let restarted = tokio::task::spawn_blocking(move || process.restart().map(|()| process));
                let process = restarted.await.expect("restarting does not panic");
                Running::Mosquitto(process.expect("mosquitto starts again"))
            }
            Running::Embedded(_) | Running::Stopped => {
                let options = BrokerOptions {
                    bind: self.address,
                    ..BrokerOptions::loopback()
                };
                let broker = EmbeddedBroker::start(options).await;
                Running::Embedded(broker.expect("the embedded broker starts again"))
            }
        };
    }
}

async fn mosquitto(persistence: Persistence) -> Option<MosquittoProcess> {
    let options = MosquittoOptions {
        persistence,
        ..MosquittoOptions::default()
    };
    let started = tokio::task::spawn_blocking(move || MosquittoProcess::start(options));
    let started = started.await.expect("starting does not panic");
    started.expect("mosquitto starts, or may be skipped")
}
