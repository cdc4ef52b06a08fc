//! Seats: taking one, leaving it, finding the best.
//!
//! Whatever changes what an engine holds goes through [`State::enter`] and [`State::leave`], and is in the
//! index at once.

use super::{Balance, Room, Seat, Site, State};
use crate::fleet::Presence;
use crate::index::{Ask, Entry};
use crate::policy::{Load, Share};

impl State {
    pub(super) fn enter(&mut self, instance: u32, engine: u32) {
        let room = self.room_of(instance);
        let site = &mut self.engines[engine as usize];
        site.taken = site.taken.plus(&room);
        if let Err(at) = site.instances.binary_search(&instance) {
            site.instances.insert(at, instance);
        }
        let slot = &mut self.instances[instance as usize];
        slot.seat = Seat::On(engine);
        self.relations.enter(slot.component, engine);
        self.refresh(engine);
    }

    /// Leaves the instance nowhere.
    pub(super) fn leave(&mut self, instance: u32, engine: u32) {
        let room = self.room_of(instance);
        let site = &mut self.engines[engine as usize];
        site.taken = site.taken.minus(&room);
        if let Ok(at) = site.instances.binary_search(&instance) {
            site.instances.remove(at);
        }
        let slot = &mut self.instances[instance as usize];
        slot.seat = Seat::Nowhere;
        self.relations.leave(slot.component, engine);
        self.refresh(engine);
    }

    /// Brings the index up to what the engine holds now.
    pub(super) fn refresh(&mut self, engine: u32) {
        let site = &self.engines[engine as usize];
        let open = site.engine.presence == Presence::Open;
        let entry = open.then(|| {
            let load = site.load(&site.taken);
            Entry {
                rank: self.options.policy.rank(&load),
                memory: load.memory_bytes.free().min(site.program_memory_max).max(0),
                processor: load.processor_millicores.free().max(0),
                places: load.programs.free(),
            }
        });
        let belongs = |class: u32| self.classes[class as usize].contains(engine);
        self.index.set(engine, entry, belongs);
    }

    /// Where the instance, which is nowhere now, is best put.
    pub(super) fn find(&self, instance: u32) -> Option<u32> {
        self.find_below(instance, i64::MAX, |_| true)
    }

    /// The same among engines that rank below a limit and that `accept` agrees to.
    pub(super) fn find_below(
        &self,
        instance: u32,
        rank_below: i64,
        accept: impl Fn(u32) -> bool,
    ) -> Option<u32> {
        let room = self.room_of(instance);
        let component = self.instances[instance as usize].component;
        let number = self.part(instance).class;
        let class = &self.classes[number as usize];
        let ask = Ask {
            memory: room.memory,
            processor: room.processor,
            rank_below,
        };
        let admitted = |engine| self.relations.admit(component, engine).is_ok() && accept(engine);
        if let Some(home) = self.instances[instance as usize].home {
            let entry = self.index.get(home)?;
            let fits = class.contains(home) && ask.fits(&entry) && admitted(home);
            return fits.then_some(home);
        }
        let Some(few) = class.few() else {
            return self
                .index
                .find(number, &ask, |engine| class.contains(engine) && admitted(engine));
        };
        let entries = few
            .iter()
            .filter_map(|engine| self.index.get(*engine).map(|entry| (*engine, entry)));
        let fits = entries.filter(|(engine, entry)| ask.fits(entry) && admitted(*engine));
        let best = fits.min_by_key(|(engine, entry)| (entry.rank, *engine));
        best.map(|(engine, _)| engine)
    }

    /// The engine's rank, if it held this much.
    pub(super) fn rank_with(&self, engine: u32, taken: &Room) -> i64 {
        self.options
            .policy
            .rank(&self.engines[engine as usize].load(taken))
    }

    pub(super) fn rank(&self, engine: u32) -> i64 {
        self.rank_with(engine, &self.engines[engine as usize].taken)
    }

    pub(super) fn room_of(&self, instance: u32) -> Room {
        Room {
            memory: self.instances[instance as usize].memory,
            processor: self.part(instance).processor,
            programs: 1,
        }
    }

    pub(super) fn open_zones(&mut self, engine: u32) {
        let contains = |class: u32| self.classes[class as usize].contains(engine);
        self.relations.open(engine, contains);
    }

    pub(super) fn close_zones(&mut self, engine: u32) {
        let contains = |class: u32| self.classes[class as usize].contains(engine);
        self.relations.close(engine, contains);
    }

    /// The engine has become fuller.
    pub(super) fn fuller(&mut self, engine: u32) {
        if let Balance::Only(engines) = &mut self.balance {
            engines.insert(engine);
        }
    }

    /// Some engine has become emptier.
    pub(super) fn emptier(&mut self) {
        self.balance = Balance::All;
    }
}

impl Site {
    /// Whether it can be reached.
    pub(super) fn is_there(&self) -> bool {
        self.engine.presence != Presence::Lost
    }

    pub(super) fn load(&self, taken: &Room) -> Load {
        taken.of(&self.capacity)
    }
}

impl Room {
    pub(super) const NONE: Self = Self {
        memory: 0,
        processor: 0,
        programs: 0,
    };

    pub(super) fn of(&self, capacity: &Self) -> Load {
        let share = |taken, of| Share { taken, of };
        Load {
            programs: share(self.programs, capacity.programs),
            memory_bytes: share(self.memory, capacity.memory),
            processor_millicores: share(self.processor, capacity.processor),
        }
    }

    pub(super) fn plus(&self, other: &Self) -> Self {
        Self {
            memory: self.memory + other.memory,
            processor: self.processor + other.processor,
            programs: self.programs + other.programs,
        }
    }

    pub(super) fn minus(&self, other: &Self) -> Self {
        Self {
            memory: self.memory - other.memory,
            processor: self.processor - other.processor,
            programs: self.programs - other.programs,
        }
    }

    /// Whether `ask` takes no more of anything than there is here; what is not asked for may well be
    /// overdrawn.
    pub(super) fn covers(&self, ask: &Self) -> bool {
        let enough = |have: i64, ask: i64| ask == 0 || ask <= have;
        enough(self.memory, ask.memory)
            && enough(self.processor, ask.processor)
            && enough(self.programs, ask.programs)
    }
}
