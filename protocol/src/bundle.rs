//! A snapshot as a file: everything another fleet needs to go on with the program. `wayfare snapshot`
//! writes it, `wayfare restore` reads it.
//!
//! ```text
//!  magic 8 | header length u32 | header JSON | blobs in the header's order
//! ```
//! Each blob is checked against its digest in the header.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::command::ProgramSpec;
use crate::ids::{Blob, Digest, Generation, ProgramId};

const MAGIC: &[u8; 8] = b"WAYFPROG";

#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum BundleError {
    #[error("not a wayfare snapshot file")]
    NotABundle,
    #[error("snapshot file is truncated")]
    Truncated,
    #[error("snapshot file is damaged: {0}")]
    Damaged(String),
}

/// What the file is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleHeader {
    pub program: ProgramId,
    pub generation: Generation,
    pub spec: ProgramSpec,
    pub snapshot: Blob,
}

impl BundleHeader {
    fn blobs(&self) -> impl Iterator<Item = Blob> + '_ {
        self.spec.blobs().chain([self.snapshot])
    }
}

/// `blob` gives the bytes for a digest.
pub fn encode<'a>(header: &BundleHeader, mut blob: impl FnMut(Digest) -> &'a [u8]) -> Vec<u8> {
    let json = serde_json::to_vec(header).expect("plain data serialises");
    let mut out = MAGIC.to_vec();
    out.extend((json.len() as u32).to_le_bytes());
    out.extend(json);
    for part in header.blobs() {
        out.extend_from_slice(blob(part.digest));
    }
    out
}

/// A header, and the blobs that it names with their bytes.
pub type Bundle<'a> = (BundleHeader, Vec<(Blob, &'a [u8])>);

/// The header, and its blobs with their contents.
pub fn decode(bytes: &[u8]) -> Result<Bundle<'_>, BundleError> {
    let rest = bytes.strip_prefix(MAGIC).ok_or(BundleError::NotABundle)?;
    let (length, rest) = rest.split_first_chunk::<4>().ok_or(BundleError::Truncated)?;
    let (json, mut rest) = rest
        .split_at_checked(u32::from_le_bytes(*length) as usize)
        .ok_or(BundleError::Truncated)?;
    let header: BundleHeader =
        serde_json::from_slice(json).map_err(|e| BundleError::Damaged(e.to_string()))?;
    let mut blobs = Vec::new();
    for blob in header.blobs() {
        let length = usize::try_from(blob.bytes).map_err(|_| BundleError::Truncated)?;
        let (content, behind) = rest.split_at_checked(length).ok_or(BundleError::Truncated)?;
        if Digest::of(content) != blob.digest {
            return Err(BundleError::Damaged(format!(
                "part {} does not match its digest",
                blob.digest.short()
            )));
        }
        blobs.push((blob, content));
        rest = behind;
    }
    if rest.is_empty() {
        Ok((header, blobs))
    } else {
        Err(BundleError::Damaged("bytes behind the end".into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bundles_survive_and_every_damage_is_refused() {
        let (module, snapshot) = (b"\0asm module".as_slice(), b"snapshot".as_slice());
        let header = BundleHeader {
            program: ProgramId::random(),
            generation: Generation(3),
            spec: ProgramSpec {
                name: "p".into(),
                module: Blob::of(module),
                args: vec![],
                env: [].into(),
                stdin: None,
                memory_bytes_max: None,
                grants: Default::default(),
                ports: Default::default(),
                health_every_ms: None,
            },
            snapshot: Blob::of(snapshot),
        };
        let good = encode(&header, |digest| {
            if digest == Digest::of(module) {
                module
            } else {
                snapshot
            }
        });
        let (decoded, blobs) = decode(&good).unwrap();
        assert_eq!(decoded, header);
        assert_eq!(
            blobs,
            [(Blob::of(module), module), (Blob::of(snapshot), snapshot)]
        );
        for cut in 0..good.len() {
            assert!(decode(&good[..cut]).is_err(), "cut at {cut}");
        }
        let blobs_at = good.len() - module.len() - snapshot.len();
        for at in blobs_at..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert!(decode(&bad).is_err(), "flipped at {at}");
        }
    }
}
