//! What a session promises while its connection stands, on both brokers.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use common::{Broker, connected, next_message, number, soon};
use rumqttc::{AsyncClient, MqttOptions, QoS};
use wayfare_link::{
    Event, INCOMING_PAYLOAD_BYTES_MAX, Incoming, Link, LinkError, LinkOptions, Message, Qos, connect,
};
use wayfare_protocol::limits::PAYLOAD_BYTES_MAX;

on_both_brokers!(
    published_messages_arrive_in_order,
    oversize_payload_is_refused_here_and_harms_nothing,
    oversize_message_of_others_is_dropped_and_does_not_block_the_session,
    more_than_a_hundred_retained_messages_arrive,
    will_is_published_on_a_crash_and_not_on_close,
    receiver_that_publishes_does_not_deadlock,
    slow_receiver_keeps_its_connection_and_can_publish,
    refused_names_never_reach_the_broker,
    unsubscribed_filter_is_silent,
    closed_link_refuses,
    dropped_link_still_sends_what_it_was_given,
);

async fn published_messages_arrive_in_order(broker: &Broker) {
    let (receiver, mut events, _) = connected(LinkOptions::new(broker.url(), "receiver")).await;
    receiver.subscribe("t/#", Qos::AtLeastOnce).await.unwrap();
    let (sender, _events, _) = connected(LinkOptions::new(broker.url(), "sender")).await;
    for at in 0..500 {
        sender.publish(Message::new("t/x", at.to_string())).await.unwrap();
    }
    for at in 0..500 {
        let incoming = next_message(&mut events).await;
        assert_eq!((number(&incoming), incoming.topic.as_str()), (at, "t/x"));
    }
    soon("the outbox to empty", sender.flushed()).await.unwrap();
    assert!(sender.close().await.is_empty());
    assert!(receiver.close().await.is_empty());
    assert_eq!(soon("the end", events.next()).await, None);
}

async fn oversize_payload_is_refused_here_and_harms_nothing(broker: &Broker) {
    let (link, mut events, _) = connected(LinkOptions::new(broker.url(), "both")).await;
    link.subscribe("t", Qos::AtLeastOnce).await.unwrap();
    let oversize = || Message::new("t", vec![1; PAYLOAD_BYTES_MAX + 1]);
    let refused = LinkError::PayloadTooLarge {
        bytes: PAYLOAD_BYTES_MAX + 1,
        topic: "t".into(),
    };
    assert_eq!(link.publish(oversize()).await, Err(refused.clone()));
    assert_eq!(link.try_publish(oversize()), Err(refused.clone()));
    assert_eq!(link.publish_acknowledged(oversize()).await, Err(refused));
    link.publish_acknowledged(Message::new("t", vec![2; PAYLOAD_BYTES_MAX]))
        .await
        .unwrap();
    assert_eq!(next_message(&mut events).await.payload.len(), PAYLOAD_BYTES_MAX);
    assert_eq!(events.try_next(), None, "the connection must still stand");
}

async fn oversize_message_of_others_is_dropped_and_does_not_block_the_session(broker: &Broker) {
    let (link, mut events, _) = connected(LinkOptions::kept(broker.url(), "receiver")).await;
    // Granted before anybody publishes: being connected alone does not promise that.
    link.subscribe("t", Qos::AtLeastOnce).await.unwrap();
    let mut options = MqttOptions::new("foreign", broker.url().host(), broker.url().port());
    options.set_max_packet_size(4 << 20, 4 << 20);
    let (foreign, mut event_loop) = AsyncClient::new(options, 10);
    // Above rumqttc's own default, above what a link publishes, and above what a link takes.
    for bytes in [
        11 * 1024,
        PAYLOAD_BYTES_MAX * 2,
        INCOMING_PAYLOAD_BYTES_MAX + 1,
        3,
    ] {
        foreign
            .publish("t", QoS::AtLeastOnce, false, vec![7; bytes])
            .await
            .unwrap();
    }
    let publishing = tokio::spawn(async move { while event_loop.poll().await.is_ok() {} });
    for bytes in [11 * 1024, PAYLOAD_BYTES_MAX * 2, 3] {
        assert_eq!(next_message(&mut events).await.payload.len(), bytes);
    }
    assert_eq!(events.try_next(), None, "the connection must still stand");
    publishing.abort();
}

