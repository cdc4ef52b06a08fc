//! The certificate: from two files, which are read again when they have changed, so that a renewed one needs
//! no restart.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use thiserror::Error;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig, crypto};

/// A chain has some 10 KiB.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// No more often are the files looked at.
const LOOK_PERIOD: Duration = Duration::from_secs(10);

/// Both in PEM form: the chain with our own certificate first, and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

#[derive(Debug, Error)]
pub enum TlsError {
    #[error("cannot read {}: {reason}", path.display())]
    Read { path: PathBuf, reason: io::Error },
    #[error("{} has more than {FILE_BYTES_MAX} bytes", .0.display())]
    TooLong(PathBuf),
    #[error("there is no {what} in PEM form in {}", path.display())]
    NotThere { what: &'static str, path: PathBuf },
    #[error("the certificate of {} cannot be served with the key of {}: {reason}", files.certificate.display(), files.key.display())]
    Pair { files: TlsFiles, reason: rustls::Error },
}

/// What is served now.
#[derive(Clone)]
pub(crate) struct Tls(Arc<Mutex<Served>>);

struct Served {
    files: TlsFiles,
    acceptor: TlsAcceptor,
    written: Option<[SystemTime; 2]>,
    looked: Instant,
}

impl TlsFiles {
    /// Whether they can be served.
    pub fn check(&self) -> Result<(), TlsError> {
        self.load().map(drop)
    }

    fn load(&self) -> Result<TlsAcceptor, TlsError> {
        let text = read(&self.certificate)?;
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
        let chain = chain.ok().filter(|chain| !chain.is_empty());
        let chain = chain.ok_or_else(|| TlsError::NotThere {
            what: "certificate",
            path: self.certificate.clone(),
        })?;
        let key = PrivateKeyDer::from_pem_slice(&read(&self.key)?).map_err(|_| TlsError::NotThere {
            what: "private key",
            path: self.key.clone(),
        })?;
        let wrong = |reason| TlsError::Pair {
            files: self.clone(),
            reason,
        };
        let mut config = ServerConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(wrong)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(wrong)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    fn written(&self) -> Option<[SystemTime; 2]> {
        let written = |path: &Path| fs::metadata(path).and_then(|about| about.modified()).ok();
        Some([written(&self.certificate)?, written(&self.key)?])
    }
}

impl Tls {
    pub(crate) fn open(files: TlsFiles) -> Result<Self, TlsError> {
        // Should they change in between, they are read once more.
        let written = files.written();
        let acceptor = files.load()?;
        Ok(Self(Arc::new(Mutex::new(Served {
            files,
            acceptor,
            written,
            looked: Instant::now(),
        }))))
    }

    /// For a connection that begins now.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        let mut served = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if served.looked.elapsed() >= LOOK_PERIOD {
            served.looked = Instant::now();
            served.look();
        }
        served.acceptor.clone()
    }
}

impl Served {
    /// One that cannot be read, or is half written, is none: what was served before goes on.
    fn look(&mut self) {
        let written = self.files.written();
        if written == self.written || written.is_none() {
            return;
        }
        match self.files.load() {
            Ok(acceptor) => {
                self.acceptor = acceptor;
                self.written = written;
                tracing::info!(certificate = %self.files.certificate.display(), "the certificate for HTTP has changed");
            }
            Err(error) => {
                tracing::warn!(%error, "the certificate for HTTP has changed and cannot be served: the one before it goes on")
            }
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let failed = |reason| TlsError::Read {
        path: path.to_owned(),
        reason,
    };
    let file = fs::File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(file, FILE_BYTES_MAX + 1), &mut bytes).map_err(failed)?;
    match bytes.len() as u64 > FILE_BYTES_MAX {
        true => Err(TlsError::TooLong(path.to_owned())),
        false => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn make(folder: &Path) -> TlsFiles {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/mosquitto/certificates");
        let made = Command::new(script)
            .arg(folder)
            .arg("localhost")
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        TlsFiles {
            certificate: folder.join("broker.pem"),
            key: folder.join("broker.key"),
        }
    }

    /// As if they had been written then.
    fn written_at(files: &TlsFiles, seconds: u64) {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        for path in [&files.certificate, &files.key] {
            fs::File::options()
                .append(true)
                .open(path)
                .unwrap()
                .set_modified(at)
                .unwrap();
        }
    }

    #[test]
    fn a_renewed_certificate_is_served_and_a_damaged_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let files = make(folder.path());
        written_at(&files, 1);
        let tls = Tls::open(files.clone()).unwrap();
        let mut served = tls.0.lock().unwrap();
        let first = Arc::clone(served.acceptor.config());
        served.look();
        assert!(
            Arc::ptr_eq(&first, served.acceptor.config()),
            "nothing has changed"
        );
        let sound = fs::read(&files.certificate).unwrap();
        fs::write(&files.certificate, &sound[..sound.len() / 2]).unwrap();
        written_at(&files, 2);
        served.look();
        assert!(
            Arc::ptr_eq(&first, served.acceptor.config()),
            "it is half written"
        );
        make(folder.path());
        written_at(&files, 3);
        served.look();
        assert!(!Arc::ptr_eq(&first, served.acceptor.config()), "it was made anew");
        fs::remove_file(&files.key).unwrap();
        let second = Arc::clone(served.acceptor.config());
        served.look();
        assert!(
            Arc::ptr_eq(&second, served.acceptor.config()),
            "it is gone for now"
        );
    }
}
