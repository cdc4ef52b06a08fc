//! From spans of `tracing` to those of OpenTelemetry.

use std::borrow::Cow;
use std::fmt::Debug;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry::trace::{
    Event as SpanEvent, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks, SpanProcessor};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

/// What is logged in one span: what is more is counted.
const EVENTS_MAX: usize = 64;
/// The name of the span that is the root of an operation's tree.
const ROOT: &str = "order";

/// Hands every span of an operation to a processor when it ends.
#[derive(Debug)]
pub struct OperationSpans<P>(P);

impl<P: SpanProcessor> OperationSpans<P> {
    pub fn new(processor: P) -> Self {
        Self(processor)
    }
}

/// A span that has not ended.
struct Open {
    trace: TraceId,
    id: SpanId,
    parent: SpanId,
    fields: Fields,
    begun: SystemTime,
    events: SpanEvents,
}

impl<S, P> Layer<S> for OperationSpans<P>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    P: SpanProcessor + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let outer = span.parent().and_then(|parent| {
            let extensions = parent.extensions();
            extensions.get::<Open>().map(|open| (open.trace, open.id))
        });
        let own = fields.operation.map(TraceId::from);
        let Some(trace) = own.or(outer.map(|(trace, _)| trace)) else {
            return;
        };
        let root = root_of(trace);
        let (id, parent) = match span.name() == ROOT {
            true => (root, SpanId::INVALID),
            // What is done for another operation meanwhile is in that one's tree.
            false => (
                random(),
                outer.filter(|(of, _)| *of == trace).map_or(root, |(_, id)| id),
            ),
        };
        span.extensions_mut().insert(Open {
            trace,
            id,
            parent,
            fields,
            begun: SystemTime::now(),
            events: SpanEvents::default(),
        });
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let Some(span) = context.event_span(event) else {
            return;
        };
        let mut extensions = span.extensions_mut();
        let Some(open) = extensions.get_mut::<Open>() else {
            return;
        };
        if open.events.events.len() >= EVENTS_MAX {
            open.events.dropped_count += 1;
            return;
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        let level = KeyValue::new("level", event.metadata().level().as_str());
        fields.others.push(level);
        let name = fields.name.unwrap_or_else(|| event.metadata().name().into());
        open.events
            .events
            .push(SpanEvent::new(name, SystemTime::now(), fields.others, 0));
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        let Some(open) = span.extensions_mut().remove::<Open>() else {
            return;
        };
        let Fields {
            name,
            error,
            begun_ms,
            ended_ms,
            others,
            ..
        } = open.fields;
        let flags = TraceFlags::SAMPLED;
        self.0.on_end(SpanData {
            span_context: SpanContext::new(open.trace, open.id, flags, false, TraceState::NONE),
            parent_span_id: open.parent,
            parent_span_is_remote: open.parent == root_of(open.trace),
            span_kind: SpanKind::Internal,
            name: name.unwrap_or_else(|| span.name().into()),
            start_time: begun_ms.map_or(open.begun, time),
            end_time: ended_ms.map_or_else(SystemTime::now, time),
            attributes: others,
            dropped_attributes_count: 0,
            events: open.events,
            links: SpanLinks::default(),
            status: error.map_or(Status::Unset, Status::error),
            instrumentation_scope: InstrumentationScope::builder("wayfare").build(),
        });
    }
}

fn time(ms: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(ms)
}

/// Whoever knows the operation knows the root of its tree.
fn root_of(trace: TraceId) -> SpanId {
    let id = u128::from_be_bytes(trace.to_bytes());
    // Never zero, which is no span.
    SpanId::from((id >> 64) as u64 | 1)
}

fn random() -> SpanId {
    // Without randomness one span may hide another, in a trace.
    SpanId::from(getrandom::u64().unwrap_or(1) | 1 << 63)
}

/// What a span or event says.
#[derive(Default)]
struct Fields {
    operation: Option<u128>,
    /// Of a span the field `what`; of an event its message.
    name: Option<Cow<'static, str>>,
    error: Option<String>,
    begun_ms: Option<u64>,
    ended_ms: Option<u64>,
    others: Vec<KeyValue>,
}

impl Fields {
    fn text(&mut self, field: &Field, text: String) {
        match field.name() {
            "operation" => {
                self.operation = u128::from_str_radix(&text, 16).ok();
                self.others.push(KeyValue::new("operation", text));
            }
            "what" | "message" if !text.is_empty() => self.name = Some(text.into()),
            "what" | "message" => {}
            "failure" => self.error = Some(text),
            name => self.others.push(KeyValue::new(name, text)),
        }
    }
}

impl Visit for Fields {
    fn record_u64(&mut self, field: &Field, value: u64) {
        match field.name() {
            "begun_ms" => self.begun_ms = Some(value),
            "ended_ms" => self.ended_ms = Some(value),
            name => {
                let value = i64::try_from(value).unwrap_or(i64::MAX);
                self.others.push(KeyValue::new(name, value));
            }
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.text(field, format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests;
