//! Calls in a snapshot, behind all else of the mail. What was written is checked as if it came from anywhere.
//!
//! What calls share with those that they have joined stands there once. There are three layouts: one that
//! engines of earlier releases read, for as long as it has room for all that there is, one that later ones
//! read as well, and one with all of it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use wayfare_protocol::address::SERVICES_MAX;
use wayfare_protocol::call::{OPEN_CALLS_MAX, SCHEMAS_BYTES_MAX, is_word};
use wayfare_protocol::ids::{EngineId, Generation, ProgramId, is_name};
use wayfare_protocol::limits::PAYLOAD_BYTES_MAX;

use super::open::{Delivery, Keys, PROGRESS_MAX, Relay};
use super::providers::{Known, PROVIDERS_MAX};
use super::{ADDRESSES_MAX, Attention, Calls, Notices, Open, Picking, State, Taken, What};
use crate::message::{Reader, ReceivedMessage, bounded, count, put};
use crate::replies::answered;
use crate::{REPLIABLE_MAX, SUBSCRIPTIONS_MAX};

/// Notices in a snapshot.
const NOTICES_MAX: usize = 8192;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    Earlier,
    Full,
    /// The full one, and what a caller chooses by.
    Choosing,
}

impl Calls {
    pub(crate) fn layout(&self) -> Layout {
        let is_earlier = !self.listens
            && self.open.iter().all(|(number, one)| one.is_plain(*number))
            && self.taken.iter().all(|one| !one.wants_progress)
            && self.notices.is_empty()
            && self.attention == Attention::default()
            && self.busy.is_empty();
        match is_earlier {
            _ if self.has_chosen => Layout::Choosing,
            true => Layout::Earlier,
            false => Layout::Full,
        }
    }

    pub(crate) fn save(&self, out: &mut Vec<u8>) {
        let layout = self.layout();
        let is_full = layout != Layout::Earlier;
        count(out, self.serves.len());
        self.serves.iter().for_each(|name| put(out, name.as_bytes()));
        count(out, self.providers.len());
        for (address, providers) in &self.providers {
            put(out, address.as_str().as_bytes());
            count(out, providers.len());
            for (program, known) in providers {
                out.extend(program.to_bytes());
                if is_full {
                    known.save(out);
                }
            }
        }
        count(out, self.open.len());
        let mut kept = BTreeSet::new();
        for (number, one) in &self.open {
            out.extend(number.to_le_bytes());
            match is_full {
                true => one.save(out, one.again.is_some() && !kept.insert(one.sent_as)),
                false => one.save_as_earlier(out),
            }
        }
        count(out, self.taken.len());
        for one in &self.taken {
            out.extend(one.number.to_le_bytes());
            put(out, one.reply_to.as_bytes());
            if is_full {
                out.push(u8::from(one.wants_progress));
            }
        }
        if is_full {
            self.save_rest(out);
        }
        if layout == Layout::Choosing {
            self.save_choices(out);
        }
    }

    pub(crate) fn has_schemas(&self) -> bool {
        !self.schemas.is_empty()
    }

    pub(crate) fn save_schemas(&self, out: &mut Vec<u8>) {
        count(out, self.schemas.len());
        for (service, schema) in &self.schemas {
            put(out, service.as_bytes());
            put(out, schema.as_bytes());
        }
    }

    /// Behind the services that they are of.
    pub(crate) fn read_schemas(&mut self, from: &mut Reader<'_>) -> Option<()> {
        for _ in 0..bounded(from, SERVICES_MAX)? {
            let service = from.text().filter(|service| self.serves.contains(service))?;
            self.schemas.push((service, from.text()?));
        }
        let bytes: usize = self.schemas.iter().map(|(_, schema)| schema.len()).sum();
        (bytes <= SCHEMAS_BYTES_MAX).then_some(())
    }

    fn save_choices(&self, out: &mut Vec<u8>) {
        count(out, self.last.len());
        for (address, program) in &self.last {
            put(out, address.as_str().as_bytes());
            out.extend(program.to_bytes());
        }
        let picking = || {
            self.open
                .iter()
                .filter_map(|(number, one)| Some((number, one.picking.as_ref()?, one.sent_as)))
        };
        count(out, picking().count());
        let mut kept = BTreeSet::new();
        for (number, one, sent_as) in picking() {
            out.extend(number.to_le_bytes());
            one.save(out, !kept.insert(sent_as));
        }
    }

    fn read_choices(&mut self, from: &mut Reader<'_>) -> Option<()> {
        self.has_chosen = true;
        for _ in 0..bounded(from, ADDRESSES_MAX)? {
            let address = from.text()?.parse().ok()?;
            self.last.insert(address, ProgramId::from_bytes(from.array()?));
        }
        let mut kept: BTreeMap<u64, Arc<[u8]>> = BTreeMap::new();
        for _ in 0..bounded(from, OPEN_CALLS_MAX)? {
            let number = from.u64()?;
            let open = self.open.get_mut(&number)?;
            let mut picking = Picking::read(from)?;
            match picking.payload.is_empty() {
                true => picking.payload = kept.get(&open.sent_as)?.clone(),
                false => drop(kept.insert(open.sent_as, picking.payload.clone())),
            }
            open.picking = Some(picking);
        }
        Some(())
    }

