//! Who may: who has the token, or the login, and no page of another origin on that user's behalf.
//!
//! ```text
//!   Host is this machine? -> Origin is ours? -> token, login or cookie? -> may change?  -> the operation
//! ```
//! `Host` is checked because a foreign page can make its own name mean 127.0.0.1 (DNS rebinding); with TLS no
//! name that is not the certificate's comes that far, and none but this machine is served without. `Origin`
//! is checked because a foreign page can send requests with our cookie along.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use axum::body::Body;
use axum::http::header::{
    AUTHORIZATION, COOKIE, HOST, HeaderMap, HeaderName, HeaderValue, LOCATION, ORIGIN, SET_COOKIE,
};
use axum::http::{Extensions, Method, Response, StatusCode, Uri};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use wayfare_client::problem::Problem;

use crate::answers::{FORBIDDEN, NO_TOKEN, READ_ONLY, TOO_MANY};
use crate::assets;
use crate::login::{Attempts, Login};
use crate::token::Token;

const FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// For who watches whether it is there; the dashboard's own files are open too.
const OPEN_PATHS: [&str; 2] = ["/healthz", "/readyz"];
/// Where one is let in, and leaves: open for all methods.
pub(crate) const LOGIN_PATH: &str = "/login";
pub(crate) const LOGOUT_PATH: &str = "/logout";

/// What may be done over HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowed {
    Everything,
    /// Nothing that changes anything.
    Looking,
}

/// What is asked for: programs' pages have a port of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    Dashboard,
    Programs,
}

/// Where a request comes from, on each of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Remote(pub(crate) IpAddr);

/// What is presented to be let in: without `Debug`, which logs would have.
pub(crate) enum Presented<'a> {
    Token(&'a str),
    Login { user: &'a str, password: &'a str },
}

/// How requests come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    /// From this machine.
    Plain,
    /// From anywhere.
    Tls,
}

impl Transport {
    pub(crate) fn scheme(self) -> &'static str {
        match self {
            Self::Plain => "http",
            Self::Tls => "https",
        }
    }
}

#[derive(Debug)]
pub(crate) struct Access {
    token: Token,
    /// A browser keeps cookies by host alone, and all tunnels end at the same: each token has its own.
    cookie: String,
    allowed: Allowed,
    transport: Transport,
    login: Option<Login>,
    attempts: Attempts,
}

impl Access {
    pub(crate) fn new(token: Token, allowed: Allowed, transport: Transport, login: Option<Login>) -> Self {
        Self {
            cookie: format!("wayfare-{}", token.name()),
            token,
            allowed,
            transport,
            login,
            attempts: Attempts::default(),
        }
    }

    pub(crate) fn transport(&self) -> Transport {
        self.transport
    }

    /// Whether a user and a password are set.
    pub(crate) fn has_login(&self) -> bool {
        self.login.is_some()
    }

