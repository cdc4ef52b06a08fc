//! What was decided, in a store of objects: lines in segments, of which the last is put anew with more lines
//! in it until it is long enough.
//!
//! Of a segment that was put anew the shorter one may stay: nothing is read twice, because events come in
//! order.

use std::collections::VecDeque;

use wayfare_protocol::ids::Term;

use crate::durable::{BlockingObjects, FileError, Kind};
use wayfare_client::app::ask::Decision;

/// A segment of so many bytes is followed by another,
const SEGMENT_BYTES_MAX: usize = 64 * 1024;
/// and so many are kept, in memory too.
const SEGMENTS_MAX: usize = 64;

#[derive(Debug)]
pub(super) struct ObjectEvents {
    objects: BlockingObjects,
    term: Term,
    segments: VecDeque<Segment>,
    /// Of the next object.
    number: u32,
    /// Names of objects that others have taken the place of.
    outdated: Vec<String>,
    is_changed: bool,
}

#[derive(Debug, Default)]
struct Segment {
    /// What it is called in the store; empty: it was never put.
    name: String,
    text: String,
    events: Vec<(usize, Decision)>,
    is_ours: bool,
}

impl ObjectEvents {
    pub(super) fn open(objects: &BlockingObjects, term: Term) -> Result<Self, FileError> {
        let names = objects.list(Kind::Event)?;
        let mut events = Self {
            objects: objects.clone(),
            term,
            segments: VecDeque::new(),
            number: 0,
            outdated: Vec::new(),
            is_changed: false,
        };
        let mut last = None;
        for name in names {
            let mut segment = Segment {
                name: name.clone(),
                ..Segment::default()
            };
            match objects.get(Kind::Event, &name) {
                Ok(text) => {
                    for line in String::from_utf8_lossy(&text).lines() {
                        match serde_json::from_str::<Decision>(line) {
                            Ok(event) if last.is_some_and(|last| place(&event) <= last) => {}
                            Ok(event) => {
                                last = Some(place(&event));
                                segment.events.push((line.len(), event));
                            }
                            Err(error) => tracing::warn!(name, %error, "skipped a line that is not an event"),
                        }
                    }
                }
                Err(error) => tracing::warn!(%error, "skipped events that cannot be read"),
            }
            events.segments.push_back(segment);
        }
        Ok(events)
    }

    /// Kept with the next [`ObjectEvents::flush`]; in memory no more than is kept.
    pub(super) fn add(&mut self, event: &Decision, json: &str) {
        let has_room =
            |segment: &Segment| segment.is_ours && segment.text.len() + json.len() < SEGMENT_BYTES_MAX;
        if !self.segments.back().is_some_and(has_room) {
            if self.is_changed {
                self.flush();
            }
            self.segments.push_back(Segment {
                is_ours: true,
                ..Segment::default()
            });
        }
        if let Some(segment) = self.segments.back_mut() {
            segment.text.push_str(json);
            segment.text.push('\n');
            segment.events.push((json.len(), event.clone()));
            self.is_changed = true;
        }
    }

    /// Puts what was added. What cannot be put is with the next that can.
    pub(super) fn flush(&mut self) {
        let Some(segment) = self.segments.back_mut().filter(|_| self.is_changed) else {
            return;
        };
        let name = format!("{:020}-{:08}", self.term.0, self.number);
        self.number += 1;
        if let Err(error) = self.objects.put(Kind::Event, &name, segment.text.as_bytes()) {
            return tracing::warn!(%error, "events are not kept yet");
        }
        self.is_changed = false;
        self.outdated.push(std::mem::replace(&mut segment.name, name));
    }

    /// Deletes what others have taken the place of, and what is too old. Nobody waits for that.
    pub(super) fn tidy(&mut self) {
        while self.segments.len() > SEGMENTS_MAX
            && let Some(oldest) = self.segments.pop_front()
        {
            self.outdated.push(oldest.name);
        }
        for name in std::mem::take(&mut self.outdated) {
            if !name.is_empty()
                && let Err(error) = self.objects.delete(Kind::Event, &name)
            {
                tracing::debug!(%error, "outdated events stay");
            }
        }
    }

    /// With the bytes of each, in order.
    pub(super) fn all(&self) -> impl Iterator<Item = &(usize, Decision)> {
        self.segments.iter().flat_map(|segment| &segment.events)
    }
}

fn place(event: &Decision) -> (Term, u64) {
    (event.term, event.sequence)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use object_store::memory::InMemory;

    use super::*;
    use crate::durable::Objects;

    fn event(term: u64, sequence: u64) -> Decision {
        Decision {
            at_ms: sequence,
            term: Term(term),
            sequence,
            kind: "test".into(),
            text: "x".repeat(1_000),
            ..Decision::default()
        }
    }

    fn add(events: &mut ObjectEvents, term: u64, sequences: std::ops::Range<u64>) {
        for sequence in sequences {
            let event = event(term, sequence);
            events.add(&event, &serde_json::to_string(&event).unwrap());
        }
    }

    fn places(events: &ObjectEvents) -> Vec<(u64, u64)> {
        let all = events.all();
        all.map(|(_, event)| (event.term.0, event.sequence)).collect()
    }

    #[test]
    fn events_are_read_once_each_by_who_takes_over() {
        let objects = BlockingObjects::new(Objects::of(Arc::new(InMemory::new()))).unwrap();
        let mut first = ObjectEvents::open(&objects, Term(1)).unwrap();
        add(&mut first, 1, 0..3);
        first.flush();
        let names = objects.list(Kind::Event).unwrap();
        let short = objects.get(Kind::Event, &names[0]).unwrap();
        add(&mut first, 1, 3..100);
        first.flush();
        first.tidy();
        // Killed before the shorter one was deleted.
        objects.put(Kind::Event, &names[0], &short).unwrap();
        let mut second = ObjectEvents::open(&objects, Term(2)).unwrap();
        add(&mut second, 2, 0..2);
        second.flush();
        let expected: Vec<_> = (0..100).map(|at| (1, at)).chain([(2, 0), (2, 1)]).collect();
        assert_eq!(places(&second), expected);
        assert_eq!(places(&ObjectEvents::open(&objects, Term(3)).unwrap()), expected);
    }

    #[test]
    fn old_events_go() {
        let objects = BlockingObjects::new(Objects::of(Arc::new(InMemory::new()))).unwrap();
        let mut events = ObjectEvents::open(&objects, Term(1)).unwrap();
        add(&mut events, 1, 0..5_000);
        events.flush();
        events.tidy();
        assert!(objects.list(Kind::Event).unwrap().len() <= SEGMENTS_MAX);
        let kept = places(&ObjectEvents::open(&objects, Term(2)).unwrap());
        assert_eq!(kept.last(), Some(&(1, 4_999)));
        assert!(kept.len() > 3_000, "{}", kept.len());
    }
}
