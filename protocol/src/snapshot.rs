//! A captured program, independent of processor and engine, and its wire form.
//!
//! ```text
//!  magic 8 | version u16 | compiler abi u32 | module digest 32 | base digest 32 (zeros: none)
//!  | unpacked length u64 | zstd( frames, globals, memories, tables, references, host, mail, files ) | BLAKE3 of all before, 32
//! ```
//! Numbers are little-endian. Decoding checks the checksum before anything else, never allocates more than
//! the bytes at hand justify, and says which of damaged, other version or foreign it met.
//!
//! A page is 4 KiB of linear memory. Memories hold only pages that differ from the module's initial image; a
//! snapshot with a *base* holds only pages that differ from that base, and [`Snapshot::rebase`] joins the
//! two.

use std::collections::BTreeMap;
use std::io::Read;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::device::Alias;
use crate::health::HealthClaim;
use crate::ids::Digest;
use crate::limits::SNAPSHOT_UNPACKED_BYTES_MAX;
use crate::log::LogLine;

pub const PAGE_BYTES: usize = 4096;
const MAGIC: &[u8; 8] = b"WAYFSNAP";
pub const VERSION: u16 = 3;
const HEADER_BYTES: usize = 8 + 2 + 4 + 32 + 32 + 8;
const CHECKSUM_BYTES: usize = 32;
/// Fast: it runs while the program stands still.
const ZSTD_LEVEL: i32 = 1;
/// What zstd takes for a bound, and the largest one that it takes without being asked.
const ZSTD_WINDOW_LOG_MIN: u32 = 10;
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum SnapshotError {
    #[error("not a snapshot")]
    NotASnapshot,
    #[error("snapshot is truncated")]
    Truncated,
    #[error("snapshot is damaged: its checksum does not match")]
    Checksum,
    #[error("snapshot has format version {0}, this engine reads version {VERSION}")]
    Version(u16),
    #[error("snapshot was made by compiler ABI {found}, this engine has {expected}")]
    Abi { found: u32, expected: u32 },
    #[error("snapshot is of module {}, not of {}", found.short(), expected.short())]
    Module { found: Digest, expected: Digest },
    #[error("snapshot needs its base {}", .0.short())]
    Base(Digest),
    #[error("snapshot unpacks to {bytes} bytes, the limit is {bytes_max}")]
    TooLarge { bytes: u64, bytes_max: u64 },
    #[error("snapshot is malformed: {0}")]
    Malformed(String),
}

/// A captured program. Equality is of meaning: same pages, same state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    pub module: Digest,
    /// The compiler's scheme of frames and sites: both ends must have the same.
    pub abi: u32,
    /// Digest of the encoded snapshot that `memories` are relative to.
    pub base: Option<Digest>,
    /// The call stack as the compiler's save code wrote it, innermost frame first.
    pub frames: Vec<u8>,
    /// Mutable globals in the compiler's order.
    pub globals: Vec<GlobalValue>,
    pub memories: Vec<MemoryImage>,
    /// The tables that the program may change, whole, in the compiler's order.
    pub tables: Vec<Vec<Reference>>,
    /// The references that `frames` hold.
    pub references: Vec<Reference>,
    pub host: HostState,
}

/// A function by its place among all that a reference can lead to, in the compiler's order; `None` is null.
pub type Reference = Option<u32>;

/// A global's bits, so that NaNs survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GlobalValue {
    I32(u32),
    I64(u64),
    F32(u32),
    F64(u64),
    V128(u128),
    Function(Reference),
}

/// One linear memory: its size, and the pages that differ from the base or the initial image.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MemoryImage {
    pub bytes: u64,
    /// By page number.
    pub pages: BTreeMap<u64, Box<[u8; PAGE_BYTES]>>,
}

