//! Where instances run: the fleet as the scheduler knows it, and its plan made into commands.

use std::collections::{BTreeMap, BTreeSet};

use wayfare_fleet::app::ask::Mark;
use wayfare_fleet::app::{AppSpec, ComponentSpec};
use wayfare_fleet::placing;
use wayfare_protocol::ids::{EngineId, Generation};
use wayfare_protocol::status::EngineAbout;
use wayfare_scheduler::application::{Application, Applications, Component, ComponentId, InstanceId};
use wayfare_scheduler::fleet::{Code, Engine, Fleet, NoCode, Presence, Running};
use wayfare_scheduler::plan::{self, MoveReason, Options};

use super::obstacles::Obstacles;
use super::schedules::waits_for_its_time;
use super::state::{Doing, Instance, Placed, Standing, Starts};
use super::strays::{STRAYS, stray};
use super::watched::Health;
use super::{Core, MOVES_MAX, PLAN_MS, Subject};

impl Core {
    pub(super) fn place(&mut self) {
        if self.now.ms < self.plan_at_ms {
            return;
        }
        self.plan_at_ms = self.now.ms.saturating_add(PLAN_MS);
        self.plan_at_ms = self.passing.values().fold(self.plan_at_ms, |at_ms, passing| {
            if passing.not_before_ms > self.now.ms {
                at_ms.min(passing.not_before_ms)
            } else {
                at_ms
            }
        });
        let applications = self.all_applications();
        let plan = wayfare_scheduler::plan(&self.fleet(), &applications, Options::new(self.options.policy));
        let before = std::mem::replace(&mut self.obstacles, Obstacles::of(&plan));
        self.stay_no_more();
        for (name, line) in self.obstacles.news_since(&before) {
            self.tell_app("unplaced", &name, line);
        }
        let mut moves = self.moves_under_way();
        for action in plan.actions {
            match action {
                plan::Action::Run { instance, engine } => self.start(&instance, engine, "it runs nowhere"),
                plan::Action::Restart {
                    instance,
                    target,
                    lost,
                    ..
                } => self.start(&instance, target, &format!("{lost} is lost")),
                plan::Action::Move {
                    instance,
                    source,
                    target,
                    why,
                    ..
                } if moves < MOVES_MAX => moves += usize::from(self.move_to(&instance, source, target, why)),
                // Planned again when others are done.
                plan::Action::Move { .. } => {}
                plan::Action::Kill { instance, engine, .. } => self.kill(&instance, engine),
            }
        }
        self.forget_removed();
    }

    /// What is planned for: what is wanted, and programs of nobody's that have to move.
    pub(super) fn all_applications(&self) -> Applications {
        let mut applications = self.applications(None);
        applications.insert(STRAYS.to_owned(), self.strays());
        applications
    }

    /// What is wanted; `instead` stands for the application of its name.
    pub(super) fn applications(&self, instead: Option<&AppSpec>) -> Applications {
        let mut specs = BTreeMap::new();
        for (name, app) in &self.state.apps {
            if let (Some(spec), Standing::Running | Standing::Paused) = (app.spec(), app.standing) {
                specs.insert(name.as_str(), spec);
            }
        }
        if let Some(spec) = instead {
            specs.insert(&spec.name, spec);
        }
        let application = |spec: &AppSpec| {
            let mut homes = self.homes_of(&spec.name, spec);
            let component = |(name, component): (&String, &ComponentSpec)| {
                let of = ComponentId::new(&spec.name, name);
                let homes = homes.remove(&of);
                let component = Component {
                    homes: homes.unwrap_or_else(|| self.stays(&of)),
                    ..component.component()
                };
                (name.clone(), component)
            };
            Application {
                components: spec.components.iter().map(component).collect(),
            }
        };
        specs
            .into_iter()
            .map(|(name, spec)| (name.to_owned(), application(spec)))
            .collect()
    }

    pub(super) fn fleet(&self) -> Fleet {
        let mut fleet = Fleet {
            engines: self
                .engines
                .keys()
                .map(|engine| (engine.clone(), self.engine(engine)))
                .collect(),
            running: Vec::new(),
        };
        let mut own = BTreeSet::new();
        for (id, instance) in &self.state.instances {
            own.extend(instance.placed.as_ref().map(|placed| placed.program));
            self.seat(id, instance, &mut fleet);
        }
        let strays = self.draining_strays();
        for (program, view) in &self.programs {
            let status = &view.status;
            if own.contains(program) || status.state.is_ended() {
                continue;
            }
            if strays.contains(program) {
                fleet.running.push(Running {
                    instance: stray(*program),
                    engine: status.engine.clone(),
                    program: *program,
                    generation: status.generation,
                    memory_bytes: status.memory_bytes,
                });
            } else {
                add(&mut fleet, &status.engine, status.memory_bytes);
            }
        }
        self.press(&mut fleet);
        fleet
    }

