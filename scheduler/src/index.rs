//! Which engine ranks lowest among those with room, without looking at all of them.
//!
//! Two ways, as the policy needs: a tournament over ranks, or buckets by free memory. Both hold only engines
//! that take something new. Buckets that many components belong to have a ranking of their own, in which
//! others are not in the way.

mod buckets;
mod tournament;

use crate::policy::Search;
use buckets::Buckets;
use tournament::Tournament;

/// An engine in the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) rank: i64,
    /// Bytes that one program could have here; never negative.
    pub(crate) memory: i64,
    /// Millicores free; never negative.
    pub(crate) processor: i64,
    /// Programs that it still takes.
    pub(crate) places: i64,
}

/// What is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) memory: i64,
    pub(crate) processor: i64,
    /// Only engines that rank below this.
    pub(crate) rank_below: i64,
}

impl Ask {
    pub(crate) fn fits(&self, entry: &Entry) -> bool {
        entry.places > 0
            && self.memory <= entry.memory
            && self.processor <= entry.processor
            && entry.rank < self.rank_below
    }
}

#[derive(Debug)]
pub(crate) struct Index {
    all: Ranking,
    /// Buckets and their rankings.
    own: Vec<(u32, Ranking)>,
    /// By class: its place in `own`.
    places: Vec<Option<usize>>,
}

impl Index {
    /// Of these classes each has a ranking of its own. `classes` is how many there are in all, `order` all
    /// engines with those of like capacity together.
    pub(crate) fn new(search: Search, order: &[u32], classes: usize, own: &[u32]) -> Self {
        let mut places = vec![None; classes];
        for (place, class) in own.iter().enumerate() {
            places[*class as usize] = Some(place);
        }
        let ranking = |class: &u32| (*class, Ranking::new(search, order));
        Self {
            all: Ranking::new(search, order),
            own: own.iter().map(ranking).collect(),
            places,
        }
    }

    /// `None` takes the engine out; `belongs` says whether it does to a class.
    pub(crate) fn set(&mut self, engine: u32, entry: Option<Entry>, belongs: impl Fn(u32) -> bool) {
        self.all.set(engine, entry);
        for (_, ranking) in self.own.iter_mut().filter(|(class, _)| belongs(*class)) {
            ranking.set(engine, entry);
        }
    }

    pub(crate) fn get(&self, engine: u32) -> Option<Entry> {
        self.all.get(engine)
    }

    /// The engine that ranks lowest among those that fit and that `accept` agrees to, which has yet to look
    /// whether they are of the class.
    pub(crate) fn find(&self, class: u32, ask: &Ask, accept: impl FnMut(u32) -> bool) -> Option<u32> {
        self.ranking(class).find(ask, accept)
    }

    /// No engine of the class with a free place ranks lower; `i64::MAX` if there is none.
    pub(crate) fn rank_min(&self, class: u32) -> i64 {
        self.ranking(class).rank_min()
    }

    /// The same of all engines.
    pub(crate) fn rank_min_of_all(&self) -> i64 {
        self.all.rank_min()
    }

    fn ranking(&self, class: u32) -> &Ranking {
        let place = self.places[class as usize];
        place.map_or(&self.all, |place| &self.own[place].1)
    }
}

#[derive(Debug)]
enum Ranking {
    Lowest(Tournament),
    Enough(Buckets),
}

impl Ranking {
    fn new(search: Search, order: &[u32]) -> Self {
        match search {
            Search::Lowest => Self::Lowest(Tournament::new(order)),
            Search::Enough => Self::Enough(Buckets::new(order.len())),
        }
    }

    fn set(&mut self, engine: u32, entry: Option<Entry>) {
        match self {
            Self::Lowest(tournament) => tournament.set(engine, entry),
            Self::Enough(buckets) => buckets.set(engine, entry),
        }
    }

    fn get(&self, engine: u32) -> Option<Entry> {
        match self {
            Self::Lowest(tournament) => tournament.get(engine),
            Self::Enough(buckets) => buckets.get(engine),
        }
    }

    fn find(&self, ask: &Ask, accept: impl FnMut(u32) -> bool) -> Option<u32> {
        match self {
            Self::Lowest(tournament) => tournament.find(ask, accept),
            Self::Enough(buckets) => buckets.find(ask, accept),
        }
    }

    fn rank_min(&self) -> i64 {
        match self {
            Self::Lowest(tournament) => tournament.rank_min(),
            Self::Enough(_) => i64::MIN,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that look random and are the same each time.
    fn numbers() -> impl FnMut(i64) -> i64 {
        let mut state = 1_u64;
        move |below| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as i64 % below
        }
    }

    #[test]
    fn finds_what_looking_at_all_finds() {
        let mut number = numbers();
        for engines in [1, 2, 7, 64, 100] {
            let mut order: Vec<u32> = (0..engines as u32).collect();
            order.sort_by_key(|engine| (engine % 4, *engine));
            let mut index = Ranking::new(Search::Lowest, &order);
            let mut entries = vec![None; engines as usize];
            for _ in 0..500 {
                let engine = number(engines);
                let entry = Entry {
                    rank: number(5),
                    memory: number(10),
                    processor: number(10),
                    places: number(3),
                };
                let entry = (number(4) > 0).then_some(entry);
                index.set(engine as u32, entry);
                entries[engine as usize] = entry;
                let ask = Ask {
                    memory: number(10),
                    processor: number(10),
                    rank_below: number(7),
                };
                let odd = |engine: u32| !engine.is_multiple_of(3);
                let fits = (0..engines as u32)
                    .filter(|engine| odd(*engine))
                    .filter_map(|engine| entries[engine as usize].map(|entry| (entry.rank, engine, entry)))
                    .filter(|(_, _, entry)| ask.fits(entry));
                let wanted = fits.min_by_key(|(rank, engine, _)| (*rank, *engine));
                assert_eq!(index.find(&ask, odd), wanted.map(|(_, engine, _)| engine));
            }
        }
    }

    #[test]
    fn buckets_find_enough_wherever_there_is_enough_and_hardly_more() {
        let mut number = numbers();
        let mut index = Ranking::new(Search::Enough, &[0; 50]);
        let mut entries = [None; 50];
        for _ in 0..2000 {
            let engine = number(50);
            let free = number(1 << 20);
            let entry = Entry {
                rank: free,
                memory: free,
                processor: number(10),
                places: number(3),
            };
            index.set(engine as u32, Some(entry));
            entries[engine as usize] = Some(entry);
            let ask = Ask {
                memory: number(1 << 20),
                processor: number(10),
                rank_below: i64::MAX,
            };
            let fits = entries.iter().flatten().filter(|entry| ask.fits(entry));
            let least = fits.map(|entry| entry.memory).min();
            let found = index.find(&ask, |_| true).and_then(|engine| index.get(engine));
            assert_eq!(found.is_some(), least.is_some());
            if let (Some(found), Some(least)) = (found, least) {
                assert!(ask.fits(&found));
                assert!(found.memory <= least + least / 8, "{} for {least}", found.memory);
            }
        }
    }
}
