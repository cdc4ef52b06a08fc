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
use wayfare_mail::{Home, Mail, Outgoing, ReceivedMessage, Way, Ways, await_sync};
use wayfare_protocol::ids::ProgramId;

use super::intake::{Intake, Stored};
use super::neighbourhood::{Neighbourhood, Place, Synced};
use crate::shell::store::InboxJournal;
use wayfare_runtime::Mailbox;

/// A journal that is larger takes no more until a snapshot was stored.
const JOURNAL_BYTES_MAX: u64 = 16 << 20;
/// Handed to the link and not acknowledged.
const IN_FLIGHT_MAX: usize = 256;
/// The broker hangs up within this.
const HANG_UP_TIMEOUT: Duration = Duration::from_millis(500);

/// By number, oldest first.
type InFlight = VecDeque<(u64, Flight)>;

/// How a message is on its way.
enum Flight {
    Broker(Submitted),
    /// In a neighbour's inbox: it is sent when that has synced what is below.
    Given {
        to: ProgramId,
        below: u64,
        synced: Synced,
        outgoing: Outgoing,
    },
    /// It will not be sent, and is done with in its turn.
    Nothing,
}

/// What became of the oldest.
enum Arrival {
    Arrived,
    /// The neighbour's session has ended: nobody knows whether it was synced.
    Lost,
    /// The link is closed.
    Closed,
}

