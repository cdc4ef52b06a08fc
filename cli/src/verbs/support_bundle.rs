//! `wayfare support-bundle`: what whoever helps needs to know of a fleet, in one file that its user can read
//! before it is sent.
//!
//! Always: no login, key, environment or payload is in it, but for what programs printed; what could not be
//! had is named in its list of contents, with the reason; everything is bounded; and nothing in it steers the
//! terminal of whoever reads it.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Serialize;
use serde_json::{Value, json};
use tar::{Builder, Header};
use wayfare_client::app::ask::{Ask, Decision, EventsWanted};
use wayfare_client::operations::OperationsWanted;
use wayfare_client::stored_logs::{LinesWanted, StoredEnd};
use wayfare_client::{AskError, Client};

use super::fleet::{measured, with_numbers};
use crate::args::project::SupportBundleArgs;
use crate::config::Settings;
use crate::context::{connect_to, who};
use crate::fail::{Fail, Result, address};
use crate::output::{Output, Text, bytes, moment, now_ms, one_line};

/// Events in a bundle,
const EVENTS_MAX: usize = 5_000;
/// operations,
const OPERATIONS_MAX: u32 = 2_000;
/// programs whose last lines are, those that failed first,
const PROGRAMS_MAX: usize = 50;
/// and how many lines of each.
const LINES_MAX: u32 = 200;

/// One part of it, or why it is not there.
struct Part {
    name: String,
    what: &'static str,
    content: std::result::Result<Vec<u8>, String>,
}

pub(super) async fn run(args: SupportBundleArgs, output: Output) -> Result {
    let settings = Settings::load(&args.fleet)?;
    let mut file = OpenOptions::new();
    file.write(true).create_new(true).mode(0o600);
    let file = file
        .open(&args.output)
        .map_err(|error| Fail::file(&args.output, &error))?;
    let about = json!({
        "wayfare": env!("CARGO_PKG_VERSION"),
        "platform": format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
        "made": moment(now_ms()),
        "by": who(),
        // Without the login, whose user can be a token.
        "broker": address(&settings.broker),
        "tls": settings.broker.is_secure(),
        "root": settings.topics.to_string(),
    });
    let mut parts = vec![Part::new("about.json", "this command and which fleet", Ok(about))];
    match connect_to(settings).await {
        Ok(client) => {
            parts.extend(of_fleet(&client, &args).await);
            client.close().await;
        }
        Err(fail) => {
            let reason = Err::<Value, _>(fail.in_a_line());
            parts.push(Part::new("fleet.json", "engines, programs, alarms", reason));
        }
    }
    let list = contents(&parts);
    let written = write(file, &list, &parts);
    let size = written.map_err(|error| {
        // Half of it helps nobody, and it was not there before.
        let _ = std::fs::remove_file(&args.output);
        Fail::file(&args.output, &error)
    })?;
    let missing: Vec<&str> = parts
        .iter()
        .filter(|part| part.content.is_err())
        .map(|part| part.name.as_str())
        .collect();
    let document = json!({ "file": args.output, "bytes": size, "parts": parts.len(), "missing": missing });
    output.print(&document, |_| {
        let file = args.output.display();
        let lines: Text = list.lines().collect();
        lines.line("").line(format!(
            "{file}: {}; read it before you send it: it has what programs printed",
            bytes(size)
        ))
    })
}

impl Part {
    fn new<T: Serialize>(name: &str, what: &'static str, content: std::result::Result<T, String>) -> Self {
        let content =
            content.map(|content| serde_json::to_vec_pretty(&content).expect("plain data serialises"));
        Self {
            name: name.to_owned(),
            what,
            content,
        }
    }
}

async fn of_fleet(fleet: &Client, args: &SupportBundleArgs) -> Vec<Part> {
    let since_ms = now_ms().saturating_sub(u64::try_from(args.since.as_millis()).unwrap_or(u64::MAX));
    let wanted = OperationsWanted {
        since_ms: Some(since_ms),
        limit: Some(OPERATIONS_MAX),
        ..OperationsWanted::default()
    };
    let dispatcher = fleet.ask("about", json!({}), args.timeout).await;
    let operations = fleet.operations(&wanted, args.timeout).await;
    let applications = fleet.app_status(None, args.timeout).await;
    let mut parts = vec![
        Part::new(
            "fleet.json",
            "engines, programs, numbers, alarms",
            view(fleet).await,
        ),
        Part::new("dispatcher.json", "who acts", dispatcher.map_err(said)),
        Part::new(
            "applications.json",
            "what should run, and what does",
            applications.map_err(said),
        ),
        Part::new(
            "operations.json",
            "orders, and what became of them",
            operations.map_err(said),
        ),
        Part::new(
            "events.json",
            "what happened",
            events(fleet, args, since_ms).await,
        ),
    ];
    match logs(fleet, args).await {
        Ok(logs) => parts.extend(logs),
        Err(reason) => parts.push(Part::new(
            "logs",
            "what programs printed last",
            Err::<Value, _>(reason),
        )),
    }
    parts
}

fn said(error: AskError) -> String {
    Fail::from(error).in_a_line()
}

