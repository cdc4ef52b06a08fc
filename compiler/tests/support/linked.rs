//! Instances that import from each other: built again in a new store as often as a test wants, so that any
//! call can be repeated from the same state, with captures at other points.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use wasmtime::{Engine, Extern, Global, GlobalType, Instance, Linker, Mutability, Store, Val, ValType};
use wayfare_abi::rewritten as abi;

use super::{Call, Called, Image, Outcome, Program, World, store, wasi};

/// Modules in the order of their instantiation.
pub struct Scene {
    pub engine: Engine,
    host: Linker<World>,
    members: Vec<Member>,
}

struct Member {
    program: Program,
    imports: Vec<Import>,
    never_blocks: bool,
}

pub enum Import {
    Host,
    Member(usize),
}

/// The state of some members.
pub type Images = BTreeMap<usize, Image>;

/// Some members of a scene in one store.
pub struct Linked {
    store: Store<World>,
    instances: BTreeMap<usize, Instance>,
}

impl Scene {
    pub fn new(engine: &Engine) -> Self {
        Self {
            engine: engine.clone(),
            host: wasi::linker(engine),
            members: Vec::new(),
        }
    }

    /// `imports`: from where, in the module's order.
    pub fn add(&mut self, program: Program, imports: Vec<Import>, never_blocks: bool) -> usize {
        self.members.push(Member {
            program,
            imports,
            never_blocks,
        });
        self.members.len() - 1
    }

    /// What came last did not work out.
    pub fn forget_last(&mut self) {
        self.members.pop();
    }

    /// A member and all that it imports from.
    pub fn needed_by(&self, member: usize) -> BTreeSet<usize> {
        let mut needed = BTreeSet::from([member]);
        for member in (0..=member).rev() {
            if needed.contains(&member) {
                needed.extend(
                    self.members[member]
                        .imports
                        .iter()
                        .filter_map(|import| match import {
                            Import::Host => None,
                            Import::Member(member) => Some(*member),
                        }),
                );
            }
        }
        needed
    }

    /// New instances of `member` and all that it imports from, in the given state.
    fn build(&self, member: usize, images: &Images) -> Linked {
        let mut linked = Linked::new(&self.engine);
        for member in self.needed_by(member) {
            linked.instantiate(self, member).unwrap();
        }
        for (member, image) in images {
            image.restore(&linked.instances[member], &mut linked.store);
        }
        linked
    }

    /// Repeats a call from the state `before` it, capturing at the `first` check and, in the resumed program,
    /// at the `second` after that. Each resumption is in new instances.
    pub fn moved(
        &self,
        member: usize,
        call: &Call,
        before: &Images,
        first: u64,
        second: Option<u64>,
    ) -> Moved {
        let mut linked = self.build(member, before);
        for member in self.needed_by(member) {
            // Drops again what had been dropped, before it looks for a frame; there is none, so it traps.
            let resumer = linked.resumer(self, member);
            let resume = resumer
                .get_typed_func::<(), ()>(&mut linked.store, abi::RESUME)
                .unwrap();
            resume.call(&mut linked.store, ()).unwrap_err();
        }
        linked.arm(self, member, Some(first));
        let mut called = call.fresh(&linked.instances[&member], &mut linked.store);
        let mut captured_at = None;
        let mut captures = 0;
        while let Called::Captured = called {
            captured_at.get_or_insert(linked.store.data().checks);
            captures += 1;
            let images = linked.images(self, member);
            linked = self.build(member, &images);
            linked.arm(self, member, second.filter(|_| captures == 1));
            let resumer = linked.resumer(self, member);
            called = call.resumed(&resumer, &mut linked.store);
        }
        let Called::Ended(outcome) = called else {
            unreachable!("the loop runs until it ended")
        };
        Moved {
            outcome,
            after: linked.images(self, member),
            captured_at,
            captures,
        }
    }
}

pub struct Moved {
    pub outcome: Outcome,
    pub after: Images,
    /// How many checks were passed before the first capture; `None`: it ended before.
    pub captured_at: Option<u64>,
    pub captures: usize,
}

impl Linked {
    pub fn new(engine: &Engine) -> Self {
        Self {
            store: store(engine, World::default(), None),
            instances: BTreeMap::new(),
        }
    }

    pub fn instantiate(&mut self, scene: &Scene, member: usize) -> wasmtime::Result<()> {
        let Member { program, imports, .. } = &scene.members[member];
        let mut externs = Vec::new();
        for (import, from) in program.module.imports().zip(imports) {
            externs.push(match from {
                Import::Member(member) => {
                    let export = self.instances[member].get_export(&mut self.store, import.name());
                    export.ok_or_else(|| wasmtime::Error::msg("no such export"))?
                }
                Import::Host => match constant(import.name(), &mut self.store) {
                    Some(global) if import.module() == "spectest" => global.into(),
                    _ => scene.host.get(&mut self.store, import.module(), import.name())?,
                },
            });
        }
        let instance = Instance::new(&mut self.store, &program.module, &externs)?;
        self.instances.insert(member, instance);
        Ok(())
    }

    fn resumer(&mut self, scene: &Scene, member: usize) -> Instance {
        let program = &scene.members[member].program;
        program.resumer(&self.instances[&member], &mut self.store)
    }

    /// The state of `member` and of all that it imports from.
    pub fn images(&mut self, scene: &Scene, member: usize) -> Images {
        let needed = scene.needed_by(member).into_iter();
        needed
            .map(|member| (member, Image::take(&self.instances[&member], &mut self.store)))
            .collect()
    }

    /// Lets `member` be captured at the `capture`th check from now.
    fn arm(&mut self, scene: &Scene, member: usize, capture: Option<u64>) {
        let save = self.instances[&member].get_memory(&mut self.store, abi::SAVE_MEMORY);
        let flag = save.map(|save| save.data_ptr(&self.store) as usize + abi::FLAG_OFFSET as usize);
        let world = self.store.data_mut();
        world.flag = flag.unwrap_or(0);
        world.never_blocks = scene.members[member].never_blocks;
        world.checks = 0;
        world.countdown = capture;
    }

    /// Unmoved: the outcome, and how many checks the call passed.
    pub fn call(&mut self, scene: &Scene, member: usize, call: &Call) -> (Outcome, u64) {
        self.arm(scene, member, None);
        match call.fresh(&self.instances[&member], &mut self.store) {
            Called::Ended(outcome) => (outcome, self.store.data().checks),
            Called::Captured => panic!("{}: captured, although nobody asked", call.name),
        }
    }

    pub fn export(&mut self, member: usize, name: &str) -> Option<Extern> {
        self.instances[&member].get_export(&mut self.store, name)
    }

    pub fn parts(&mut self, member: usize) -> (Instance, &mut Store<World>) {
        (self.instances[&member], &mut self.store)
    }

    pub fn store(&mut self) -> &mut Store<World> {
        &mut self.store
    }
}

/// The constants that the official suite's scripts import.
fn constant(name: &str, store: &mut Store<World>) -> Option<Global> {
    let (ty, value) = match name {
        "global_i32" => (ValType::I32, Val::I32(666)),
        "global_i64" => (ValType::I64, Val::I64(666)),
        "global_f32" => (ValType::F32, Val::F32(666.6f32.to_bits())),
        "global_f64" => (ValType::F64, Val::F64(666.6f64.to_bits())),
        _ => return None,
    };
    Some(Global::new(store, GlobalType::new(ty, Mutability::Const), value).unwrap())
}