/// The host's side of a program: what WASI and the log know about it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostState {
    /// The program's monotonic clock, which goes on from here.
    pub monotonic_ns: u64,
    /// When the host call that the program is blocked in should end, by its monotonic clock. The first
    /// blocking call after resuming is that call, issued again.
    pub blocked_until_ns: Option<u64>,
    pub stdin_offset: u64,
    /// As `NAME=value`. What was granted of an engine's environment is as it was where the program began.
    #[serde(default)]
    pub environment: Option<Vec<String>>,
    /// Standard output and error since the last newline.
    pub stdout_open: Vec<u8>,
    pub stderr_open: Vec<u8>,
    /// Number of the next log line.
    pub log_next: u64,
    /// Lines from here on were not known to be with the broker: publish them again.
    pub log_unacknowledged_from: u64,
    /// The last lines before `log_next`, at least all that are not acknowledged.
    pub log_tail: Vec<LogLine>,
    /// How many messages the program has been sent in its whole life: those that came after are not in
    /// `mail`.
    #[serde(default)]
    pub mail_arrived: u64,
    /// The number of the next change that the program asks of the dispatcher (see [`crate::values`]).
    #[serde(default)]
    #[serde(rename = "errand_next")]
    pub service_request_next: u64,
    /// The levels that it has set of its outputs: they are set again where it goes on.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<Alias, bool>,
    /// What it has said of its health, which counts where it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthClaim>,
    /// Topics on which it has a message retained at the broker, each by eight bytes of its digest, with the
    /// message's bytes. Readers of earlier releases refuse it: it is empty unless they are many.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retained: Vec<(u64, u32)>,
    /// Subscriptions, messages not handed over or not sent, and what repeats are told by; in the engine's own
    /// encoding, empty for a program that talks to nobody. A part of its own on the wire.
    #[serde(skip)]
    pub mail: Vec<u8>,
    /// Open files and what is in the scratch folder, in the engine's own encoding; empty for a program that
    /// has touched none. A part of its own on the wire.
    #[serde(skip)]
    pub files: Vec<u8>,
}

impl Snapshot {
    pub fn encode(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(
            self.memories
                .iter()
                .map(|m| m.pages.len() * (PAGE_BYTES + 16))
                .sum(),
        );
        put_bytes(&mut body, &self.frames);
        body.extend((self.globals.len() as u32).to_le_bytes());
        for global in &self.globals {
            match *global {
                GlobalValue::I32(bits) => put(&mut body, 0, &bits.to_le_bytes()),
                GlobalValue::I64(bits) => put(&mut body, 1, &bits.to_le_bytes()),
                GlobalValue::F32(bits) => put(&mut body, 2, &bits.to_le_bytes()),
                GlobalValue::F64(bits) => put(&mut body, 3, &bits.to_le_bytes()),
                GlobalValue::V128(bits) => put(&mut body, 4, &bits.to_le_bytes()),
                GlobalValue::Function(reference) => {
                    put(&mut body, 5, &reference_word(reference).to_le_bytes())
                }
            }
        }
        body.extend((self.memories.len() as u32).to_le_bytes());
        for memory in &self.memories {
            body.extend(memory.bytes.to_le_bytes());
            body.extend((memory.pages.len() as u64).to_le_bytes());
            // Numbers first, contents after: contents compress better side by side.
            for number in memory.pages.keys() {
                body.extend(number.to_le_bytes());
            }
            for page in memory.pages.values() {
                body.extend_from_slice(&page[..]);
            }
        }
        body.extend((self.tables.len() as u32).to_le_bytes());
        for references in self.tables.iter().chain([&self.references]) {
            body.extend((references.len() as u32).to_le_bytes());
            body.extend(
                references
                    .iter()
                    .flat_map(|reference| reference_word(*reference).to_le_bytes()),
            );
        }
        put_bytes(
            &mut body,
            &serde_json::to_vec(&self.host).expect("plain data serialises"),
        );
        put_bytes(&mut body, &self.host.mail);
        put_bytes(&mut body, &self.host.files);

        let mut out = Vec::with_capacity(HEADER_BYTES + body.len() / 2 + CHECKSUM_BYTES);
        out.extend_from_slice(MAGIC);
        out.extend(VERSION.to_le_bytes());
        out.extend(self.abi.to_le_bytes());
        out.extend(self.module.0);
        out.extend(self.base.map_or([0; 32], |base| base.0));
        out.extend((body.len() as u64).to_le_bytes());
        out.extend(zstd::bulk::compress(&body, ZSTD_LEVEL).expect("compressing into memory cannot fail"));
        let checksum = Digest::of(&out);
        out.extend(checksum.0);
        out
    }

    /// Reads and checks everything but whom the snapshot is for: [`Snapshot::check`] does that.
    pub fn decode(bytes: &[u8]) -> Result<Self, SnapshotError> {
        Self::decode_within(bytes, SNAPSHOT_UNPACKED_BYTES_MAX)
    }

    /// What it comes to, as it says itself: [`Snapshot::decode_within`] holds it to that. 0: it is too short
    /// to be one.
    pub fn unpacked_bytes(bytes: &[u8]) -> u64 {
        let at = HEADER_BYTES - 8;
        let length = bytes
            .get(at..HEADER_BYTES)
            .and_then(|length| length.try_into().ok());
        length.map_or(0, u64::from_le_bytes)
    }

