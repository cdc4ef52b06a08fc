//! Which engines meet which requirements, found out once for all components that require the same.

use std::collections::BTreeMap;

use wayfare_protocol::ids::EngineId;

use crate::constraint::Requirements;
use crate::fleet::Engine;
use crate::lack::Lack;

#[derive(Debug)]
pub(crate) struct Class {
    requirements: Requirements,
    candidates: Candidates,
    pub(crate) count: u32,
}

#[derive(Debug)]
pub(crate) enum Candidates {
    All,
    /// In order; so few that they are looked at one by one.
    Few(Vec<u32>),
    /// One bit per engine.
    Many(Vec<u64>),
}

const FEW_MAX: usize = 64;
/// And no more than one engine in so many.
const FEW_SHARE: usize = 8;

/// The classes of components, by number, while they are being collected.
#[derive(Debug, Default)]
pub(crate) struct Classes<'a> {
    numbers: BTreeMap<&'a Requirements, u32>,
    classes: Vec<Class>,
}

impl<'a> Classes<'a> {
    /// The number of the class with these requirements.
    pub(crate) fn number(&mut self, requirements: &'a Requirements, engines: &Engines<'_>) -> u32 {
        if let Some(number) = self.numbers.get(requirements) {
            return *number;
        }
        let number = u32::try_from(self.classes.len()).expect("no more classes than components");
        self.classes.push(Class::new(requirements, engines));
        self.numbers.insert(requirements, number);
        number
    }

    pub(crate) fn finish(self) -> Vec<Class> {
        self.classes
    }
}

/// The engines by number, and their numbers by name.
pub(crate) struct Engines<'a> {
    pub(crate) list: &'a [(&'a EngineId, &'a Engine)],
    pub(crate) numbers: &'a BTreeMap<EngineId, u32>,
}

impl Class {
    fn new(requirements: &Requirements, engines: &Engines<'_>) -> Self {
        let fits = |number: &u32| {
            let (id, engine) = engines.list[*number as usize];
            requirements.check(id, engine).is_ok()
        };
        let numbers: Vec<u32> = if requirements.engines.is_empty() {
            engines.numbers.values().copied().filter(fits).collect()
        } else {
            let named = requirements.engines.iter();
            let named = named.filter_map(|name| engines.numbers.get(name).copied());
            named.filter(fits).collect()
        };
        let count = u32::try_from(numbers.len()).expect("engines are numbered in 32 bits");
        Self {
            requirements: requirements.clone(),
            candidates: Candidates::new(numbers, engines.list.len()),
            count,
        }
    }

    pub(crate) fn contains(&self, engine: u32) -> bool {
        match &self.candidates {
            Candidates::All => true,
            Candidates::Few(few) => few.binary_search(&engine).is_ok(),
            Candidates::Many(bits) => bits[engine as usize / 64] >> (engine % 64) & 1 == 1,
        }
    }

    /// The candidates, if they are so few that looking at each is quicker than searching.
    pub(crate) fn few(&self) -> Option<&[u32]> {
        match &self.candidates {
            Candidates::Few(few) => Some(few),
            Candidates::All | Candidates::Many(_) => None,
        }
    }

    /// Whether its engines are some of all, and too many to look at each.
    pub(crate) fn is_searched(&self) -> bool {
        matches!(self.candidates, Candidates::Many(_))
    }

    pub(crate) fn check(&self, id: &EngineId, engine: &Engine) -> Result<(), Lack> {
        self.requirements.check(id, engine)
    }
}

impl Candidates {
    fn new(numbers: Vec<u32>, engines: usize) -> Self {
        if numbers.len() == engines {
            return Self::All;
        }
        if numbers.len() <= FEW_MAX && numbers.len() * FEW_SHARE <= engines {
            return Self::Few(numbers);
        }
        let mut bits = vec![0; engines.div_ceil(64)];
        for number in numbers {
            bits[number as usize / 64] |= 1 << (number % 64);
        }
        Self::Many(bits)
    }
}