pub(super) struct Connection {
    /// `None` once it was closed.
    link: Option<Link>,
    events: LinkEvents,
    in_flight: InFlight,
    /// So many of them are with the link.
    submitted: usize,
    home: Home,
    ways: Ways,
    neighbourhood: Neighbourhood,
    place: Place,
    /// It is connected, and the engine knows that the session is this copy's.
    is_ours: bool,
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
        (broker, neighbourhood): (&BrokerUrl, &Neighbourhood),
        unstored: &mut Vec<ReceivedMessage>,
        connected: mpsc::UnboundedSender<oneshot::Sender<()>>,
    ) -> Result<Self, LinkError> {
        let (had_session, granted, home, arrived) = mailbox.with(|mail| {
            let had_session = mail.has_session();
            mail.begin_session();
            (
                had_session,
                mail.granted_subscriptions(),
                mail.home().clone(),
                mail.arrived(),
            )
        });
        let synced = unstored.first().map_or(arrived, |first| first.number);
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
            submitted: 0,
            home,
            ways: Ways::default(),
            neighbourhood: neighbourhood.clone(),
            place: neighbourhood.enter(program, mailbox, synced),
            is_ours: false,
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
        while self.submitted < IN_FLIGHT_MAX {
            let Some(outgoing) = mailbox.next_to_send() else {
                return;
            };
            let number = outgoing.number;
            let from = (&self.home, self.is_ours);
            let flight = match self.ways.way(&outgoing, from, &mut self.neighbourhood) {
                Way::Given(to, below, synced) => Some(Flight::Given {
                    to,
                    below,
                    synced,
                    outgoing,
                }),
                Way::Broker => self.submit(mailbox, outgoing),
                Way::Later => None,
            };
            let Some(flight) = flight else {
                mailbox.with(|mail| mail.send_again(number));
                return;
            };
            self.in_flight.push_back((number, flight));
        }
    }

    /// Hands it to the link, if that has room for it.
    fn submit(&mut self, mailbox: &Mailbox, outgoing: Outgoing) -> Option<Flight> {
        let message = Message {
            topic: outgoing.topic,
            payload: outgoing.payload.into(),
            qos: outgoing.qos,
            retain: outgoing.retain,
            fleeting: false,
        };
        match self.link.as_ref()?.submit(message) {
            Ok(submitted) => {
                self.submitted += 1;
                Some(Flight::Broker(submitted))
            }
            Err(LinkError::OutboxFull | LinkError::Closed) => None,
            // It was checked when the program published it: a rule of the link's that we do not know.
            Err(error) => {
                mailbox.tell(&format!("wayfare: a message was not published: {error}"));
                Some(Flight::Nothing)
            }
        }
    }

    /// Writes what neighbours gave, and begins to store what came when it is time.
    pub(super) fn journal(&mut self, mailbox: &Mailbox, journal: &mut InboxJournal) -> io::Result<()> {
        self.place
            .set_open(self.is_ours && journal.bytes() < JOURNAL_BYTES_MAX);
        self.intake.begin_sync(mailbox, journal, false)
    }

    /// Waits for one thing to happen, and does what follows. Safe to give up.
    pub(super) async fn next(&mut self, mailbox: &Mailbox, journal: &mut InboxJournal) -> io::Result<()> {
        // Before it is connected there is nothing to be taken.
        let has_room = journal.bytes() < JOURNAL_BYTES_MAX;
        let reads = self.asked_whose.is_none() && self.intake.takes_more(mailbox) && has_room;
        let stored = tokio::select! {
            stored = self.intake.stored() => stored?,
            arrival = arrival(&mut self.in_flight) => {
                self.arrived(mailbox, arrival);
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
                self.is_ours = true;
                return Ok(());
            }
            event = self.events.next(), if reads => {
                self.event(mailbox, event);
                return Ok(());
            }
            () = mailbox.changed() => return Ok(()),
        };
        self.stored(journal, stored);
        Ok(())
    }

    fn stored(&self, journal: &mut InboxJournal, stored: Stored) {
        let Stored { tokens, below } = stored;
        if let Some(below) = below {
            journal.synced();
            self.place.synced(below);
        }
        if let Some(link) = &self.link {
            tokens.into_iter().for_each(|token| link.acknowledge(token));
        }
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
                self.is_ours = false;
            }
            Some(Event::Disconnected { .. }) | None => self.is_ours = false,
        }
    }

    fn arrived(&mut self, mailbox: &Mailbox, arrival: Arrival) {
        match arrival {
            Arrival::Arrived => {}
            Arrival::Lost => return self.send_lost(mailbox),
            // Everything goes out on the next.
            Arrival::Closed => return self.forget_flight(),
        }
        let mut sent = Vec::new();
        let mut has_arrived = true;
        while has_arrived && let Some((number, flight)) = self.in_flight.pop_front() {
            sent.push(number);
            match flight {
                Flight::Broker(_) => self.submitted -= 1,
                Flight::Given { to, .. } => self.ways.synced(to),
                Flight::Nothing => {}
            }
            has_arrived = self
                .in_flight
                .front_mut()
                .is_some_and(|(_, next)| next.has_arrived());
        }
        mailbox.sent(&sent);
    }

    /// What a neighbour was given, and nobody knows of: through the broker, in its place.
    fn send_lost(&mut self, mailbox: &Mailbox) {
        let Some((number, Flight::Given { to, outgoing, .. })) = self.in_flight.pop_front() else {
            return;
        };
        self.ways.lost(to, &outgoing);
        match self.submit(mailbox, outgoing) {
            Some(flight) => self.in_flight.push_front((number, flight)),
            None => {
                self.forget_flight();
                mailbox.with(|mail| mail.send_again(number));
            }
        }
    }

    fn forget_flight(&mut self) {
        self.in_flight.clear();
        self.submitted = 0;
        self.ways = Ways::default();
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

    /// Until everything that was taken is acknowledged, and everything that was sent has its answer. Takes and sends nothing more.
    pub(super) async fn settle(&mut self, mailbox: &Mailbox, journal: &mut InboxJournal) {
        self.leave();
        if self.intake.begin_sync(mailbox, journal, true).is_err() {
            return;
        }
        while !self.intake.is_settled() {
            let Ok(stored) = self.intake.stored().await else {
                return;
            };
            self.stored(journal, stored);
            if self.intake.begin_sync(mailbox, journal, true).is_err() {
                return;
            }
        }
        self.hurry_neighbours();
        while !self.in_flight.is_empty() {
            let arrival = arrival(&mut self.in_flight).await;
            self.arrived(mailbox, arrival);
        }
    }

    /// Until everything that the program published is with the broker. Takes nothing more.
    pub(super) async fn finish(&mut self, mailbox: &Mailbox, journal: &mut InboxJournal) {
        self.leave();
        // What cannot be written is of no matter any more: the program has ended.
        let _ = self.intake.begin_sync(mailbox, journal, true);
        while !mailbox.with(|mail| mail.is_all_sent()) {
            self.pump(mailbox);
            if self.in_flight.is_empty() {
                return;
            }
            self.hurry_neighbours();
            let arrival = arrival(&mut self.in_flight).await;
            self.arrived(mailbox, arrival);
        }
    }

    /// Neighbours give it nothing more.
    fn leave(&mut self) {
        self.place.set_open(false);
    }

    fn hurry_neighbours(&mut self) {
        for (_, flight) in &self.in_flight {
            if let Flight::Given { to, .. } = flight {
                await_sync(*to, &mut self.neighbourhood);
            }
        }
    }

    /// Disconnects, and waits until the broker has: only then is the session free for another engine.
    pub(super) async fn hang_up(&mut self) {
        self.leave();
        self.forget_flight();
        if let Some(link) = self.link.take() {
            link.close_within(HANG_UP_TIMEOUT).await;
        }
    }

    /// What was taken and is not known to be in the journal.
    pub(super) fn take_unstored(&mut self, mailbox: &Mailbox) -> Vec<ReceivedMessage> {
        self.intake.take_unstored(mailbox)
    }
}

impl Flight {
    fn has_arrived(&mut self) -> bool {
        match self {
            Self::Broker(submitted) => submitted.is_acknowledged(),
            Self::Given { below, synced, .. } => *synced.borrow() >= *below,
            Self::Nothing => true,
        }
    }
}

/// Of the oldest. Safe to give up.
async fn arrival(in_flight: &mut InFlight) -> Arrival {
    match in_flight.front_mut() {
        Some((_, Flight::Broker(submitted))) => match submitted.acknowledged().await {
            Ok(()) => Arrival::Arrived,
            Err(_) => Arrival::Closed,
        },
        Some((_, Flight::Given { below, synced, .. })) => {
            match synced.wait_for(|synced| synced >= below).await {
                Ok(_) => Arrival::Arrived,
                Err(_) => Arrival::Lost,
            }
        }
        Some((_, Flight::Nothing)) => Arrival::Arrived,
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
