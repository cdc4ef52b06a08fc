//! What people ask about engines, and for them: to give them nothing new, to empty them, to forget them.

use serde_json::{Value, json};
use wayfare_fleet::app::ask::{Mark, MarksPage};
use wayfare_protocol::error::Failure;
use wayfare_protocol::ids::EngineId;
use wayfare_scheduler::application::InstanceId;

use super::asked::bad;
use super::pages::lines;
use super::{Core, Effect, to_json};

/// Marks of engines in one answer.
const MARKS_MAX: usize = 500;

impl Core {
    pub(super) fn set_mark(&mut self, engine: &EngineId, mark: Option<Mark>) -> Result<Value, Failure> {
        if !self.engines.contains_key(engine) && !self.state.marks.contains_key(engine) {
            return Err(bad(format!("no engine '{engine}'")));
        }
        let before = match mark {
            Some(mark) => self.state.marks.insert(engine.clone(), mark),
            None => self.state.marks.remove(engine),
        };
        if before != mark {
            self.effects.push(Effect::Store {
                key: format!("mark:{engine}"),
                json: mark.as_ref().map(to_json),
            });
            let (kind, text) = match mark {
                Some(Mark::Cordoned) => ("cordon", format!("engine {engine} gets nothing new")),
                Some(Mark::Draining) => ("drain", format!("engine {engine} is to be emptied")),
                None => ("uncordon", format!("engine {engine} is open again")),
            };
            self.tell_engine(kind, engine, text);
        }
        Ok(json!({ "engine": engine, "mark": mark, "changed": before != mark }))
    }

    pub(super) fn marks_page(&self, from: Option<&EngineId>) -> MarksPage {
        let mut marks = self.state.marks.iter();
        let mut rest = marks
            .by_ref()
            .skip_while(|(engine, _)| from.is_some_and(|from| *engine < from))
            .map(|(engine, mark)| (engine.clone(), *mark));
        MarksPage {
            marks: rest.by_ref().take(MARKS_MAX).collect(),
            next: rest.next().map(|(engine, _)| engine),
            hold: self.hold(),
        }
    }

    /// What still runs on an engine, and what keeps it there.
    pub(super) fn left(&self, engine: &EngineId) -> Value {
        // What may run nowhere else does not leave.
        let leaves = |id: &&InstanceId| self.state.home(id) != Some(engine);
        let instances = self.instances_on(engine).filter(leaves);
        let instances = lines(instances.map(ToString::to_string).collect());
        let strays = self.draining_strays();
        let strays = self
            .programs
            .values()
            .filter(|view| view.status.engine == *engine && strays.contains(&view.status.program));
        let programs = lines(strays.map(|view| view.status.program.to_string()).collect());
        let why = lines(self.obstacles.about_engine(engine.as_str()));
        json!({ "engine": engine, "mark": self.mark(engine), "instances": instances, "programs": programs, "why": why })
    }

    /// It is gone for good. If it is there again after all, it is as new, with all that it has.
    pub(super) fn forget_engine(&mut self, engine: &EngineId) -> Result<Value, Failure> {
        let is_there = self.engines.get(engine).is_some_and(|watched| {
            watched.view.as_ref().is_some_and(|view| view.online) || watched.hearing.is_here()
        });
        if is_there {
            return Err(bad(format!("engine {engine} is there: stop it first")));
        }
        let is_needed =
            |id: &&InstanceId| self.state.home(id) != Some(engine) && self.state.wanted(id).is_some();
        let left: Vec<String> = self
            .instances_on(engine)
            .filter(is_needed)
            .map(ToString::to_string)
            .collect();
        if !left.is_empty() {
            return Err(bad(format!(
                "instances of applications are on engine {engine}: {}; they are forgotten when they run elsewhere, or with their \
                 applications",
                lines(left).join(", ")
            )));
        }
        self.forget_homes(engine);
        let was_known = self.engines.remove(engine).is_some();
        if self.state.marks.remove(engine).is_some() {
            self.effects.push(Effect::Store {
                key: format!("mark:{engine}"),
                json: None,
            });
        }
        if was_known {
            self.tell_engine(
                "engine-forgotten",
                engine,
                format!("engine {engine} is forgotten"),
            );
        }
        Ok(json!({ "engine": engine, "changed": was_known }))
    }

    /// Instances that are on an engine, as far as is known, and have not ended.
    fn instances_on<'a>(&'a self, engine: &'a EngineId) -> impl Iterator<Item = &'a InstanceId> {
        let instances = self.state.instances.iter();
        let there = instances.filter(move |(_, instance)| instance.is_alive_on(engine));
        there.map(|(id, _)| id)
    }
}
