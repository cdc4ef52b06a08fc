//! What a session promises when its connection breaks, its session moves, or somebody else takes it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use common::proxy::Proxy;
use common::{Broker, connected, next_connection, next_message, number, soon};
use wayfare_link::{
    Acknowledge, BrokerUrl, Event, Link, LinkError, LinkEvents, LinkOptions, Message, OnTakeover, Qos,
    connect,
};

on_both_brokers!(
    kept_session_resumes_in_order,
    held_acknowledgement_is_delivered_again,
    acknowledgement_of_an_old_connection_is_dropped,
    cut_connections_lose_nothing_and_keep_the_order,
    messages_at_most_once_are_dropped_while_there_is_no_connection,
    clean_session_gets_its_subscriptions_back,
    takeovers_under_load_lose_nothing,
    link_that_stops_on_takeover_ends,
    takeover_war_dies_down,
    thousands_of_queued_messages_arrive_without_a_pause,
    closing_returns_what_was_not_acknowledged,
);

fn kept(broker: BrokerUrl, client_id: &str) -> LinkOptions {
    LinkOptions {
        subscriptions: vec![("t".into(), Qos::AtLeastOnce)],
        ..LinkOptions::kept(broker, client_id)
    }
}

async fn publish_numbers(sender: &Link, numbers: std::ops::Range<usize>) {
    for at in numbers {
        sender.publish(Message::new("t", at.to_string())).await.unwrap();
    }
}

/// Leaves a subscribed session behind at the broker.
async fn leave_session(broker: &Broker, client_id: &str) {
    let (link, _events, present) = connected(kept(broker.url(), client_id)).await;
    assert!(!present);
    // Answered after the subscription of the options.
    link.subscribe("t", Qos::AtLeastOnce).await.unwrap();
    link.close().await;
}

/// The numbers in the order in which they first came, acknowledged, until the last one is there.
async fn take_numbers(link: &Link, events: &mut LinkEvents, until: usize, seen: &mut Vec<usize>) {
    while seen.last() != Some(&until) {
        let incoming = next_message(events).await;
        let number = number(&incoming);
        if !seen.contains(&number) {
            seen.push(number);
        }
        link.acknowledge(incoming.token);
    }
}

async fn kept_session_resumes_in_order(broker: &Broker) {
    leave_session(broker, "program").await;
    let (sender, _events, _) = connected(LinkOptions::new(broker.url(), "sender")).await;
    publish_numbers(&sender, 0..300).await;
    sender.flushed().await.unwrap();
    let mut seen = Vec::new();
    for until in [99, 299] {
        let (link, mut events, present) = connected(kept(broker.url(), "program")).await;
        assert!(present);
        take_numbers(&link, &mut events, until, &mut seen).await;
        link.close().await;
    }
    assert_eq!(seen, (0..300).collect::<Vec<_>>());
}

async fn held_acknowledgement_is_delivered_again(broker: &Broker) {
    leave_session(broker, "program").await;
    let (sender, _events, _) = connected(LinkOptions::new(broker.url(), "sender")).await;
    publish_numbers(&sender, 0..2).await;
    // Not acknowledged, then dropped like a crash; then the first acknowledged, then closed.
    let (link, mut events, _) = connected(kept(broker.url(), "program")).await;
    assert_eq!(number(&next_message(&mut events).await), 0);
    drop((link, events));
    let (link, mut events, present) = connected(kept(broker.url(), "program")).await;
    assert!(present);
    let first = next_message(&mut events).await;
    assert_eq!(number(&first), 0);
    link.acknowledge(first.token);
    link.close().await;
    let (link, mut events, present) = connected(kept(broker.url(), "program")).await;
    assert!(present);
    assert_eq!(number(&next_message(&mut events).await), 1);
    link.close().await;
}

async fn acknowledgement_of_an_old_connection_is_dropped(broker: &Broker) {
    leave_session(broker, "program").await;
    let (sender, _events, _) = connected(LinkOptions::new(broker.url(), "sender")).await;
    publish_numbers(&sender, 0..1).await;
    let proxy = Proxy::to(&broker.url()).await;
    let (link, mut events, _) = connected(kept(proxy.url(), "program")).await;
    let old = next_message(&mut events).await;
    proxy.cut();
    assert!(next_connection(&mut events).await);
    let again = next_message(&mut events).await;
    assert_eq!(again.payload, old.payload);
    assert!(again.token.connection() > old.token.connection());
    // Both deliveries go under the same packet id on some brokers, so this one would count as the new one's.
    link.acknowledge(old.token);
    link.publish_acknowledged(Message::new("elsewhere", ""))
        .await
        .unwrap();
    proxy.cut();
    assert!(next_connection(&mut events).await);
    let third = next_message(&mut events).await;
    assert_eq!(
        third.payload, old.payload,
        "the old acknowledgement must not have counted"
    );
    link.acknowledge(third.token);
    link.close().await;
    let (_link, mut events, present) = connected(kept(broker.url(), "program")).await;
    assert!(present);
    publish_numbers(&sender, 9..10).await;
    assert_eq!(
        number(&next_message(&mut events).await),
        9,
        "acknowledged means not delivered again"
    );
}