async fn more_than_a_hundred_retained_messages_arrive(broker: &Broker) {
    const COUNT: usize = 250;
    let (sender, _events, _) = connected(LinkOptions::new(broker.url(), "sender")).await;
    for at in 0..COUNT {
        sender
            .publish(Message::new(format!("status/{at}"), at.to_string()).retained())
            .await
            .unwrap();
    }
    sender.flushed().await.unwrap();
    let (receiver, mut events, _) = connected(LinkOptions::new(broker.url(), "receiver")).await;
    receiver.subscribe("status/+", Qos::AtLeastOnce).await.unwrap();
    let mut seen = std::collections::BTreeSet::new();
    while seen.len() < COUNT {
        let incoming = next_message(&mut events).await;
        assert!(incoming.retain);
        assert_eq!(incoming.topic, format!("status/{}", number(&incoming)));
        seen.insert(number(&incoming));
    }
}

async fn will_is_published_on_a_crash_and_not_on_close(broker: &Broker) {
    let (watcher, mut events, _) = connected(LinkOptions::new(broker.url(), "watcher")).await;
    watcher.subscribe("will/#", Qos::AtLeastOnce).await.unwrap();
    let with_will = |name: &str| LinkOptions {
        will: Some(Message::new(format!("will/{name}"), "offline").retained()),
        ..LinkOptions::new(broker.url(), name)
    };
    let (closed, _closed_events, _) = connected(with_will("closed")).await;
    closed.close().await;
    let (crashed, _crashed_events, _) = connected(with_will("crashed")).await;
    drop(crashed);
    let will = next_message(&mut events).await;
    assert_eq!(
        (will.topic.as_str(), &will.payload[..]),
        ("will/crashed", &b"offline"[..])
    );
    assert_eq!(events.try_next(), None);
    // And it was retained for those who come later.
    let (late, mut late_events, _) = connected(LinkOptions::new(broker.url(), "late")).await;
    late.subscribe("will/#", Qos::AtLeastOnce).await.unwrap();
    let will = next_message(&mut late_events).await;
    assert_eq!((will.topic.as_str(), will.retain), ("will/crashed", true));
}

async fn receiver_that_publishes_does_not_deadlock(broker: &Broker) {
    const COUNT: usize = 2000;
    let small_outbox = |name: &str| LinkOptions {
        outbox_bytes_max: 130 * 1024,
        subscriptions: vec![(format!("to/{name}"), Qos::AtLeastOnce)],
        ..LinkOptions::new(broker.url(), name)
    };
    let (echo, mut echo_events, _) = connected(small_outbox("echo")).await;
    let (asker, mut asker_events, _) = connected(small_outbox("asker")).await;
    // Makes sure of the subscriptions before the flood.
    echo.subscribe("to/echo", Qos::AtLeastOnce).await.unwrap();
    asker.subscribe("to/asker", Qos::AtLeastOnce).await.unwrap();
    let echoing = tokio::spawn(async move {
        for _ in 0..COUNT {
            let asked = next_message(&mut echo_events).await;
            echo.publish(Message::new("to/asker", asked.payload))
                .await
                .unwrap();
        }
        echo
    });
    let asking = asker.clone();
    let flood = tokio::spawn(async move {
        for at in 0..COUNT {
            asking
                .publish(Message::new("to/echo", at.to_string()))
                .await
                .unwrap();
        }
    });
    for at in 0..COUNT {
        assert_eq!(number(&next_message(&mut asker_events).await), at);
    }
    flood.await.unwrap();
    assert!(echoing.await.unwrap().close().await.is_empty());
}

