//! What survives a broker that dies and comes back, and one that never was there.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use common::{Broker, connected, next_connection, next_message, number, soon};
use wayfare_link::mosquitto::Persistence;
use wayfare_link::{
    BrokerOptions, BrokerUrl, EmbeddedBroker, Event, LinkError, LinkEvents, LinkOptions, Message, Qos,
    connect,
};

fn kept(broker: BrokerUrl, client_id: &str) -> LinkOptions {
    LinkOptions {
        subscriptions: vec![("t".into(), Qos::AtLeastOnce)],
        ..LinkOptions::kept(broker, client_id)
    }
}

async fn next_disconnection(events: &mut LinkEvents) -> String {
    soon("the end of the connection", async {
        loop {
            if let Event::Disconnected { reason, .. } = events.next().await.expect("the link is open") {
                return reason;
            }
        }
    })
    .await
}

/// Nothing that the broker acknowledged is lost, and nothing that waits here while it is away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_mosquitto_comes_back_with_everything() {
    let Some(mut broker) = Broker::mosquitto_with(Persistence::Folder) else {
        return;
    };
    let url = BrokerUrl::from(broker.local_addr());
    let (receiver, mut events, _) = connected(kept(url.clone(), "program")).await;
    receiver.subscribe("t", Qos::AtLeastOnce).await.unwrap();
    receiver.close().await;
    let (sender, mut sender_events, _) = connected(LinkOptions::kept(url.clone(), "sender")).await;
    for at in 0..100 {
        sender.publish(Message::new("t", at.to_string())).await.unwrap();
    }
    soon("the outbox to empty", sender.flushed()).await.unwrap();
    sender
        .publish_acknowledged(Message::new("marker", "the last one stored").retained())
        .await
        .unwrap();
    // Mosquitto acknowledges before it stores; a kill in between is its own loss.
    broker.store().unwrap();
    soon("mosquitto to store", async {
        while !broker.has_stored(b"the last one stored") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    broker.kill();
    next_disconnection(&mut sender_events).await;
    for at in 100..200 {
        sender.publish(Message::new("t", at.to_string())).await.unwrap();
    }
    broker.restart().unwrap();
    soon("the outbox to empty", sender.flushed()).await.unwrap();
    assert_eq!(events.next().await, None);
    let (receiver, mut events, present) = connected(kept(url, "program")).await;
    assert!(present, "the session must have survived");
    for at in 0..200 {
        let incoming = next_message(&mut events).await;
        assert_eq!(number(&incoming), at);
        receiver.acknowledge(incoming.token);
    }
}

/// Stopped in the middle of a stream, with the receiver connected.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mosquitto_stopped_in_mid_stream_loses_nothing() {
    const COUNT: usize = 4000;
    let Some(mut broker) = Broker::mosquitto_with(Persistence::Folder) else {
        return;
    };
    let url = BrokerUrl::from(broker.local_addr());
    let (receiver, mut events, _) = connected(kept(url.clone(), "program")).await;
    receiver.subscribe("t", Qos::AtLeastOnce).await.unwrap();
    let (sender, _sender_events, _) = connected(LinkOptions::kept(url, "sender")).await;
    let publishing = tokio::spawn(async move {
        for at in 0..COUNT {
            sender.publish(Message::new("t", at.to_string())).await.unwrap();
        }
        sender.flushed().await.unwrap();
    });
    let mut seen = Vec::new();
    while seen.len() < COUNT {
        let incoming = next_message(&mut events).await;
        receiver.acknowledge(incoming.token);
        if seen.contains(&number(&incoming)) {
            continue;
        }
        seen.push(number(&incoming));
        if seen.len() == COUNT / 4 {
            broker.stop().unwrap();
            next_disconnection(&mut events).await;
            broker.restart().unwrap();
            assert!(
                next_connection(&mut events).await,
                "the session must have survived"
            );
        }
    }
    soon("the sender", publishing).await.unwrap();
    seen.sort_unstable();
    assert_eq!(seen, (0..COUNT).collect::<Vec<_>>());
}

