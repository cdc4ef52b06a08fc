//! The broker's address as people write it: `mqtt://[user[:password]@]host[:port]`, or `mqtts://` for TLS.
//!
//! Printing one never shows the password.

use std::fmt;
use std::str::FromStr;

use wayfare_protocol::ids::Digest;

use crate::tls::{Tls, TlsError};

const PORT_DEFAULT: u16 = 1883;
const SECURE_PORT_DEFAULT: u16 = 8883;

/// Where the broker is, whom to log in as, and whose certificates to trust.
#[derive(Clone, PartialEq, Eq)]
pub struct BrokerUrl {
    host: String,
    port: u16,
    credentials: Option<Credentials>,
    /// Without, everything crosses the network as it is.
    tls: Option<Tls>,
}

/// Of sixteen bytes.
const SECRET_DIGITS: usize = 32;

#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub(crate) user: String,
    pub(crate) password: String,
}

/// Why a text is not a broker's address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BrokerUrlError {
    #[error("a broker's address begins with mqtt://, such as mqtt://localhost:1883")]
    NoScheme,
    #[error("'{0}://' is not supported: use mqtt://, or mqtts:// for TLS")]
    UnknownScheme(String),
    #[error("with TLS the broker must have a name or an IPv4 address, not '{0}'")]
    SecureIpv6(String),
    #[error("the broker's address names no host")]
    NoHost,
    #[error("'{0}' is not a host name or address")]
    BadHost(String),
    #[error("'{0}' is not a port: it must be a number from 1 to 65535")]
    BadPort(String),
    #[error("a broker's address ends after the port, but '{0}' follows")]
    Trailing(String),
    #[error("the user name or password has a bad % escape: write % as %25, @ as %40, : as %3A, / as %2F")]
    BadEscape,
}

impl BrokerUrl {
    /// An address without login. `host` may be a name, an IPv4 or an IPv6 address (without brackets).
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self {
            host: host.into(),
            port,
            credentials: None,
            tls: None,
        }
    }

    /// Whether it is reached by TLS.
    pub fn is_secure(&self) -> bool {
        self.tls.is_some()
    }

    /// The same by TLS, trusting the authorities in a text of PEM form and no other.
    pub fn with_authority(self, pem: &str) -> Result<Self, TlsError> {
        let tls = Some(Tls::by_authority(pem)?);
        Ok(Self { tls, ..self })
    }

    pub fn with_login(self, user: &str, password: &str) -> Self {
        let credentials = Some(Credentials {
            user: user.to_owned(),
            password: password.to_owned(),
        });
        Self { credentials, ..self }
    }

    pub fn host(&self) -> &str {
        &self.host
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The client id of a session whose name others know: with digits that follow from the login, where there
    /// is one. So whoever has another login cannot take the session over, and who has the same one comes to
    /// the same id.
    pub fn client_id(&self, name: &str) -> String {
        let Some(Credentials { user, password }) = &self.credentials else {
            return name.to_owned();
        };
        let parts =
            ["wayfare client id 1", name, user, password].map(|part| format!("{}:{part}", part.len()));
        let digest = Digest::of(parts.concat().as_bytes()).to_string();
        format!("{name}-{}", &digest[..SECRET_DIGITS])
    }

    pub fn has_login(&self) -> bool {
        self.credentials.is_some()
    }

    pub(crate) fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }

    pub(crate) fn tls(&self) -> Option<&Tls> {
        self.tls.as_ref()
    }

    /// The host as it stands before a colon and a port: an IPv6 address in brackets.
    pub(crate) fn bracketed_host(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        }
    }
}

impl From<std::net::SocketAddr> for BrokerUrl {
    fn from(address: std::net::SocketAddr) -> Self {
        Self::new(address.ip().to_string(), address.port())
    }
}

impl fmt::Display for BrokerUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(if self.is_secure() { "mqtts://" } else { "mqtt://" })?;
        if let Some(credentials) = &self.credentials {
            write!(out, "{}@", escaped(&credentials.user))?;
        }
        write!(out, "{}:{}", self.bracketed_host(), self.port)
    }
}

impl fmt::Debug for BrokerUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "BrokerUrl({self})")
    }
}

impl FromStr for BrokerUrl {
    type Err = BrokerUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (scheme, rest) = text.trim().split_once("://").ok_or(BrokerUrlError::NoScheme)?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "mqtt" | "tcp" => None,
            "mqtts" | "ssl" | "tls" => Some(Tls::by_system()),
            _ => return Err(BrokerUrlError::UnknownScheme(scheme.to_owned())),
        };
        // Everything after the authority is refused, but a single closing slash is what browsers add.
        let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, tail) = rest.split_at(authority_end);
        if !(tail.is_empty() || tail == "/") {
            return Err(BrokerUrlError::Trailing(tail.to_owned()));
        }
        let (login, address) = match authority.rsplit_once('@') {
            Some((login, address)) => (Some(login), address),
            None => (None, authority),
        };
        let credentials = login
            .filter(|login| !login.is_empty())
            .map(parse_login)
            .transpose()?;
        let (host, port) = parse_address(address)?;
        let port_default = match tls {
            Some(_) if host.contains(':') => return Err(BrokerUrlError::SecureIpv6(host)),
            Some(_) => SECURE_PORT_DEFAULT,
            None => PORT_DEFAULT,
        };
        Ok(Self {
            host,
            port: port.unwrap_or(port_default),
            credentials,
            tls,
        })
    }
}

fn parse_login(login: &str) -> Result<Credentials, BrokerUrlError> {
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    Ok(Credentials {
        user: unescaped(user)?,
        password: unescaped(password)?,
    })
}

