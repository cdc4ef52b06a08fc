use std::sync::{Arc, Mutex};

use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::Span;
use tracing::{info, info_span};
use tracing_subscriber::prelude::*;

use super::*;

#[derive(Debug, Clone, Default)]
struct Ended(Arc<Mutex<Vec<SpanData>>>);

impl SpanProcessor for Ended {
    fn on_start(&self, _: &mut Span, _: &opentelemetry::Context) {}

    fn on_end(&self, span: SpanData) {
        self.0.lock().unwrap().push(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// What a process has done, whose spans it knows.
fn done(work: impl FnOnce()) -> Vec<SpanData> {
    let ended = Ended::default();
    let subscriber = tracing_subscriber::registry().with(OperationSpans::new(ended.clone()));
    tracing::subscriber::with_default(subscriber, work);
    std::mem::take(&mut ended.0.lock().unwrap())
}

const OPERATION: &str = "65f1460792fb4a55abd5df7cbc7fd9ff";

#[test]
fn spans_of_one_operation_are_one_tree_whichever_processes_they_are_of() {
    let source = done(|| {
        let outer = info_span!("operation", operation = OPERATION, what = "move").entered();
        info_span!("encode", pages = 3_u64).in_scope(|| info!(bytes = 7_u64, "captured"));
        drop(outer);
        info_span!("sweep").in_scope(|| info!("for nobody"));
    });
    let dispatcher = done(|| {
        drop(info_span!(
            "order",
            operation = OPERATION,
            what = "move p a -> b",
            failure = "no room",
            begun_ms = 1_000_u64,
            ended_ms = 3_000_u64
        ));
    });
    let [inner, outer] = &source[..] else {
        panic!("{source:?}")
    };
    let [root] = &dispatcher[..] else {
        panic!("{dispatcher:?}")
    };
    let id = |span: &SpanData| span.span_context.span_id();
    for span in [inner, outer, root] {
        assert_eq!(span.span_context.trace_id().to_string(), OPERATION);
        assert!(span.span_context.is_sampled());
    }
    assert_eq!(
        [inner.parent_span_id, outer.parent_span_id, root.parent_span_id],
        [id(outer), id(root), SpanId::INVALID]
    );
    assert_eq!(
        [&*inner.name, &*outer.name, &*root.name],
        ["encode", "move", "move p a -> b"]
    );
    assert_eq!(inner.events.events.len(), 1);
    assert_eq!(&*inner.events.events[0].name, "captured");
    assert!(inner.attributes.contains(&KeyValue::new("pages", 3)));
    let took = root.end_time.duration_since(root.start_time).unwrap();
    assert_eq!((took, root.start_time), (Duration::from_secs(2), time(1_000)));
    assert_eq!(root.status, Status::error("no room"));
}

#[test]
fn what_is_done_for_another_operation_meanwhile_is_in_its_own_tree_and_events_are_bounded() {
    let other = "00000000000000000000000000000001";
    let spans = done(|| {
        let _outer = info_span!("operation", operation = OPERATION).entered();
        let _inner = info_span!("operation", operation = other).entered();
        for number in 0..EVENTS_MAX + 3 {
            info!(number, "again");
        }
    });
    let [inner, outer] = &spans[..] else {
        panic!("{spans:?}")
    };
    assert_eq!(inner.span_context.trace_id().to_string(), other);
    assert_eq!(inner.parent_span_id, root_of(inner.span_context.trace_id()));
    assert_ne!(inner.parent_span_id, outer.span_context.span_id());
    assert_eq!(
        (inner.events.events.len(), inner.events.dropped_count),
        (EVENTS_MAX, 3)
    );
    // What is no id makes no trace.
    assert!(done(|| drop(info_span!("operation", operation = "nonsense"))).is_empty());
}
