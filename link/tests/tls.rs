//! TLS to a real broker: who is believed, and what is said to whoever is not.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{connected, next_message, soon};
use wayfare_link::mosquitto::{AUTHORITY, Door, MosquittoOptions, MosquittoProcess, STRANGER};
use wayfare_link::{BrokerUrl, Event, LinkOptions, Message, Qos, connect};
use wayfare_protocol::limits::PAYLOAD_BYTES_MAX;

fn broker() -> Option<MosquittoProcess> {
    let options = MosquittoOptions {
        door: Door::Tls,
        ..MosquittoOptions::default()
    };
    MosquittoProcess::start(options).unwrap()
}

fn url(scheme: &str, host: &str, broker: &MosquittoProcess) -> BrokerUrl {
    let port = broker.local_addr().port();
    format!("{scheme}://{host}:{port}").parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_cross_and_sessions_are_kept() {
    let Some(mut broker) = broker() else { return };
    for host in ["localhost", "127.0.0.1"] {
        let url = url("mqtts", host, &broker).with_authority(AUTHORITY).unwrap();
        let kept = || LinkOptions::kept(url.clone(), "both");
        let (link, mut events, present) = connected(kept()).await;
        assert!(!present);
        link.subscribe("t", Qos::AtLeastOnce).await.unwrap();
        for size in [1, PAYLOAD_BYTES_MAX] {
            link.publish(Message::new("t", vec![7; size])).await.unwrap();
            let message = next_message(&mut events).await;
            assert_eq!(message.payload.len(), size);
            link.acknowledge(message.token);
        }
        assert!(link.close().await.is_empty());
        let (link, _events, present) = connected(kept()).await;
        assert!(present);
        link.close().await;
        let (link, ..) = connected(LinkOptions::new(url.clone(), "both")).await;
        link.close().await;
    }
    broker.kill();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_cannot_be_believed_is_not_talked_to_and_the_reason_is_said() {
    let Some(mut broker) = broker() else { return };
    let by_stranger = url("mqtts", "localhost", &broker).with_authority(STRANGER);
    for (url, said) in [
        (by_stranger.unwrap(), "--broker-ca"),
        // It hangs up on whoever does not begin with TLS, which the system reports in one way or another.
        (url("mqtt", "localhost", &broker), ""),
    ] {
        let (link, mut events) = connect(LinkOptions::new(url.clone(), "x")).unwrap();
        let event = soon("an end", events.next()).await;
        let Some(Event::Disconnected { reason, .. }) = event else {
            panic!("{url}: {event:?}");
        };
        assert!(reason.contains(said), "{url}: {reason}");
        link.close().await;
    }
    broker.kill();
}
