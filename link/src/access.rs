//! What a broker asks for that is not in its address: whom to trust, and whom to log in as. From files, so
//! that no secret is on a command line, where everybody on the machine can read it.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::broker_url::BrokerUrl;
use crate::tls::TlsError;

/// A system's whole bundle of authorities has some 200 KiB.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// MQTT's own limit for each of the two.
const LOGIN_BYTES_MAX: usize = 2 * 65_535;
/// A login that others may read or write.
const MODE_OTHERS: u32 = 0o006;

/// The files, where they are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BrokerAccess {
    /// Certificates in PEM form: TLS trusts those, in place of the system's.
    pub authority: Option<PathBuf>,
    /// `user:password` in its first line.
    pub login: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    #[error("cannot read {}: {error}", path.display())]
    Read { path: PathBuf, error: io::Error },
    #[error("{} has more than {FILE_BYTES_MAX} bytes", .0.display())]
    TooLong(PathBuf),
    #[error("{} is for everybody to read: chmod o= {}", .0.display(), .0.display())]
    ForEverybody(PathBuf),
    #[error("the first line of {} is not user:password", .0.display())]
    NoLogin(PathBuf),
    #[error("a certificate authority is given, but {0} is without TLS: begin it with mqtts://")]
    WithoutTls(BrokerUrl),
    #[error("{}: {error}", path.display())]
    Authority { path: PathBuf, error: TlsError },
}

impl BrokerAccess {
    /// The address with what the files say; a login there wins over one in the address.
    pub fn apply(&self, url: BrokerUrl) -> Result<BrokerUrl, AccessError> {
        let mut url = url;
        if let Some(path) = &self.authority {
            if !url.is_secure() {
                return Err(AccessError::WithoutTls(url));
            }
            let (text, _) = read(path)?;
            url = url
                .with_authority(&text)
                .map_err(|error| AccessError::Authority {
                    path: path.clone(),
                    error,
                })?;
        }
        if let Some(path) = &self.login {
            let (user, password) = read_login(path)?;
            url = url.with_login(&user, &password);
        }
        Ok(url)
    }
}

/// User and password of a file, which is not for everybody to read.
pub fn read_login(path: &Path) -> Result<(String, String), AccessError> {
    let (text, mode) = read(path)?;
    if mode & MODE_OTHERS != 0 {
        return Err(AccessError::ForEverybody(path.to_owned()));
    }
    let (user, password) = login(&text).ok_or_else(|| AccessError::NoLogin(path.to_owned()))?;
    Ok((user.to_owned(), password.to_owned()))
}

fn login(text: &str) -> Option<(&str, &str)> {
    let line = text.lines().next()?;
    let (user, password) = line.split_once(':')?;
    (!user.is_empty() && line.len() <= LOGIN_BYTES_MAX).then_some((user, password))
}

/// The text, and who may do what with it.
fn read(path: &Path) -> Result<(String, u32), AccessError> {
    let failed = |error| AccessError::Read {
        path: path.to_owned(),
        error,
    };
    let file = File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.mode();
    let mut text = String::new();
    file.take(FILE_BYTES_MAX + 1)
        .read_to_string(&mut text)
        .map_err(failed)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(AccessError::TooLong(path.to_owned()));
    }
    Ok((text, mode))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn file(folder: &Path, text: &str, mode: u32) -> Option<PathBuf> {
        let path = folder.join("file");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        Some(path)
    }

    #[test]
    fn a_login_comes_from_the_first_line_of_a_file_of_ones_own() {
        let folder = tempfile::tempdir().unwrap();
        let url: BrokerUrl = "mqtt://ann:old@hub".parse().unwrap();
        let apply = |text: &str, mode| {
            let login = file(folder.path(), text, mode);
            let access = BrokerAccess {
                authority: None,
                login,
            };
            access.apply(url.clone())
        };
        let credentials = apply("pi-1:se:cret\n\nwords\n", 0o640).unwrap();
        let credentials = credentials.credentials().unwrap().clone();
        assert_eq!(
            (credentials.user.as_str(), credentials.password.as_str()),
            ("pi-1", "se:cret")
        );
        assert!(matches!(
            apply("pi-1:x", 0o644),
            Err(AccessError::ForEverybody(_))
        ));
        for bad in ["", "pi-1", ":x", "\npi-1:x"] {
            assert!(
                matches!(apply(bad, 0o600), Err(AccessError::NoLogin(_))),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn an_authority_needs_tls_and_a_file_that_is_one() {
        let folder = tempfile::tempdir().unwrap();
        let apply = |url: &str, text: &str| {
            let authority = file(folder.path(), text, 0o644);
            let access = BrokerAccess {
                authority,
                login: None,
            };
            access.apply(url.parse().unwrap())
        };
        let authority = include_str!("mosquitto/authority.pem");
        assert!(apply("mqtts://hub", authority).unwrap().is_secure());
        assert!(matches!(
            apply("mqtt://hub", authority),
            Err(AccessError::WithoutTls(_))
        ));
        assert!(matches!(
            apply("mqtts://hub", "x"),
            Err(AccessError::Authority { .. })
        ));
        let long = "#".repeat(FILE_BYTES_MAX as usize + 1);
        assert!(matches!(
            apply("mqtts://hub", &long),
            Err(AccessError::TooLong(_))
        ));
        let missing = BrokerAccess {
            authority: None,
            login: Some(folder.path().join("missing")),
        };
        let missing = missing.apply("mqtts://hub".parse().unwrap());
        assert!(matches!(missing, Err(AccessError::Read { .. })));
    }
}
