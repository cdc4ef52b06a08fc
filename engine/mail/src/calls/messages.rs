//! Messages to addresses: to one program, or to each of a set.

use wayfare_protocol::address::Address;
use wayfare_protocol::call::{self, About, OPEN_CALLS_MAX, Sent};
use wayfare_protocol::ids::ProgramId;
use wayfare_protocol::qos::Qos;
use wayfare_protocol::stamp::Purpose;
use wayfare_protocol::topics::Topic;

use super::AT_LEAST_ONCE;
use super::open::Open;
use crate::{Mail, Refusal};

impl Mail {
    /// Sends a message to one program of the address, or to each of a set, and returns its number; `None`:
    /// nobody is known there. With a receipt it is open until all have it, or until `until_ns`.
    pub fn send_to(
        &mut self,
        address: &Address,
        payload: &[u8],
        about: &About,
        until_ns: u64,
    ) -> Result<Option<u64>, Refusal> {
        if !about.is_sound() {
            return Err(Refusal::Malformed);
        }
        if !self.grants.may_send(address) {
            return Err(Refusal::NotGranted);
        }
        if about.receipt || address.is_set() {
            let reply = self.reply_topic();
            self.subscribe_to(&reply, Qos::AtLeastOnce)?;
        }
        self.look_at(address)?;
        if about.receipt && self.calls.open.len() >= OPEN_CALLS_MAX {
            return Err(Refusal::TooMany);
        }
        let Some(to) = self.receivers(address) else {
            return Ok(None);
        };
        let header = Sent::Message {
            to: address.clone(),
            about: about.clone(),
        };
        let payload = call::encode(&header, payload);
        let number = match to.as_slice() {
            [one] => {
                let topic = self.home.topics.topic(&Topic::ProgramInbox(*one));
                self.send(&topic, &payload, AT_LEAST_ONCE, Purpose::Message)?;
                self.published - 1
            }
            all => self.send_copies(all, &payload)?,
        };
        if about.receipt {
            let mut open = Open::message(address.clone(), to, number, until_ns);
            open.again = self.kept(number);
            self.calls.open.insert(number, open);
        }
        Ok(Some(number))
    }

    fn receivers(&mut self, address: &Address) -> Option<Vec<ProgramId>> {
        if !address.is_set() {
            let one = self.calls.chosen_receiver(address, self.published);
            return one.map(|one| vec![one]);
        }
        if !self.calls.complete.contains(address) {
            self.ask_for_barriers();
            return None;
        }
        let all = self.calls.providers.get(address)?;
        let others = all.keys().filter(|program| **program != self.home.program);
        let others: Vec<ProgramId> = others.copied().collect();
        (!others.is_empty()).then_some(others)
    }
}