async fn slow_receiver_keeps_its_connection_and_can_publish(broker: &Broker) {
    const KEEP_ALIVE: Duration = Duration::from_secs(1);
    let options = LinkOptions {
        keep_alive: KEEP_ALIVE,
        ..LinkOptions::new(broker.url(), "slow")
    };
    let (slow, mut events, _) = connected(options).await;
    slow.subscribe("flood/#", Qos::AtLeastOnce).await.unwrap();
    let (sender, _events, _) = connected(LinkOptions::new(broker.url(), "sender")).await;
    let flooding = tokio::spawn(flood(sender.clone(), KEEP_ALIVE * 4));
    // The receiver takes nothing for four keep-alive times, in which the broker would have hung up twice.
    let until = tokio::time::Instant::now() + KEEP_ALIVE * 4;
    while tokio::time::Instant::now() < until {
        soon(
            "an acknowledgement",
            slow.publish_acknowledged(Message::new("elsewhere", "x")),
        )
        .await
        .unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let sent = flooding.await.unwrap();
    assert!(sent > 1000, "only {sent} messages were sent, which is no flood");
    sender.publish(Message::new("flood/end", "end")).await.unwrap();
    let mut received = 0;
    loop {
        match soon("the end of the flood", events.next()).await {
            Some(Event::Received(Incoming { topic, .. })) if topic == "flood/end" => break,
            Some(Event::Received(_)) => received += 1,
            other => panic!("the connection must stand, but there was {other:?}"),
        }
    }
    assert!(received > 1000, "only {received} of {sent} messages arrived");
}

/// As many messages at most once as the outbox takes, for a time.
async fn flood(sender: Link, time: Duration) -> usize {
    let until = tokio::time::Instant::now() + time;
    let mut sent = 0;
    while tokio::time::Instant::now() < until {
        sender
            .publish(Message::new("flood/x", vec![0; 1000]).at_most_once())
            .await
            .unwrap();
        sent += 1;
    }
    sent
}

async fn refused_names_never_reach_the_broker(broker: &Broker) {
    let (link, mut events, _) = connected(LinkOptions::new(broker.url(), "both")).await;
    for topic in ["", "a/+", "a/#", "a\0b"] {
        assert!(
            matches!(
                link.publish(Message::new(topic, "")).await,
                Err(LinkError::BadTopic(_))
            ),
            "{topic:?}"
        );
    }
    for filter in ["", "a/#/b", "a+"] {
        let refused = link.subscribe(filter, Qos::AtMostOnce).await;
        assert!(matches!(refused, Err(LinkError::BadTopic(_))), "{filter:?}");
    }
    link.publish_acknowledged(Message::new("good", "")).await.unwrap();
    assert_eq!(events.try_next(), None, "the connection must still stand");
}

async fn unsubscribed_filter_is_silent(broker: &Broker) {
    let (link, mut events, _) = connected(LinkOptions::new(broker.url(), "both")).await;
    link.subscribe("a", Qos::AtLeastOnce).await.unwrap();
    link.subscribe("b", Qos::AtLeastOnce).await.unwrap();
    link.unsubscribe("a").await.unwrap();
    for topic in ["a", "b"] {
        link.publish(Message::new(topic, topic)).await.unwrap();
    }
    assert_eq!(next_message(&mut events).await.topic, "b");
}

async fn closed_link_refuses(broker: &Broker) {
    let (link, _events, _) = connected(LinkOptions::new(broker.url(), "both")).await;
    let clone = link.clone();
    link.close().await;
    assert_eq!(clone.publish(Message::new("t", "")).await, Err(LinkError::Closed));
    assert_eq!(clone.try_publish(Message::new("t", "")), Err(LinkError::Closed));
    assert_eq!(
        clone.publish_acknowledged(Message::new("t", "")).await,
        Err(LinkError::Closed)
    );
    assert_eq!(
        clone.subscribe("t", Qos::AtMostOnce).await,
        Err(LinkError::Closed)
    );
    assert_eq!(clone.flushed().await, Err(LinkError::Closed));
    assert!(clone.close().await.is_empty());
}

async fn dropped_link_still_sends_what_it_was_given(broker: &Broker) {
    let (receiver, mut events, _) = connected(LinkOptions::new(broker.url(), "receiver")).await;
    receiver.subscribe("t", Qos::AtLeastOnce).await.unwrap();
    let (dropped, _events) = connect(LinkOptions::new(broker.url(), "dropped")).unwrap();
    for at in 0..200 {
        dropped.publish(Message::new("t", at.to_string())).await.unwrap();
    }
    drop(dropped);
    for at in 0..200 {
        assert_eq!(number(&next_message(&mut events).await), at);
    }
}

#[test]
fn impossible_options_are_refused() {
    let options = || LinkOptions::new("mqtt://localhost".parse().unwrap(), "id");
    let bad = [
        LinkOptions {
            client_id: String::new(),
            ..options()
        },
        LinkOptions {
            keep_alive: Duration::from_millis(999),
            ..options()
        },
        LinkOptions {
            keep_alive: Duration::from_secs(70_000),
            ..options()
        },
        LinkOptions {
            outbox_bytes_max: 1000,
            ..options()
        },
        LinkOptions {
            outbox_bytes_max: usize::MAX,
            ..options()
        },
        LinkOptions {
            will: Some(Message::new("a/+", "")),
            ..options()
        },
        LinkOptions {
            subscriptions: vec![("a/#/b".into(), Qos::AtMostOnce)],
            ..options()
        },
    ];
    for options in bad {
        let text = format!("{options:?}");
        assert!(connect(options).is_err(), "{text}");
    }
}