    /// An instance with a command under way is given where that will leave it.
    fn seat(&self, id: &InstanceId, instance: &Instance, fleet: &mut Fleet) {
        let Some(placed) = &instance.placed else { return };
        let doing = instance.pending.as_ref().map(|pending| &pending.doing);
        let memory_bytes = self
            .programs
            .get(&placed.program)
            .map_or(0, |view| view.status.memory_bytes);
        let engine = match doing {
            Some(Doing::Start { engine, .. }) => engine,
            Some(Doing::Move { source, target }) => {
                add(fleet, source, memory_bytes);
                target
            }
            Some(Doing::Kill { .. } | Doing::Pause { .. } | Doing::Resume { .. }) | None => {
                match &placed.seat {
                    Some(seat) => seat,
                    None => return,
                }
            }
        };
        fleet.running.push(Running {
            instance: id.clone(),
            engine: engine.clone(),
            program: placed.program,
            generation: placed.generation,
            memory_bytes,
        });
    }

    pub(super) fn engine(&self, id: &EngineId) -> Engine {
        let about = self
            .engines
            .get(id)
            .and_then(|watched| watched.view.as_ref()?.about.as_ref());
        let presence = match (self.health(id), self.mark(id)) {
            (Health::Lost, _) => Presence::Lost,
            (Health::Here, _) if self.leaving(id).is_some() => Presence::Draining,
            (Health::Here, Some(Mark::Draining)) => Presence::Draining,
            (Health::Here, None) if about.is_some() => Presence::Open,
            (Health::Suspected | Health::Late | Health::Here, _) => Presence::Cordoned,
        };
        let code = about.map_or(Code::None(NoCode::NotServed), |about| self.code(about));
        placing::engine(id, about, self.options.marks, (presence, code))
    }

    fn code(&self, about: &EngineAbout) -> Code {
        match &self.options.serves {
            _ if about.compiles => Code::Own,
            None => Code::None(NoCode::NotServed),
            Some(serves)
                if !serves
                    .compilers
                    .iter()
                    .any(|compiler| compiler.makes(&about.code)) =>
            {
                Code::None(NoCode::NotMade)
            }
            Some(serves) if serves.keys.iter().any(|key| about.trusts.contains(key)) => Code::Served,
            Some(_) => Code::None(NoCode::NotTrusted),
        }
    }

    fn moves_under_way(&self) -> usize {
        let pending = self
            .state
            .instances
            .values()
            .filter_map(|instance| instance.pending.as_ref());
        let own = pending
            .filter(|pending| matches!(pending.doing, Doing::Move { .. }))
            .count();
        let strays = self
            .in_flight
            .values()
            .filter(|subject| matches!(subject, Subject::Stray(_)));
        own + strays.count()
    }

    fn start(&mut self, id: &InstanceId, engine: EngineId, why: &str) {
        let Some(component) = self.state.wanted(id).cloned() else {
            return;
        };
        let standing = self.state.apps.get(&id.of.application).map(|app| app.standing);
        let now_ms = self.now.ms;
        let instance = self.state.instances.get(id).cloned().unwrap_or_default();
        let is_complete = instance.placed.as_ref().is_some_and(|placed| placed.complete);
        let is_waiting = self
            .passing
            .get(id)
            .is_some_and(|passing| passing.not_before_ms > now_ms);
        let is_held_back = is_complete || is_waiting || waits_for_its_time(&component, &instance);
        if instance.pending.is_some() || is_held_back || standing != Some(Standing::Running) {
            return;
        }
        let component = self.is_made_of(id, &instance, &engine).unwrap_or(component);
        let revision = component.revision();
        let is_heard = self.hears(&engine);
        let before = instance.placed.as_ref().and_then(|placed| placed.seat.clone());
        let (placed, snapshot) = match instance.placed {
            None => (
                Placed {
                    program: self.ids.program(),
                    seat: Some(engine.clone()),
                    generation: Generation::FIRST,
                    highest: Generation::FIRST,
                    revision,
                    earlier: Vec::new(),
                    checkpoint: None,
                    complete: false,
                    paused: false,
                    is_heard,
                },
                None,
            ),
            // A copy of it may live somewhere: it is fenced off by its id and a higher generation.
            Some(before) => {
                let checkpoint = before.checkpoint.filter(|_| before.revision == revision);
                // What is in it was perhaps said where nobody heard it.
                let is_heard = is_heard && (checkpoint.is_none() || before.is_heard);
                let generation = before.highest.replacing();
                let mut placed = Placed {
                    seat: Some(engine.clone()),
                    generation,
                    highest: generation,
                    checkpoint,
                    paused: false,
                    is_heard,
                    ..before
                };
                placed.is_made_as(revision, generation);
                (placed, checkpoint.map(|point| point.snapshot))
            }
        };
        let from = if snapshot.is_some() {
            "from its last checkpoint"
        } else {
            "from the beginning"
        };
        let text = format!("{id} is started on {engine}, {from}: {why}");
        if let Some(lost) = before {
            self.may_be_left_on(placed.program, &lost);
        }
        let at_ms = self.now.wall_ms;
        let instance = self.state.instances.entry(id.clone()).or_default();
        instance.placed = Some(placed);
        instance.stays = None;
        instance.starts = Some(Starts::after(instance.starts, revision, at_ms));
        if let Some(due) = &mut instance.due {
            due.is_due = false;
        }
        let passing = self.passing(id);
        (passing.started_ms, passing.is_healthy, passing.missing_since_ms) = (None, false, None);
        passing.is_begun = true;
        self.tell("start", id, Some(&engine), text);
        let name = format!("{}-{}-{}", id.of.application, id.of.component, id.ordinal);
        let mut spec = Box::new(component.program(name));
        // One that does not hear it asks for nothing either, nor knows of that where an order has to be as it
        // was signed.
        spec.health_every_ms = spec.health_every_ms.filter(|_| is_heard);
        self.begin(
            id,
            Doing::Start {
                engine,
                spec,
                snapshot,
            },
        );
    }