/// The broker forgets the session: subscriptions and unsent messages are the link's own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_session_is_told_and_restored() {
    let Some(mut broker) = Broker::mosquitto_with(Persistence::None) else {
        return;
    };
    let url = BrokerUrl::from(broker.local_addr());
    let (link, mut events, _) = connected(kept(url, "program")).await;
    link.subscribe("more/+", Qos::AtLeastOnce).await.unwrap();
    broker.kill();
    next_disconnection(&mut events).await;
    for at in 0..300 {
        link.publish(Message::new(
            if at % 2 == 0 { "t" } else { "more/x" },
            at.to_string(),
        ))
        .await
        .unwrap();
    }
    broker.restart().unwrap();
    assert!(!next_connection(&mut events).await);
    for at in 0..300 {
        let incoming = next_message(&mut events).await;
        assert_eq!(number(&incoming), at);
        link.acknowledge(incoming.token);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embedded_broker_comes_back_with_what_it_stored() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = BrokerOptions {
        storage: Some(folder.path().join("broker")),
        ..BrokerOptions::loopback()
    };
    let broker = EmbeddedBroker::start(options.clone()).await.unwrap();
    options.bind = broker.local_addr();
    let url = BrokerUrl::from(broker.local_addr());
    let (receiver, _events, _) = connected(kept(url.clone(), "program")).await;
    receiver.subscribe("t", Qos::AtLeastOnce).await.unwrap();
    receiver.close().await;
    let (sender, mut sender_events, _) = connected(LinkOptions::kept(url.clone(), "sender")).await;
    for at in 0..100 {
        sender.publish(Message::new("t", at.to_string())).await.unwrap();
    }
    sender
        .publish(Message::new("status", "kept").retained())
        .await
        .unwrap();
    soon("the outbox to empty", sender.flushed()).await.unwrap();
    broker.shutdown().await.unwrap();
    next_disconnection(&mut sender_events).await;
    sender.publish(Message::new("t", "100")).await.unwrap();

    let broker = EmbeddedBroker::start(options).await.unwrap();
    soon("the outbox to empty", sender.flushed()).await.unwrap();
    let (receiver, mut events, present) = connected(kept(url, "program")).await;
    assert!(present, "the session must have survived");
    for at in 0..=100 {
        let incoming = next_message(&mut events).await;
        assert_eq!(number(&incoming), at);
        receiver.acknowledge(incoming.token);
    }
    receiver.subscribe("status", Qos::AtLeastOnce).await.unwrap();
    assert_eq!(&next_message(&mut events).await.payload[..], b"kept");
    drop((receiver, sender));
    broker.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_outbox_makes_publishers_wait_and_then_empties_in_order() {
    let broker = EmbeddedBroker::start(BrokerOptions::loopback()).await.unwrap();
    let bind = broker.local_addr();
    let url = BrokerUrl::from(bind);
    let options = LinkOptions {
        outbox_bytes_max: 200 * 1024,
        subscriptions: vec![("t".into(), Qos::AtLeastOnce)],
        ..LinkOptions::new(url, "both")
    };
    let (link, mut events, _) = connected(options).await;
    broker.shutdown().await.unwrap();
    next_disconnection(&mut events).await;
    let mut published = 0;
    loop {
        match link.try_publish(Message::new("t", format!("{published:01000}"))) {
            Ok(()) => published += 1,
            Err(LinkError::OutboxFull) => break,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(
        (100..200).contains(&published),
        "{published} messages of 1000 bytes in 200 KiB"
    );
    let waiting = link.clone();
    let last = format!("{published:01000}");
    let mut waiting = tokio::spawn(async move { waiting.publish(Message::new("t", last)).await });
    let waited = tokio::time::timeout(Duration::from_millis(200), &mut waiting).await;
    assert!(waited.is_err(), "a full outbox must make the publisher wait");

    let broker = EmbeddedBroker::start(BrokerOptions { bind, storage: None })
        .await
        .unwrap();
    soon("room in the outbox", waiting).await.unwrap().unwrap();
    for at in 0..=published {
        assert_eq!(number(&next_message(&mut events).await), at);
    }
    drop(link);
    broker.shutdown().await.unwrap();
}

#[tokio::test]
async fn absent_broker_is_told_and_does_not_hold_up_closing() {
    let unused = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let (link, mut events) = connect(LinkOptions::new(unused.into(), "lonely")).unwrap();
    let reason = next_disconnection(&mut events).await;
    assert!(reason.contains("refused"), "{reason}");
    let message = Message::new("t", "unsent");
    link.publish(message.clone()).await.unwrap();
    let left = soon("the close", link.close_within(Duration::from_millis(300))).await;
    assert_eq!(left, [message]);
}

#[tokio::test]
async fn silent_broker_does_not_hold_up_closing() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (link, mut events) =
        connect(LinkOptions::new(listener.local_addr().unwrap().into(), "lonely")).unwrap();
    assert!(soon("the close", link.close()).await.is_empty());
    assert_eq!(
        events.next().await,
        None,
        "the attempt to connect must be cut short, not waited for"
    );
}

#[tokio::test]
async fn taken_port_is_an_error() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let bind = listener.local_addr().unwrap();
    let error = EmbeddedBroker::start(BrokerOptions { bind, storage: None })
        .await
        .unwrap_err();
    assert!(error.to_string().contains(&bind.to_string()), "{error}");
}

#[tokio::test]
async fn an_address_that_is_taken_is_said_in_one_line() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let bind = taken.local_addr().unwrap();
    let options = BrokerOptions {
        bind,
        ..BrokerOptions::loopback()
    };
    let said = EmbeddedBroker::start(options).await.err().unwrap().to_string();
    assert!(said.contains(&format!("cannot listen on {bind}: ")), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}
