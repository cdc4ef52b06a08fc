//! TLS to the broker: whose signature under its certificate is good enough, kept ready for every connection.
//!
//! rustls checks certificates, by its own rustls-webpki. (The older one that rumqttc names besides gives it
//! only the type of an error.) The cryptography is ring's: it builds for armv7 and is what the embedded
//! broker brings along anyway. Only TLS 1.3 is spoken, which leaves out code that boards would carry for
//! nothing.

use std::fmt;
use std::sync::{Arc, OnceLock};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// Certificates in a file of authorities. Systems trust some 150.
const AUTHORITIES_MAX: usize = 1000;

#[derive(Clone)]
pub(crate) struct Tls {
    /// The text of a file of certificates; without, those that the system trusts.
    authority: Option<Arc<str>>,
    /// Made once, since reading and parsing the system's takes a board a while, and so that sessions can be
    /// resumed.
    client: Arc<OnceLock<Result<Arc<ClientConfig>, TlsError>>>,
}

/// Why no connection by TLS can be tried.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    #[error(
        "no certificate is in it: it must be a file in PEM form, with lines such as -----BEGIN CERTIFICATE-----"
    )]
    NoCertificate,
    #[error("a certificate in it cannot be read: {0}")]
    Unreadable(String),
    #[error("it has more than {AUTHORITIES_MAX} certificates")]
    TooMany,
    #[error(
        "this machine has no certificates of authorities: install ca-certificates, or give the broker's authority with --broker-ca"
    )]
    NoneOnThisMachine,
    #[error("TLS cannot be set up: {0}")]
    Setup(String),
}

impl Tls {
    pub(crate) fn by_system() -> Self {
        Self {
            authority: None,
            client: Arc::default(),
        }
    }

    /// Trusts these authorities, and not the system's.
    pub(crate) fn by_authority(pem: &str) -> Result<Self, TlsError> {
        let client = Arc::new(configuration(parse(pem)?)?);
        Ok(Self {
            authority: Some(pem.into()),
            client: Arc::new(OnceLock::from(Ok(client))),
        })
    }

    pub(crate) fn client(&self) -> Result<Arc<ClientConfig>, TlsError> {
        let made = self
            .client
            .get_or_init(|| Ok(Arc::new(configuration(of_this_machine()?)?)));
        made.clone()
    }
}

impl PartialEq for Tls {
    fn eq(&self, other: &Self) -> bool {
        self.authority == other.authority
    }
}

impl Eq for Tls {}

impl fmt::Debug for Tls {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self.authority {
            Some(_) => "Tls(by authority)",
            None => "Tls(by system)",
        })
    }
}

fn parse(pem: &str) -> Result<RootCertStore, TlsError> {
    let mut authorities = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let unreadable = |error: &dyn fmt::Display| TlsError::Unreadable(error.to_string());
        let certificate = certificate.map_err(|error| unreadable(&error))?;
        authorities.add(certificate).map_err(|error| unreadable(&error))?;
        if authorities.len() > AUTHORITIES_MAX {
            return Err(TlsError::TooMany);
        }
    }
    if authorities.is_empty() {
        return Err(TlsError::NoCertificate);
    }
    Ok(authorities)
}

/// One that cannot be read is left out: systems carry strange ones.
fn of_this_machine() -> Result<RootCertStore, TlsError> {
    let mut authorities = RootCertStore::empty();
    authorities.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if authorities.is_empty() {
        return Err(TlsError::NoneOnThisMachine);
    }
    Ok(authorities)
}

fn configuration(authorities: RootCertStore) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| TlsError::Setup(error.to_string()))?;
    Ok(builder.with_root_certificates(authorities).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    const AUTHORITY: &str = include_str!("mosquitto/authority.pem");

    #[test]
    fn authorities_are_read_and_what_is_none_is_refused() {
        let two = format!("{AUTHORITY}\n{}", include_str!("mosquitto/stranger.pem"));
        assert_eq!(parse(&two).unwrap().len(), 2);
        let key = include_str!("mosquitto/broker.key");
        let cut = &AUTHORITY[..AUTHORITY.len() / 2];
        let garbage = AUTHORITY.replace("MII", "AAA");
        for (text, refused) in [
            ("", "no certificate"),
            (key, "no certificate"),
            (cut, ""),
            (&garbage, ""),
        ] {
            let error = Tls::by_authority(text).unwrap_err().to_string();
            assert!(error.contains(refused), "{text}: {error}");
        }
    }
}
