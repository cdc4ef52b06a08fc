//! `/api/v1/messages`: what is published on the broker, as server-sent events, for as long as somebody looks.
//!
//! ```text
//!   broker --> Messages --> relay (a task: keeps the latest) --one at a time--> the browser
//! ```
//! What always holds: the broker's messages are taken however slowly the browser reads, and what waits for
//! it is bounded; what it misses by that is counted, and it is told how many.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::stream::unfold;
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use wayfare_client::documents::{moment, now_ms};
use wayfare_client::{Messages, Published};

use crate::answers::{Answer, overloaded};
use crate::asked::Asked;
use crate::site::Site;

/// Messages that wait for a browser,
const WAITING_MAX: usize = 512;
/// and the bytes of their payloads.
const WAITING_BYTES_MAX: usize = 2 << 20;
/// A comment is sent so often, so that both ends notice when the other is gone.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

pub(crate) async fn listen(site: Arc<Site>, asked: Asked) -> Answer {
    let place = site.listeners().clone().try_acquire_owned();
    let place = place.map_err(|_| overloaded("too many pages and programs listen to messages"))?;
    let messages = site
        .client()
        .messages(asked.required("filter")?, asked.timeout())
        .await?;
    let (sender, receiver) = mpsc::channel(1);
    // It ends with its receiver, and with the gateway.
    tokio::spawn(relay(messages, sender, site.ended(), place));
    let events = unfold(receiver, |mut receiver| async move {
        let event = event(receiver.recv().await?);
        Some((Ok::<_, Infallible>(event), receiver))
    });
    Ok(Sse::new(events)
        .keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
        .into_response())
}

async fn relay(
    mut messages: Messages,
    reader: mpsc::Sender<Told>,
    mut ended: watch::Receiver<bool>,
    _place: OwnedSemaphorePermit,
) {
    let mut waiting = Waiting::default();
    loop {
        tokio::select! {
            message = messages.next() => match message {
                Some(message) => waiting.push(now_ms(), message),
                None => break,
            },
            room = reader.reserve(), if waiting.has_any() => match (room, waiting.next()) {
                (Ok(room), Some(told)) => room.send(told),
                _ => break,
            },
            () = reader.closed() => break,
            _ = ended.wait_for(|ended| *ended) => break,
        }
    }
    messages.close().await;
}

#[derive(Debug, PartialEq, Eq)]
enum Told {
    /// So many were dropped.
    Missed(u64),
    /// When it came, in milliseconds since 1970.
    Message(u64, Published),
}

/// What a browser has not taken yet: the latest.
#[derive(Debug, Default)]
struct Waiting {
    messages: VecDeque<(u64, Published)>,
    bytes: usize,
    missed: u64,
}

impl Waiting {
    fn push(&mut self, at_ms: u64, message: Published) {
        self.bytes += size(&message);
        self.messages.push_back((at_ms, message));
        while self.messages.len() > WAITING_MAX || self.bytes > WAITING_BYTES_MAX {
            let Some((_, oldest)) = self.messages.pop_front() else {
                break;
            };
            self.bytes -= size(&oldest);
            self.missed += 1;
        }
    }

    fn has_any(&self) -> bool {
        self.missed > 0 || !self.messages.is_empty()
    }

    fn next(&mut self) -> Option<Told> {
        if self.missed > 0 {
            return Some(Told::Missed(std::mem::take(&mut self.missed)));
        }
        let (at_ms, message) = self.messages.pop_front()?;
        self.bytes -= size(&message);
        Some(Told::Message(at_ms, message))
    }
}

fn size(message: &Published) -> usize {
    message.topic.len() + message.payload.as_ref().map_or(0, |payload| payload.len())
}

fn event(told: Told) -> Event {
    let (name, document) = match told {
        Told::Missed(count) => ("missed", json!({ "count": count })),
        Told::Message(at_ms, message) => ("message", document(at_ms, &message)),
    };
    Event::default().event(name).data(document.to_string())
}

/// A payload is text, or in base64; one that is larger than any that is handed over is neither.
fn document(at_ms: u64, message: &Published) -> Value {
    let mut document = json!({
        "topic": message.topic, "bytes": message.bytes, "retained": message.retained, "sender": message.sender,
        "at_ms": at_ms, "at": moment(at_ms),
    });
    if let Some(payload) = &message.payload {
        match std::str::from_utf8(payload) {
            Ok(text) => document["text"] = text.into(),
            Err(_) => document["base64"] = STANDARD.encode(payload).into(),
        }
    }
    document
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(topic: &str, payload: Vec<u8>) -> Published {
        Published {
            topic: topic.into(),
            bytes: payload.len(),
            payload: Some(payload.into()),
            retained: false,
            sender: None,
        }
    }

    #[test]
    fn who_does_not_read_holds_the_latest_and_is_told_how_many_are_missed() {
        let mut waiting = Waiting::default();
        for number in 0..WAITING_MAX + 3 {
            waiting.push(7, message(&number.to_string(), Vec::new()));
        }
        assert_eq!(waiting.next(), Some(Told::Missed(3)));
        assert_eq!(waiting.next(), Some(Told::Message(7, message("3", Vec::new()))));
        // Large ones are fewer.
        let mut waiting = Waiting::default();
        for number in 0..5 {
            waiting.push(
                7,
                message(&number.to_string(), vec![0; WAITING_BYTES_MAX / 2 - 1]),
            );
        }
        assert!(waiting.bytes <= WAITING_BYTES_MAX);
        assert_eq!(waiting.next(), Some(Told::Missed(3)));
        while waiting.next().is_some() {}
        assert_eq!((waiting.bytes, waiting.has_any()), (0, false));
        // One that is larger than all that may wait is missed, too.
        waiting.push(7, message("a", vec![0; WAITING_BYTES_MAX]));
        assert_eq!((waiting.next(), waiting.next()), (Some(Told::Missed(1)), None));
    }

    #[test]
    fn payloads_are_text_or_base64() {
        let shown = |payload: &[u8]| document(0, &message("a", payload.to_vec()));
        assert_eq!(shown("21 °C".as_bytes())["text"], "21 °C");
        let picture = shown(b"\x89PNG");
        assert_eq!(
            (&picture["base64"], &picture["text"]),
            (&json!("iVBORw=="), &Value::Null)
        );
        let larger = Published {
            payload: None,
            bytes: 9 << 20,
            ..message("a", Vec::new())
        };
        let larger = document(0, &larger);
        assert_eq!(
            (&larger["bytes"], &larger["base64"]),
            (&json!(9 << 20), &Value::Null)
        );
    }
}
