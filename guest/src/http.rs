//! Programs that answer HTTP: a browser finds them at `/r/NAME/` of the fleet's gateway, wherever they are.
//!
//! ```no_run
//! use wayfare_guest::{self as wayfare, http};
//!
//! fn main() -> Result<(), wayfare::Error> {
//!     http::serve()?;
//!     loop {
//!         let message = wayfare::receive()?;
//!         let Some(request) = http::take(&message)? else { continue };
//!         let response = match (request.method.as_str(), request.path()) {
//!             ("GET", "/") => http::Response::html("<h1>Well</h1>"),
//!             _ => http::Response::new(404),
//!         };
//!         request.answer(&response)?;
//!     }
//! }
//! ```
//!
//! It is granted as a service is: `--allow-serve http`. An exchange is a [call](crate::calls): it waits while the program moves, has
//! one end, and its request and response have at most 120 KiB each. The gateway asks again only what HTTP calls idempotent, where the
//! program that was asked has ended.

use std::fmt::Write as _;

use crate::Result;
use crate::calls::{self, FailureKind};
use crate::error::Error;
use crate::message::{Call, Message};

/// What is served, and the function that is called.
const SERVICE: &str = "http";
const FUNCTION: &str = "http";
const FIELDS_MAX: usize = 128;

/// Lets the program be found by HTTP. Asked again, it is as if asked once.
///
/// # Errors
/// Those of [`calls::serve`].
pub fn serve() -> Result<()> {
    calls::serve(SERVICE)
}

/// A request, to be answered once: now or later, in any order.
#[derive(Debug, Clone)]
pub struct Request {
    /// In capital letters, such as `GET`.
    pub method: String,
    /// Path and query as they came, such as `/a%20b?c=d`: the path begins with `/`, below the program's own address.
    pub target: String,
    /// Name and value, in the order in which they came. Names are in lower case.
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
    call: Call,
}

/// Takes a message that is a request. `None`: it is something else, or no request, which is refused to whoever sent it.
///
/// # Errors
/// Those of [`calls::fail`].
pub fn take(message: &Message) -> Result<Option<Request>> {
    let Some(call) = message.call.as_ref().filter(|call| call.function == FUNCTION) else {
        return Ok(None);
    };
    match parse(&message.payload) {
        Some((method, target, headers, body)) => Ok(Some(Request {
            method,
            target,
            headers,
            body,
            call: call.clone(),
        })),
        None => {
            calls::fail(call, FailureKind::Refused, "it is no request of HTTP/1.1")?;
            Ok(None)
        }
    }
}

type Parts = (String, String, Vec<(String, Vec<u8>)>, Vec<u8>);

fn parse(bytes: &[u8]) -> Option<Parts> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut parsed = httparse::Request::new(&mut fields);
    let httparse::Status::Complete(begin) = parsed.parse(bytes).ok()? else {
        return None;
    };
    let headers = parsed
        .headers
        .iter()
        .map(|field| (field.name.to_ascii_lowercase(), field.value.to_vec()));
    let headers = headers.collect();
    Some((
        parsed.method?.to_owned(),
        parsed.path?.to_owned(),
        headers,
        bytes[begin..].to_vec(),
    ))
}

impl Request {
    /// As it came, without its query.
    pub fn path(&self) -> &str {
        self.target.split_once('?').map_or(&self.target, |(path, _)| path)
    }

    /// What comes behind the path's `?`.
    pub fn query(&self) -> Option<&str> {
        Some(self.target.split_once('?')?.1)
    }

    /// The first of this name, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self
            .headers
            .iter()
            .find(|(of, _)| of.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(value).ok()
    }

    /// Answers it.
    ///
    /// # Errors
    /// Those of [`calls::answer`]: after [`Error::TooLarge`], which is above 120 KiB, it may be answered otherwise.
    /// [`Error::Malformed`] also for a header that HTTP does not know.
    pub fn answer(&self, response: &Response) -> Result<()> {
        calls::answer(&self.call, response.bytes()?)
    }
}

/// What a request is answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    /// Without a body.
    pub fn new(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    pub fn text(body: impl Into<String>) -> Self {
        Self::of("text/plain; charset=utf-8", body.into())
    }

    pub fn html(body: impl Into<String>) -> Self {
        Self::of("text/html; charset=utf-8", body.into())
    }

    pub fn json(body: impl Into<String>) -> Self {
        Self::of("application/json", body.into())
    }

    /// 200, with this body.
    pub fn of(content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let mut response = Self::new(200).header("content-type", content_type);
        response.body = body.into();
        response
    }

    #[must_use]
    pub fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    fn bytes(&self) -> Result<Vec<u8>> {
        let mut head = format!("HTTP/1.1 {} \r\n", self.status);
        for (name, value) in &self.headers {
            let is_name = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
            if name.is_empty() || !name.chars().all(is_name) || value.contains(['\r', '\n', '\0']) {
                return Err(Error::Malformed);
            }
            let _ = write!(head, "{name}: {value}\r\n");
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend(&self.body);
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_and_what_is_none_is_not() {
        let bytes = b"POST /a%20b?c=d HTTP/1.1\r\nHost: x\r\nX-A: 1\r\n\r\nbody";
        let (method, target, headers, body) = parse(bytes).unwrap();
        assert_eq!(
            (method.as_str(), target.as_str(), &body[..]),
            ("POST", "/a%20b?c=d", &b"body"[..])
        );
        assert_eq!(headers[1], ("x-a".to_owned(), b"1".to_vec()));
        for bytes in [
            &b""[..],
            b"GET / HTTP/1.1\r\n",
            b"\xff",
            b"GET / HTTP/1.1\r\na b: c\r\n\r\n",
        ] {
            assert!(parse(bytes).is_none());
        }
    }

    #[test]
    fn no_header_makes_another_header_or_a_body() {
        let bytes = Response::text("hi").header("x", "1").bytes().unwrap();
        assert_eq!(
            String::from_utf8(bytes).unwrap(),
            "HTTP/1.1 200 \r\ncontent-type: text/plain; charset=utf-8\r\nx: 1\r\n\r\nhi"
        );
        for (name, value) in [("a\r\nb", "c"), ("a", "b\r\nc: d"), ("", "x"), ("a:", "x")] {
            assert_eq!(
                Response::new(200).header(name, value).bytes(),
                Err(Error::Malformed)
            );
        }
    }
}
