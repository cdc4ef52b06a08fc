//! What stands before every request: who may is asked first, and each response tells the browser what it may
//! do with it.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{Request, Response};
use axum::middleware::Next;

use crate::access::Door;
use crate::answers;
use crate::site::Site;

/// Nothing from elsewhere, and nothing inline.
const POLICY: &str = "default-src 'self'; img-src 'self' data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Before every request.
pub(crate) async fn guard(
    State(site): State<Arc<Site>>,
    request: Request<Body>,
    next: Next,
) -> Response<Body> {
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let mut response = match site.access().check(
        Door::Dashboard,
        &method,
        &uri,
        request.headers(),
        request.extensions(),
    ) {
        Err(problem) => answers::problem(&problem),
        Ok(()) => match site.access().opened(&method, &uri) {
            Some(response) => response,
            None => next.run(request).await,
        },
    };
    let head = response.headers_mut();
    head.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    head.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    head.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    head.entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}
