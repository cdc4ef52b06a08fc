//! Traces as a collector gets them: one tree for a move, through the dispatcher and both engines.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use support::{Process, command};
use tokio::time::timeout;
use wayfare_link::{BrokerOptions, BrokerUrl, EmbeddedBroker};
use wayfare_traces::collector::{Collector, Span};

/// Longest that a test waits for anything.
const LIMIT: Duration = Duration::from_secs(90);

struct Fleet {
    broker: String,
    collector: String,
}

impl Fleet {
    fn start(&self, arguments: &[&str], data: &Path) -> Process {
        let data = data.to_str().unwrap();
        let mut service = command(&self.broker, &[arguments, &["--data", data]].concat());
        service
            .env(wayfare_traces::ENDPOINT_VARIABLE, &self.collector)
            .env("OTEL_BSP_SCHEDULE_DELAY", "100");
        Process(service.spawn().unwrap())
    }

    fn good(&self, arguments: &[&str]) -> serde_json::Value {
        let ran = support::run(&self.broker, arguments);
        assert_eq!(ran.exit, 0, "{arguments:?}: {}{}", ran.stdout, ran.stderr);
        ran.documents().remove(0)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_is_one_tree_of_spans_through_dispatcher_source_and_target() {
    let folder = tempfile::tempdir().unwrap();
    let broker = EmbeddedBroker::start(BrokerOptions::loopback()).await.unwrap();
    let mut collector = Collector::start().await.unwrap();
    let fleet = Fleet {
        broker: BrokerUrl::from(broker.local_addr()).to_string(),
        collector: collector.endpoint(),
    };
    let _dispatcher = fleet.start(&["dispatcher", "--name", "d-1"], &folder.path().join("d"));
    let _engines =
        ["a", "b"].map(|id| fleet.start(&["engine", "start", "--id", id], &folder.path().join(id)));
    fleet.good(&["--json", "ops", "--timeout", "90s"]);
    let run = [
        "--json",
        "run",
        "counter",
        "--name",
        "p",
        "--on",
        "a",
        "--wait-for-engine",
    ];
    fleet.good(&[&run[..], &["--", "100000000", "1000"]].concat());
    let moved = fleet.good(&["--json", "move", "p", "--to", "b", "--wait-for-engine"]);
    let operation = moved["operation"].as_str().unwrap();

    let wanted = BTreeSet::from([
        ("wayfare-dispatcher", "d-1"),
        ("wayfare-engine", "a"),
        ("wayfare-engine", "b"),
    ]);
    let mut spans: Vec<Span> = Vec::new();
    let whole = async {
        while !wanted.iter().all(|whose| is_from(&spans, *whose)) || !is_one_tree(&spans) {
            let span = collector.next().await.unwrap();
            if span.trace == operation {
                spans.push(span);
            }
        }
    };
    let is_whole = timeout(LIMIT, whole).await;
    assert!(is_whole.is_ok(), "spans of all three are no tree: {spans:?}");
    let roots: Vec<&Span> = spans.iter().filter(|span| span.parent.is_empty()).collect();
    let [root] = roots[..] else { panic!("{roots:?}") };
    assert_eq!(
        (root.name.as_str(), root.service.as_str()),
        ("move", "wayfare-dispatcher")
    );
    let attribute = |name: &str| root.attributes.get(name).map(String::as_str);
    assert_eq!((attribute("engine"), attribute("target")), (Some("a"), Some("b")));
    let ids: BTreeSet<&str> = spans.iter().map(|span| span.id.as_str()).collect();
    assert_eq!(ids.len(), spans.len(), "each has an id of its own: {spans:?}");
}

fn is_from(spans: &[Span], (service, instance): (&str, &str)) -> bool {
    spans
        .iter()
        .any(|span| span.service == service && span.instance == instance)
}

/// Whether the parent of each span is there: one that is below another is exported before it.
fn is_one_tree(spans: &[Span]) -> bool {
    let ids: BTreeSet<&str> = spans.iter().map(|span| span.id.as_str()).collect();
    let is_attached = |span: &Span| span.parent.is_empty() || ids.contains(span.parent.as_str());
    spans.iter().all(is_attached)
}
