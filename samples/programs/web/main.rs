//! A page that is where its program is: `web [title]` shows which engine it is on, how often it was looked at and what people have
//! written there, whatever moves meanwhile. Found at `/r/NAME/` of the fleet's gateway; needs `--allow-serve http`.
//!
//! `GET /` is the page, `POST /` adds a line to it, `GET /engine` is the engine's name as text.

use std::fmt::Write as _;
use std::process::ExitCode;

use wayfare_guest::{self as wayfare, http};

/// The oldest lines go first.
const LINES_MAX: usize = 100;
const LINE_BYTES_MAX: usize = 500;

struct Page {
    title: String,
    looks: u64,
    lines: Vec<String>,
}

fn main() -> ExitCode {
    let title = std::env::args().nth(1);
    match serve(title.unwrap_or_else(|| "Wayfare".into())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("web: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(title: String) -> Result<(), wayfare::Error> {
    http::serve()?;
    println!("answers HTTP");
    let mut page = Page {
        title,
        looks: 0,
        lines: Vec::new(),
    };
    loop {
        let message = wayfare::receive()?;
        if let Some(request) = http::take(&message)? {
            request.answer(&page.respond(&request))?;
        }
    }
}

impl Page {
    fn respond(&mut self, request: &http::Request) -> http::Response {
        match (request.method.as_str(), request.path()) {
            ("GET" | "HEAD", "/") => {
                self.looks += 1;
                http::Response::html(self.html())
            }
            ("GET" | "HEAD", "/engine") => http::Response::text(wayfare::engine_id()),
            ("POST", "/") => {
                let text = String::from_utf8_lossy(&request.body);
                let text = text.strip_prefix("line=").map_or_else(|| text.to_string(), plain);
                let line: String = text.chars().filter(|c| !c.is_control()).collect();
                if line.is_empty() || line.len() > LINE_BYTES_MAX {
                    return http::Response::text(format!("a line has 1 to {LINE_BYTES_MAX} bytes")).status(400);
                }
                if self.lines.len() == LINES_MAX {
                    self.lines.remove(0);
                }
                self.lines.push(line);
                // The page is below the gateway's address.
                http::Response::new(303).header("location", ".")
            }
            (_, "/" | "/engine") => http::Response::new(405),
            _ => http::Response::text("there are / and /engine").status(404),
        }
    }

    fn html(&self) -> String {
        let mut html = format!(
            "<!doctype html><meta charset=utf-8><title>{title}</title><h1>{title}</h1><p>On {engine}, looked at {looks} times.</p>\
             <form method=post><input name=line maxlength=200 autofocus> <button>Write</button></form><ul>",
            title = escaped(&self.title),
            engine = escaped(&wayfare::engine_id()),
            looks = self.looks,
        );
        for line in &self.lines {
            let _ = write!(html, "<li>{}</li>", escaped(line));
        }
        html.push_str("</ul>");
        html
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Of a form's field: `+` is a space, and `%` is followed by a byte.
fn plain(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match (first, digits.and_then(|digits| u8::from_str_radix(digits, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            (b'+', _) => bytes.push(b' '),
            (byte, _) => bytes.push(*byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