async fn cut_connections_lose_nothing_and_keep_the_order(broker: &Broker) {
    const COUNT: usize = 3000;
    leave_session(broker, "program").await;
    let (receiver, mut events, _) = connected(kept(broker.url(), "program")).await;
    for clean_session in [true, false] {
        let proxy = Proxy::to(&broker.url()).await;
        let options = LinkOptions {
            clean_session,
            ..LinkOptions::new(proxy.url(), "sender")
        };
        let (sender, mut sender_events, _) = connected(options).await;
        let publishing = sender.clone();
        let publishing = tokio::spawn(async move { publish_numbers(&publishing, 0..COUNT).await });
        let mut seen = Vec::new();
        for cut in 1..=5 {
            take_numbers(&receiver, &mut events, cut * 500 - 1, &mut seen).await;
            proxy.cut();
            next_connection(&mut sender_events).await;
        }
        take_numbers(&receiver, &mut events, COUNT - 1, &mut seen).await;
        assert_eq!(seen, (0..COUNT).collect::<Vec<_>>());
        publishing.await.unwrap();
        soon("the outbox to empty", sender.flushed()).await.unwrap();
        sender.close().await;
        // Repeats of the last numbers may still be under way.
        receiver
            .publish(Message::new("t", COUNT.to_string()))
            .await
            .unwrap();
        take_numbers(&receiver, &mut events, COUNT, &mut vec![]).await;
    }
}

async fn messages_at_most_once_are_dropped_while_there_is_no_connection(broker: &Broker) {
    let (receiver, mut events, _) = connected(LinkOptions::new(broker.url(), "receiver")).await;
    receiver.subscribe("t", Qos::AtLeastOnce).await.unwrap();
    let proxy = Proxy::to(&broker.url()).await;
    let url = proxy.url();
    // Before the first connection they wait for it.
    let (sender, mut sender_events) = connect(LinkOptions::new(url, "sender")).unwrap();
    sender
        .publish(Message::new("t", "0").at_most_once())
        .await
        .unwrap();
    assert_eq!(number(&next_message(&mut events).await), 0);
    drop(proxy);
    soon("the end of the connection", async {
        while !matches!(sender_events.next().await, Some(Event::Disconnected { .. })) {}
    })
    .await;
    sender
        .publish(Message::new("t", "1").at_most_once())
        .await
        .unwrap();
    soon("the drop", sender.flushed()).await.unwrap();
    assert!(sender.close_within(Duration::ZERO).await.is_empty());
    assert_eq!(events.try_next(), None);
}

async fn clean_session_gets_its_subscriptions_back(broker: &Broker) {
    let proxy = Proxy::to(&broker.url()).await;
    let options = LinkOptions {
        subscriptions: vec![("a".into(), Qos::AtLeastOnce)],
        ..LinkOptions::new(proxy.url(), "receiver")
    };
    let (link, mut events, _) = connected(options).await;
    link.subscribe("b/+", Qos::AtLeastOnce).await.unwrap();
    link.subscribe("c", Qos::AtLeastOnce).await.unwrap();
    link.unsubscribe("c").await.unwrap();
    proxy.cut();
    assert!(!next_connection(&mut events).await);
    for topic in ["c", "a", "b/x"] {
        link.publish(Message::new(topic, topic)).await.unwrap();
    }
    for topic in ["a", "b/x"] {
        assert_eq!(next_message(&mut events).await.topic, topic);
    }
}

async fn takeovers_under_load_lose_nothing(broker: &Broker) {
    const COUNT: usize = 1500;
    const TAKEOVERS: usize = 40;
    leave_session(broker, "program").await;
    let (sender, _events, _) = connected(LinkOptions::new(broker.url(), "sender")).await;
    let publishing = tokio::spawn(async move {
        publish_numbers(&sender, 0..COUNT).await;
        sender.flushed().await.unwrap();
    });
    let options = || LinkOptions {
        on_takeover: OnTakeover::Stop,
        ..kept(broker.url(), "program")
    };
    let mut seen = Vec::new();
    let (mut link, mut events, _) = connected(options()).await;
    for takeover in 1..=TAKEOVERS {
        take_numbers(&link, &mut events, takeover * COUNT / TAKEOVERS - 1, &mut seen).await;
        if takeover < TAKEOVERS {
            let (next, next_events, present) = connected(options()).await;
            assert!(present);
            // What the old connection still brings is not acknowledged, and so comes again.
            drop(std::mem::replace(&mut link, next));
            events = next_events;
        }
    }
    assert_eq!(seen, (0..COUNT).collect::<Vec<_>>());
    publishing.await.unwrap();
}

