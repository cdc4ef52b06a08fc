//! `/api/v1/stream`: the fleet as it is, then what changes, as server-sent events.
//!
//! ```text
//!   snapshot (parts, the last without `more`), then change | operation | decision ... , or reset: begin anew
//! ```
//! A reader that comes back with `Last-Event-ID` gets what it has missed, if that is still kept, and a
//! snapshot otherwise: from another dispatcher's gateway, say. One that does not read holds nothing: it is
//! told to begin anew.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Response};
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::Stream;
use futures::stream::unfold;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::{OwnedSemaphorePermit, watch};

use crate::answers::{self, overloaded};
use crate::hub::view::View;
use crate::hub::{Beginning, Id, Message, Watching};
use crate::site::Site;

const LAST_EVENT_ID: &str = "last-event-id";
/// A comment is sent so often, so that both ends notice when the other is gone.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

pub(crate) async fn stream(State(site): State<Arc<Site>>, head: HeaderMap) -> Response<Body> {
    let Ok(place) = site.watchers().clone().try_acquire_owned() else {
        return answers::problem(&overloaded("too many pages and programs watch"));
    };
    let last = head
        .get(LAST_EVENT_ID)
        .and_then(|value| parse(value.to_str().ok()?));
    let watching = match site.hub().watch(last).await {
        Ok(watching) => watching,
        Err(problem) => return answers::problem(&problem),
    };
    let reader = Reader::new(watching, site.ended(), place);
    Sse::new(messages(reader))
        .keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
        .into_response()
}

struct Reader {
    /// What is still to be told of a snapshot: its next part.
    snapshot: Option<(Id, Arc<View>, usize)>,
    missed: VecDeque<Message>,
    next: broadcast::Receiver<Message>,
    ended: watch::Receiver<bool>,
    is_over: bool,
    _place: OwnedSemaphorePermit,
}

impl Reader {
    fn new(watching: Watching, ended: watch::Receiver<bool>, place: OwnedSemaphorePermit) -> Self {
        let (snapshot, missed) = match watching.beginning {
            Beginning::Anew(id, view) => (Some((id, view, 0)), VecDeque::new()),
            Beginning::Missed(missed) => (None, missed.into()),
        };
        Self {
            snapshot,
            missed,
            next: watching.next,
            ended,
            is_over: false,
            _place: place,
        }
    }

    async fn next(&mut self) -> Option<Event> {
        if self.is_over {
            return None;
        }
        if let Some((id, view, number)) = self.snapshot.take() {
            // Only the last part has the id: a reader that was cut off before gets all of it again.
            let part = view.part(number)?;
            let event = Event::default().event("snapshot").data(part.to_string());
            if part["more"] == true {
                self.snapshot = Some((id, view, number + 1));
                return Some(event);
            }
            return Some(event.id(written(id)));
        }
        if let Some(message) = self.missed.pop_front() {
            return Some(event(&message));
        }
        tokio::select! {
            message = self.next.recv() => match message {
                Ok(message) => Some(event(&message)),
                Err(RecvError::Lagged(_)) => {
                    self.is_over = true;
                    // An empty id is none: it comes back without one.
                    Some(Event::default().event("reset").id("").data("{}"))
                }
                Err(RecvError::Closed) => None,
            },
            _ = self.ended.wait_for(|ended| *ended) => None,
        }
    }
}

fn messages(reader: Reader) -> impl Stream<Item = Result<Event, Infallible>> {
    unfold(reader, |mut reader| async move {
        let event = reader.next().await?;
        Some((Ok(event), reader))
    })
}

fn event(message: &Message) -> Event {
    Event::default()
        .id(written(message.id))
        .event(message.event)
        .data(&*message.data)
}

fn written(id: Id) -> String {
    format!("{}-{}", id.hub, id.number)
}

fn parse(text: &str) -> Option<Id> {
    let (hub, number) = text.split_once('-')?;
    Some(Id {
        hub: hub.parse().ok()?,
        number: number.parse().ok()?,
    })
}
