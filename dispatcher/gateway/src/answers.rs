//! What is answered: JSON, or a [`Problem`] with the command's code word and the HTTP status that goes with
//! it.

use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use axum::http::{Response, StatusCode};
use serde::Serialize;
use serde_json::Value;
use wayfare_client::problem::{BAD_USAGE, NO_ANSWER, Problem};
use wayfare_protocol::error::Failure;

pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// The kinds of what is wrong with a request itself.
pub(crate) const TOO_LARGE: &str = "too-large";
pub(crate) const TOO_SLOW: &str = "too-slow";
pub(crate) const FORBIDDEN: &str = "forbidden";
pub(crate) const NO_TOKEN: &str = "no-token";
pub(crate) const READ_ONLY: &str = "read-only";
pub(crate) const NOT_FOUND: &str = "not-found";
/// Who tries to be let in is to wait.
pub(crate) const TOO_MANY: &str = "too-many";
pub(crate) const OVERLOADED: &str = "overloaded";

/// How long a piece of a file may take.
pub(crate) const ASK_TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) type Answer = Result<Response<Body>, Problem>;

pub(crate) fn json(document: &impl Serialize) -> Response<Body> {
    json_as(StatusCode::OK, document)
}

pub(crate) fn json_as(status: StatusCode, document: &impl Serialize) -> Response<Body> {
    let text = serde_json::to_string(document).expect("plain data serialises");
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}

pub(crate) fn bad_usage(text: impl Into<String>) -> Problem {
    Problem::new(BAD_USAGE, text)
}

pub(crate) fn too_large(what: &str, bytes_max: u64) -> Problem {
    Problem::new(TOO_LARGE, format!("{what} has more than {bytes_max} bytes"))
}

/// Too much of something is under way.
pub(crate) fn overloaded(text: impl Into<String>) -> Problem {
    Problem::new(OVERLOADED, text).hint("try again in a moment")
}

pub(crate) fn problem(problem: &Problem) -> Response<Body> {
    let status = status_of(problem);
    let mut response = json_as(status, &Value::from(problem.document()));
    if status == StatusCode::UNAUTHORIZED {
        // RFC 9110 wants it to say how one is let in.
        let how = HeaderValue::from_static("Bearer");
        response.headers_mut().insert(WWW_AUTHENTICATE, how);
    }
    response
}

fn status_of(problem: &Problem) -> StatusCode {
    match problem.kind() {
        BAD_USAGE | "source" | "no-language" | "only-beginning" | "not-wasm" | "bad-snapshot-file"
        | "manifest" => StatusCode::BAD_REQUEST,
        NO_TOKEN => StatusCode::UNAUTHORIZED,
        FORBIDDEN | READ_ONLY | "not-granted" => StatusCode::FORBIDDEN,
        NOT_FOUND | "no-file" | "no-version" | "no-engine" | "no-program" | "no-module" => {
            StatusCode::NOT_FOUND
        }
        TOO_LARGE => StatusCode::PAYLOAD_TOO_LARGE,
        TOO_MANY => StatusCode::TOO_MANY_REQUESTS,
        TOO_SLOW => StatusCode::REQUEST_TIMEOUT,
        NO_ANSWER => StatusCode::GATEWAY_TIMEOUT,
        "changed" => StatusCode::PRECONDITION_FAILED,
        OVERLOADED | "closed" | "no-broker" | "broker" | "unavailable" => StatusCode::SERVICE_UNAVAILABLE,
        "damaged" | "unexpected-answer" => StatusCode::BAD_GATEWAY,
        _ => match problem.failure() {
            Some(Failure::BadRequest { .. } | Failure::Module { .. }) => StatusCode::BAD_REQUEST,
            Some(Failure::NotPermitted { .. }) => StatusCode::FORBIDDEN,
            Some(Failure::TooLarge { .. }) => StatusCode::PAYLOAD_TOO_LARGE,
            Some(Failure::UnknownProgram { .. } | Failure::NoDevice { .. }) => StatusCode::NOT_FOUND,
            _ => StatusCode::CONFLICT,
        },
    }
}
