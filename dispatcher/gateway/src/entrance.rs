//! Where people are let in who have not got the address with the token: by the login, or by the token itself.
//! What they get is the cookie that the address gives.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderValue, Request, Response, StatusCode};
use serde::Deserialize;
use serde_json::json;

use crate::access::Presented;
use crate::answers::{self, Answer, bad_usage};
use crate::bodies;
use crate::site::Site;

const BODY_BYTES_MAX: u64 = 4 * 1024;

#[derive(Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum Entering {
    Token { token: String },
    Login { user: String, password: String },
}

/// What there is to be let in by.
pub(crate) async fn about(State(site): State<Arc<Site>>) -> Response<Body> {
    let by = match site.access().has_login() {
        true => "password",
        false => "token",
    };
    answers::json(&json!({ "login": by }))
}

pub(crate) async fn enter(State(site): State<Arc<Site>>, request: Request<Body>) -> Response<Body> {
    entered(&site, request)
        .await
        .unwrap_or_else(|problem| answers::problem(&problem))
}

async fn entered(site: &Site, request: Request<Body>) -> Answer {
    let _room = site.room_for_request()?;
    let (head, body) = request.into_parts();
    let body = bodies::whole(body, "the login", BODY_BYTES_MAX).await?;
    let entering: Entering = serde_json::from_slice(&body)
        .map_err(|_| bad_usage("what lets in is {\"user\", \"password\"} or {\"token\"}, in JSON"))?;
    let presented = match &entering {
        Entering::Token { token } => Presented::Token(token),
        Entering::Login { user, password } => Presented::Login { user, password },
    };
    site.access().lets_in(&presented, &head.extensions)?;
    Ok(with_cookie(site.access().kept()))
}

pub(crate) async fn leave(State(site): State<Arc<Site>>) -> Response<Body> {
    with_cookie(site.access().forgotten())
}

fn with_cookie(cookie: HeaderValue) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(SET_COOKIE, cookie);
    response
}
