//! An open session: what is on its way out, and what came in.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use wayfare_link::{
    BrokerUrl, Event, INCOMING_PAYLOAD_BYTES_MAX, Link, LinkError, LinkEvents, LinkOptions, Message,
    Oversized, Qos, Submitted,
};
use wayfare_mail::{Mail, ReceivedMessage};
use wayfare_protocol::ids::ProgramId;

use super::intake::Intake;
use crate::shell::store::InboxJournal;
use wayfare_runtime::Mailbox;

/// Handed to the link and not acknowledged.
const IN_FLIGHT_MAX: usize = 256;
/// The broker hangs up within this.
const HANG_UP_TIMEOUT: Duration = Duration::from_millis(500);

/// By number, oldest first; `None` for what will not be sent, and is done with in its turn.
type InFlight = VecDeque<(u64, Option<Submitted>)>;

pub(super) struct Connection {
    /// `None` once it was closed.
    link: Option<Link>,
    events: LinkEvents,
    in_flight: InFlight,
    /// Asked and not answered; `None` is to unsubscribe.
    asked: BTreeMap<String, Option<Qos>>,
    answers: JoinSet<(String, Option<Qos>, Result<(), LinkError>)>,
    intake: Intake,
    had_session: bool,
    /// The engine is told there that it is connected.
    connected: mpsc::UnboundedSender<oneshot::Sender<()>>,
    /// Answered when the engine knows that the session is still this copy's: until then nothing is read.
    asked_whose: Option<oneshot::Receiver<()>>,
}

impl Connection {
    /// With what an earlier connection took and did not store.
    pub(super) fn open(
        program: ProgramId,
        mailbox: &Mailbox,
        broker: &BrokerUrl,
        unstored: &mut Vec<ReceivedMessage>,
        connected: mpsc::UnboundedSender<oneshot::Sender<()>>,
    ) -> Result<Self, LinkError> {
        let (had_session, granted) = mailbox.with(|mail| {
            let had_session = mail.has_session();
            mail.begin_session();
            (had_session, mail.granted_subscriptions())
        });
        let options = LinkOptions {
            // Asked for again where the broker has lost the session.
            subscriptions: granted,
            ..LinkOptions::kept(broker.clone(), super::client_id(program))
        };
        let (link, events) = wayfare_link::connect(options)?;
        Ok(Self {
            link: Some(link),
            events,
            in_flight: VecDeque::new(),
            asked: BTreeMap::new(),
            answers: JoinSet::new(),
            intake: Intake::new(std::mem::take(unstored)),
            had_session,
            connected,
            asked_whose: None,
        })
    }

    /// Hands the link what the program wants of the broker: subscriptions first.
    pub(super) fn pump(&mut self, mailbox: &Mailbox) {
        let Some(link) = &self.link else { return };
        let (wanted, unwanted) = mailbox.with(|mail| (mail.to_subscribe(), mail.to_unsubscribe()));
        for (filter, qos) in wanted {
            if self.asked.get(&filter) == Some(&Some(qos)) {
                continue;
            }
            if let Ok(answer) = link.submit_subscription(filter.clone(), qos) {
                self.asked.insert(filter.clone(), Some(qos));
                self.answers
                    .spawn(async move { (filter, Some(qos), answer.await) });
            }
        }
        for filter in unwanted {
            if self.asked.get(&filter) == Some(&None) {
                continue;
            }
            if let Ok(answer) = link.submit_unsubscription(filter.clone()) {
                self.asked.insert(filter.clone(), None);
                self.answers.spawn(async move { (filter, None, answer.await) });
            }
        }
        while self.in_flight.len() < IN_FLIGHT_MAX {
            let Some(outgoing) = mailbox.next_to_send() else {
                return;
            };
            let message = Message {
                topic: outgoing.topic,
                payload: outgoing.payload.into(),
                qos: outgoing.qos,
                retain: outgoing.retain,
                fleeting: false,
            };
            match link.submit(message) {
                Ok(submitted) => self.in_flight.push_back((outgoing.number, Some(submitted))),
                Err(LinkError::OutboxFull | LinkError::Closed) => {
                    mailbox.with(|mail| mail.send_again(outgoing.number));
                    return;
                }
                // It was checked when the program published it: a rule of the link's that we do not know.
                Err(error) => {
                    mailbox.tell(&format!("wayfare: a message was not published: {error}"));
                    self.in_flight.push_back((outgoing.number, None));
                }
            }
        }
    }

    /// Begins to store what came, when it is time.
    pub(super) fn journal(&mut self, journal: &mut InboxJournal) -> io::Result<()> {
        self.intake.begin_sync(journal, false)
    }

    /// Waits for one thing to happen, and does what follows. Safe to give up.
    pub(super) async fn next(&mut self, mailbox: &Mailbox, journal: &InboxJournal) -> io::Result<()> {
        // Before it is connected there is nothing to be taken.
        let reads = self.asked_whose.is_none() && self.intake.takes_more(mailbox, journal);
        let stored = tokio::select! {
            stored = self.intake.stored() => stored?,
            result = acknowledged(&mut self.in_flight) => {
                self.acknowledged(mailbox, result.is_ok());
                return Ok(());
            }
            Some(answer) = self.answers.join_next(), if !self.answers.is_empty() => {
                if let Ok((filter, change, result)) = answer {
                    self.answered(mailbox, &filter, change, result);
                }
                return Ok(());
            }
            () = answered(&mut self.asked_whose) => {
                self.asked_whose = None;
                return Ok(());
            }
            event = self.events.next(), if reads => {
                self.event(mailbox, event);
                return Ok(());
            }
            () = mailbox.changed() => return Ok(()),
        };
        if let Some(link) = &self.link {
            stored.into_iter().for_each(|token| link.acknowledge(token));
        }
        Ok(())
    }

