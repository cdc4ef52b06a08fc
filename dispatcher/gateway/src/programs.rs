//! `/r/NAME/...`: to a program that answers HTTP, by its name or its application's, wherever it is.
//!
//! ```text
//!   browser --HTTP--> gateway --call of service http--> program, which may be on its way to another engine
//! ```
//! What always holds: programs' pages have an origin of their own, a port beside the dashboard's, so that no
//! script of theirs reads or orders anything of the fleet with the user's cookie. A request is answered by a
//! program once or has an error; only what HTTP calls idempotent is asked again, where who was asked has
//! ended. Sizes and times are bounded.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, HOST, HeaderValue, LOCATION, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{Method, Request, Response, StatusCode, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::routing::any;
use percent_encoding::percent_decode_str;
use wayfare_client::calls::{CallError, SharedError, Wanted};
use wayfare_client::problem::Problem;
use wayfare_protocol::address::Address;
use wayfare_protocol::call::FailureKind;
use wayfare_protocol::limits::PAYLOAD_BYTES_MAX;

use crate::access::Door;
use crate::answers::{self, Answer, NOT_FOUND, too_large};
use crate::bodies;
use crate::exchange;
use crate::site::Site;

/// Both are what programs say and are called by: see the page "HTTP" of the book.
const SERVICE: &str = "service/http";
const FUNCTION: &str = "http";
/// Until a program has answered.
const LIMIT: Duration = Duration::from_secs(30);
/// Whoever is on its way is soon there.
const RETRY_SECONDS: HeaderValue = HeaderValue::from_static("1");
const PREFIX: &str = "/r/";
pub(crate) const PATHS: &str = "/r/{*path}";

/// What is served beside the dashboard: programs alone.
pub(crate) fn router(site: Arc<Site>) -> Router {
    Router::new()
        .route(PATHS, any(exchanged))
        .fallback(async || answers::problem(&nothing("nothing is here but programs, at /r/NAME/")))
        .layer(from_fn_with_state(site.clone(), guard))
        .with_state(site)
}

async fn guard(State(site): State<Arc<Site>>, request: Request<Body>, next: Next) -> Response<Body> {
    let (method, uri) = (request.method(), request.uri());
    let mut response = match site.access().check(
        Door::Programs,
        method,
        uri,
        request.headers(),
        request.extensions(),
    ) {
        Err(problem) => answers::problem(&problem),
        Ok(()) => next.run(request).await,
    };
    let head = response.headers_mut();
    head.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    head.entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

/// At the dashboard's port: who brings the token is answered here, a browser goes to the programs' port.
pub(crate) async fn at_dashboard(
    programs: SocketAddr,
    state: State<Arc<Site>>,
    request: Request<Body>,
) -> Response<Body> {
    let scheme = state.access().transport().scheme();
    if request.headers().contains_key(AUTHORIZATION) {
        return exchanged(state, request).await;
    }
    // It was looked at: us, by some name, with or without a port.
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    let host = host.unwrap_or_default();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    redirect(&format!("{scheme}://{name}:{}{path}", programs.port()))
}

/// With the same method and body.
fn redirect(to: &str) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    match HeaderValue::try_from(to) {
        Ok(to) => drop(response.headers_mut().insert(LOCATION, to)),
        Err(_) => *response.status_mut() = StatusCode::BAD_REQUEST,
    }
    response
}

async fn exchanged(State(site): State<Arc<Site>>, request: Request<Body>) -> Response<Body> {
    exchange(&site, request).await.unwrap_or_else(|problem| {
        let mut response = answers::problem(&problem);
        if response.status() == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, RETRY_SECONDS);
        }
        response
    })
}

