//! `/files/...`: the files of `/fleet` as things of the web. `GET` and `PUT` with versions as `ETag`s,
//! ranges, folders as lists.
//!
//! No more of a file than some pieces is in memory, whichever way it goes.

mod query;
mod range;

use std::io;
use std::pin::pin;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap,
    HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH,
};
use axum::http::{Request, Response, StatusCode, Uri};
use bytes::Bytes;
use futures::Stream;
use futures::stream::try_unfold;
use percent_encoding::percent_decode_str;
use serde_json::json;
use tokio_util::io::StreamReader;
use wayfare_client::files::{Extent, Files, FilesError};
use wayfare_client::problem::Problem;
use wayfare_protocol::files::{
    Expected, FILE_BYTES_MAX, FileKind, FilePath, FileRefusal, FileStat, MOUNT, NodeId,
};

use self::query::Query;
use self::range::wanted_part;
use crate::answers::{self, Answer, bad_usage, json, json_as, too_large};
use crate::bodies::{broken, paced};
use crate::site::Site;

const PREFIX: &str = "/files";
/// Of a file, in memory at once.
const PIECE_BYTES: u64 = 512 * 1024;
/// Whether a browser may show what somebody put there: only as text, a picture, a sound; never as a page of
/// ours.
const SHOWN: [(&str, &str); 12] = [
    ("txt", "text/plain; charset=utf-8"),
    ("md", "text/plain; charset=utf-8"),
    ("log", "text/plain; charset=utf-8"),
    ("csv", "text/csv; charset=utf-8"),
    ("json", "application/json"),
    ("toml", "text/plain; charset=utf-8"),
    ("js", "text/plain; charset=utf-8"),
    ("py", "text/plain; charset=utf-8"),
    ("png", "image/png"),
    ("jpg", "image/jpeg"),
    ("webp", "image/webp"),
    ("wasm", "application/wasm"),
];

/// `/files/a/b` is `/fleet/a/b`.
fn path(uri: &Uri) -> Result<FilePath, Problem> {
    let encoded = uri.path().strip_prefix(PREFIX).unwrap_or_default();
    let decoded = percent_decode_str(encoded).decode_utf8();
    let decoded = decoded.map_err(|_| bad_usage("the path is not text"))?;
    let text = format!("{MOUNT}{}", decoded.trim_end_matches('/'));
    FilePath::try_from(text).map_err(bad_usage)
}

fn files(site: &Site) -> Files<'_> {
    Files::new(site.client(), site.name().clone(), answers::ASK_TIMEOUT)
}

/// With the time, because whoever has a file open goes on with its own version.
fn etag(stat: &FileStat) -> HeaderValue {
    let FileStat {
        node,
        version,
        modified_ms,
        ..
    } = stat;
    HeaderValue::try_from(format!("\"{node}-{version}-{modified_ms}\"")).expect("digits")
}

pub(crate) async fn get(
    State(site): State<Arc<Site>>,
    uri: Uri,
    RawQuery(query): RawQuery,
    head: HeaderMap,
) -> Response<Body> {
    answered(look(site, &uri, Query::of(query), &head).await)
}

fn answered(answer: Answer) -> Response<Body> {
    answer.unwrap_or_else(|problem| answers::problem(&problem))
}

async fn look(site: Arc<Site>, uri: &Uri, query: Query, head: &HeaderMap) -> Answer {
    let path = path(uri)?;
    let stat = files(&site).stat(&path).await?;
    if query.flag("history")? {
        return Ok(json(&files(&site).history(&path).await?));
    }
    if stat.kind == FileKind::Folder {
        return Ok(json(&files(&site).list(&path).await?));
    }
    if query.flag("stat")? {
        return Ok(json(&stat));
    }
    let stat = match query.number("version")? {
        Some(version) if version != stat.version => of_version(&site, &path, stat, version).await?,
        _ => stat,
    };
    let (etag, bytes) = (etag(&stat), stat.bytes);
    if head.get(IF_NONE_MATCH) == Some(&etag) {
        return Ok(with(StatusCode::NOT_MODIFIED, [(ETAG, etag)], Body::empty()));
    }
    let media_type = HeaderValue::from_static(media_type(&path));
    let part = wanted_part(head, &etag, bytes);
    let mut fields = vec![
        (ETAG, etag),
        (CONTENT_TYPE, media_type),
        (ACCEPT_RANGES, HeaderValue::from_static("bytes")),
    ];
    if media_type_is_foreign(&path) {
        fields.push((CONTENT_DISPOSITION, HeaderValue::from_static("attachment")));
    }
    let (status, from, end) = match part {
        None => (StatusCode::OK, 0, bytes),
        Some(Some((from, end))) => {
            fields.push((CONTENT_RANGE, text(format!("bytes {from}-{}/{bytes}", end - 1))));
            (StatusCode::PARTIAL_CONTENT, from, end)
        }
        Some(None) => {
            let fields = [(CONTENT_RANGE, text(format!("bytes */{bytes}")))];
            return Ok(with(StatusCode::RANGE_NOT_SATISFIABLE, fields, Body::empty()));
        }
    };
    fields.push((CONTENT_LENGTH, HeaderValue::from(end - from)));
    Ok(with(
        status,
        fields,
        Body::from_stream(content(site, path, (stat.node, stat.version), from, end)),
    ))
}

