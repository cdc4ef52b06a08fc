//! The fields of programs, engines, devices, modules, snapshots, operations, events, files, values and lines
//! of logs by which lists are filtered and sorted.

use wayfare_protocol::files::{FileKind, ListedFile};
use wayfare_protocol::log::{LogLine, Stream};
use wayfare_protocol::status::EngineAbout;
use wayfare_protocol::values::Listed as ListedValue;

use super::{Listed, ListedDevice, ListedEngine, ListedModule, ListedSnapshot, labels};
use crate::app::ask::{Decision, Mark};
use crate::documents::now_ms;
use crate::operations::OperationRecord;
use crate::query::{Field, Kind, Value};

const fn field<R>(name: &'static str, kind: Kind, get: fn(&R) -> Option<Value>) -> Field<R> {
    Field {
        name,
        kind,
        get,
        is_measured: false,
    }
}

/// One that says what is measured.
const fn measured<R>(name: &'static str, kind: Kind, get: fn(&R) -> Option<Value>) -> Field<R> {
    Field {
        is_measured: true,
        ..field(name, kind, get)
    }
}

fn text(text: impl ToString) -> Option<Value> {
    Some(Value::Text(text.to_string()))
}

fn number(number: impl Into<u64>) -> Option<Value> {
    Some(Value::Number(number.into()))
}

/// `application/component/number`, in parts.
fn part(listed: &Listed, place: usize) -> Option<Value> {
    text(listed.instance()?.split('/').nth(place)?)
}

/// The fields of programs.
pub static PROGRAM_FIELDS: [Field<Listed>; 19] = [
    field("id", Kind::Text, |one| text(one.view.status.program)),
    field("name", Kind::Text, |one| text(&one.view.status.name)),
    field("app", Kind::Text, |one| part(one, 0)),
    field("component", Kind::Text, |one| part(one, 1)),
    field("instance", Kind::Text, |one| text(one.instance()?)),
    field("state", Kind::Text, |one| text(one.view.word())),
    field("engine", Kind::Text, |one| text(&one.view.status.engine)),
    field("age", Kind::Age, |one| {
        number(now_ms().saturating_sub(one.about.as_ref()?.since_ms?))
    }),
    field("restarts", Kind::Number, |one| {
        number(one.about.as_ref()?.restarts?)
    }),
    measured("memory", Kind::Size, |one| number(one.memory_bytes())),
    measured("cpu", Kind::Percent, |one| {
        number(one.numbers.as_ref()?.cpu_millicores?)
    }),
    measured("received", Kind::Number, |one| {
        number(one.numbers.as_ref()?.numbers.traffic.received_messages)
    }),
    measured("sent", Kind::Number, |one| {
        number(one.numbers.as_ref()?.numbers.traffic.sent_messages)
    }),
    measured("waiting", Kind::Number, |one| {
        number(one.numbers.as_ref()?.numbers.waiting_messages)
    }),
    measured("lines", Kind::Number, |one| {
        number(one.numbers.as_ref()?.numbers.log_lines)
    }),
    field("moves", Kind::Number, |one| number(one.about.as_ref()?.moves?)),
    measured("checkpoint", Kind::Age, |one| {
        number(one.numbers.as_ref()?.numbers.checkpoint_age_ms?)
    }),
    field("generation", Kind::Number, |one| {
        number(one.view.status.generation.0)
    }),
    field("module", Kind::Text, |one| text(one.view.status.module)),
];

fn about(one: &ListedEngine) -> Option<&EngineAbout> {
    one.view.about.as_ref()
}

/// The fields of engines.
pub static ENGINE_FIELDS: [Field<ListedEngine>; 15] = [
    field("engine", Kind::Text, |one| text(&one.view.engine)),
    field("state", Kind::Text, |one| {
        text(one.view.word().split(',').next()?)
    }),
    field("mark", Kind::Text, |one| match one.view.mark? {
        Mark::Cordoned => text("cordoned"),
        Mark::Draining => text("draining"),
    }),
    field("programs", Kind::Number, |one| number(one.view.programs)),
    field("platform", Kind::Text, |one| text(&about(one)?.platform)),
    field("cpus", Kind::Number, |one| number(about(one)?.processors)),
    field("memory", Kind::Size, |one| number(about(one)?.memory_bytes)),
    field("version", Kind::Text, |one| text(&about(one)?.version)),
    field("wasmtime", Kind::Text, |one| text(&about(one)?.code.wasmtime)),
    field("host", Kind::Text, |one| text(&about(one)?.host)),
    field("labels", Kind::Text, |one| text(labels(about(one)?)?)),
    measured("cpu", Kind::Percent, |one| {
        number(one.numbers.as_ref()?.cpu_millicores?)
    }),
    measured("used", Kind::Size, |one| {
        number(one.numbers.as_ref()?.numbers.memory_bytes?)
    }),
    measured("disk", Kind::Size, |one| {
        number(one.numbers.as_ref()?.numbers.disk_free_bytes?)
    }),
    measured("temperature", Kind::Number, |one| {
        let millidegrees = one.numbers.as_ref()?.numbers.temperature_millidegrees?;
        number(u64::try_from(millidegrees / 1_000).ok()?)
    }),
];

