//! Who may run beside whom: at most so many per engine, apart, and spread.
//!
//! Counts how many instances of each component that takes part in such a rule are in each *zone*, which is one value of one
//! domain: an engine, a host, a label's value. Components without rules cost nothing here.

use std::collections::{BTreeMap, HashMap};

use crate::constraint::Domain;

/// What a placement would break.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Broken {
    PerEngineMax(u32),
    /// With this component, in this domain.
    Apart(u32, usize),
    Spread(usize),
}

#[derive(Debug, Default)]
pub(crate) struct Relations {
    pub(crate) domains: Vec<Domain>,
    /// By engine, then by domain.
    zones: Vec<Zone>,
    /// By component; `None` for those that no rule speaks of.
    rules: Vec<Option<Box<Rule>>>,
    spreading: Vec<u32>,
    /// By component and zone. Looked up, never iterated.
    counts: HashMap<(u32, Zone), u32>,
}

/// A number, unique over all domains.
pub(crate) type Zone = u32;
/// An engine without the label belongs nowhere.
pub(crate) const NOWHERE: Zone = u32::MAX;

#[derive(Debug, Default)]
pub(crate) struct Rule {
    pub(crate) per_engine_max: Option<u32>,
    /// Components and the domain in which to be apart from them, both ways.
    pub(crate) apart: Vec<(u32, usize)>,
    pub(crate) spread: Option<Evenness>,
}

#[derive(Debug)]
pub(crate) struct Evenness {
    pub(crate) domain: usize,
    pub(crate) skew_max: u32,
    /// Engines that the component could use in each zone; zones without any do not count. Never iterated.
    usable: HashMap<Zone, u32>,
    /// How many usable zones have so many instances.
    zones_by_count: BTreeMap<u32, u32>,
}

impl Evenness {
    pub(crate) fn new(domain: usize, skew_max: u32) -> Self {
        Self {
            domain,
            skew_max: skew_max.max(1),
            usable: HashMap::new(),
            zones_by_count: BTreeMap::new(),
        }
    }

    fn min(&self) -> u32 {
        self.zones_by_count
            .first_key_value()
            .map_or(0, |(count, _)| *count)
    }

    fn max(&self) -> u32 {
        self.zones_by_count
            .last_key_value()
            .map_or(0, |(count, _)| *count)
    }

    fn add_zone(&mut self, count: u32) {
        *self.zones_by_count.entry(count).or_default() += 1;
    }

    fn remove_zone(&mut self, count: u32) {
        if let Some(zones) = self.zones_by_count.get_mut(&count) {
            *zones -= 1;
            if *zones == 0 {
                self.zones_by_count.remove(&count);
            }
        }
    }
}

impl Relations {
    pub(crate) fn new(domains: Vec<Domain>, zones: Vec<Zone>, rules: Vec<Option<Box<Rule>>>) -> Self {
        let spreads = |rule: &Option<Box<Rule>>| rule.as_ref().is_some_and(|rule| rule.spread.is_some());
        let spreading = (0_u32..).zip(&rules).filter(|(_, rule)| spreads(rule));
        let spreading = spreading.map(|(component, _)| component).collect();
        Self {
            domains,
            zones,
            rules,
            spreading,
            counts: HashMap::new(),
        }
    }

    pub(crate) fn rule(&self, component: u32) -> Option<&Rule> {
        self.rules[component as usize].as_deref()
    }

    pub(crate) fn zones(&self, engine: u32) -> &[Zone] {
        let domains = self.domains.len();
        &self.zones[engine as usize * domains..][..domains]
    }

    fn count(&self, component: u32, zone: Zone) -> u32 {
        self.counts.get(&(component, zone)).copied().unwrap_or(0)
    }

    pub(crate) fn enter(&mut self, component: u32, engine: u32) {
        self.change(component, engine, |count| count + 1);
    }

    pub(crate) fn leave(&mut self, component: u32, engine: u32) {
        self.change(component, engine, |count| count.saturating_sub(1));
    }