fn text(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("digits and words")
}

/// What an earlier version of this file was.
async fn of_version(
    site: &Site,
    path: &FilePath,
    now: FileStat,
    version: u64,
) -> Result<FileStat, FilesError> {
    let history = files(site).history(path).await?;
    let found = history.iter().find(|found| found.version == version);
    let found = found.ok_or_else(|| FilesError::Refused {
        path: path.clone(),
        why: FileRefusal::NoVersion,
    })?;
    Ok(FileStat {
        version,
        bytes: found.bytes,
        modified_ms: found.modified_ms,
        ..now
    })
}

fn with(
    status: StatusCode,
    fields: impl IntoIterator<Item = (HeaderName, HeaderValue)>,
    body: Body,
) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().extend(fields);
    response
}

/// A file's content, piece by piece as it is read: all of this file, whatever its name means meanwhile.
fn content(
    site: Arc<Site>,
    path: FilePath,
    (node, version): (NodeId, u64),
    from: u64,
    end: u64,
) -> impl Stream<Item = io::Result<Bytes>> {
    try_unfold((site, path, from), move |(site, path, offset)| async move {
        if offset >= end {
            return Ok(None);
        }
        let extent = Extent {
            node: Some(node),
            version: Some(version),
            offset,
            bytes: Some(PIECE_BYTES.min(end - offset)),
        };
        let mut piece = Vec::new();
        let sink = |bytes: &[u8], _| {
            piece.extend_from_slice(bytes);
            Ok(())
        };
        files(&site)
            .read(&path, extent, sink)
            .await
            .map_err(io::Error::other)?;
        if piece.is_empty() {
            return Err(io::Error::other("the file is shorter than it was"));
        }
        let next = offset + piece.len() as u64;
        Ok(Some((Bytes::from(piece), (site, path, next))))
    })
}

fn known_type(path: &FilePath) -> Option<&'static str> {
    let (_, extension) = path.as_str().rsplit_once('.')?;
    SHOWN
        .iter()
        .find(|(known, _)| *known == extension)
        .map(|(_, media_type)| *media_type)
}

fn media_type(path: &FilePath) -> &'static str {
    known_type(path).unwrap_or("application/octet-stream")
}

fn media_type_is_foreign(path: &FilePath) -> bool {
    known_type(path).is_none()
}

/// What the writer says that it knows of the file. That is compared now, before anything is read, and again
/// when it is changed.
async fn expected(site: &Site, path: &FilePath, head: &HeaderMap) -> Result<Option<Expected>, Problem> {
    let (wanted, absent) = (head.get(IF_MATCH), head.get(IF_NONE_MATCH));
    if wanted.is_none() && absent.is_none() {
        return Ok(None);
    }
    let there = match files(site).stat(path).await {
        Ok(stat) => Some(stat),
        Err(FilesError::Refused {
            why: FileRefusal::Absent,
            ..
        }) => None,
        Err(error) => return Err(error.into()),
    };
    let tag = there.as_ref().map(etag);
    let is_as_wanted =
        wanted.is_none_or(|wanted| tag.as_ref().is_some_and(|tag| wanted == tag || wanted == "*"));
    let is_absent = absent.is_none_or(|absent| match absent.as_bytes() {
        b"*" => there.is_none(),
        _ => tag.as_ref() != Some(absent),
    });
    if !(is_as_wanted && is_absent) {
        return Err(
            Problem::new("changed", format!("{path} is not as it was when you looked")).hint("get it again"),
        );
    }
    Ok(Some(match (there, wanted) {
        (None, _) => Expected::Absent,
        (Some(_), Some(wanted)) if wanted == "*" => Expected::Present,
        (Some(there), _) => Expected::unchanged(&there),
    }))
}