async fn view(fleet: &Client) -> std::result::Result<Value, String> {
    let view = async {
        let (programs, numbers) = measured(fleet).await?;
        let engines = with_numbers(fleet.engines_marked().await?, numbers);
        let (alarms, hold) = (fleet.alarms().await?, fleet.hold().await?);
        Ok::<_, Fail>(json!({ "engines": engines, "programs": programs, "alarms": alarms, "hold": hold }))
    };
    view.await.map_err(|fail| fail.in_a_line())
}

async fn events(
    fleet: &Client,
    args: &SupportBundleArgs,
    since_ms: u64,
) -> std::result::Result<Vec<Decision>, String> {
    let (mut all, mut after) = (Vec::<Decision>::new(), None);
    loop {
        let ask = Ask::Events {
            since_ms,
            after,
            wanted: EventsWanted::default(),
        };
        let part: Vec<Decision> = fleet.ask_apps(&ask, args.timeout).await.map_err(said)?;
        let Some(last) = part.last() else { break };
        after = Some((last.term, last.sequence));
        all.extend(part);
        // The latest matter most.
        let many = all.len().saturating_sub(EVENTS_MAX);
        all.drain(..many);
    }
    Ok(all)
}

/// The last lines of programs, those that failed first, then those that printed last.
async fn logs(fleet: &Client, args: &SupportBundleArgs) -> std::result::Result<Vec<Part>, String> {
    let mut programs = fleet.stored_programs("", args.timeout).await.map_err(said)?;
    let is_well = |end: &StoredEnd| match end {
        StoredEnd::Ended { state } => !matches!(state, wayfare_protocol::status::ProgramState::Failed { .. }),
        StoredEnd::None | StoredEnd::Gone => true,
    };
    programs.sort_by_key(|one| (is_well(&one.end), std::cmp::Reverse(one.last_ms)));
    programs.truncate(PROGRAMS_MAX);
    let mut parts = Vec::new();
    for one in programs {
        let wanted = LinesWanted {
            last: Some(LINES_MAX),
            ..LinesWanted::of(one.program)
        };
        let lines = fleet.stored_lines(&wanted, args.timeout).await.map_err(said);
        let content = lines.map(|page| {
            let mut text = Vec::new();
            for line in &page.lines {
                line.write_to(&mut text);
            }
            readable(&text)
        });
        parts.push(Part {
            // Ids are safe in names of files.
            name: format!("logs/{}.txt", one.program),
            what: "what a program printed last",
            content,
        });
    }
    Ok(parts)
}

/// Lines as they were printed, with what a terminal would obey escaped.
fn readable(text: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(text);
    let mut readable = String::with_capacity(text.len());
    for piece in text.split_inclusive(['\n', '\t']) {
        let end = piece.len() - usize::from(piece.ends_with(['\n', '\t']));
        readable.push_str(&one_line(&piece[..end]));
        readable.push_str(&piece[end..]);
    }
    readable.into_bytes()
}

fn contents(parts: &[Part]) -> String {
    let mut text = String::new();
    for part in parts {
        let found = match &part.content {
            Ok(content) => bytes(content.len() as u64),
            Err(reason) => format!("not there: {}", one_line(reason)),
        };
        text.push_str(&format!("{:48}  {}, {found}\n", part.name, part.what));
    }
    text
}

/// Answers how large the file is.
fn write(file: std::fs::File, list: &str, parts: &[Part]) -> std::io::Result<u64> {
    let mut archive = Builder::new(GzEncoder::new(file, Compression::default()));
    let made_s = now_ms() / 1_000;
    let mut add = |name: &str, content: &[u8]| {
        let mut header = Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(made_s);
        archive.append_data(&mut header, format!("wayfare-support/{name}"), content)
    };
    add("contents.txt", list.as_bytes())?;
    for part in parts {
        if let Ok(content) = &part.content {
            add(&part.name, content)?;
        }
    }
    let mut file = archive.into_inner()?.finish()?;
    file.flush()?;
    Ok(file.metadata()?.len())
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn what_programs_printed_steers_no_terminal() {
        let text = b"a\tb\n\x1b]0;pwned\x07c\xff\r\n\nend";
        let text = String::from_utf8(readable(text)).unwrap();
        assert_eq!(text, "a\tb\n\\u{1b}]0;pwned\\u{7}c\u{fffd}\\r\n\nend");
        let part = Part::new("x", "y", Err::<Value, _>("no\n\x1b[2J".into()));
        let list = contents(&[part]);
        assert!(list.ends_with("not there: no\\n\\u{1b}[2J\n"), "{list:?}");
    }

    #[test]
    fn what_could_not_be_had_is_named_and_the_rest_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("b.tar.gz");
        let parts = [
            Part::new("about.json", "this command", Ok(json!({ "a": 1 }))),
            Part::new(
                "events.json",
                "what happened",
                Err::<Value, _>("nobody acts".into()),
            ),
        ];
        let list = contents(&parts);
        assert!(
            list.contains("events.json") && list.contains("not there: nobody acts"),
            "{list}"
        );
        let size = write(std::fs::File::create(&path).unwrap(), &list, &parts).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), size);
        let file = flate2::read::GzDecoder::new(std::fs::File::open(&path).unwrap());
        let mut archive = tar::Archive::new(file);
        let mut found = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            found.push((entry.path().unwrap().display().to_string(), text));
        }
        assert_eq!(found[0], ("wayfare-support/contents.txt".to_owned(), list));
        assert_eq!(found[1].0, "wayfare-support/about.json");
        assert_eq!(found.len(), 2);
    }
}