    fn save_rest(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.listens) << 7 | self.attention.to_byte());
        if let Some(call) = self.attention.reply {
            out.extend(call.to_le_bytes());
        }
        count(out, self.busy.len());
        self.busy.iter().for_each(|key| put(out, key.as_bytes()));
        count(out, self.notices.entries().len());
        for entry in self.notices.entries() {
            out.push(u8::from(entry.copy_of.is_some()));
            out.extend(entry.copy_of.unwrap_or(0).to_le_bytes());
            put(out, entry.topic.as_bytes());
            put(out, &entry.payload);
        }
    }

    pub(crate) fn read(from: &mut Reader<'_>, layout: Layout) -> Option<Self> {
        let is_full = layout != Layout::Earlier;
        let mut calls = Self::default();
        for _ in 0..bounded(from, SERVICES_MAX)? {
            calls.serves.insert(from.text().filter(|name| is_name(name))?);
        }
        for _ in 0..bounded(from, ADDRESSES_MAX)? {
            let address = from.text()?.parse().ok()?;
            let mut providers = BTreeMap::new();
            for _ in 0..bounded(from, PROVIDERS_MAX)? {
                let program = ProgramId::from_bytes(from.array()?);
                let known = if is_full {
                    Known::read(from)?
                } else {
                    Known::default()
                };
                providers.insert(program, known);
            }
            calls.providers.insert(address, providers);
        }
        let mut kept: BTreeMap<u64, Arc<[u8]>> = BTreeMap::new();
        for _ in 0..bounded(from, OPEN_CALLS_MAX)? {
            let number = from.u64()?;
            let (mut one, is_shared) = match is_full {
                true => Open::read(from)?,
                false => (Open::read_earlier(from, number)?, false),
            };
            match (&one.again, is_shared) {
                (Some(payload), _) => drop(kept.insert(one.sent_as, payload.clone())),
                (None, true) => one.again = kept.get(&one.sent_as).cloned(),
                (None, false) => {}
            }
            calls.open.insert(number, one);
        }
        for _ in 0..bounded(from, REPLIABLE_MAX)? {
            calls.taken.push_back(Taken {
                number: from.u64()?,
                reply_to: from.text()?,
                wants_progress: is_full && from.u8()? != 0,
                asked: None,
            });
        }
        if is_full {
            calls.read_rest(from)?;
        }
        if layout == Layout::Choosing {
            calls.read_choices(from)?;
        }
        Some(calls)
    }

    fn read_rest(&mut self, from: &mut Reader<'_>) -> Option<()> {
        let flags = from.u8()?;
        self.listens = flags & 1 << 7 != 0;
        let reply = match Attention::has_reply(flags) {
            true => Some(from.u64()?),
            false => None,
        };
        self.attention = Attention::of_byte(flags, reply);
        for _ in 0..bounded(from, SUBSCRIPTIONS_MAX)? {
            self.busy.insert(from.text().filter(|key| is_word(key))?);
        }
        let mut notices = Notices::default();
        for _ in 0..bounded(from, NOTICES_MAX)? {
            let (is_copy, number) = (from.u8()? != 0, from.u64()?);
            let (topic, payload) = (from.text()?, from.bytes()?);
            (payload.len() <= PAYLOAD_BYTES_MAX).then_some(())?;
            notices.push(is_copy.then_some(number), topic, payload.into());
        }
        self.notices = notices;
        Some(())
    }
}

impl Known {
    fn save(&self, out: &mut Vec<u8>) {
        out.extend(self.generation.map_or(0, |generation| generation.0).to_le_bytes());
        put(out, self.engine.as_ref().map_or("", EngineId::as_str).as_bytes());
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        let generation = from.u64()?;
        let engine = from.text()?;
        Some(Self {
            generation: (generation != 0).then_some(Generation(generation)),
            engine: match engine.is_empty() {
                true => None,
                false => Some(engine.parse().ok()?),
            },
        })
    }
}

impl State {
    fn save(&self, out: &mut Vec<u8>) {
        out.push(match self {
            Self::Waiting => 0,
            Self::Withdrawn => 1,
            Self::Answered(_) => 2,
            Self::Forgotten => 3,
            Self::Cancelled => 4,
            Self::Superseded => 5,
            Self::Unpicked => 6,
            Self::PickedLate => 7,
        });
        if let Self::Answered(message) = self {
            message.encode(out);
        }
    }

