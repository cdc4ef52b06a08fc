//! The broker of a test: a real Mosquitto, or the embedded one.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use wayfare_link::mosquitto::{MosquittoOptions, MosquittoProcess, Persistence, guest_password};
use wayfare_link::{BrokerOptions, BrokerUrl, EmbeddedBroker, LinkOptions, Message};
use wayfare_protocol::ids::ProgramId;

use crate::within;

const LOOK_PERIOD: Duration = Duration::from_millis(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Where it is not installed: the embedded broker, loudly, or a failed test if skipping is not allowed.
    Mosquitto,
    Embedded,
    /// The embedded one, in a process of its own. It cannot be ended before the test.
    EmbeddedApart,
    /// Mosquitto with its sessions and queues in a folder; as [`Kind::Mosquitto`] where it is not installed.
    MosquittoWithFolder,
    /// Mosquitto with the access list that ships, which lets in who has a login; as [`Kind::Mosquitto`] where
    /// it is not installed, and then it lets in everybody.
    MosquittoWithLogins,
}

/// What ships for a fleet's broker.
const ACCESS_LIST: &str = include_str!("../../deploy/mosquitto/acl");
/// The login that may do everything: dispatchers and people have it.
pub const EVERYTHING: &str = "dispatcher";

#[derive(Debug)]
pub struct Broker {
    address: SocketAddr,
    running: Running,
    wants_login: bool,
}

#[derive(Debug)]
enum Running {
    Mosquitto(MosquittoProcess),
    Embedded(EmbeddedBroker),
    Apart { _process: Apart },
    Stopped,
}

/// It ends when its standard input does, with whoever holds that.
#[derive(Debug)]
struct Apart(Child);

impl Drop for Apart {
    fn drop(&mut self) {
        // It may have died already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Broker {
    /// `binaries` is the folder of this package's.
    pub async fn start(kind: Kind, binaries: &Path) -> Self {
        let (persistence, access) = match kind {
            Kind::EmbeddedApart => return apart(binaries),
            Kind::MosquittoWithFolder => (Some(Persistence::Folder), None),
            Kind::MosquittoWithLogins => (Some(Persistence::None), Some(ACCESS_LIST)),
            Kind::Mosquitto => (Some(Persistence::None), None),
            Kind::Embedded => (None, None),
        };
        if let Some(persistence) = persistence
            && let Some(process) = mosquitto(persistence, access).await
        {
            return Self {
                address: process.local_addr(),
                running: Running::Mosquitto(process),
                wants_login: access.is_some(),
            };
        }
        let broker = EmbeddedBroker::start(BrokerOptions::loopback()).await;
        let broker = broker.expect("the embedded broker starts");
        Self {
            address: broker.local_addr(),
            running: Running::Embedded(broker),
            wants_login: false,
        }
    }

    /// For who may do everything.
    pub fn url(&self) -> BrokerUrl {
        self.url_of(EVERYTHING)
    }

    /// For one of the [`GUESTS`](wayfare_link::mosquitto::GUESTS).
    pub fn url_of(&self, user: &str) -> BrokerUrl {
        let url = BrokerUrl::from(self.address);
        match self.wants_login {
            true => url.with_login(user, &guest_password(user)),
            false => url,
        }
    }

    /// Whether an access list holds everybody to what their logins may.
    pub fn has_logins(&self) -> bool {
        self.wants_login
    }

    /// The line of a file with the login of one of them, if they need one.
    pub(crate) fn login_of(&self, user: &str) -> Option<String> {
        self.wants_login
            .then(|| format!("{user}:{}\n", guest_password(user)))
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
            Running::Apart { .. } => panic!("this broker is not for tests that end it"),
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

    /// Has it store all that it has acknowledged by now: what a crash takes from Mosquitto is what came since
    /// it last did. False: it keeps nothing.
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
            Running::Embedded(_) | Running::Apart { .. } | Running::Stopped => {
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

fn apart(binaries: &Path) -> Broker {
    let started = Command::new(binaries.join("wayfare-test-broker"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut process = Apart(started.expect("cargo has built it"));
    let mut line = String::new();
    let said = process.0.stdout.as_mut().map(BufReader::new);
    said.expect("it was asked for")
        .read_line(&mut line)
        .expect("it says where it listens");
    Broker {
        address: line.trim().parse().expect("an address"),
        running: Running::Apart { _process: process },
        wants_login: false,
    }
}

async fn mosquitto(persistence: Persistence, access: Option<&'static str>) -> Option<MosquittoProcess> {
    let options = MosquittoOptions {
        persistence,
        access,
        ..MosquittoOptions::default()
    };
    let started = tokio::task::spawn_blocking(move || MosquittoProcess::start(options));
    let started = started.await.expect("starting does not panic");
    started.expect("mosquitto starts, or may be skipped")
}
