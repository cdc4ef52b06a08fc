//! JSON on the wire, bounded: what every command, event and status goes through.

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::limits::PAYLOAD_BYTES_MAX;

#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum WireError {
    #[error("message has {bytes} bytes, the limit is {PAYLOAD_BYTES_MAX}")]
    TooLong { bytes: usize },
    #[error("message ends in the middle")]
    Truncated,
    #[error("message is malformed: {0}")]
    Malformed(String),
}

impl WireError {
    pub(crate) fn json(error: serde_json::Error) -> Self {
        Self::Malformed(error.to_string())
    }
}

pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("plain data serialises")
}

pub fn decode<T: DeserializeOwned>(payload: &[u8]) -> Result<T, WireError> {
    if payload.len() > PAYLOAD_BYTES_MAX {
        return Err(WireError::TooLong { bytes: payload.len() });
    }
    serde_json::from_slice(payload).map_err(WireError::json)
}