    /// Whether that is right. A password can be guessed, a token cannot: only for the former too many wrong
    /// tries are too many.
    pub(crate) fn lets_in(&self, presented: &Presented<'_>, extensions: &Extensions) -> Result<(), Problem> {
        let (user, password) = match presented {
            Presented::Token(token) if self.token.is(token.trim()) => return Ok(()),
            Presented::Token(_) => return Err(no_token()),
            Presented::Login { user, password } => (user, password),
        };
        let Some(login) = &self.login else {
            return Err(Problem::new(NO_TOKEN, "no login is set here").hint("start it with --http-login"));
        };
        let from = extensions.get::<Remote>();
        let from = from.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |from| from.0);
        match self
            .attempts
            .judged(from, Instant::now(), || login.is(user, password))
        {
            Ok(true) => Ok(()),
            Ok(false) => Err(Problem::new(NO_TOKEN, "the user or the password is another one")),
            Err(wait) => {
                let text = "there were too many wrong tries to be let in";
                Err(Problem::new(TOO_MANY, text).hint(format!("try again in {} s", wait.as_secs() + 1)))
            }
        }
    }

    pub(crate) fn check(
        &self,
        door: Door,
        method: &Method,
        uri: &Uri,
        head: &HeaderMap,
        extensions: &Extensions,
    ) -> Result<(), Problem> {
        let host = text(head, &HOST).unwrap_or_default();
        if self.transport == Transport::Plain && !is_this_machine(host) {
            let text = format!("the host '{host}' is not this machine");
            return Err(Problem::new(FORBIDDEN, text)
                .hint("use the address that was printed, with 127.0.0.1 or localhost"));
        }
        let is_ours = match head.get(ORIGIN) {
            Some(origin) => origin
                .to_str()
                .is_ok_and(|origin| origin.split_once("://") == Some((self.transport.scheme(), host))),
            None => {
                text(head, &FETCH_SITE).is_none_or(|site| matches!(site, "same-origin" | "none"))
                    || is_opening(door, method, uri, head)
            }
        };
        if !is_ours {
            return Err(Problem::new(FORBIDDEN, "a page of another origin asked for this"));
        }
        let is_looking = matches!(*method, Method::GET | Method::HEAD);
        if is_looking
            && door == Door::Dashboard
            && (OPEN_PATHS.contains(&uri.path()) || assets::is_asset(uri.path()))
        {
            return Ok(());
        }
        if door == Door::Dashboard && [LOGIN_PATH, LOGOUT_PATH].contains(&uri.path()) {
            return Ok(());
        }
        let credentials = text(head, &AUTHORIZATION).and_then(|value| value.split_once(' '));
        match (credentials, self.in_cookie(head)) {
            // The scheme's case does not matter (RFC 9110).
            (Some((scheme, token)), _) if scheme.eq_ignore_ascii_case("bearer") => {
                self.lets_in(&Presented::Token(token), extensions)?;
            }
            (Some((scheme, pair)), _) if scheme.eq_ignore_ascii_case("basic") => {
                let pair = STANDARD.decode(pair.trim()).ok();
                let pair = pair.and_then(|pair| String::from_utf8(pair).ok());
                let (user, password) = pair
                    .as_deref()
                    .and_then(|pair| pair.split_once(':'))
                    .ok_or_else(no_token)?;
                self.lets_in(&Presented::Login { user, password }, extensions)?;
            }
            // A browser says where an order comes from.
            (None, Some(token)) if self.token.is(token) && (is_looking || head.contains_key(ORIGIN)) => {}
            _ => return Err(no_token()),
        }
        if self.allowed == Allowed::Looking && !is_looking {
            return Err(
                Problem::new(READ_ONLY, "this gateway only shows").hint("start it without --http-read-only")
            );
        }
        Ok(())
    }

    fn in_cookie<'a>(&self, head: &'a HeaderMap) -> Option<&'a str> {
        let cookies = head
            .get_all(COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok());
        let mut pairs = cookies
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='));
        pairs
            .find(|(name, _)| *name == self.cookie)
            .map(|(_, value)| value)
    }

    /// The token is in the address: the browser is to keep it, and to forget that address.
    pub(crate) fn opened(&self, method: &Method, uri: &Uri) -> Option<Response<Body>> {
        let query = uri
            .query()
            .filter(|_| *method == Method::GET && uri.path() == "/")?;
        let (_, token) = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "token")?;
        if !self.token.is(&token) {
            return None;
        }
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SEE_OTHER;
        let head = response.headers_mut();
        head.insert(SET_COOKIE, self.kept());
        head.insert(LOCATION, HeaderValue::from_static("/"));
        Some(response)
    }

    /// The browser keeps the token until it is closed.
    pub(crate) fn kept(&self) -> HeaderValue {
        self.cookie_of(self.token.text(), "")
    }

    /// The browser forgets it.
    pub(crate) fn forgotten(&self) -> HeaderValue {
        self.cookie_of("", "; Max-Age=0")
    }

    fn cookie_of(&self, value: &str, lasts: &str) -> HeaderValue {
        let secure = match self.transport {
            Transport::Plain => "",
            Transport::Tls => "; Secure",
        };
        let cookie = format!(
            "{}={value}; Path=/; HttpOnly; SameSite=Strict{secure}{lasts}",
            self.cookie
        );
        HeaderValue::try_from(cookie).expect("digits and letters make a cookie")
    }
}

fn no_token() -> Problem {
    Problem::new(NO_TOKEN, "the token is missing, or it is another one").hint(
        "open the address that `wayfare up`, `wayfare dispatcher` or `wayfare ui` printed; scripts send the token of the file \
         http-token in its data folder as 'Authorization: Bearer'",
    )
}

/// Somebody follows a link to the page: nothing is changed by that, and nobody else reads what is answered. A
/// program's page is opened from the dashboard.
fn is_opening(door: Door, method: &Method, uri: &Uri, head: &HeaderMap) -> bool {
    let is_page = match door {
        Door::Dashboard => uri.path() == "/",
        Door::Programs => {
            text(head, &FETCH_SITE) == Some("same-site") && text(head, &FETCH_MODE) == Some("navigate")
        }
    };
    *method == Method::GET && is_page
}

