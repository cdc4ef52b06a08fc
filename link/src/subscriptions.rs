//! What the session is subscribed to, and the requests on the way there: a pure core.
//!
//! The wanted filters are remembered, and requested again on each connection that found no session. Requests
//! keep their order; those that a lost connection left unanswered are made again first.

use std::collections::{BTreeMap, VecDeque};

use wayfare_protocol::qos::Qos;

/// `W` hears how a request ended.
#[derive(Debug)]
pub(crate) struct Subscriptions<W> {
    wanted: BTreeMap<String, Qos>,
    waiting: VecDeque<Request<W>>,
    /// Handed to the client library and not yet written (no id), or written and not yet answered.
    sent: VecDeque<(Option<u16>, Request<W>)>,
}

#[derive(Debug)]
pub(crate) struct Request<W> {
    pub(crate) filter: String,
    pub(crate) change: Change,
    pub(crate) waiter: Option<W>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Subscribe(Qos),
    Unsubscribe,
}

impl<W> Subscriptions<W> {
    pub(crate) fn new(wanted: impl IntoIterator<Item = (String, Qos)>) -> Self {
        Self {
            wanted: wanted.into_iter().collect(),
            waiting: VecDeque::new(),
            sent: VecDeque::new(),
        }
    }

    pub(crate) fn request(&mut self, filter: String, change: Change, waiter: W) {
        match change {
            Change::Subscribe(qos) => self.wanted.insert(filter.clone(), qos),
            Change::Unsubscribe => self.wanted.remove(&filter),
        };
        self.waiting.push_back(Request {
            filter,
            change,
            waiter: Some(waiter),
        });
    }

    /// A connection found its session or not. Returns how many filters are subscribed again.
    pub(crate) fn connected(&mut self, session_present: bool) -> usize {
        if session_present {
            return 0;
        }
        let mut again = Vec::new();
        for (filter, &qos) in &self.wanted {
            let change = Change::Subscribe(qos);
            if !self
                .waiting
                .iter()
                .any(|request| request.filter == *filter && request.change == change)
            {
                again.push(Request {
                    filter: filter.clone(),
                    change,
                    waiter: None,
                });
            }
        }
        let count = again.len();
        for request in again.into_iter().rev() {
            self.waiting.push_front(request);
        }
        count
    }

    /// The request to make now; it counts as sent.
    pub(crate) fn next(&mut self) -> Option<(&str, Change)> {
        let request = self.waiting.pop_front()?;
        self.sent.push_back((None, request));
        self.sent
            .back()
            .map(|(_, request)| (request.filter.as_str(), request.change))
    }

    /// The oldest request without an id was written under this one.
    pub(crate) fn written(&mut self, packet_id: u16) {
        if let Some((id, _)) = self.sent.iter_mut().find(|(id, _)| id.is_none()) {
            *id = Some(packet_id);
        }
    }

    pub(crate) fn answered(&mut self, packet_id: u16) -> Option<Request<W>> {
        let at = self.sent.iter().position(|(id, _)| *id == Some(packet_id))?;
        self.sent.remove(at).map(|(_, request)| request)
    }

    /// The broker refused it, so that there is nothing to restore.
    pub(crate) fn refused(&mut self, filter: &str) {
        self.wanted.remove(filter);
    }

    pub(crate) fn connection_lost(&mut self) {
        for (_, request) in std::mem::take(&mut self.sent).into_iter().rev() {
            self.waiting.push_front(request);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUBSCRIBE: Change = Change::Subscribe(Qos::AtLeastOnce);

    fn made(subscriptions: &mut Subscriptions<u8>) -> Vec<(String, Change)> {
        std::iter::from_fn(|| {
            subscriptions
                .next()
                .map(|(filter, change)| (filter.to_owned(), change))
        })
        .collect()
    }

    #[test]
    fn wanted_filters_are_restored_only_where_no_session_was_found() {
        let mut subscriptions = Subscriptions::new([("a".to_owned(), Qos::AtLeastOnce)]);
        subscriptions.connected(false);
        subscriptions.request("b".into(), SUBSCRIBE, 1);
        assert_eq!(
            made(&mut subscriptions),
            [("a".to_owned(), SUBSCRIBE), ("b".to_owned(), SUBSCRIBE)]
        );
        subscriptions.written(1);
        subscriptions.written(2);
        assert_eq!(subscriptions.answered(2).unwrap().waiter, Some(1));
        assert_eq!(subscriptions.answered(1).unwrap().waiter, None);

        subscriptions.connection_lost();
        assert_eq!(subscriptions.connected(true), 0);
        assert_eq!(made(&mut subscriptions), []);
        subscriptions.connection_lost();
        assert_eq!(subscriptions.connected(false), 2);
        assert_eq!(
            made(&mut subscriptions),
            [("a".to_owned(), SUBSCRIBE), ("b".to_owned(), SUBSCRIBE)]
        );
    }

    #[test]
    fn unanswered_requests_are_made_again_in_order_and_still_answer_their_waiters() {
        let mut subscriptions = Subscriptions::new([]);
        subscriptions.request("a".into(), SUBSCRIBE, 1);
        subscriptions.request("b".into(), SUBSCRIBE, 2);
        subscriptions.request("a".into(), Change::Unsubscribe, 3);
        subscriptions.next();
        subscriptions.next();
        subscriptions.written(7);
        subscriptions.connection_lost();
        subscriptions.connected(true);
        let expected = [("a", SUBSCRIBE), ("b", SUBSCRIBE), ("a", Change::Unsubscribe)];
        assert_eq!(
            made(&mut subscriptions),
            expected.map(|(filter, change)| (filter.to_owned(), change))
        );
        assert!(
            subscriptions.answered(7).is_none(),
            "an id of the lost connection"
        );
        for id in 1..=3 {
            subscriptions.written(id);
            assert_eq!(subscriptions.answered(id).unwrap().waiter, Some(id as u8));
        }
    }

    #[test]
    fn unsubscribed_and_refused_filters_are_forgotten() {
        let mut subscriptions = Subscriptions::new([("a".to_owned(), Qos::AtMostOnce)]);
        subscriptions.request("b".into(), SUBSCRIBE, 1);
        subscriptions.request("a".into(), Change::Unsubscribe, 2);
        made(&mut subscriptions);
        for id in 1..=2 {
            subscriptions.written(id);
            subscriptions.answered(id);
        }
        subscriptions.refused("b");
        assert_eq!(subscriptions.connected(false), 0);
    }
}