    /// The same for whoever has less memory than the largest snapshot there may be.
    pub fn decode_within(bytes: &[u8], unpacked_bytes_max: u64) -> Result<Self, SnapshotError> {
        if bytes.len() < MAGIC.len() || &bytes[..MAGIC.len()] != MAGIC {
            return Err(SnapshotError::NotASnapshot);
        }
        if bytes.len() < HEADER_BYTES + CHECKSUM_BYTES {
            return Err(SnapshotError::Truncated);
        }
        let (content, checksum) = bytes.split_at(bytes.len() - CHECKSUM_BYTES);
        if Digest::of(content).0 != checksum {
            return Err(SnapshotError::Checksum);
        }
        let mut header = Reader {
            bytes: &content[MAGIC.len()..],
        };
        let version = u16::from_le_bytes(header.array()?);
        if version != VERSION {
            return Err(SnapshotError::Version(version));
        }
        let abi = u32::from_le_bytes(header.array()?);
        let module = Digest(header.array()?);
        let base = header.array()?;
        let unpacked = header.u64()?;
        let bytes_max = unpacked_bytes_max.min(SNAPSHOT_UNPACKED_BYTES_MAX);
        if unpacked > bytes_max {
            return Err(SnapshotError::TooLarge {
                bytes: unpacked,
                bytes_max,
            });
        }
        let body = decompress(header.bytes, unpacked)?;
        let mut body = Reader { bytes: &body };
        let frames = body.sized()?.to_vec();
        let globals = body.globals()?;
        let memories = body.memories()?;
        let tables = (0..body.u32()?)
            .map(|_| body.references())
            .collect::<Result<_, _>>()?;
        let references = body.references()?;
        let mut host: HostState =
            serde_json::from_slice(body.sized()?).map_err(|e| SnapshotError::Malformed(e.to_string()))?;
        host.mail = body.sized()?.to_vec();
        host.files = body.sized()?.to_vec();
        if !body.bytes.is_empty() {
            return Err(SnapshotError::Malformed("bytes behind the end".into()));
        }
        let base = (base != [0; 32]).then_some(Digest(base));
        Ok(Self {
            module,
            abi,
            base,
            frames,
            globals,
            memories,
            tables,
            references,
            host,
        })
    }

    /// Refuses a snapshot that is not for this module and compiler, or that still needs its base.
    pub fn check(&self, module: Digest, abi: u32) -> Result<(), SnapshotError> {
        if self.module != module {
            return Err(SnapshotError::Module {
                found: self.module,
                expected: module,
            });
        }
        if self.abi != abi {
            return Err(SnapshotError::Abi {
                found: self.abi,
                expected: abi,
            });
        }
        self.base.map_or(Ok(()), |base| Err(SnapshotError::Base(base)))
    }

    /// Without the pages that `base` has already; `digest` is of `base` as encoded. Copies only the pages
    /// that differ, because this runs while the program stands still.
    ///
    /// `initial` gives a page of the module's initial image: a page that `base` has and that went back to
    /// its initial content must be named all the same, or the base's would show through.
    pub fn relative_to(
        &self,
        base: &Snapshot,
        digest: Digest,
        mut initial: impl FnMut(usize, u64) -> Box<[u8; PAGE_BYTES]>,
    ) -> Self {
        let memories = self.memories.iter().enumerate().map(|(index, memory)| {
            let old = base.memories.get(index);
            let changed = memory
                .pages
                .iter()
                .filter(|(number, page)| old.and_then(|old| old.pages.get(number)) != Some(page));
            let mut pages: BTreeMap<_, _> = changed.map(|(number, page)| (*number, page.clone())).collect();
            for (number, page) in old.iter().flat_map(|old| &old.pages) {
                if number * (PAGE_BYTES as u64) < memory.bytes && !memory.pages.contains_key(number) {
                    let initial = initial(index, *number);
                    if initial != *page {
                        pages.insert(*number, initial);
                    }
                }
            }
            MemoryImage {
                bytes: memory.bytes,
                pages,
            }
        });
        Self {
            module: self.module,
            abi: self.abi,
            base: Some(digest),
            frames: self.frames.clone(),
            globals: self.globals.clone(),
            memories: memories.collect(),
            tables: self.tables.clone(),
            references: self.references.clone(),
            host: self.host.clone(),
        }
    }

