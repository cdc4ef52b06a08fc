//! Messages as the mail keeps them, and their encoding in snapshots and in the journal of what was received.
//!
//! Numbers are little-endian; texts and payloads have their length before them, in four bytes. A stamp is
//! kept as it was on the wire, ahead of the payload.

use wayfare_protocol::qos::Qos;
use wayfare_protocol::stamp::Stamp;

/// One that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedMessage {
    /// Counts what the program was sent in its whole life.
    pub number: u64,
    pub topic: String,
    pub payload: Vec<u8>,
    /// The broker had kept it from before the subscription.
    pub retained: bool,
    pub stamp: Option<Stamp>,
}

/// One that is to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    pub number: u64,
    pub topic: String,
    /// With its stamp.
    pub payload: Vec<u8>,
    pub qos: Qos,
    pub retain: bool,
}

/// What a message costs apart from topic and payload.
const OVERHEAD_BYTES: usize = 128;

impl ReceivedMessage {
    pub fn bytes(&self) -> usize {
        self.topic.len() + self.payload.len() + OVERHEAD_BYTES
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.number.to_le_bytes());
        out.push(u8::from(self.retained) | u8::from(self.stamp.is_some()) << 1);
        put(out, self.topic.as_bytes());
        match &self.stamp {
            Some(stamp) => put(out, &stamp.put_on(&self.payload)),
            None => put(out, &self.payload),
        }
    }

    pub fn decode(from: &mut Reader<'_>) -> Option<Self> {
        let (number, flags) = (from.u64()?, from.u8()?);
        let topic = from.text()?;
        let bytes = from.bytes()?;
        let (stamp, payload) = match flags & 2 != 0 {
            true => Stamp::take_off(bytes),
            false => (None, bytes),
        };
        Some(Self {
            number,
            topic,
            payload: payload.to_vec(),
            retained: flags & 1 != 0,
            stamp,
        })
    }
}

impl Outgoing {
    pub(super) fn bytes(&self) -> usize {
        self.topic.len() + self.payload.len() + OVERHEAD_BYTES
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.number.to_le_bytes());
        out.push(self.qos.bit() | u8::from(self.retain) << 1);
        put(out, self.topic.as_bytes());
        put(out, &self.payload);
    }

    pub(super) fn decode(from: &mut Reader<'_>) -> Option<Self> {
        let (number, flags) = (from.u64()?, from.u8()?);
        Some(Self {
            number,
            topic: from.text()?,
            payload: from.bytes()?.to_vec(),
            qos: Qos::from_bit(flags & 1 != 0),
            retain: flags & 2 != 0,
        })
    }
}

pub(super) fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).expect("a message is far shorter");
    out.extend(length.to_le_bytes());
    out.extend_from_slice(bytes);
}

/// Reads what may be damaged: `None` where it ends too early.
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*head)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.u32()? as usize;
        let (head, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(head)
    }

    pub(super) fn text(&mut self) -> Option<String> {
        std::str::from_utf8(self.bytes()?).ok().map(str::to_owned)
    }
}

/// How many there are of what follows.
pub(super) fn count(out: &mut Vec<u8>, count: usize) {
    out.extend((count as u32).to_le_bytes());
}

/// The same, unless that are more than there can be.
pub(super) fn bounded(from: &mut Reader<'_>, max: usize) -> Option<usize> {
    from.u32()
        .map(|count| count as usize)
        .filter(|count| *count <= max)
}
