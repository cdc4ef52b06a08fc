//! The fleet's dispatcher as a process of its own, which can be stopped as an overloaded machine stops it, or
//! killed.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use wayfare_link::BrokerUrl;

/// It ends with this.
#[derive(Debug)]
pub struct DispatcherProcess {
    binary: PathBuf,
    broker: BrokerUrl,
    data: PathBuf,
    child: Child,
}

impl DispatcherProcess {
    /// `binary` is `env!("CARGO_BIN_EXE_wayfare-test-dispatcher")`; the dispatcher's data are in a folder
    /// below this one.
    pub fn start(binary: impl AsRef<Path>, broker: &BrokerUrl, folder: &Path) -> Self {
        let (binary, data) = (binary.as_ref().to_owned(), folder.join("dispatcher"));
        Self {
            child: spawn(&binary, broker, &data),
            broker: broker.clone(),
            binary,
            data,
        }
    }

    pub fn signal(&self, signal: &str) {
        let status = Command::new("kill")
            .args([signal, &self.child.id().to_string()])
            .status();
        assert!(status.expect("kill is there").success(), "{signal}");
    }

    /// SIGKILL; the next goes on from its folder.
    pub fn start_again(&mut self) {
        self.kill();
        self.child = spawn(&self.binary, &self.broker, &self.data);
    }

    fn kill(&mut self) {
        // It may have died already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for DispatcherProcess {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(binary: &Path, broker: &BrokerUrl, data: &Path) -> Child {
    let child = Command::new(binary)
        .args(["--broker", &broker.to_string(), "--data"])
        .arg(data)
        .stdin(Stdio::piped())
        .spawn();
    child.expect("the dispatcher starts")
}
