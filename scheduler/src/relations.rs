//! Who may run beside whom: at most so many per engine, apart, and spread.
//!
//! Counts how many instances of each component that takes part in such a rule are in each *zone*, which is
//! one value of one domain: an engine, a host, a label's value. Components without rules cost nothing here.

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
    areas: Vec<Area>,
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
    pub(crate) skew_max: u32,
    /// Number of its [`Area`].
    area: usize,
    /// How many usable zones have so many instances.
    zones_by_count: BTreeMap<u32, u32>,
}

/// What components of one class can use of one domain, for those that are spread over it.
#[derive(Debug)]
struct Area {
    class: u32,
    domain: usize,
    /// Open engines in each zone; zones without any are not usable. Never iterated.
    usable: HashMap<Zone, u32>,
    components: Vec<u32>,
}

impl Evenness {
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
    /// Nothing runs yet and no engine is open.
    pub(crate) fn new(domains: Vec<Domain>, zones: Vec<Zone>, rules: Vec<Option<Box<Rule>>>) -> Self {
        Self {
            domains,
            zones,
            rules,
            areas: Vec::new(),
            counts: HashMap::new(),
        }
    }

    /// Spreads a component of this class over a domain.
    pub(crate) fn spread(&mut self, component: u32, class: u32, domain: usize, skew_max: u32) {
        let same = |area: &Area| area.class == class && area.domain == domain;
        let area = self.areas.iter().position(same).unwrap_or_else(|| {
            self.areas.push(Area {
                class,
                domain,
                usable: HashMap::new(),
                components: Vec::new(),
            });
            self.areas.len() - 1
        });
        self.areas[area].components.push(component);
        let rule = self.rules[component as usize].get_or_insert_default();
        rule.spread = Some(Evenness {
            skew_max: skew_max.max(1),
            area,
            zones_by_count: BTreeMap::new(),
        });
    }

    /// Opens many engines at once, before anything runs.
    pub(crate) fn open_all(&mut self, engines: &[u32], contains: impl Fn(u32, u32) -> bool) {
        let domains = self.domains.len();
        for area in &mut self.areas {
            for engine in engines.iter().filter(|engine| contains(area.class, **engine)) {
                let zone = self.zones[*engine as usize * domains + area.domain];
                if zone != NOWHERE {
                    *area.usable.entry(zone).or_default() += 1;
                }
            }
            let zones = u32::try_from(area.usable.len()).expect("there are fewer than 2^32 zones");
            for component in area.components.iter().filter(|_| zones > 0) {
                let rule = self.rules[*component as usize].as_mut();
                if let Some(even) = rule.and_then(|rule| rule.spread.as_mut()) {
                    even.zones_by_count.insert(0, zones);
                }
            }
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
            if let Some(even) = &mut rule.spread
                && self.areas[even.area].domain == domain
                && self.areas[even.area].usable.contains_key(zone)
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
            let area = &self.areas[even.area];
            let zone = self.zones(engine)[area.domain];
            let usable = zone != NOWHERE && area.usable.contains_key(&zone);
            if !usable || self.count(component, zone) + 1 > even.min() + even.skew_max {
                return Err(Broken::Spread(area.domain));
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

    /// The engine begins to take instances of the classes that `contains` names.
    pub(crate) fn open(&mut self, engine: u32, contains: impl Fn(u32) -> bool) {
        self.for_each_area(engine, contains, |area, zone| {
            let engines = area.usable.entry(zone).or_default();
            *engines += 1;
            (*engines == 1).then_some(Evenness::add_zone as fn(&mut Evenness, u32))
        });
    }

    /// The reverse of [`Relations::open`].
    pub(crate) fn close(&mut self, engine: u32, contains: impl Fn(u32) -> bool) {
        self.for_each_area(engine, contains, |area, zone| {
            let engines = area.usable.get_mut(&zone)?;
            *engines -= 1;
            (*engines == 0).then(|| {
                area.usable.remove(&zone);
                Evenness::remove_zone as fn(&mut Evenness, u32)
            })
        });
    }

    /// `change` says what becomes of the zone for the area's components, if anything does.
    fn for_each_area(
        &mut self,
        engine: u32,
        contains: impl Fn(u32) -> bool,
        change: impl Fn(&mut Area, Zone) -> Option<fn(&mut Evenness, u32)>,
    ) {
        let domains = self.domains.len();
        for area in self.areas.iter_mut().filter(|area| contains(area.class)) {
            let zone = self.zones[engine as usize * domains + area.domain];
            let act = if zone == NOWHERE { None } else { change(area, zone) };
            let Some(act) = act else {
                continue;
            };
            for component in &area.components {
                let count = self.counts.get(&(*component, zone)).copied().unwrap_or(0);
                let rule = self.rules[*component as usize].as_mut();
                if let Some(even) = rule.and_then(|rule| rule.spread.as_mut()) {
                    act(even, count);
                }
            }
        }
    }
}
