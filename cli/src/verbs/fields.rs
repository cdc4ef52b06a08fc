//! The fields of programs and engines by which lists are filtered and sorted.

use wayfare_client::EngineView;
use wayfare_client::app::ask::Mark;
use wayfare_protocol::status::EngineAbout;

use super::fleet::{Listed, labels};
use crate::output::now_ms;
use crate::query::{Field, Kind, Value};

const fn field<R>(name: &'static str, kind: Kind, get: fn(&R) -> Option<Value>) -> Field<R> {
    Field { name, kind, get }
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

pub(super) static PROGRAM_FIELDS: [Field<Listed>; 12] = [
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
    field("memory", Kind::Size, |one| number(one.view.status.memory_bytes)),
    field("generation", Kind::Number, |one| {
        number(one.view.status.generation.0)
    }),
    field("module", Kind::Text, |one| text(one.view.status.module)),
];

fn about(view: &EngineView) -> Option<&EngineAbout> {
    view.about.as_ref()
}

pub(super) static ENGINE_FIELDS: [Field<EngineView>; 11] = [
    field("engine", Kind::Text, |view| text(&view.engine)),
    field("state", Kind::Text, |view| text(view.word().split(',').next()?)),
    field("mark", Kind::Text, |view| match view.mark? {
        Mark::Cordoned => text("cordoned"),
        Mark::Draining => text("draining"),
    }),
    field("programs", Kind::Number, |view| number(view.programs)),
    field("platform", Kind::Text, |view| text(&about(view)?.platform)),
    field("cpus", Kind::Number, |view| number(about(view)?.processors)),
    field("memory", Kind::Size, |view| number(about(view)?.memory_bytes)),
    field("version", Kind::Text, |view| text(&about(view)?.version)),
    field("wasmtime", Kind::Text, |view| text(&about(view)?.code.wasmtime)),
    field("host", Kind::Text, |view| text(&about(view)?.host)),
    field("labels", Kind::Text, |view| text(labels(about(view)?)?)),
];
