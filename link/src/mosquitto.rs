//! A real Mosquitto for tests: a process of the test's own, on a free loopback port, with its own folder.
//!
//! What always holds: when `start` or `restart` returns, the broker accepts connections; when the value is
//! dropped, the process is dead and the folder gone.

use std::fs::File;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Once;
use std::time::{Duration, Instant};

/// Set to 1 where a missing Mosquitto must fail the tests instead of skipping them.
pub const REQUIRE_VARIABLE: &str = "WAYFARE_REQUIRE_MOSQUITTO";

const START_TIMEOUT: Duration = Duration::from_secs(10);
const POLL_PERIOD: Duration = Duration::from_millis(5);
/// A free port can be taken by somebody else before the broker listens on it.
const START_ATTEMPTS_MAX: usize = 5;

#[derive(Debug, Clone, Default)]
pub struct MosquittoOptions {
    pub persistence: Persistence,
    pub door: Door,
    /// The text of an access list. With one, only the logins of [`guest_password`] are let in.
    pub access: Option<&'static str>,
}

/// Who may log in where there is an access list: engines, and whoever may do everything.
pub const GUESTS: [&str; 4] = ["dispatcher", "a", "b", "c"];
/// Their passwords, as Mosquitto stores them. They are for tests alone: everybody has them.
const PASSWORDS: &str = include_str!("mosquitto/passwords");

/// The password of one of the [`GUESTS`].
pub fn guest_password(user: &str) -> String {
    format!("secret-{user}")
}

/// Who may come in, and how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Door {
    #[default]
    Open,
    /// By TLS, for `localhost`, with a certificate that [`AUTHORITY`] has signed.
    Tls,
}

/// Signed the certificate of [`Door::Tls`]. Key and certificates are for tests alone: everybody has them.
pub const AUTHORITY: &str = include_str!("mosquitto/authority.pem");
/// Signed nothing.
pub const STRANGER: &str = include_str!("mosquitto/stranger.pem");
const CERTIFICATE: &str = include_str!("mosquitto/broker.pem");
const KEY: &str = include_str!("mosquitto/broker.key");

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Persistence {
    #[default]
    None,
    /// Sessions, queues and retained messages survive `stop`, and a `kill` as of the last `store`.
    Folder,
}

/// Why Mosquitto did not start.
#[derive(Debug, thiserror::Error)]
pub enum MosquittoError {
    #[error("mosquitto is not installed, but {REQUIRE_VARIABLE}=1 asks for it")]
    Missing,
    #[error("mosquitto could not be started: {0}")]
    Io(#[from] io::Error),
    #[error("mosquitto did not accept connections within {} seconds; its log:\n{log}", START_TIMEOUT.as_secs())]
    NotReady { log: String },
}

#[derive(Debug)]
pub struct MosquittoProcess {
    program: PathBuf,
    folder: tempfile::TempDir,
    address: SocketAddr,
    child: Option<Child>,
}

impl MosquittoProcess {
    /// Starts a broker, or returns None, loudly, where Mosquitto is not installed.
    pub fn start(options: MosquittoOptions) -> Result<Option<Self>, MosquittoError> {
        let Some(program) = find_program() else {
            if std::env::var_os(REQUIRE_VARIABLE).is_some_and(|value| value == "1") {
                return Err(MosquittoError::Missing);
            }
            say_skipped();
            return Ok(None);
        };
        let mut attempts = 0;
        loop {
            attempts += 1;
            let folder = tempfile::Builder::new().prefix("wayfare-mosquitto-").tempdir()?;
            let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            std::fs::write(folder.path().join("broker.pem"), CERTIFICATE)?;
            std::fs::write(folder.path().join("broker.key"), KEY)?;
            if let Some(list) = options.access {
                std::fs::write(folder.path().join("acl"), list)?;
                write_for_owner(&folder.path().join("passwords"), PASSWORDS)?;
            }
            std::fs::write(
                folder.path().join("mosquitto.conf"),
                configuration(&options, address, folder.path()),
            )?;
            let mut process = Self {
                program: program.clone(),
                folder,
                address,
                child: None,
            };
            match process.restart() {
                Ok(()) => return Ok(Some(process)),
                Err(error) if attempts == START_ATTEMPTS_MAX => return Err(error),
                Err(_) => {}
            }
        }
    }

    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Kills it as a crash would (SIGKILL), and waits until it is gone.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have died already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Asks it to stop (SIGTERM), so that it stores what it has, and waits until it is gone.
    pub fn stop(&mut self) -> Result<(), MosquittoError> {
        self.signal("-TERM")?;
        if let Some(mut child) = self.child.take() {
            child.wait()?;
        }
        Ok(())
    }

