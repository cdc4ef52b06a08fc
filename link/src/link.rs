//! The handle that everybody holds, and the events that one receiver takes.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError, mpsc, oneshot};
use wayfare_protocol::limits::PAYLOAD_BYTES_MAX;
use wayfare_protocol::qos::Qos;

use crate::command::{CloseOnDrop, Command, Receipt};
use crate::error::LinkError;
use crate::event::Event;
use crate::limits::{EVENT_CHANNEL_MAX, MESSAGE_OVERHEAD_BYTES, TOPIC_BYTES_MAX};
use crate::message::{AcknowledgeToken, Message, check_filter};
use crate::options::LinkOptions;
use crate::session::Session;
use crate::subscriptions::Change;

/// A session's handle: cheap to clone. Once every clone is dropped without [`Link::close`], the outbox is
/// drained for at most `LinkOptions::drain_timeout`, and then the connection breaks off: the broker publishes
/// the will.
#[derive(Debug, Clone)]
pub struct Link {
    commands: mpsc::UnboundedSender<Command>,
    /// The outbox's room in bytes. The command channel needs no bound of its own: publishes hold room, and
    /// everything else answers a receipt or is awaited.
    room: Arc<Semaphore>,
    drain_timeout: Duration,
}

/// Where the session's events come out, in order. It may be dropped by those who only publish.
#[derive(Debug)]
pub struct LinkEvents {
    events: mpsc::Receiver<Event>,
}

/// Starts a session's task on the current tokio runtime. The first attempt to connect begins at once, and
/// attempts go on until the link is closed.
pub fn connect(options: LinkOptions) -> Result<(Link, LinkEvents), LinkError> {
    check(&options)?;
    let (commands, command_queue) = mpsc::unbounded_channel();
    let (events, event_queue) = mpsc::channel(EVENT_CHANNEL_MAX);
    let room = Arc::new(Semaphore::new(options.outbox_bytes_max));
    let drain_timeout = options.drain_timeout;
    let session = Session::new(
        options,
        command_queue,
        events,
        CloseOnDrop::new(Arc::clone(&room)),
    );
    tokio::spawn(session.run());
    Ok((
        Link {
            commands,
            room,
            drain_timeout,
        },
        LinkEvents { events: event_queue },
    ))
}

impl Link {
    /// Puts a message into the outbox; waits while that is full. Returning does not mean that it is sent.
    pub async fn publish(&self, message: Message) -> Result<(), LinkError> {
        message.check()?;
        let room = self.room(&message).await?;
        self.send(Command::Publish {
            message,
            receipt: Receipt { room, waiter: None },
        })
    }

    /// Puts a message into the outbox, or fails with [`LinkError::OutboxFull`].
    pub fn try_publish(&self, message: Message) -> Result<(), LinkError> {
        message.check()?;
        let room = self.try_room(&message)?;
        self.send(Command::Publish {
            message,
            receipt: Receipt { room, waiter: None },
        })
    }

    /// Publishes and returns once the broker has acknowledged the message (at most once: once it is written
    /// or dropped). Giving up waiting does not take the message back.
    pub async fn publish_acknowledged(&self, message: Message) -> Result<(), LinkError> {
        message.check()?;
        let room = self.room(&message).await?;
        self.hand_over(message, room)?.await.map_err(|_| {
            if self.commands.is_closed() {
                LinkError::Closed
            } else {
                LinkError::ConnectionLost
            }
        })
    }

    /// Puts a message into the outbox, or fails with [`LinkError::OutboxFull`]; what it returns says when the
    /// broker has it. For a caller that publishes in order and waits for many answers at a time.
    pub fn submit(&self, message: Message) -> Result<Submitted, LinkError> {
        message.check()?;
        let room = self.try_room(&message)?;
        self.hand_over(message, room).map(Submitted)
    }

    /// As [`Link::subscribe`], asked before this returns: what is published next goes out after it.
    pub fn submit_subscription(
        &self,
        filter: String,
        qos: Qos,
    ) -> Result<impl Future<Output = Result<(), LinkError>> + Send + use<>, LinkError> {
        self.submit_change(filter, Change::Subscribe(qos))
    }

    /// As [`Link::unsubscribe`], asked before this returns.
    pub fn submit_unsubscription(
        &self,
        filter: String,
    ) -> Result<impl Future<Output = Result<(), LinkError>> + Send + use<>, LinkError> {
        self.submit_change(filter, Change::Unsubscribe)
    }

    /// Subscribes now and after every connection that found no session; returns once the broker has granted
    /// it, which takes a connection. Giving up waiting does not take the subscription back.
    pub async fn subscribe(&self, filter: impl Into<String>, qos: Qos) -> Result<(), LinkError> {
        self.change(filter.into(), Change::Subscribe(qos)).await
    }

    /// Returns once the broker has confirmed it; messages on their way may still arrive before that.
    pub async fn unsubscribe(&self, filter: impl Into<String>) -> Result<(), LinkError> {
        self.change(filter.into(), Change::Unsubscribe).await
    }

    /// Acknowledges a received message: in the order of receipt, within about five seconds. One that came on
    /// an earlier connection is not acknowledged, and the broker sends it again.
    pub fn acknowledge(&self, token: AcknowledgeToken) {
        if token.packet_id.is_some() {
            // A closed link acknowledges nothing: the broker sends the message again.
            let _ = self.commands.send(Command::Acknowledge(token));
        }
    }

