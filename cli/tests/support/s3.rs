//! A server for tests that speaks like S3: a process of the test's own on a free loopback port, with one
//! empty bucket.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::Process;

/// Set to 1 where a missing server must fail the tests instead of skipping them.
const REQUIRE_VARIABLE: &str = "WAYFARE_REQUIRE_S3";
/// From the Python package `moto[server]`. It keeps everything in memory, and honours conditional puts.
const PROGRAM: &str = "moto_server";
pub(crate) const BUCKET: &str = "wayfare-tests";
const START_TIMEOUT: Duration = Duration::from_secs(60);
const POLL_PERIOD: Duration = Duration::from_millis(20);

pub(crate) struct S3 {
    address: SocketAddr,
    _process: Process,
}

impl S3 {
    /// None, loudly, where there is no such server.
    #[allow(
        clippy::disallowed_methods,
        reason = "past the test harness, to who reads its output"
    )]
    pub(crate) fn start() -> Option<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = port.local_addr().unwrap();
        drop(port);
        let started = Command::new(PROGRAM)
            .args(["-H", "127.0.0.1", "-p", &address.port().to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let child = match started {
            Ok(child) => child,
            Err(error) if std::env::var_os(REQUIRE_VARIABLE).is_some_and(|value| value == "1") => {
                panic!("{PROGRAM}: {error}, but {REQUIRE_VARIABLE}=1 asks for it");
            }
            Err(_) => {
                let text = format!(
                    "\n*** SKIPPED: {PROGRAM} is not installed, so files were not tried on S3. \
                     Set {REQUIRE_VARIABLE}=1 to make that an error. ***\n\n"
                );
                // Past the test harness, which keeps to itself what tests print that pass.
                let _ = std::io::stderr().write_all(text.as_bytes());
                return None;
            }
        };
        let server = Self {
            address,
            _process: Process(child),
        };
        let deadline = Instant::now() + START_TIMEOUT;
        while TcpStream::connect(address).is_err() {
            assert!(Instant::now() < deadline, "{PROGRAM} does not listen");
            // Nothing tells that another process listens, except trying.
            std::thread::sleep(POLL_PERIOD);
        }
        server.make_bucket();
        Some(server)
    }

    fn make_bucket(&self) {
        let request = format!(
            "PUT /{BUCKET} HTTP/1.1\r\nHost: {}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            self.address
        );
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    /// What a dispatcher finds it by.
    pub(crate) fn variables(&self) -> [(&'static str, String); 5] {
        [
            ("AWS_ENDPOINT", format!("http://{}", self.address)),
            ("AWS_ALLOW_HTTP", "true".into()),
            ("AWS_REGION", "us-east-1".into()),
            ("AWS_ACCESS_KEY_ID", "tests".into()),
            ("AWS_SECRET_ACCESS_KEY", "tests".into()),
        ]
    }
}