pub(crate) async fn put(State(site): State<Arc<Site>>, request: Request<Body>) -> Response<Body> {
    answered(write(site, request).await)
}

async fn write(site: Arc<Site>, request: Request<Body>) -> Answer {
    let path = path(request.uri())?;
    let length = request
        .headers()
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > FILE_BYTES_MAX) {
        return Err(too_large(path.as_str(), FILE_BYTES_MAX));
    }
    let expected = expected(&site, &path, request.headers()).await?;
    let body = pin!(paced(request.into_body()));
    let files = files(&site);
    let written = files
        .write_if(&path, expected, StreamReader::new(body), |_| {})
        .await;
    let written = written.map_err(of_body)?;
    let stat = files.stat(&path).await?;
    let status = match stat.version {
        0 | 1 => StatusCode::CREATED,
        _ => StatusCode::OK,
    };
    let mut response = json_as(
        status,
        &json!({ "path": path, "bytes": written, "version": stat.version }),
    );
    response.headers_mut().insert(ETAG, etag(&stat));
    Ok(response)
}

/// Appends.
pub(crate) async fn patch(State(site): State<Arc<Site>>, request: Request<Body>) -> Response<Body> {
    let appended = async {
        let path = path(request.uri())?;
        let expected = expected(&site, &path, request.headers()).await?;
        let body = pin!(paced(request.into_body()));
        let files = files(&site);
        let bytes = files.append(&path, expected, StreamReader::new(body)).await;
        let bytes = bytes.map_err(of_body)?;
        let stat = files.stat(&path).await?;
        let mut response = json(&json!({ "path": path, "bytes": bytes, "version": stat.version }));
        response.headers_mut().insert(ETAG, etag(&stat));
        Ok(response)
    };
    answered(appended.await)
}

/// What went wrong with the body went wrong with the request.
fn of_body(error: FilesError) -> Problem {
    match error {
        FilesError::Io(error) => broken(&error),
        error => error.into(),
    }
}

pub(crate) async fn delete(
    State(site): State<Arc<Site>>,
    uri: Uri,
    RawQuery(query): RawQuery,
    head: HeaderMap,
) -> Response<Body> {
    let query = Query::of(query);
    let removed = async {
        let path = path(&uri)?;
        let expected = expected(&site, &path, &head).await?;
        let mut gone = Vec::new();
        match query.flag("recursive")? {
            true => {
                files(&site)
                    .remove_all(&path, |path| gone.push(path.clone()))
                    .await?
            }
            false => {
                files(&site).remove_if(&path, expected).await?;
                gone.push(path);
            }
        }
        Ok(json(&json!({ "removed": gone })))
    };
    answered(removed.await)
}

/// `?mkdir`, `?mv=/fleet/to`, `?cp=/fleet/to` with `&version=`.
pub(crate) async fn post(
    State(site): State<Arc<Site>>,
    uri: Uri,
    RawQuery(query): RawQuery,
) -> Response<Body> {
    let query = Query::of(query);
    let done = async {
        let path = path(&uri)?;
        let to = |name: &str| {
            let text = query.get(name).unwrap_or_default().to_owned();
            FilePath::try_from(text).map_err(|error| bad_usage(format!("'{name}': {error}")))
        };
        if query.flag("mkdir")? {
            files(&site).make_folder(&path).await?;
        } else if query.has("mv") {
            files(&site).rename(&path, &to("mv")?).await?;
        } else if query.has("cp") {
            files(&site)
                .copy(&path, query.number("version")?, &to("cp")?)
                .await?;
        } else {
            return Err(bad_usage("say what: ?mkdir, ?mv=/fleet/to or ?cp=/fleet/to"));
        }
        Ok(json(&json!({ "path": path })))
    };
    answered(done.await)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_paths_below_the_mount() {
        for (uri, expected) in [
            ("/files", Some("/fleet")),
            ("/files/", Some("/fleet")),
            ("/files/a/b%20c+d", Some("/fleet/a/b c+d")),
            ("/files/a/../b", None),
            ("/files/%2e%2e/b", None),
            ("/files/a%00", None),
            ("/files/a%2Fb", Some("/fleet/a/b")),
            ("/files/a=b&c", Some("/fleet/a=b&c")),
            ("/files/%ff", None),
        ] {
            let found = path(&uri.parse().unwrap()).ok();
            assert_eq!(found.as_ref().map(FilePath::as_str), expected, "{uri}");
        }
    }
}