/// Host, and port if there is one.
fn parse_address(address: &str) -> Result<(String, Option<u16>), BrokerUrlError> {
    let (host, port) = if let Some(bracketed) = address.strip_prefix('[') {
        let (host, after) = bracketed
            .split_once(']')
            .ok_or_else(|| BrokerUrlError::BadHost(address.to_owned()))?;
        if host.parse::<std::net::Ipv6Addr>().is_err() {
            return Err(BrokerUrlError::BadHost(address.to_owned()));
        }
        match after.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if after.is_empty() => (host, None),
            None => return Err(BrokerUrlError::BadHost(address.to_owned())),
        }
    } else {
        match address.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (address, None),
        }
    };
    if host.is_empty() {
        return Err(BrokerUrlError::NoHost);
    }
    if host
        .chars()
        .any(|c| c.is_whitespace() || c.is_control() || "%@\\".contains(c))
    {
        return Err(BrokerUrlError::BadHost(host.to_owned()));
    }
    let number = |port: &str| {
        let number = port.parse().ok().filter(|number| *number != 0);
        number.ok_or_else(|| BrokerUrlError::BadPort(port.to_owned()))
    };
    Ok((host.to_owned(), port.map(number).transpose()?))
}

fn unescaped(text: &str) -> Result<String, BrokerUrlError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digit = |at: usize| after.get(at).and_then(|&b| (b as char).to_digit(16));
        let (Some(high), Some(low)) = (digit(0), digit(1)) else {
            return Err(BrokerUrlError::BadEscape);
        };
        bytes.push((high * 16 + low) as u8);
        rest = &after[2..];
    }
    String::from_utf8(bytes).map_err(|_| BrokerUrlError::BadEscape)
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if "%@:/?#".contains(c) || c.is_control() || c == ' ' {
            let mut buffer = [0; 4];
            for byte in c.encode_utf8(&mut buffer).bytes() {
                out.push_str(&format!("%{byte:02X}"));
            }
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_printed_without_the_password() {
        for (text, host, port, printed) in [
            ("mqtt://localhost", "localhost", 1883, "mqtt://localhost:1883"),
            ("mqtt://10.0.0.7:1884", "10.0.0.7", 1884, "mqtt://10.0.0.7:1884"),
            ("MQTT://pi.local:1/", "pi.local", 1, "mqtt://pi.local:1"),
            ("mqtt://[::1]:1885", "::1", 1885, "mqtt://[::1]:1885"),
            ("mqtt://[fe80::1]", "fe80::1", 1883, "mqtt://[fe80::1]:1883"),
            ("mqtt://ann:secret@host:9", "host", 9, "mqtt://ann@host:9"),
            (
                "mqtt://a%40b:p%3Aq%2F@host",
                "host",
                1883,
                "mqtt://a%40b@host:1883",
            ),
            ("mqtts://hub", "hub", 8883, "mqtts://hub:8883"),
            ("mqtts://ann:secret@hub:9", "hub", 9, "mqtts://ann@hub:9"),
            (" mqtt://host ", "host", 1883, "mqtt://host:1883"),
        ] {
            let url: BrokerUrl = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!((url.host(), url.port()), (host, port), "{text}");
            assert_eq!(url.to_string(), printed, "{text}");
            assert!(!format!("{url:?}").contains("secret"), "{text}");
        }
    }

    #[test]
    fn a_client_id_is_secret_where_there_is_a_login() {
        let id = |url: &str| url.parse::<BrokerUrl>().unwrap().client_id("wayfare-engine-a");
        assert_eq!(id("mqtt://hub"), "wayfare-engine-a");
        let (a, b) = (id("mqtt://a:secret@hub"), id("mqtt://b:other@hub"));
        assert_eq!(id("mqtt://a:secret@other:2883"), a);
        assert!(
            a.starts_with("wayfare-engine-a-") && a.len() == 17 + SECRET_DIGITS,
            "{a}"
        );
        assert!(a != b && a != id("mqtt://a:secret2@hub"));
    }

    #[test]
    fn logins_are_unescaped() {
        let url: BrokerUrl = "mqtt://a%40b:p%3Aq%2F@host".parse().unwrap();
        let credentials = url.credentials().unwrap();
        assert_eq!(
            (credentials.user.as_str(), credentials.password.as_str()),
            ("a@b", "p:q/")
        );
        let url: BrokerUrl = "mqtt://ann@host".parse().unwrap();
        assert_eq!(url.credentials().unwrap().password, "");
    }

    #[test]
    fn bad_addresses_say_what_is_wrong() {
        use BrokerUrlError::*;
        for (text, error) in [
            ("localhost:1883", NoScheme),
            ("", NoScheme),
            ("http://host", UnknownScheme("http".into())),
            ("mqtts://[::1]", SecureIpv6("::1".into())),
            ("mqtt://", NoHost),
            ("mqtt://:1883", NoHost),
            ("mqtt://ann@", NoHost),
            ("mqtt://host:", BadPort("".into())),
            ("mqtt://host:0", BadPort("0".into())),
            ("mqtt://host:65536", BadPort("65536".into())),
            ("mqtt://host:abc", BadPort("abc".into())),
            ("mqtt://::1", NoHost),
            ("mqtt://[::1", BadHost("[::1".into())),
            ("mqtt://[nonsense]:1", BadHost("[nonsense]:1".into())),
            ("mqtt://[::1]x", BadHost("[::1]x".into())),
            ("mqtt://a b", BadHost("a b".into())),
            ("mqtt://host/topic", Trailing("/topic".into())),
            ("mqtt://host:1?x=1", Trailing("?x=1".into())),
            ("mqtt://a%4:b@host", BadEscape),
            ("mqtt://a%ff@host", BadEscape),
        ] {
            assert_eq!(text.parse::<BrokerUrl>(), Err(error), "{text}");
        }
    }
}
