//! The network: it loses, delays, doubles and reorders, and cuts engines off.

use wayfare_protocol::ids::PeerName;

use crate::happening::Happening;
use crate::packet::Packet;
use crate::time::{MS, SECOND};
use crate::world::World;

impl World {
    pub(super) fn part(&mut self, engine: usize, until: u64) {
        self.note(|| format!("e{engine} is cut off"));
        self.parted.insert(engine, until);
        if self.is_fenced() {
            self.sessions_not_heard(engine);
            self.connection_ends(engine, until);
            self.connect(engine);
        }
    }

    /// Nobody reaches it before then, or later if that is planned.
    pub(super) fn part_until(&mut self, engine: usize, until: u64) {
        let planned = self.parted.get(&engine).copied().unwrap_or(0);
        self.parted.insert(engine, until.max(planned));
    }

    fn is_parted(&self, peer: &PeerName) -> bool {
        self.engines
            .iter()
            .position(|engine| engine.name == *peer)
            .is_some_and(|index| self.is_cut_off(index))
    }

    pub(super) fn is_cut_off(&self, engine: usize) -> bool {
        self.parted.get(&engine).is_some_and(|until| *until > self.now)
    }

    pub(super) fn reached_again(&self, engine: usize) -> u64 {
        let until = self.parted.get(&engine).copied();
        until.map_or(self.now, |until| until.max(self.now))
    }

    pub(super) fn send(&mut self, to: PeerName, packet: Packet) {
        let faults = self.faults;
        if self.random.per_mille(faults.lost) {
            return;
        }
        let copies = 1 + u64::from(self.random.per_mille(faults.doubled));
        for _ in 0..copies {
            let most = if self.random.per_mille(faults.very_late) {
                15 * SECOND
            } else if faults.lost > 0 {
                50 * MS
            } else {
                2 * MS
            };
            let mut packet = packet.clone();
            if let Packet::Chunk { damaged, .. } = &mut packet {
                *damaged |= self.random.per_mille(faults.damaged);
            }
            let (to, wipes) = (to.clone(), self.wipes_of(&to));
            self.after(most, Happening::Deliver { to, packet, wipes });
        }
    }

    /// On a connection, which loses nothing while it lasts.
    pub(super) fn send_by_broker(&mut self, to: PeerName, packet: Packet) {
        let most = if self.faults.lost > 0 { 50 * MS } else { 2 * MS };
        let wipes = self.wipes_of(&to);
        self.after(most, Happening::Deliver { to, packet, wipes });
    }

    fn wipes_of(&self, peer: &PeerName) -> u64 {
        let engine = self.engines.iter().find(|engine| engine.name == *peer);
        engine.map_or(0, |engine| engine.disk.wipes)
    }

    pub(super) fn deliver(&mut self, to: PeerName, packet: Packet, wipes: u64) {
        if self.wipes_of(&to) != wipes && !matches!(packet, Packet::Command(_)) {
            return;
        }
        let from = match &packet {
            Packet::Message(envelope) => Some(&envelope.from),
            Packet::Chunk { from, .. } => Some(from),
            // The broker has it, wherever it is from.
            Packet::Status { .. } if self.is_fenced() => None,
            Packet::Status { from, .. } => Some(from),
            Packet::Command(_) => None,
        };
        if self.is_parted(&to) || from.is_some_and(|from| self.is_parted(from)) {
            return;
        }
        if to == self.client.name {
            return self.client_hears(packet);
        }
        let Some(index) = self.engines.iter().position(|engine| engine.name == to) else {
            return;
        };
        if self.engines[index].up.is_some() {
            return self.engine_hears(index, packet);
        }
        // A broker may have kept it for the engine's return.
        if self.random.per_mille(500) {
            let most = 10 * SECOND;
            self.after(most, Happening::Deliver { to, packet, wipes });
        }
    }
}