    /// Asks it to store what it has. It does so soon, not at once: see [`Self::has_stored`].
    pub fn store(&self) -> Result<(), MosquittoError> {
        self.signal("-USR1")
    }

    /// Whether its stored state contains these bytes, such as a payload.
    pub fn has_stored(&self, bytes: &[u8]) -> bool {
        std::fs::read(self.folder.path().join("mosquitto.db"))
            .is_ok_and(|stored| stored.windows(bytes.len().max(1)).any(|window| window == bytes))
    }

    fn signal(&self, signal: &str) -> Result<(), MosquittoError> {
        if let Some(child) = &self.child {
            Command::new("kill")
                .arg(signal)
                .arg(child.id().to_string())
                .status()?;
        }
        Ok(())
    }

    /// Starts it again on the same port, with the same folder; kills it first where it still runs.
    pub fn restart(&mut self) -> Result<(), MosquittoError> {
        self.kill();
        let log = File::create(self.log())?;
        let child = Command::new(&self.program)
            .arg("-c")
            .arg(self.folder.path().join("mosquitto.conf"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let child = self.child.insert(child);
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            let running = child.try_wait()?.is_none();
            if running && TcpStream::connect_timeout(&self.address, POLL_PERIOD * 20).is_ok() {
                return Ok(());
            }
            if !running || Instant::now() > deadline {
                self.kill();
                return Err(MosquittoError::NotReady {
                    log: std::fs::read_to_string(self.log()).unwrap_or_default(),
                });
            }
            // Nothing tells that another process listens, except trying.
            std::thread::sleep(POLL_PERIOD);
        }
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("mosquitto.log")
    }
}

impl Drop for MosquittoProcess {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Once, and past the test harness, which keeps to itself what tests print that pass.
fn say_skipped() {
    static SAID: Once = Once::new();
    SAID.call_once(|| {
        let text = format!(
            "\n*** SKIPPED: mosquitto is not installed, so this was not tested against a real broker. \
             Set {REQUIRE_VARIABLE}=1 to make that an error. ***\n\n"
        );
        // With no standard error there is nobody to tell.
        let _ = io::stderr().write_all(text.as_bytes());
    });
}

fn configuration(options: &MosquittoOptions, address: SocketAddr, folder: &Path) -> String {
    let mut lines = vec![
        format!("listener {} {}", address.port(), address.ip()),
        format!("allow_anonymous {}", options.access.is_none()),
        "set_tcp_nodelay true".to_owned(),
        "max_queued_messages 200000".to_owned(),
        "max_inflight_messages 100".to_owned(),
        "log_dest stderr".to_owned(),
        "log_type error".to_owned(),
        "log_type warning".to_owned(),
    ];
    if options.door == Door::Tls {
        lines.push(format!("certfile {}/broker.pem", folder.display()));
        lines.push(format!("keyfile {}/broker.key", folder.display()));
    }
    if options.access.is_some() {
        lines.push(format!("password_file {}/passwords", folder.display()));
        lines.push(format!("acl_file {}/acl", folder.display()));
    }
    if options.persistence == Persistence::Folder {
        lines.push("persistence true".to_owned());
        lines.push(format!("persistence_location {}/", folder.display()));
        // Storing after each change would slow it down a hundredfold: see `store`.
        lines.push("autosave_interval 0".to_owned());
    }
    if let Some(user) = current_user() {
        // Started by root it would otherwise become another user, who cannot write here.
        lines.push(format!("user {user}"));
    }
    lines.join("\n") + "\n"
}

fn write_for_owner(path: &Path, text: &str) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let options = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .to_owned();
    options.open(path)?.write_all(text.as_bytes())
}

fn current_user() -> Option<String> {
    let output = Command::new("id").arg("-un").output().ok()?;
    let user = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (!user.is_empty()).then_some(user)
}

/// On the search path, or where Debian puts it, which is not on every user's path.
fn find_program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin"].map(PathBuf::from))
        .map(|folder| folder.join("mosquitto"))
        .find(|candidate| candidate.is_file())
}
