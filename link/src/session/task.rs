//! The session's task: owns everything, waits for whatever comes first, and never for the caller.
//!
//! ```text
//!             accepted                    ended
//! connecting ----------> connected ------------------> waiting --- wait over ---> connecting
//!     |                      |                            |
//!     |  ended               | close: outbox drained,     | close
//!     +--------> waiting     | DISCONNECT, broker hangs up|
//!                            v                            v
//!                          closed <------------------- closed        stopped: like waiting, until close
//! ```

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, warn};

use super::{Ended, Session};
use crate::attempt::Attempt;
use crate::event::Event;
use crate::limits::DISCONNECT_TIMEOUT;
use crate::wire::{Cause, End, Wire, WireEvent};

/// Where the task goes on.
enum Next {
    Connect,
    /// Without a connection: until then, or (without a time) until the link is closed.
    Idle(Option<Instant>),
    Closed,
}

impl Session {
    pub(crate) async fn run(mut self) {
        let mut next = Next::Connect;
        loop {
            next = match next {
                Next::Connect => self.serve_connection().await,
                Next::Idle(until) => self.idle(until).await,
                Next::Closed => break,
            };
        }
        self.stop();
        if let Some(waiter) = self.closing.and_then(|closing| closing.waiter) {
            // Whoever asked may have given up waiting.
            let _ = waiter.send(self.left);
        } else if !self.left.is_empty() {
            let messages = self.left.len();
            warn!(
                client_id = self.options.client_id,
                messages, "link dropped with messages in its outbox"
            );
        }
    }

    async fn serve_connection(&mut self) -> Next {
        let mut wire = Wire::new(&self.options, self.attempt);
        let mut connected = false;
        loop {
            if connected {
                self.pump(&mut wire);
            }
            if self.closing.is_some() && self.outbox.is_empty() && self.acknowledgements.is_empty() {
                self.say_goodbye(connected.then_some(wire)).await;
                return Next::Closed;
            }
            if connected && self.is_due_again() {
                hang_up(&mut wire, &self.options.client_id).await;
                let reason = "what could be taken is: the broker sends the rest on another connection";
                return next_after(self.ended(End::new(Cause::Ourselves, reason)));
            }
            let events = self.waiting_receiver();
            let deadline = self.closing.as_ref().map(|closing| closing.deadline);
            let reads_again = self.reads_again();
            tokio::select! {
                event = wire.next(), if reads_again.is_none() => {
                    if let WireEvent::Accepted { session_present } = event {
                        if self.attempt == Attempt::Forgetting {
                            hang_up(&mut wire, &self.options.client_id).await;
                            return next_after(self.forgotten());
                        }
                        connected = true;
                        self.accepted(session_present);
                    } else if let Some(ended) = self.on_wire(event) {
                        return next_after(ended);
                    }
                }
                command = self.commands.recv(), if !self.abandoned => self.on_command(command),
                () = room_for_event(events.as_ref()), if events.is_some() => {}
                () = sleep_until_some(reads_again), if reads_again.is_some() => {}
                () = sleep_until_some(deadline) => {
                    self.say_goodbye(connected.then_some(wire)).await;
                    return Next::Closed;
                }
            }
            self.deliver();
        }
    }

    /// Serves the handles without a connection, until the time has come or (without one) for good.
    async fn idle(&mut self, until: Option<Instant>) -> Next {
        loop {
            self.deliver();
            if until.is_none() && self.inbox.is_empty() {
                self.events = None;
            }
            // A stopped link will never empty its outbox.
            if self.closing.is_some() && (until.is_none() || self.outbox.is_empty()) {
                return Next::Closed;
            }
            let events = self.waiting_receiver();
            let deadline = self.closing.as_ref().map(|closing| closing.deadline);
            tokio::select! {
                () = sleep_until_some(until) => return Next::Connect,
                () = sleep_until_some(deadline) => return Next::Closed,
                command = self.commands.recv(), if !self.abandoned => self.on_command(command),
                () = room_for_event(events.as_ref()), if events.is_some() => {}
            }
        }
    }

    /// Where the link was closed and not merely dropped: tells the broker, so that it drops the will, and
    /// waits until it has hung up, since only then is the session free for somebody else. The connection is
    /// not polled after that; it would connect again.
    async fn say_goodbye(&self, wire: Option<Wire>) {
        let closed = self
            .closing
            .as_ref()
            .is_some_and(|closing| closing.waiter.is_some());
        let Some(mut wire) = wire.filter(|_| closed) else {
            return;
        };
        hang_up(&mut wire, &self.options.client_id).await;
    }
}

fn next_after(ended: Ended) -> Next {
    Next::Idle(match ended {
        Ended::Again(wait) => Some(Instant::now() + wait),
        Ended::Stopped => None,
    })
}

/// Sends DISCONNECT behind everything else, and waits until the broker has hung up.
async fn hang_up(wire: &mut Wire, client_id: &str) {
    let goodbye = async {
        while !wire.has_room() {
            if let WireEvent::Ended(_) = wire.next().await {
                return;
            }
        }
        wire.disconnect();
        while !matches!(wire.next().await, WireEvent::Ended(_)) {}
    };
    if timeout(DISCONNECT_TIMEOUT, goodbye).await.is_err() {
        debug!(client_id, "the broker did not hang up after DISCONNECT");
    }
}

/// Resolves when the channel has room or its receiver is gone.
async fn room_for_event(events: Option<&mpsc::Sender<Event>>) {
    if let Some(events) = events {
        let _ = events.reserve().await;
    }
}

async fn sleep_until_some(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}
