//! An HTTP exchange as a call: the request and the response as bytes of HTTP/1.1 (`message/http` of RFC
//! 9112), which is what programs get and give.
//!
//! What always holds: what belongs to a connection, and what lets somebody in here, is not passed on in
//! either direction.

use axum::http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, HOST, HeaderMap, HeaderName, HeaderValue,
    PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use axum::http::{Method, StatusCode};

/// Fields of a response that are read.
const FIELDS_MAX: usize = 64;
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
/// Below which path a program finds itself.
const PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");

/// A request's bytes: its body has come whole.
pub(crate) fn request(
    (method, target): (&Method, &str),
    prefix: &str,
    head: &HeaderMap,
    body: &[u8],
) -> Vec<u8> {
    let mut bytes = format!("{method} {target} HTTP/1.1\r\n{PREFIX}: {prefix}\r\n").into_bytes();
    if !body.is_empty() {
        bytes.extend(format!("{CONTENT_LENGTH}: {}\r\n", body.len()).bytes());
    }
    let passed = head
        .iter()
        .filter(|(name, _)| !is_ours(head, name) && **name != PREFIX && **name != CONTENT_LENGTH);
    for (name, value) in passed {
        bytes.extend(name.as_str().bytes());
        bytes.extend(b": ");
        bytes.extend(value.as_bytes());
        bytes.extend(b"\r\n");
    }
    bytes.extend(b"\r\n");
    bytes.extend(body);
    bytes
}

/// Status, fields and body of a response.
pub(crate) fn response(bytes: &[u8]) -> Result<(StatusCode, HeaderMap, &[u8]), String> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut parsed = httparse::Response::new(&mut fields);
    let begin = match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(begin)) => begin,
        Ok(httparse::Status::Partial) => return Err("its head has no end".into()),
        Err(error) => return Err(error.to_string()),
    };
    let code = parsed.code.unwrap_or_default();
    // What comes before a response, such as 101, is between two ends of a connection.
    let status = StatusCode::from_u16(code)
        .ok()
        .filter(|status| !status.is_informational());
    let status = status.ok_or_else(|| format!("{code} is no response's status"))?;
    let mut all = HeaderMap::new();
    for field in parsed.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|error| error.to_string())?;
        let value = HeaderValue::from_bytes(field.value).map_err(|error| error.to_string())?;
        all.append(name, value);
    }
    let mut head = HeaderMap::new();
    for (name, value) in &all {
        if !is_ours(&all, name) && *name != CONTENT_LENGTH {
            head.append(name, value.clone());
        }
    }
    Ok((status, head, &bytes[begin..]))
}

fn is_ours(head: &HeaderMap, name: &HeaderName) -> bool {
    let hop = [
        CONNECTION,
        KEEP_ALIVE,
        PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
    ];
    let secret = [AUTHORIZATION, COOKIE, SET_COOKIE];
    let named = head
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let mut named = named.flat_map(|value| value.split(',')).map(str::trim);
    let is_named = named.any(|named| name.as_str().eq_ignore_ascii_case(named) && *name != HOST);
    hop.contains(name) || secret.contains(name) || is_named
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn what_lets_somebody_in_and_what_is_the_connections_is_not_passed_on() {
        let head = head(&[
            ("host", "127.0.0.1:8687"),
            ("accept", "text/html"),
            ("authorization", "Bearer secret"),
            ("cookie", "wayfare-1=secret"),
            ("connection", "close, x-hop"),
            ("x-hop", "1"),
            ("transfer-encoding", "chunked"),
            ("x-forwarded-prefix", "/elsewhere"),
            ("content-length", "7"),
        ]);
        let bytes = request((&Method::POST, "/a?b=c"), "/r/web", &head, b"body");
        assert_eq!(
            String::from_utf8(bytes).unwrap(),
            "POST /a?b=c HTTP/1.1\r\nx-forwarded-prefix: /r/web\r\ncontent-length: 4\r\nhost: 127.0.0.1:8687\r\naccept: \
             text/html\r\n\r\nbody"
        );
        let (status, head, body) = response(
            b"HTTP/1.1 201 Created\r\nContent-Type: text/plain\r\nSet-Cookie: a=1\r\nContent-Length: 99\r\nX: 1\r\nX: 2\r\n\r\nhi",
        )
        .unwrap();
        assert_eq!((status.as_u16(), body), (201, &b"hi"[..]));
        assert_eq!(head.get_all("x").iter().count(), 2);
        assert_eq!(
            head.keys().map(HeaderName::as_str).collect::<Vec<_>>(),
            ["content-type", "x"]
        );
    }

    #[test]
    fn what_is_no_response_is_refused() {
        let long = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(FIELDS_MAX + 1));
        for bytes in [
            &b""[..],
            b"\xff\xfe",
            b"HTTP/1.1 200 OK\r\n",
            b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
            b"HTTP/1.1 42 No\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nna me: x\r\n\r\n",
            b"HTTP/1.1 200 OK\r\na: b\rc\r\n\r\n",
            long.as_bytes(),
        ] {
            assert!(response(bytes).is_err(), "{:?}", String::from_utf8_lossy(bytes));
        }
    }
}