async fn link_that_stops_on_takeover_ends(broker: &Broker) {
    let options = || LinkOptions {
        on_takeover: OnTakeover::Stop,
        ..kept(broker.url(), "program")
    };
    let (old, mut old_events, _) = connected(options()).await;
    let (new, mut new_events, present) = connected(options()).await;
    assert!(present);
    let event = soon("the takeover", old_events.next()).await;
    assert!(
        matches!(
            event,
            Some(Event::Disconnected {
                closed_by_broker: true,
                ..
            })
        ),
        "{event:?}"
    );
    assert_eq!(soon("the end", old_events.next()).await, None);
    assert_eq!(old.publish(Message::new("t", "")).await, Err(LinkError::Closed));
    assert_eq!(
        soon("a refusal", old.subscribe("x", Qos::AtMostOnce)).await,
        Err(LinkError::Closed)
    );
    assert_eq!(soon("a refusal", old.flushed()).await, Err(LinkError::Closed));
    assert!(soon("the close", old.close()).await.is_empty());
    new.publish_acknowledged(Message::new("elsewhere", ""))
        .await
        .unwrap();
    assert_eq!(new_events.try_next(), None, "the new one must not be thrown out");
}

async fn takeover_war_dies_down(broker: &Broker) {
    let (_a, mut a_events) = connect(kept(broker.url(), "program")).unwrap();
    let (_b, mut b_events) = connect(kept(broker.url(), "program")).unwrap();
    let mut connections = 0;
    let until = tokio::time::Instant::now() + Duration::from_secs(3);
    loop {
        let event = tokio::select! {
            event = a_events.next() => event,
            event = b_events.next() => event,
            () = tokio::time::sleep_until(until) => break,
        };
        connections += usize::from(matches!(event, Some(Event::Connected { .. })));
    }
    // At once and without end it would be thousands.
    assert!(
        (3..=16).contains(&connections),
        "{connections} connections in three seconds"
    );
}

async fn thousands_of_queued_messages_arrive_without_a_pause(broker: &Broker) {
    const QUEUED: usize = 3000;
    const LIVE: usize = 500;
    leave_session(broker, "program").await;
    let (sender, _events, _) = connected(LinkOptions::new(broker.url(), "sender")).await;
    publish_numbers(&sender, 0..QUEUED).await;
    sender.flushed().await.unwrap();
    let (link, mut events, _) = connected(kept(broker.url(), "program")).await;
    let live = tokio::spawn(async move { publish_numbers(&sender, QUEUED..QUEUED + LIVE).await });
    for at in 0..QUEUED + LIVE {
        // Well below the ten seconds after which a broker that had paused the session looks again.
        let incoming = tokio::time::timeout(Duration::from_secs(5), next_message(&mut events)).await;
        let incoming = incoming.unwrap_or_else(|_| panic!("paused before message {at}"));
        assert_eq!(number(&incoming), at);
        link.acknowledge(incoming.token);
    }
    live.await.unwrap();
}

async fn closing_returns_what_was_not_acknowledged(broker: &Broker) {
    let proxy = Proxy::to(&broker.url()).await;
    let options = LinkOptions {
        acknowledge: Acknowledge::Automatic,
        ..LinkOptions::kept(proxy.url(), "program")
    };
    let (link, mut events, _) = connected(options).await;
    drop(proxy);
    soon("the end of the connection", async {
        while !matches!(events.next().await, Some(Event::Disconnected { .. })) {}
    })
    .await;
    let messages: Vec<_> = (0..3).map(|at| Message::new("t", at.to_string())).collect();
    for message in &messages {
        link.publish(message.clone()).await.unwrap();
    }
    let waiting = link.clone();
    let waiting = tokio::spawn(async move { waiting.publish_acknowledged(Message::new("t", "3")).await });
    tokio::task::yield_now().await;
    let mut left = soon("the close", link.close_within(Duration::from_millis(200))).await;
    // The last one may have come too late to get in at all.
    left.truncate(3);
    assert_eq!(left, messages);
    assert_eq!(waiting.await.unwrap(), Err(LinkError::Closed));
}
