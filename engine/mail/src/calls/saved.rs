//! Calls in a snapshot, behind all else of the mail. What was written is checked as if it came from anywhere.

use wayfare_protocol::address::SERVICES_MAX;
use wayfare_protocol::call::OPEN_CALLS_MAX;
use wayfare_protocol::ids::{ProgramId, is_name};

use super::{ADDRESSES_MAX, Calls, Open, PROVIDERS_MAX, State};
use crate::REPLIABLE_MAX;
use crate::letter::{Letter, Reader, put};
use crate::replies::answered;
use crate::state::{bounded, count};

impl Calls {
    pub(crate) fn save(&self, out: &mut Vec<u8>) {
        count(out, self.serves.len());
        self.serves.iter().for_each(|name| put(out, name.as_bytes()));
        count(out, self.providers.len());
        for (address, providers) in &self.providers {
            put(out, address.as_str().as_bytes());
            count(out, providers.len());
            providers
                .iter()
                .for_each(|program| out.extend(program.to_bytes()));
        }
        count(out, self.open.len());
        for (number, one) in &self.open {
            out.extend(number.to_le_bytes());
            put(out, one.address.as_str().as_bytes());
            out.extend(one.provider.to_bytes());
            out.extend(one.until_ns.to_le_bytes());
            match &one.state {
                State::Waiting => out.push(0),
                State::Withdrawn => out.push(1),
                State::Answered(letter) => {
                    out.push(2);
                    letter.encode(out);
                }
            }
        }
        count(out, self.taken.len());
        for (number, reply_to) in &self.taken {
            out.extend(number.to_le_bytes());
            put(out, reply_to.as_bytes());
        }
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Option<Self> {
        let mut calls = Self::default();
        for _ in 0..bounded(from, SERVICES_MAX)? {
            calls.serves.insert(from.text().filter(|name| is_name(name))?);
        }
        for _ in 0..bounded(from, ADDRESSES_MAX)? {
            let address = from.text()?.parse().ok()?;
            let programs =
                (0..bounded(from, PROVIDERS_MAX)?).map(|_| from.array().map(ProgramId::from_bytes));
            let programs = programs.collect::<Option<_>>()?;
            calls.providers.insert(address, programs);
        }
        for _ in 0..bounded(from, OPEN_CALLS_MAX)? {
            let number = from.u64()?;
            let open = Open {
                address: from.text()?.parse().ok()?,
                provider: ProgramId::from_bytes(from.array()?),
                until_ns: from.u64()?,
                state: match from.u8()? {
                    0 => State::Waiting,
                    1 => State::Withdrawn,
                    2 => State::Answered(
                        Letter::decode(from).filter(|letter| answered(letter) == Some(number))?,
                    ),
                    _ => return None,
                },
            };
            calls.open.insert(number, open);
        }
        for _ in 0..bounded(from, REPLIABLE_MAX)? {
            calls.taken.push_back((from.u64()?, from.text()?));
        }
        Some(calls)
    }
}
