//! The dashboard's files, which are in the binary as they are written: no step makes them.

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH};
use axum::http::{Response, StatusCode, Uri};
use wayfare_client::problem::Problem;
use wayfare_protocol::ids::Digest;

use crate::answers::{self, NOT_FOUND};

struct Asset {
    path: &'static str,
    bytes: &'static [u8],
}

macro_rules! assets {
    ($($name:literal),* $(,)?) => {
        &[$(Asset { path: concat!("/", $name), bytes: include_bytes!(concat!("../web/", $name)) }),*]
    };
}

static ASSETS: &[Asset] = assets![
    "index.html",
    "style.css",
    "icon.svg",
    "app.js",
    "dom.js",
    "api.js",
    "model.js",
    "words.js",
    "fleet.js",
    "drag.js",
    "dialog.js",
    "program.js",
    "loglines.js",
    "logs.js",
    "operations.js",
    "run.js",
    "apps.js",
    "timeline.js",
    "files.js",
    "messages.js",
    "devices.js",
];

impl Asset {
    fn media_type(&self) -> HeaderValue {
        HeaderValue::from_static(match self.path.rsplit('.').next() {
            Some("html") => "text/html; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            Some("js") => "text/javascript; charset=utf-8",
            Some("svg") => "image/svg+xml",
            _ => "application/octet-stream",
        })
    }

    fn response(&self, etag: HeaderValue) -> Response<Body> {
        let mut response = Response::new(Body::from(self.bytes));
        let head = response.headers_mut();
        head.insert(CONTENT_TYPE, self.media_type());
        // Kept, but asked for: a newer release has newer ones.
        head.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        head.insert(ETAG, etag);
        response
    }
}

/// A file of the dashboard, or that there is none.
pub(crate) async fn asset(uri: Uri, head: HeaderMap) -> Response<Body> {
    let Some(asset) = find(uri.path()) else {
        let problem = Problem::new(NOT_FOUND, format!("nothing is at {}", uri.path()));
        let problem = problem.hint("GET /api lists what there is");
        return answers::problem(&problem);
    };
    let etag = format!("\"{}\"", Digest::of(asset.bytes).short());
    let etag = HeaderValue::try_from(etag).expect("hexadecimal digits");
    if head.get(IF_NONE_MATCH) == Some(&etag) {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return response;
    }
    asset.response(etag)
}

/// Whether a file of the dashboard is there: it says nothing of the fleet.
pub(crate) fn is_asset(path: &str) -> bool {
    find(path).is_some()
}

fn find(path: &str) -> Option<&'static Asset> {
    let path = match path {
        "/" => "/index.html",
        path => path,
    };
    ASSETS.iter().find(|asset| asset.path == path)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All that the pages name is there, nothing comes from elsewhere, and it is small.
    #[test]
    fn the_dashboard_is_whole_and_small_and_its_own() {
        let mut bytes = 0;
        for asset in ASSETS {
            bytes += asset.bytes.len();
            let text = std::str::from_utf8(asset.bytes).unwrap();
            for part in text
                .split("from \"./")
                .skip(1)
                .chain(text.split("import(\"./").skip(1))
            {
                let name = part.split('"').next().unwrap_or_default();
                assert!(
                    ASSETS.iter().any(|asset| asset.path == format!("/{name}")),
                    "{}: {name}",
                    asset.path
                );
            }
            for part in text
                .split("src=\"/")
                .skip(1)
                .chain(text.split("href=\"/").skip(1))
            {
                let name = part.split('"').next().unwrap_or_default();
                let is_there =
                    matches!(name, "" | "api") || ASSETS.iter().any(|asset| asset.path == format!("/{name}"));
                assert!(is_there, "{}: {name}", asset.path);
            }
            let from_elsewhere = text.replace("http://www.w3.org/2000/svg", "");
            assert!(
                !from_elsewhere.contains("http://") && !from_elsewhere.contains("https://"),
                "{}",
                asset.path
            );
            assert!(
                !text.contains(" style=\"") && !text.contains(" onclick="),
                "{}: the policy forbids it",
                asset.path
            );
        }
        assert!(bytes < 500_000, "{bytes}");
        let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/web"))
            .unwrap()
            .count();
        assert_eq!(files, ASSETS.len(), "a file is not served");
    }
}