    fn move_to(&mut self, id: &InstanceId, source: EngineId, target: EngineId, why: MoveReason) -> bool {
        let why_it_moves = why;
        let why = match why {
            MoveReason::Drain => format!("{source} is to be emptied"),
            MoveReason::Misplaced => format!("{source} does not fit it, or not any more"),
            MoveReason::Rebalance { gain } => format!("for balance, a gain of {gain}"),
        };
        if id.of.application == STRAYS {
            return self.move_stray(id, &source, target, &why);
        }
        let now_ms = self.now.ms;
        let Some(Instance {
            placed: Some(placed),
            pending: None,
            ..
        }) = self.state.instances.get(id)
        else {
            return false;
        };
        let is_waiting = self
            .passing
            .get(id)
            .is_some_and(|passing| passing.not_before_ms > now_ms);
        let is_settled = self
            .status(placed.program)
            .is_some_and(|status| status.state.is_settled());
        if is_waiting || !is_settled || placed.complete {
            return false;
        }
        if self.holds(id).is_some() || !self.may_leave(&source, why_it_moves) {
            return false;
        }
        self.tell(
            "move",
            id,
            Some(&source),
            format!("{id} moves from {source} to {target}: {why}"),
        );
        self.begin(id, Doing::Move { source, target });
        true
    }

    fn kill(&mut self, id: &InstanceId, engine: EngineId) {
        if self
            .state
            .instances
            .get(id)
            .is_some_and(|instance| instance.pending.is_none())
            && self.can_be_asked(&engine)
        {
            self.tell(
                "kill",
                id,
                Some(&engine),
                format!("{id} is ended on {engine}: it is not wanted any more"),
            );
            self.begin(id, Doing::Kill { engine });
        }
    }

    /// Whether a command to the engine has a chance to be heard.
    pub(super) fn can_be_asked(&self, engine: &EngineId) -> bool {
        let watched = self.engines.get(engine);
        self.health(engine) != Health::Lost
            && watched.is_some_and(|watched| watched.view.as_ref().is_some_and(|view| view.online))
    }

    /// Instances that are not wanted and run nowhere, and applications of which nothing is left. What may
    /// live on an engine that is lost is remembered as long as its application is: were it wanted again, it
    /// would have to follow that.
    fn forget_removed(&mut self) {
        let gone: Vec<InstanceId> = self
            .state
            .instances
            .iter()
            .filter(|(id, instance)| {
                let is_lost = |seat: &EngineId| self.health(seat) == Health::Lost;
                let is_nowhere = instance
                    .seat()
                    .is_none_or(|seat| is_lost(seat) && self.is_removed(&id.of.application));
                is_nowhere && instance.pending.is_none() && self.state.wanted(id).is_none()
            })
            .map(|(id, _)| id.clone())
            .collect();
        for id in gone {
            let instance = self.state.instances.remove(&id);
            self.store(&id);
            if let Some(placed) = instance.and_then(|instance| instance.placed) {
                if let Some(lost) = &placed.seat {
                    self.may_be_left_on(placed.program, lost);
                }
                self.ended_for_good(&placed);
            }
        }
        let removed: Vec<String> = self
            .state
            .apps
            .iter()
            .filter(|(name, app)| {
                let has_any = self.state.instances.keys().any(|id| id.of.application == **name);
                app.standing == Standing::Removing && !has_any
            })
            .map(|(name, _)| name.clone())
            .collect();
        for name in removed {
            self.state.apps.remove(&name);
            self.leases.end_all_of(&name);
            self.store_app(&name);
            self.tell_app("removed", &name, format!("application {name} is gone"));
        }
    }

    fn is_removed(&self, name: &str) -> bool {
        let app = self.state.apps.get(name);
        app.is_none_or(|app| app.standing == Standing::Removing)
    }
}

fn add(fleet: &mut Fleet, engine: &EngineId, memory_bytes: u64) {
    if let Some(engine) = fleet.engines.get_mut(engine) {
        engine.other.programs += 1;
        let resources = &mut engine.other.resources;
        resources.memory_bytes = resources.memory_bytes.saturating_add(memory_bytes);
    }
}