    /// Returns once everything published through any clone so far is acknowledged, or dropped at most once.
    pub async fn flushed(&self) -> Result<(), LinkError> {
        let (waiter, flushed) = oneshot::channel();
        self.send(Command::Flush(waiter))?;
        flushed.await.map_err(|_| LinkError::Closed)
    }

    /// Waits until the outbox is empty, or for `LinkOptions::drain_timeout`; disconnects, without the will;
    /// ends the session's task. Returns what the broker did not acknowledge, oldest first.
    pub async fn close(self) -> Vec<Message> {
        let drain = self.drain_timeout;
        self.close_within(drain).await
    }

    /// [`Link::close`] with a time of its own for the outbox: none means to disconnect at once. A connection
    /// attempt may still be cut short.
    pub async fn close_within(self, drain: Duration) -> Vec<Message> {
        let (waiter, closed) = oneshot::channel();
        if self.send(Command::Close { drain, waiter }).is_err() {
            return Vec::new();
        }
        closed.await.unwrap_or_default()
    }

    async fn change(&self, filter: String, change: Change) -> Result<(), LinkError> {
        self.submit_change(filter, change)?.await
    }

    fn submit_change(
        &self,
        filter: String,
        change: Change,
    ) -> Result<impl Future<Output = Result<(), LinkError>> + Send + use<>, LinkError> {
        check_filter(&filter)?;
        let (waiter, answer) = oneshot::channel();
        self.send(Command::Change {
            filter,
            change,
            waiter,
        })?;
        Ok(async move { answer.await.unwrap_or(Err(LinkError::Closed)) })
    }

    async fn room(&self, message: &Message) -> Result<OwnedSemaphorePermit, LinkError> {
        let room = Arc::clone(&self.room).acquire_many_owned(cost(message)).await;
        room.map_err(|_| LinkError::Closed)
    }

    fn try_room(&self, message: &Message) -> Result<OwnedSemaphorePermit, LinkError> {
        let room = Arc::clone(&self.room).try_acquire_many_owned(cost(message));
        room.map_err(|error| match error {
            TryAcquireError::NoPermits => LinkError::OutboxFull,
            TryAcquireError::Closed => LinkError::Closed,
        })
    }

    /// What it returns answers once the broker has acknowledged the message.
    fn hand_over(
        &self,
        message: Message,
        room: OwnedSemaphorePermit,
    ) -> Result<oneshot::Receiver<()>, LinkError> {
        let (waiter, acknowledged) = oneshot::channel();
        self.send(Command::Publish {
            message,
            receipt: Receipt {
                room,
                waiter: Some(waiter),
            },
        })?;
        Ok(acknowledged)
    }

    fn send(&self, command: Command) -> Result<(), LinkError> {
        self.commands.send(command).map_err(|_| LinkError::Closed)
    }
}

/// A message that was handed over.
#[derive(Debug)]
pub struct Submitted(oneshot::Receiver<()>);

impl Submitted {
    /// Returns once the broker has acknowledged it (at most once: once it is written or dropped). Safe to
    /// give up and call again, until it has returned.
    pub async fn acknowledged(&mut self) -> Result<(), LinkError> {
        (&mut self.0).await.map_err(|_| LinkError::Closed)
    }

    /// Whether that is so already.
    pub fn is_acknowledged(&mut self) -> bool {
        self.0.try_recv().is_ok()
    }
}

impl LinkEvents {
    /// The next event, or `None` once the link is closed. Safe to give up and call again.
    pub async fn next(&mut self) -> Option<Event> {
        self.events.recv().await
    }

    /// The next event, if one is there.
    pub fn try_next(&mut self) -> Option<Event> {
        self.events.try_recv().ok()
    }
}

/// What a message takes of the outbox's room. Payload and topic were checked, so it fits.
fn cost(message: &Message) -> u32 {
    u32::try_from(message.payload.len() + message.topic.len() + MESSAGE_OVERHEAD_BYTES).unwrap_or(u32::MAX)
}

fn check(options: &LinkOptions) -> Result<(), LinkError> {
    let bad = |text: String| Err(LinkError::BadOptions(text));
    let smallest_outbox = PAYLOAD_BYTES_MAX + TOPIC_BYTES_MAX + MESSAGE_OVERHEAD_BYTES;
    if options.client_id.is_empty() {
        return bad("a client id must not be empty".to_owned());
    }
    if options.client_id.contains('\0') || options.client_id.len() > TOPIC_BYTES_MAX {
        return bad(format!(
            "client id '{:.40}' is too long or has a zero byte",
            options.client_id.escape_debug()
        ));
    }
    if options.outbox_bytes_max < smallest_outbox || options.outbox_bytes_max > Semaphore::MAX_PERMITS {
        return bad(format!(
            "an outbox of {} bytes is outside {smallest_outbox} to {}",
            options.outbox_bytes_max,
            Semaphore::MAX_PERMITS
        ));
    }
    let seconds = options.keep_alive.as_secs();
    if seconds == 0 || seconds > u64::from(u16::MAX) {
        return bad(format!(
            "a keep-alive of {:?} is outside 1 to 65535 seconds",
            options.keep_alive
        ));
    }
    if let Some(will) = &options.will {
        will.check()?;
    }
    options
        .subscriptions
        .iter()
        .try_for_each(|(filter, _)| check_filter(filter))
}
