//! What systemd is told, where it started us (`Type=notify`): that we have begun, every few seconds that the
//! loop still goes round, that we end, and that this takes longer. Datagrams to the socket that
//! `NOTIFY_SOCKET` names, as sd_notify(3) describes: too little for a library.

use std::ffi::OsStr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

const VARIABLE: &str = "NOTIFY_SOCKET";

#[derive(Debug, Default)]
pub(crate) struct Supervisor {
    /// Without, nobody wants to know.
    socket: Option<UnixDatagram>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// Programs go on from their snapshots. The broker is not waited for.
    Begun,
    Alive,
    Stopping,
    /// Ending takes up to this many seconds more: `TimeoutStopSec=` counts anew.
    StoppingWithin {
        seconds: u64,
    },
}

impl Supervisor {
    pub(crate) fn from_environment() -> Self {
        match std::env::var_os(VARIABLE) {
            Some(name) if !name.is_empty() => Self::at(&name),
            _ => Self::default(),
        }
    }

    /// `name` is a path, or begins with `@` and is in the abstract namespace.
    fn at(name: &OsStr) -> Self {
        let address = match name.as_bytes() {
            [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest),
            _ => SocketAddr::from_pathname(name),
        };
        let socket = address.and_then(|address| {
            let socket = UnixDatagram::unbound()?;
            socket.connect_addr(&address)?;
            // It must not hold the loop up.
            socket.set_nonblocking(true)?;
            Ok(socket)
        });
        let socket = socket
            .inspect_err(|error| tracing::warn!(?name, %error, "cannot tell the service manager how it goes"))
            .ok();
        Self { socket }
    }

    pub(crate) fn tell(&self, told: Told) {
        let Some(socket) = &self.socket else { return };
        let text = match told {
            Told::Begun => "READY=1",
            Told::Alive => "WATCHDOG=1",
            Told::Stopping => "STOPPING=1",
            Told::StoppingWithin { seconds } => &format!("EXTEND_TIMEOUT_USEC={}", seconds * 1_000_000),
        };
        if let Err(error) = socket.send(text.as_bytes()) {
            tracing::debug!(?told, %error, "the service manager does not listen");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(socket: &UnixDatagram) -> String {
        let mut text = [0; 64];
        let bytes = socket.recv(&mut text).unwrap();
        String::from_utf8_lossy(&text[..bytes]).into_owned()
    }

    #[test]
    fn it_hears_by_path_and_by_abstract_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let by_path = UnixDatagram::bind(&path).unwrap();
        let name = format!("wayfare-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let by_name = UnixDatagram::bind_addr(&address).unwrap();
        for (told, text) in [
            (Told::Begun, "READY=1"),
            (Told::Alive, "WATCHDOG=1"),
            (Told::Stopping, "STOPPING=1"),
            (Told::StoppingWithin { seconds: 2 }, "EXTEND_TIMEOUT_USEC=2000000"),
        ] {
            Supervisor::at(path.as_os_str()).tell(told);
            assert_eq!(heard(&by_path), text);
            Supervisor::at(OsStr::new(&format!("@{name}"))).tell(told);
            assert_eq!(heard(&by_name), text);
        }
    }

    #[test]
    fn where_nobody_listens_nothing_happens() {
        Supervisor::default().tell(Told::Alive);
        Supervisor::at(OsStr::new("/nowhere/notify")).tell(Told::Alive);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let supervisor = Supervisor::at(path.as_os_str());
        drop(socket);
        supervisor.tell(Told::Alive);
    }
}