    /// `sent_as`: the number that an answer is to.
    fn read(from: &mut Reader<'_>, sent_as: u64) -> Option<Self> {
        Some(match from.u8()? {
            0 => Self::Waiting,
            1 => Self::Withdrawn,
            2 => Self::Answered(
                ReceivedMessage::decode(from).filter(|message| answered(message) == Some(sent_as))?,
            ),
            3 => Self::Forgotten,
            4 => Self::Cancelled,
            5 => Self::Superseded,
            6 => Self::Unpicked,
            7 => Self::PickedLate,
            _ => return None,
        })
    }
}

impl Open {
    fn save_as_earlier(&self, out: &mut Vec<u8>) {
        if let What::Call { provider, state } = &self.what {
            put(out, self.address.as_str().as_bytes());
            out.extend(provider.to_bytes());
            out.extend(self.until_ns.to_le_bytes());
            state.save(out);
        }
    }

    fn read_earlier(from: &mut Reader<'_>, number: u64) -> Option<Self> {
        let address = from.text()?.parse().ok()?;
        let provider = ProgramId::from_bytes(from.array()?);
        let mut one = Self::call(address, provider, number, from.u64()?);
        let state = State::read(from, number)?;
        one.what = What::Call { provider, state };
        Some(one)
    }

    /// `is_shared`: what it would be sent again as is that of one that was saved before.
    fn save(&self, out: &mut Vec<u8>, is_shared: bool) {
        put(out, self.address.as_str().as_bytes());
        out.extend(self.until_ns.to_le_bytes());
        out.extend(self.sent_as.to_le_bytes());
        match &self.what {
            What::Call { provider, state } => {
                out.push(0);
                out.extend(provider.to_bytes());
                state.save(out);
            }
            What::Message { copies } => {
                out.push(1);
                count(out, copies.len());
                for (program, delivery) in copies {
                    out.extend(program.to_bytes());
                    out.push(*delivery as u8);
                }
            }
        }
        put(out, self.keys.function.as_bytes());
        for key in [&self.keys.coalesce, &self.keys.supersede] {
            put(out, key.as_deref().unwrap_or("").as_bytes());
        }
        let flags = u8::from(self.wants_progress)
            | u8::from(self.in_doubt) << 1
            | u8::from(self.again.is_some() && !is_shared) << 2
            | u8::from(self.relay.is_some()) << 3
            | u8::from(self.is_cancelled) << 4
            | u8::from(is_shared) << 5;
        out.push(flags);
        count(out, self.progress.len());
        self.progress.iter().for_each(|payload| put(out, payload));
        if let Some(payload) = self.again.as_ref().filter(|_| !is_shared) {
            put(out, payload);
        }
        if let Some(relay) = &self.relay {
            out.extend(relay.number.to_le_bytes());
            out.extend(relay.answers.to_le_bytes());
            put(out, relay.reply_to.as_bytes());
        }
    }

    /// And whether what it would be sent again as is that of one that was read before.
    fn read(from: &mut Reader<'_>) -> Option<(Self, bool)> {
        let address = from.text()?.parse().ok()?;
        let (until_ns, sent_as) = (from.u64()?, from.u64()?);
        let what = match from.u8()? {
            0 => What::Call {
                provider: ProgramId::from_bytes(from.array()?),
                state: State::read(from, sent_as)?,
            },
            1 => What::Message {
                copies: (0..bounded(from, PROVIDERS_MAX)?)
                    .map(|_| {
                        let program = ProgramId::from_bytes(from.array()?);
                        Some((program, Delivery::of_byte(from.u8()?)?))
                    })
                    .collect::<Option<_>>()?,
            },
            _ => return None,
        };
        let function = from.text()?;
        let mut key = || from.text().map(|key| Some(key).filter(|key| !key.is_empty()));
        let (coalesce, supersede) = (key()?, key()?);
        let flags = from.u8()?;
        let progress: VecDeque<Vec<u8>> = (0..bounded(from, PROGRESS_MAX)?)
            .map(|_| from.bytes().map(<[u8]>::to_vec))
            .collect::<Option<_>>()?;
        let again = match flags & 4 {
            0 => None,
            _ => Some(
                from.bytes()
                    .filter(|bytes| bytes.len() <= PAYLOAD_BYTES_MAX)?
                    .into(),
            ),
        };
        let relay = match flags & 8 {
            0 => None,
            _ => Some(Relay {
                number: from.u64()?,
                answers: from.u64()?,
                reply_to: from.text()?,
            }),
        };
        let one = Self {
            address,
            what,
            sent_as,
            until_ns,
            keys: Keys {
                function,
                coalesce,
                supersede,
            },
            wants_progress: flags & 1 != 0,
            progress,
            again,
            in_doubt: flags & 2 != 0,
            is_cancelled: flags & 16 != 0,
            relay,
            picking: None,
            since_ms: 0,
        };
        Some((one, flags & 32 != 0))
    }
}