    fn change(&mut self, component: u32, engine: u32, change: impl Fn(u32) -> u32) {
        let Some(rule) = &mut self.rules[component as usize] else {
            return;
        };
        let domains = self.domains.len();
        let zones = &self.zones[engine as usize * domains..][..domains];
        for (domain, zone) in zones.iter().enumerate() {
            if *zone == NOWHERE {
                continue;
            }
            let count = self.counts.entry((component, *zone)).or_default();
            let old = *count;
            *count = change(old);
            if let Some(even) = rule.spread.as_mut().filter(|even| even.domain == domain)
                && even.usable.contains_key(zone)
            {
                even.remove_zone(old);
                even.add_zone(*count);
            }
        }
    }

    /// Whether one more instance may come; one that leaves another engine for it has left already.
    pub(crate) fn admit(&self, component: u32, engine: u32) -> Result<(), Broken> {
        let Some(rule) = self.rule(component) else {
            return Ok(());
        };
        self.check(component, engine, rule, 0)?;
        if let Some(even) = &rule.spread {
            let zone = self.zones(engine)[even.domain];
            let usable = zone != NOWHERE && even.usable.contains_key(&zone);
            if !usable || self.count(component, zone) + 1 > even.min() + even.skew_max {
                return Err(Broken::Spread(even.domain));
            }
        }
        Ok(())
    }

    /// Whether an instance that is there may stay.
    pub(crate) fn tolerates(&self, component: u32, engine: u32) -> bool {
        let rule = self.rule(component);
        rule.is_none_or(|rule| self.check(component, engine, rule, 1).is_ok())
    }

    /// `present` of the component's own instances on this engine are the one in question.
    fn check(&self, component: u32, engine: u32, rule: &Rule, present: u32) -> Result<(), Broken> {
        let zones = self.zones(engine);
        if let Some(max) = rule.per_engine_max
            && self.count(component, zones[0]) >= max.saturating_add(present)
        {
            return Err(Broken::PerEngineMax(max));
        }
        for (other, domain) in &rule.apart {
            let zone = zones[*domain];
            let allowed = if *other == component { present } else { 0 };
            if zone != NOWHERE && self.count(*other, zone) > allowed {
                return Err(Broken::Apart(*other, *domain));
            }
        }
        Ok(())
    }

    /// By how many instances the component is less even than it asks for.
    pub(crate) fn unevenness(&self, component: u32) -> u32 {
        let even = self.rule(component).and_then(|rule| rule.spread.as_ref());
        even.map_or(0, |even| (even.max() - even.min()).saturating_sub(even.skew_max))
    }

    /// The engine begins to take instances of those components that `usable` names.
    pub(crate) fn open(&mut self, engine: u32, usable: impl Fn(u32) -> bool) {
        self.for_each_spread(engine, usable, |even, zone, count| {
            let engines = even.usable.entry(zone).or_default();
            *engines += 1;
            if *engines == 1 {
                even.add_zone(count);
            }
        });
    }

    /// The reverse of [`Relations::open`].
    pub(crate) fn close(&mut self, engine: u32, usable: impl Fn(u32) -> bool) {
        self.for_each_spread(engine, usable, |even, zone, count| {
            if let Some(engines) = even.usable.get_mut(&zone) {
                *engines -= 1;
                if *engines == 0 {
                    even.usable.remove(&zone);
                    even.remove_zone(count);
                }
            }
        });
    }

    fn for_each_spread(
        &mut self,
        engine: u32,
        usable: impl Fn(u32) -> bool,
        act: impl Fn(&mut Evenness, Zone, u32),
    ) {
        let domains = self.domains.len();
        for component in self
            .spreading
            .iter()
            .copied()
            .filter(|component| usable(*component))
        {
            let rule = self.rules[component as usize].as_mut();
            let Some(even) = rule.and_then(|rule| rule.spread.as_mut()) else {
                continue;
            };
            let zone = self.zones[engine as usize * domains + even.domain];
            if zone != NOWHERE {
                let count = self.counts.get(&(component, zone)).copied().unwrap_or(0);
                act(even, zone, count);
            }
        }
    }
}