    /// The whole snapshot again: this one's pages over those of `base`.
    pub fn rebase(mut self, base: Snapshot) -> Result<Self, SnapshotError> {
        if base.module != self.module || base.abi != self.abi || base.memories.len() != self.memories.len() {
            return Err(SnapshotError::Malformed("the base is of another program".into()));
        }
        if let Some(further) = base.base {
            return Err(SnapshotError::Base(further));
        }
        for (memory, old) in self.memories.iter_mut().zip(base.memories) {
            let mut pages = old.pages;
            pages.append(&mut memory.pages);
            memory.pages = pages;
        }
        self.base = None;
        Ok(self)
    }
}

/// 0 is null.
fn reference_word(reference: Reference) -> u32 {
    reference.map_or(0, |place| place.saturating_add(1))
}

fn put(body: &mut Vec<u8>, tag: u8, bits: &[u8]) {
    body.push(tag);
    body.extend_from_slice(bits);
}

fn put_bytes(body: &mut Vec<u8>, bytes: &[u8]) {
    body.extend((bytes.len() as u32).to_le_bytes());
    body.extend_from_slice(bytes);
}

/// Grows with what really comes out, not with what the header claims.
fn decompress(packed: &[u8], unpacked: u64) -> Result<Vec<u8>, SnapshotError> {
    let malformed = |error: std::io::Error| SnapshotError::Malformed(error.to_string());
    let mut body = Vec::with_capacity((unpacked as usize).min(packed.len().saturating_mul(8)));
    let mut decoder = zstd::stream::read::Decoder::with_buffer(packed).map_err(malformed)?;
    // The window is allocated as soon as the stream names it: none has to be larger than its output.
    let window_log = unpacked.max(1).next_power_of_two().ilog2();
    let window_log = window_log.clamp(ZSTD_WINDOW_LOG_MIN, ZSTD_WINDOW_LOG_MAX);
    decoder.window_log_max(window_log).map_err(malformed)?;
    decoder
        .take(unpacked.saturating_add(1))
        .read_to_end(&mut body)
        .map_err(malformed)?;
    if body.len() as u64 != unpacked {
        return Err(SnapshotError::Malformed(
            "unpacked length differs from the header's".into(),
        ));
    }
    Ok(body)
}

struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], SnapshotError> {
        let (taken, rest) = self
            .bytes
            .split_at_checked(count)
            .ok_or(SnapshotError::Truncated)?;
        self.bytes = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], SnapshotError> {
        let (taken, rest) = self
            .bytes
            .split_first_chunk::<N>()
            .ok_or(SnapshotError::Truncated)?;
        self.bytes = rest;
        Ok(*taken)
    }

    fn u32(&mut self) -> Result<u32, SnapshotError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, SnapshotError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn sized(&mut self) -> Result<&'a [u8], SnapshotError> {
        let count = self.u32()? as usize;
        self.take(count)
    }

    fn references(&mut self) -> Result<Vec<Reference>, SnapshotError> {
        let bytes = (self.u32()? as usize)
            .checked_mul(4)
            .ok_or(SnapshotError::Truncated)?;
        let words = self.take(bytes)?.chunks_exact(4);
        Ok(words
            .map(|word| u32::from_le_bytes(word.try_into().expect("chunks of four")).checked_sub(1))
            .collect())
    }

    fn globals(&mut self) -> Result<Vec<GlobalValue>, SnapshotError> {
        let count = self.u32()?;
        let mut globals = Vec::new();
        for _ in 0..count {
            globals.push(match self.array::<1>()?[0] {
                0 => GlobalValue::I32(self.u32()?),
                1 => GlobalValue::I64(self.u64()?),
                2 => GlobalValue::F32(self.u32()?),
                3 => GlobalValue::F64(self.u64()?),
                4 => GlobalValue::V128(u128::from_le_bytes(self.array()?)),
                5 => GlobalValue::Function(self.u32()?.checked_sub(1)),
                tag => return Err(SnapshotError::Malformed(format!("a global of type {tag}"))),
            });
        }
        Ok(globals)
    }

    fn memories(&mut self) -> Result<Vec<MemoryImage>, SnapshotError> {
        let count = self.u32()?;
        let mut memories = Vec::new();
        for _ in 0..count {
            let bytes = self.u64()?;
            let count = self.u64()?;
            let numbers = self.take(
                usize::try_from(count)
                    .ok()
                    .and_then(|c| c.checked_mul(8))
                    .ok_or(SnapshotError::Truncated)?,
            )?;
            let mut pages = BTreeMap::new();
            for number in numbers.chunks_exact(8) {
                let number = u64::from_le_bytes(number.try_into().expect("chunks of eight"));
                let end = number
                    .checked_add(1)
                    .and_then(|n| n.checked_mul(PAGE_BYTES as u64));
                if end.is_none_or(|end| end > bytes) {
                    return Err(SnapshotError::Malformed("a page outside its memory".into()));
                }
                if pages
                    .insert(number, Box::new(self.array::<PAGE_BYTES>()?))
                    .is_some()
                {
                    return Err(SnapshotError::Malformed("a page that comes twice".into()));
                }
            }
            memories.push(MemoryImage { bytes, pages });
        }
        Ok(memories)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Snapshot {
        let page = |seed: u8| Box::new(std::array::from_fn(|i| (i as u8).wrapping_mul(seed)));
        Snapshot {
            module: Digest::of(b"module"),
            abi: 7,
            base: None,
            frames: (0..200).collect(),
            globals: vec![
                GlobalValue::I32(5),
                GlobalValue::F64(f64::NAN.to_bits() | 1),
                GlobalValue::V128(1 << 99),
                GlobalValue::Function(Some(0)),
                GlobalValue::Function(None),
            ],
            memories: vec![MemoryImage {
                bytes: 65536 * 2,
                pages: [(0, page(1)), (3, page(3)), (31, page(7))].into(),
            }],
            tables: vec![vec![None, Some(3), Some(0)], vec![]],
            references: vec![Some(70_000), None],
            host: HostState {
                monotonic_ns: 9,
                stdout_open: b"half a li".to_vec(),
                ..HostState::default()
            },
        }
    }

    #[test]
    fn snapshots_survive_encoding() {
        let snapshot = sample();
        assert_eq!(Snapshot::decode(&snapshot.encode()), Ok(snapshot));
    }

    #[test]
    fn every_truncation_and_every_flipped_byte_is_refused() {
        let good = sample().encode();
        for cut in 0..good.len() {
            assert!(Snapshot::decode(&good[..cut]).is_err(), "cut at {cut}");
        }
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x41;
            assert!(Snapshot::decode(&bad).is_err(), "flipped at {at}");
        }
    }

    #[test]
    fn another_version_module_or_abi_is_named() {
        let snapshot = sample();
        assert!(matches!(
            snapshot.check(Digest::of(b"other"), 7),
            Err(SnapshotError::Module { .. })
        ));
        assert!(matches!(
            snapshot.check(snapshot.module, 8),
            Err(SnapshotError::Abi { .. })
        ));
        let mut other = snapshot.encode();
        other[8] = VERSION.to_le_bytes()[0] + 1;
        let end = other.len() - CHECKSUM_BYTES;
        let checksum = Digest::of(&other[..end]);
        other[end..].copy_from_slice(&checksum.0);
        assert_eq!(Snapshot::decode(&other), Err(SnapshotError::Version(VERSION + 1)));
    }

    #[test]
    fn a_delta_joined_with_its_base_is_the_whole() {
        let base = sample();
        let mut now = sample();
        now.memories[0].bytes += 65536;
        now.memories[0].pages.remove(&3); // back to its initial content, which is zero
        now.memories[0].pages.insert(40, Box::new([9; PAGE_BYTES]));
        let digest = Digest::of(&base.encode());
        let delta = now
            .clone()
            .relative_to(&base, digest, |_, _| Box::new([0; PAGE_BYTES]));
        assert_eq!(
            delta.memories[0].pages.keys().copied().collect::<Vec<_>>(),
            [3, 40]
        );
        assert_eq!(delta.check(delta.module, 7), Err(SnapshotError::Base(digest)));
        let mut whole = delta.rebase(base).unwrap();
        assert_eq!(
            whole.memories[0].pages.remove(&3),
            Some(Box::new([0; PAGE_BYTES]))
        );
        assert_eq!(whole, now);
    }

    #[test]
    fn a_header_that_claims_too_much_allocates_nothing() {
        let mut bytes = sample().encode();
        let at = HEADER_BYTES - 8;
        bytes[at..at + 8].copy_from_slice(&(SNAPSHOT_UNPACKED_BYTES_MAX - 1).to_le_bytes());
        let end = bytes.len() - CHECKSUM_BYTES;
        let checksum = Digest::of(&bytes[..end]);
        bytes[end..].copy_from_slice(&checksum.0);
        assert!(matches!(
            Snapshot::decode(&bytes),
            Err(SnapshotError::Malformed(_))
        ));
        // What it claims is what its readers are told beforehand.
        assert_eq!(Snapshot::unpacked_bytes(&bytes), SNAPSHOT_UNPACKED_BYTES_MAX - 1);
        assert_eq!(Snapshot::unpacked_bytes(&bytes[..HEADER_BYTES - 1]), 0);
    }
}
