//! HTTPS: with a certificate as `deploy/mosquitto/certificates` makes it, for people who have a login.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use wayfare_gateway::{Allowed, Gateway, GatewayError, GatewayOptions, Login, TlsFiles};

use crate::opened::{Opened, WAIT_MAX, options, status};

fn certificates(folder: &Path) -> TlsFiles {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/mosquitto/certificates");
    let made = Command::new(script)
        .arg(folder)
        .args(["localhost", "127.0.0.1"])
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    TlsFiles {
        certificate: folder.join("broker.pem"),
        key: folder.join("broker.key"),
    }
}

/// A browser that believes the authority in this folder.
struct Browser {
    connector: TlsConnector,
    port: u16,
}

impl Browser {
    fn new(folder: &Path, port: u16) -> Self {
        let mut roots = RootCertStore::empty();
        let authority = CertificateDer::from_pem_file(folder.join("authority.pem")).unwrap();
        roots.add(authority).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = TlsConnector::from(Arc::new(config));
        Self { connector, port }
    }

    async fn ask(&self, line: &str, head: &str, body: &str) -> String {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = self.connector.connect(name, stream).await.unwrap();
        let request = format!(
            "{line} HTTP/1.1\r\nHost: localhost:{}\r\n{head}Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
            self.port,
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        // Not every server says that it closes.
        let _ = timeout(WAIT_MAX, stream.read_to_string(&mut text)).await.unwrap();
        text
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn from_elsewhere_people_sign_in_and_keep_a_cookie_for_https_alone() {
    let opened = Opened::new(Allowed::Everything).await;
    let folder = tempfile::tempdir().unwrap();
    let secure = GatewayOptions {
        tls: Some(certificates(folder.path())),
        login: Some(Login::new("ann", "correct horse").unwrap()),
        ..options("0.0.0.0:0", folder.path(), Allowed::Everything)
    };
    let gateway = Gateway::open(opened.client.clone(), secure).await.unwrap();
    assert!(gateway.link().starts_with("https://"), "{}", gateway.link());
    let browser = Browser::new(folder.path(), gateway.address().port());
    assert_eq!(status(&browser.ask("GET /api/v1/engines", "", "").await), 401);
    let about = browser.ask("GET /login", "", "").await;
    assert!(about.ends_with(r#"{"login":"password"}"#), "{about}");
    let right = r#"{"user":"ann","password":"correct horse"}"#;
    let origin = format!("Origin: https://localhost:{}\r\n", browser.port);
    let entered = browser.ask("POST /login", &origin, right).await;
    assert_eq!(status(&entered), 204, "{entered}");
    let cookie = entered
        .lines()
        .find_map(|line| line.strip_prefix("set-cookie: "))
        .unwrap();
    for says in ["; HttpOnly", "; SameSite=Strict", "; Secure"] {
        assert!(cookie.contains(says), "{cookie}");
    }
    let cookie = format!("Cookie: {}\r\n", cookie.split(';').next().unwrap());
    assert_eq!(
        status(&browser.ask("GET /api/v1/engines", &cookie, "").await),
        200
    );
    let hold = "POST /api/v1/programs/p/pause";
    let foreign = format!("{cookie}Origin: https://evil.example\r\n");
    assert_eq!(status(&browser.ask(hold, &foreign, "").await), 403);
    // There is no such program: it was let in.
    let ours = format!("{cookie}{origin}");
    assert_eq!(status(&browser.ask(hold, &ours, "").await), 404);
    let programs = Browser::new(folder.path(), gateway.programs().port());
    assert_eq!(status(&programs.ask("GET /r/shop/", &cookie, "").await), 404);
    assert_eq!(status(&programs.ask("GET /r/shop/", "", "").await), 401);
    let left = browser.ask("POST /logout", &ours, "").await;
    assert!(left.contains("Max-Age=0"), "{left}");
    // Who guesses waits, and is not even let in with what is right; who has the cookie is not kept out.
    let wrong = r#"{"user":"ann","password":"a wrong guess"}"#;
    let mut guesses = 0;
    let told = loop {
        let told = browser.ask("POST /login", "", wrong).await;
        match status(&told) {
            401 => guesses += 1,
            _ => break told,
        }
    };
    assert_eq!((status(&told), guesses), (429, 10), "{told}");
    assert_eq!(status(&browser.ask("POST /login", "", right).await), 429);
    assert_eq!(
        status(&browser.ask("GET /api/v1/engines", &cookie, "").await),
        200
    );
    for nonsense in [
        "",
        "{}",
        "[]",
        r#"{"token":7}"#,
        r#"{"user":"ann","password":"x","more":1}"#,
    ] {
        assert_eq!(
            status(&browser.ask("POST /login", "", nonsense).await),
            400,
            "{nonsense}"
        );
    }
    // Who speaks without TLS is not answered, and costs a place for a moment only.
    let mut plain = TcpStream::connect(("127.0.0.1", browser.port)).await.unwrap();
    plain
        .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    let _ = timeout(WAIT_MAX, plain.read_to_end(&mut answer)).await.unwrap();
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    gateway.close().await;
    opened.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_cannot_be_served_is_refused_with_its_file() {
    let opened = Opened::new(Allowed::Looking).await;
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (files, others) = (certificates(folder.path()), certificates(other.path()));
    let empty = folder.path().join("empty");
    std::fs::write(&empty, "").unwrap();
    let with = |certificate: &Path, key: &Path| TlsFiles {
        certificate: certificate.to_owned(),
        key: key.to_owned(),
    };
    for (tls, says) in [
        (
            with(&files.certificate, &others.key),
            "cannot be served with the key",
        ),
        (with(&empty, &files.key), "no certificate"),
        (with(&files.certificate, &files.certificate), "no private key"),
        (with(&folder.path().join("none"), &files.key), "cannot read"),
    ] {
        let refused = GatewayOptions {
            tls: Some(tls),
            ..options("127.0.0.1:0", folder.path(), Allowed::Looking)
        };
        let error = Gateway::open(opened.client.clone(), refused).await.unwrap_err();
        assert!(
            matches!(error, GatewayError::Tls(_)) && error.to_string().contains(says),
            "{error}"
        );
    }
    opened.close().await;
}