/// The fields of devices.
pub static DEVICE_FIELDS: [Field<ListedDevice>; 5] = [
    field("engine", Kind::Text, |one| text(&one.engine)),
    field("device", Kind::Text, |one| text(&one.device)),
    field("kind", Kind::Text, |one| text(one.kind)),
    field("backend", Kind::Text, |one| text(one.backend.word())),
    field("state", Kind::Text, |one| {
        text(if one.online { "online" } else { "offline" })
    }),
];

/// The fields of modules.
pub static MODULE_FIELDS: [Field<ListedModule>; 6] = [
    field("module", Kind::Text, |one| text(one.module)),
    field("name", Kind::Text, |one| text(&one.name)),
    field("programs", Kind::Number, |one| number(one.programs)),
    field("ended", Kind::Number, |one| number(one.ended)),
    field("engines", Kind::Number, |one| number(one.engines.len() as u64)),
    field("apps", Kind::Text, |one| {
        let apps: Vec<&str> = one.applications.iter().map(String::as_str).collect();
        text((!apps.is_empty()).then(|| apps.join(" "))?)
    }),
];

/// The fields of snapshots.
pub static SNAPSHOT_FIELDS: [Field<ListedSnapshot>; 6] = [
    field("instance", Kind::Text, |one| text(&one.instance)),
    field("app", Kind::Text, |one| text(one.instance.split('/').next()?)),
    field("program", Kind::Text, |one| text(one.program)),
    field("engine", Kind::Text, |one| text(one.engine.as_ref()?)),
    field("length", Kind::Size, |one| number(one.bytes?)),
    field("age", Kind::Age, |one| number(now_ms().saturating_sub(one.at_ms))),
];

/// The fields of operations.
pub static OPERATION_FIELDS: [Field<OperationRecord>; 12] = [
    field("id", Kind::Text, |one| text(one.operation)),
    field("verb", Kind::Text, |one| text(&one.verb)),
    field("program", Kind::Text, |one| text(one.program?)),
    field("name", Kind::Text, |one| text(one.name.as_ref()?)),
    field("engine", Kind::Text, |one| text(one.engine.as_ref()?)),
    field("target", Kind::Text, |one| text(one.target.as_ref()?)),
    field("by", Kind::Text, |one| text(one.by.as_ref()?)),
    field("batch", Kind::Text, |one| text(one.batch?)),
    field("state", Kind::Text, |one| text(one.word())),
    field("reason", Kind::Text, |one| text(one.reason.as_ref()?)),
    field("age", Kind::Age, |one| {
        number(now_ms().saturating_sub(one.begun_ms))
    }),
    field("took", Kind::Age, |one| {
        number(one.ended_ms?.saturating_sub(one.begun_ms))
    }),
];

/// The fields of events.
pub static EVENT_FIELDS: [Field<Decision>; 10] = [
    field("kind", Kind::Text, |one| text(&one.kind)),
    field("app", Kind::Text, |one| text(one.application.as_ref()?)),
    field("instance", Kind::Text, |one| text(one.instance.as_ref()?)),
    field("engine", Kind::Text, |one| text(one.engine.as_ref()?)),
    field("target", Kind::Text, |one| text(one.target.as_ref()?)),
    field("program", Kind::Text, |one| text(one.program?)),
    field("name", Kind::Text, |one| text(one.name.as_ref()?)),
    field("by", Kind::Text, |one| text(one.by.as_ref()?)),
    field("age", Kind::Age, |one| number(now_ms().saturating_sub(one.at_ms))),
    field("text", Kind::Text, |one| text(&one.text)),
];

/// The fields of files.
pub static FILE_FIELDS: [Field<ListedFile>; 5] = [
    field("name", Kind::Text, |one| text(&one.name)),
    field("kind", Kind::Text, |one| match one.stat.kind {
        FileKind::Folder => text("folder"),
        FileKind::File => text("file"),
    }),
    field("length", Kind::Size, |one| number(one.stat.bytes)),
    field("version", Kind::Number, |one| number(one.stat.version)),
    field("age", Kind::Age, |one| {
        number(now_ms().saturating_sub(one.stat.modified_ms))
    }),
];

/// The fields of lines that programs print. A line that is no text is compared as far as it is one.
pub static LINE_FIELDS: [Field<LogLine>; 4] = [
    field("line", Kind::Number, |one| number(one.line)),
    field("stream", Kind::Text, |one| match one.stream {
        Stream::Stdout => text("stdout"),
        Stream::Stderr => text("stderr"),
    }),
    field("text", Kind::Text, |one| {
        text(String::from_utf8_lossy(one.text.as_bytes()))
    }),
    // By the clock of the engine that ran it; without one it is not known.
    field("age", Kind::Age, |one| match one.at_ms {
        0 => None,
        at_ms => number(now_ms().saturating_sub(at_ms)),
    }),
];

/// The fields of values.
pub static VALUE_FIELDS: [Field<ListedValue>; 3] = [
    field("key", Kind::Text, |one| text(one.key.as_str())),
    field("version", Kind::Number, |one| number(one.version)),
    field("length", Kind::Size, |one| number(one.bytes)),
];

#[cfg(test)]
mod tests;
