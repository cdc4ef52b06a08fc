//! What engines remember and nobody heard: an order that was given or answered while no dispatcher acted, in
//! the second that was not stored, or by an engine that was killed before it had said so.

use wayfare_protocol::ids::EngineId;
use wayfare_protocol::journal::JournalEntry;
use wayfare_protocol::limits::{NAME_BYTES_MAX, TIME_LIMIT_MS};
use wayfare_protocol::reason::shortened;

use super::making::{due, new};
use super::{DISPATCHER, Operations};
use crate::options::OperationLimits;

/// A journal that is read from its newest order on.
#[derive(Debug, Default)]
pub(in super::super) struct Recall {
    /// Orders that ended before their engine began: nobody knows when. Whether they were forgotten here, or
    /// never heard of, shows when an older one is known; where none was ever forgotten, there are none of
    /// these.
    unsure: Vec<JournalEntry>,
}

impl Operations {
    /// Takes in the next part of an engine's journal. Answers whether what is older may be news, too.
    pub(in super::super) fn recalled(
        &mut self,
        engine: &EngineId,
        recall: &mut Recall,
        entries: Vec<JournalEntry>,
        limits: OperationLimits,
        now_ms: u64,
    ) -> bool {
        let mut has_news = false;
        for entry in entries.into_iter().filter(|entry| entry.event.engine == *engine) {
            let is_final = entry.event.body.is_final();
            if let Some(known) = self.all.get(&entry.event.operation) {
                if !known.record.state.is_final() || known.record.is_inferred {
                    has_news = true;
                    self.reported(&entry.event, entry.name.clone(), ended_ms(&entry, now_ms));
                }
                for missed in std::mem::take(&mut recall.unsure) {
                    self.missed(missed, now_ms);
                }
                continue;
            }
            match entry.ended_ago_ms {
                None if is_final && !self.is_whole => recall.unsure.push(entry),
                // It is not kept any more.
                Some(ago_ms) if is_final && ago_ms >= limits.age_ms => {}
                _ => {
                    has_news = true;
                    self.missed(entry, now_ms);
                }
            }
        }
        has_news || !recall.unsure.is_empty() || self.has_open_at(engine)
    }

    fn missed(&mut self, entry: JournalEntry, now_ms: u64) {
        let ended_ms = ended_ms(&entry, now_ms);
        let event = &entry.event;
        let mut kept = new(event.operation, &event.verb, due(TIME_LIMIT_MS, now_ms), ended_ms);
        (kept.is_given, kept.is_recalled) = (true, true);
        let record = &mut kept.record;
        record.engine = Some(event.engine.clone());
        record.program = event.program;
        (record.target, record.copy) = (entry.target, entry.copy);
        record.name = entry.name.map(|name| shortened(name, NAME_BYTES_MAX));
        record.by = Some(match entry.term {
            Some(_) => DISPATCHER.to_owned(),
            None => format!("client {}", entry.client),
        });
        self.insert(kept);
        self.reported(event, None, ended_ms);
    }

    fn has_open_at(&self, engine: &EngineId) -> bool {
        let mut open = self.open.iter().filter_map(|operation| self.all.get(operation));
        open.any(|kept| kept.record.engine.as_ref() == Some(engine))
    }
}

/// When it ended, as far as that is known; what goes on, now.
fn ended_ms(entry: &JournalEntry, now_ms: u64) -> u64 {
    now_ms.saturating_sub(entry.ended_ago_ms.unwrap_or(0))
}

#[cfg(test)]
mod tests;