async fn exchange(site: &Site, request: Request<Body>) -> Answer {
    let _room = site.room_for_request()?;
    let (head, body) = request.into_parts();
    let Some((name, prefix, path)) = inside(&head.uri) else {
        return Err(nothing("there is no such path"));
    };
    let query = head
        .uri
        .query()
        .map(|query| format!("?{query}"))
        .unwrap_or_default();
    if path.is_empty() {
        // Relative links on the page lead below it.
        return Ok(redirect(&format!("{prefix}/{query}")));
    }
    let target = format!("{path}{query}");
    let body = bodies::whole(body, "the request", PAYLOAD_BYTES_MAX as u64).await?;
    let arguments = exchange::request((&head.method, &target), prefix, &head.headers, &body);
    if arguments.len() > PAYLOAD_BYTES_MAX {
        return Err(too_large("the request", PAYLOAD_BYTES_MAX as u64));
    }
    let wanted = Wanted {
        any_of: addresses(&name),
        function: FUNCTION,
        arguments,
        idempotent: is_idempotent(&head.method),
    };
    let answer = site.callers().call(wanted, LIMIT).await;
    let answer = answer.map_err(|error| failed(&name, &error))?;
    let (status, head, body) = exchange::response(&answer).map_err(|reason| {
        Problem::new(
            "unexpected-answer",
            format!("what '{name}' answered is no response of HTTP: {reason}"),
        )
    })?;
    let mut response = Response::new(Body::from(body.to_owned()));
    *response.status_mut() = status;
    *response.headers_mut() = head;
    Ok(response)
}

/// A program of this name, or one of the application's that answer HTTP.
fn addresses(name: &str) -> Vec<Vec<Address>> {
    let of = |kind: &str| -> Option<Vec<Address>> {
        Some(vec![
            SERVICE.parse().ok()?,
            format!("{kind}/{name}").parse().ok()?,
        ])
    };
    ["program", "app"].into_iter().filter_map(of).collect()
}

/// The name, where a program's own paths begin, and its own path.
fn inside(uri: &Uri) -> Option<(String, &str, &str)> {
    let encoded = uri.path().strip_prefix(PREFIX)?.split('/').next()?;
    let name = percent_decode_str(encoded).decode_utf8().ok()?;
    let (prefix, path) = uri.path().split_at(PREFIX.len() + encoded.len());
    Some((name.into_owned(), prefix, path))
}

/// RFC 9110, 9.2.2.
fn is_idempotent(method: &Method) -> bool {
    let all = [
        Method::GET,
        Method::HEAD,
        Method::OPTIONS,
        Method::TRACE,
        Method::PUT,
        Method::DELETE,
    ];
    all.contains(method)
}

fn nothing(text: impl Into<String>) -> Problem {
    Problem::new(NOT_FOUND, text)
}

fn failed(name: &str, error: &SharedError) -> Problem {
    let text = format!("'{name}': {error}");
    match error {
        SharedError::Call(CallError::Nobody(_)) => nothing(format!(
            "no program '{name}' and no application '{name}' answers HTTP"
        ))
        .hint("it has to serve 'http': `--allow-serve http`, and see the page \"HTTP\" of the book"),
        SharedError::Call(CallError::Failed { kind, .. }) => match kind {
            FailureKind::Unavailable | FailureKind::Ended => Problem::new("unavailable", text),
            FailureKind::DeadlineExceeded => Problem::new(wayfare_client::problem::NO_ANSWER, text),
            _ => Problem::new("unexpected-answer", text),
        },
        SharedError::TooMany => answers::overloaded(text),
        SharedError::Connect(_) | SharedError::Call(_) => Problem::new("unavailable", text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_sees_its_own_paths() {
        for (uri, expected) in [
            ("/r/web", Some(("web", "/r/web", ""))),
            ("/r/web/", Some(("web", "/r/web", "/"))),
            ("/r/web/a/b%20c?d=/r/", Some(("web", "/r/web", "/a/b%20c"))),
            ("/r/a%2Fb/c", Some(("a/b", "/r/a%2Fb", "/c"))),
            ("/r/%ff/c", None),
            ("/files/web/", None),
        ] {
            let uri: Uri = uri.parse().unwrap();
            let found = inside(&uri);
            let found = found
                .as_ref()
                .map(|(name, prefix, path)| (name.as_str(), *prefix, *path));
            assert_eq!(found, expected, "{uri}");
        }
    }

    #[test]
    fn only_what_can_be_a_name_is_looked_for() {
        assert_eq!(addresses("web").len(), 2);
        assert!(addresses("").is_empty());
        assert!(addresses("a b").is_empty());
        assert!(addresses("../service/x").is_empty());
    }
}
