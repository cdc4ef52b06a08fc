//! Who may: this machine's user, by the token, and no page of another origin on that user's behalf.
//!
//! ```text
//!   Host is this machine? -> Origin is ours? -> token or cookie? -> may change?  -> the operation
//! ```
//! `Host` is checked because a foreign page can make its own name mean 127.0.0.1 (DNS rebinding); `Origin`
//! because it can send requests with our cookie along.

use std::net::IpAddr;

use axum::body::Body;
use axum::http::header::{
    AUTHORIZATION, COOKIE, HOST, HeaderMap, HeaderName, HeaderValue, LOCATION, ORIGIN, SET_COOKIE,
};
use axum::http::{Method, Response, StatusCode, Uri};
use wayfare_client::problem::Problem;

use crate::answers::{FORBIDDEN, NO_TOKEN, READ_ONLY};
use crate::assets;
use crate::token::Token;

const FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// For who watches whether it is there; the dashboard's own files are open too.
const OPEN_PATHS: [&str; 2] = ["/healthz", "/readyz"];

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

#[derive(Debug)]
pub(crate) struct Access {
    token: Token,
    /// A browser keeps cookies by host alone, and all tunnels end at the same: each token has its own.
    cookie: String,
    allowed: Allowed,
}

impl Access {
    pub(crate) fn new(token: Token, allowed: Allowed) -> Self {
        Self {
            cookie: format!("wayfare-{}", token.name()),
            token,
            allowed,
        }
    }

    pub(crate) fn check(
        &self,
        door: Door,
        method: &Method,
        uri: &Uri,
        head: &HeaderMap,
    ) -> Result<(), Problem> {
        let host = text(head, &HOST).unwrap_or_default();
        if !is_this_machine(host) {
            let text = format!("the host '{host}' is not this machine");
            return Err(Problem::new(FORBIDDEN, text)
                .hint("use the address that was printed, with 127.0.0.1 or localhost"));
        }
        let is_ours = match head.get(ORIGIN) {
            Some(origin) => origin
                .to_str()
                .is_ok_and(|origin| origin.strip_prefix("http://") == Some(host)),
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
        let by_header = text(head, &AUTHORIZATION).and_then(bearer);
        let is_known = match (by_header, self.in_cookie(head)) {
            (Some(token), _) => self.token.is(token.trim()),
            // A browser says where an order comes from.
            (None, Some(token)) => self.token.is(token) && (is_looking || head.contains_key(ORIGIN)),
            (None, None) => false,
        };
        if !is_known {
            return Err(Problem::new(NO_TOKEN, "the token is missing, or it is another one").hint(
                "open the address that `wayfare up`, `wayfare dispatcher` or `wayfare ui` printed; scripts send the token of the file \
                 http-token in its data folder as 'Authorization: Bearer'",
            ));
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
        let cookie = format!(
            "{}={}; Path=/; HttpOnly; SameSite=Strict",
            self.cookie,
            self.token.text()
        );
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SEE_OTHER;
        let head = response.headers_mut();
        head.insert(SET_COOKIE, HeaderValue::try_from(cookie).ok()?);
        head.insert(LOCATION, HeaderValue::from_static("/"));
        Some(response)
    }
}

/// Somebody follows a link to the page: nothing is changed by that, and nobody else reads what is answered. A program's page
/// is opened from the dashboard.
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

/// The token of an `Authorization: Bearer`; the scheme's case does not matter (RFC 9110).
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
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
        (folder, Access::new(token, allowed))
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
            let found = access.check(Door::Dashboard, &method.parse().unwrap(), &uri, &head(&pairs));
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
            let found = access.check(door, &method.parse().unwrap(), &uri, &head(&pairs));
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
}