    fn event(&mut self, mailbox: &Mailbox, event: Option<Event>) {
        match event {
            Some(Event::Received(message)) => {
                self.intake.received(mailbox, message);
                // What is there already is stored together.
                while self.intake.takes_another()
                    && let Some(event) = self.events.try_next()
                {
                    match event {
                        Event::Received(message) => self.intake.received(mailbox, message),
                        other => return self.event(mailbox, Some(other)),
                    }
                }
            }
            Some(Event::Oversized(message)) => {
                let Oversized { topic, bytes, .. } = &message;
                mailbox.tell(&format!(
                    "wayfare: a message of {bytes} bytes on '{topic}' was dropped: the limit is {INCOMING_PAYLOAD_BYTES_MAX} bytes"
                ));
                self.intake.oversized(message);
            }
            Some(Event::Connected { session_present, .. }) => {
                if !session_present && std::mem::replace(&mut self.had_session, true) {
                    mailbox.tell("wayfare: the broker lost this program's session: it is subscribed again, and may have missed messages");
                    mailbox.with(Mail::forget_providers);
                }
                self.had_session = true;
                self.intake.reconnected();
                let (answer, asked) = oneshot::channel();
                // The engine is gone only when this task is about to be.
                let _ = self.connected.send(answer);
                self.asked_whose = Some(asked);
            }
            Some(Event::Disconnected { .. }) | None => {}
        }
    }

    fn acknowledged(&mut self, mailbox: &Mailbox, is_acknowledged: bool) {
        if !is_acknowledged {
            // The link is closed, and everything goes out on the next.
            self.in_flight.clear();
            return;
        }
        let mut sent: Vec<u64> = self
            .in_flight
            .pop_front()
            .map(|(number, _)| number)
            .into_iter()
            .collect();
        while let Some((number, submitted)) = self.in_flight.front_mut()
            && submitted.as_mut().is_none_or(Submitted::is_acknowledged)
        {
            sent.push(*number);
            self.in_flight.pop_front();
        }
        mailbox.sent(&sent);
    }

    fn answered(
        &mut self,
        mailbox: &Mailbox,
        filter: &str,
        change: Option<Qos>,
        result: Result<(), LinkError>,
    ) {
        if self.asked.get(filter) == Some(&change) {
            self.asked.remove(filter);
        }
        match (change, result) {
            (Some(qos), Ok(())) => mailbox.granted(filter, qos),
            (None, Ok(())) => mailbox.with(|mail| mail.unsubscribed(filter)),
            (Some(_), Err(LinkError::SubscriptionRefused(_))) => mailbox.refused(filter),
            // The link is closed: it is asked again on the next.
            (_, Err(_)) => {}
        }
    }

    /// Until everything that was taken is acknowledged, and everything that was sent has its answer. Takes
    /// and sends nothing more.
    pub(super) async fn settle(&mut self, mailbox: &Mailbox, journal: &mut InboxJournal) {
        while !self.intake.is_settled() {
            if self.intake.begin_sync(journal, true).is_err() {
                return;
            }
            let Ok(stored) = self.intake.stored().await else {
                return;
            };
            if let Some(link) = &self.link {
                stored.into_iter().for_each(|token| link.acknowledge(token));
            }
        }
        while !self.in_flight.is_empty() {
            let result = acknowledged(&mut self.in_flight).await;
            self.acknowledged(mailbox, result.is_ok());
        }
    }

    /// Until everything that the program published is with the broker. Takes nothing more.
    pub(super) async fn finish(&mut self, mailbox: &Mailbox) {
        while !mailbox.with(|mail| mail.is_all_sent()) {
            self.pump(mailbox);
            if self.in_flight.is_empty() {
                return;
            }
            let result = acknowledged(&mut self.in_flight).await;
            self.acknowledged(mailbox, result.is_ok());
        }
    }

    /// Disconnects, and waits until the broker has: only then is the session free for another engine.
    pub(super) async fn hang_up(&mut self) {
        self.in_flight.clear();
        if let Some(link) = self.link.take() {
            link.close_within(HANG_UP_TIMEOUT).await;
        }
    }

    /// What was taken and is not known to be in the journal.
    pub(super) fn take_unstored(&mut self) -> Vec<ReceivedMessage> {
        self.intake.take_unstored()
    }
}

async fn acknowledged(in_flight: &mut InFlight) -> Result<(), LinkError> {
    match in_flight.front_mut() {
        Some((_, Some(submitted))) => submitted.acknowledged().await,
        Some((_, None)) => Ok(()),
        None => std::future::pending().await,
    }
}

/// An engine that has ended answers no more.
async fn answered(asked: &mut Option<oneshot::Receiver<()>>) {
    let is_answered = match asked {
        Some(answer) => answer.await.is_ok(),
        None => false,
    };
    if !is_answered {
        std::future::pending().await
    }
}