/// `Host` names a loopback address, whatever port a tunnel may have.
fn is_this_machine(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    let address: Result<IpAddr, _> = address.unwrap_or(name).parse();
    // A name can be made to mean 127.0.0.1, an address only means itself.
    name == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

fn text<'a>(head: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    head.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(allowed: Allowed) -> (tempfile::TempDir, Access) {
        let folder = tempfile::tempdir().unwrap();
        let token = Token::in_folder(folder.path()).unwrap();
        (folder, Access::new(token, allowed, Transport::Plain, None))
    }

    fn from() -> Extensions {
        let mut extensions = Extensions::new();
        extensions.insert(Remote([192, 0, 2, 7].into()));
        extensions
    }

    fn head(pairs: &[(&str, &str)]) -> HeaderMap {
        let pair =
            |(name, value): &(&str, &str)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn nobody_gets_in_but_who_has_the_token_on_this_machine_from_our_own_pages() {
        let (_folder, access) = access(Allowed::Everything);
        let bearer = format!("Bearer {}", access.token.text());
        let cookie = format!("x=1; {}={}", access.cookie, access.token.text());
        let other = format!("wayfare-8687={}", access.token.text());
        let (bearer, cookie, other) = (bearer.as_str(), cookie.as_str(), other.as_str());
        let (lower, basic) = (bearer.replace('B', "b"), bearer.replace("Bearer", "Basic"));
        let (lower, basic) = (lower.as_str(), basic.as_str());
        let ours = "127.0.0.1:8686";
        for (method, pairs, refused) in [
            ("GET", vec![("host", ours), ("authorization", bearer)], None),
            ("POST", vec![("host", ours), ("authorization", bearer)], None),
            ("GET", vec![("host", ours), ("authorization", lower)], None),
            (
                "GET",
                vec![("host", ours), ("authorization", basic)],
                Some(NO_TOKEN),
            ),
            ("GET", vec![("host", "localhost:9000"), ("cookie", cookie)], None),
            ("GET", vec![("host", "[::1]"), ("cookie", cookie)], None),
            ("GET", vec![("host", "127.0.0.2:8686"), ("cookie", cookie)], None),
            (
                "GET",
                vec![("host", "192.0.2.1:8686"), ("cookie", cookie)],
                Some(FORBIDDEN),
            ),
            (
                "POST",
                vec![("host", ours), ("cookie", cookie), ("origin", "http://ä")],
                Some(FORBIDDEN),
            ),
            (
                "POST",
                vec![
                    ("host", ours),
                    ("cookie", cookie),
                    ("origin", "http://127.0.0.1:8686"),
                ],
                None,
            ),
            ("GET", vec![("host", ours)], Some(NO_TOKEN)),
            ("GET", vec![("host", ours), ("cookie", other)], Some(NO_TOKEN)),
            (
                "GET",
                vec![("host", ours), ("authorization", "Bearer x")],
                Some(NO_TOKEN),
            ),
            ("POST", vec![("host", ours), ("cookie", cookie)], Some(NO_TOKEN)),
            ("GET", vec![("authorization", bearer)], Some(FORBIDDEN)),
            (
                "GET",
                vec![("host", "evil.example:8686"), ("cookie", cookie)],
                Some(FORBIDDEN),
            ),
            (
                "GET",
                vec![("host", "127.0.0.1.evil.example"), ("cookie", cookie)],
                Some(FORBIDDEN),
            ),
            (
                "POST",
                vec![
                    ("host", ours),
                    ("cookie", cookie),
                    ("origin", "http://evil.example"),
                ],
                Some(FORBIDDEN),
            ),
            (
                "POST",
                vec![
                    ("host", ours),
                    ("cookie", cookie),
                    ("origin", "http://localhost:8686"),
                ],
                Some(FORBIDDEN),
            ),
            (
                "POST",
                vec![("host", ours), ("cookie", cookie), ("origin", "null")],
                Some(FORBIDDEN),
            ),
            (
                "GET",
                vec![
                    ("host", ours),
                    ("cookie", cookie),
                    ("sec-fetch-site", "cross-site"),
                ],
                Some(FORBIDDEN),
            ),
            (
                "GET",
                vec![
                    ("host", ours),
                    ("cookie", cookie),
                    ("sec-fetch-site", "same-site"),
                ],
                Some(FORBIDDEN),
            ),
        ] {
            let uri = Uri::from_static("/api/v1/engines");
            let found = access.check(
                Door::Dashboard,
                &method.parse().unwrap(),
                &uri,
                &head(&pairs),
                &from(),
            );
            assert_eq!(
                found.err().map(|problem| problem.kind()),
                refused,
                "{method} {pairs:?}"
            );
        }
        // From the dashboard to a program's page, but nothing else from there.
        for (door, method, mode, refused) in [
            (Door::Programs, "GET", "navigate", None),
            (Door::Programs, "GET", "no-cors", Some(FORBIDDEN)),
            (Door::Programs, "POST", "navigate", Some(FORBIDDEN)),
            (Door::Dashboard, "GET", "navigate", Some(FORBIDDEN)),
        ] {
            let pairs = [
                ("host", ours),
                ("cookie", cookie),
                ("sec-fetch-site", "same-site"),
                ("sec-fetch-mode", mode),
            ];
            let uri = Uri::from_static("/r/web/");
            let found = access.check(door, &method.parse().unwrap(), &uri, &head(&pairs), &from());
            assert_eq!(
                found.err().map(|problem| problem.kind()),
                refused,
                "{door:?} {method} {mode}"
            );
        }
        let found = access.check(
            Door::Dashboard,
            &Method::GET,
            &Uri::from_static("/healthz"),
            &head(&[("host", ours)]),
            &from(),
        );
        assert!(found.is_ok());
    }

    #[test]
    fn one_that_only_shows_takes_no_order() {
        let (_folder, access) = access(Allowed::Looking);
        let bearer = format!("Bearer {}", access.token.text());
        let head = head(&[("host", "localhost"), ("authorization", &bearer)]);
        for (method, refused) in [
            ("GET", None),
            ("HEAD", None),
            ("POST", Some(READ_ONLY)),
            ("DELETE", Some(READ_ONLY)),
        ] {
            let found = access.check(
                Door::Dashboard,
                &method.parse().unwrap(),
                &Uri::from_static("/api/v1/hold"),
                &head,
                &from(),
            );
            assert_eq!(found.err().map(|problem| problem.kind()), refused, "{method}");
        }
    }

    #[test]
    fn the_token_in_the_address_becomes_a_cookie() {
        let (_folder, access) = access(Allowed::Everything);
        let open = |uri: String| access.opened(&Method::GET, &uri.parse().unwrap());
        let response = open(format!("/?token={}", access.token.text())).unwrap();
        let cookie = response.headers()[SET_COOKIE].to_str().unwrap();
        assert!(
            cookie.starts_with(&format!("{}=", access.cookie))
                && cookie.ends_with("HttpOnly; SameSite=Strict"),
            "{cookie}"
        );
        assert_eq!(response.headers()[LOCATION], "/");
        assert!(open("/?token=x".into()).is_none());
        assert!(open(format!("/api/v1/engines?token={}", access.token.text())).is_none());
    }

    #[test]
    fn with_tls_any_host_is_served_to_who_has_the_login_and_to_pages_of_its_own_origin() {
        let folder = tempfile::tempdir().unwrap();
        let token = Token::in_folder(folder.path()).unwrap();
        let login = Login::new("ann", "correct horse").unwrap();
        let access = Access::new(token, Allowed::Everything, Transport::Tls, Some(login));
        let basic = |pair: &str| format!("Basic {}", STANDARD.encode(pair));
        let cookie = format!("{}={}", access.cookie, access.token.text());
        let (right, wrong, none) = (basic("ann:correct horse"), basic("ann:wrong horse"), basic("ann"));
        for (pairs, refused) in [
            (vec![("authorization", right.as_str())], None),
            (vec![("authorization", wrong.as_str())], Some(NO_TOKEN)),
            (vec![("authorization", none.as_str())], Some(NO_TOKEN)),
            (vec![("authorization", "Basic ä")], Some(NO_TOKEN)),
            (
                vec![("cookie", cookie.as_str()), ("origin", "https://hub:8686")],
                None,
            ),
            (
                vec![("cookie", cookie.as_str()), ("origin", "http://hub:8686")],
                Some(FORBIDDEN),
            ),
            (
                vec![("cookie", cookie.as_str()), ("origin", "https://other:8686")],
                Some(FORBIDDEN),
            ),
            (vec![("cookie", cookie.as_str())], Some(NO_TOKEN)),
        ] {
            let mut head = head(&pairs);
            head.insert(HOST, HeaderValue::from_static("hub:8686"));
            let uri = Uri::from_static("/api/v1/hold");
            let found = access.check(Door::Dashboard, &Method::POST, &uri, &head, &from());
            assert_eq!(found.err().map(|problem| problem.kind()), refused, "{pairs:?}");
        }
        let kept = access.kept();
        assert!(kept.to_str().unwrap().contains("; Secure"), "{kept:?}");
    }
}
