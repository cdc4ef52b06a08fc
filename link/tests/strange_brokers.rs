//! Brokers that are silent, broken or hostile: the link says so, goes on trying, and never dies of it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use common::soon;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use wayfare_link::{Event, LinkEvents, LinkOptions, Message, connect};

const ACCEPTED: [u8; 4] = [0x20, 2, 0, 0];

/// Reads the CONNECT, answers with these bytes, and then only listens (or hangs up).
async fn strange_broker(answer: Vec<u8>, hang_up: bool) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut buffer = [0; 1024];
                let _ = socket.read(&mut buffer).await;
                let _ = socket.write_all(&answer).await;
                while !hang_up && socket.read(&mut buffer).await.is_ok_and(|bytes| bytes > 0) {}
            });
        }
    });
    (address, serving)
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

#[tokio::test]
async fn dead_connection_is_noticed_by_the_keep_alive() {
    let (address, serving) = strange_broker(ACCEPTED.to_vec(), false).await;
    let options = LinkOptions {
        keep_alive: Duration::from_secs(1),
        ..LinkOptions::new(address.into(), "id")
    };
    let (link, mut events) = connect(options).unwrap();
    let connected = soon("a connection", events.next()).await;
    assert!(
        matches!(connected, Some(Event::Connected { .. })),
        "{connected:?}"
    );
    link.publish(Message::new("t", "unanswered")).await.unwrap();
    let reason = next_disconnection(&mut events).await;
    assert!(reason.contains("keep-alive"), "{reason}");
    assert_eq!(link.close_within(Duration::ZERO).await.len(), 1);
    serving.abort();
}

#[tokio::test]
async fn refusals_are_told_in_words() {
    for (code, words) in [
        (1, "MQTT 3.1.1"),
        (2, "client id"),
        (4, "password"),
        (5, "not authorised"),
    ] {
        let (address, serving) = strange_broker(vec![0x20, 2, 0, code], false).await;
        let (link, mut events) = connect(LinkOptions::new(address.into(), "id")).unwrap();
        let reason = next_disconnection(&mut events).await;
        assert!(reason.contains(words), "{code}: {reason}");
        link.close().await;
        serving.abort();
    }
}

#[tokio::test]
async fn nonsense_ends_the_connection_and_not_the_link() {
    let after_accepting = |bytes: &[u8]| [&ACCEPTED[..], bytes].concat();
    let answers: Vec<Vec<u8>> = vec![
        b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
        vec![],
        vec![0x20, 2, 0, 77],
        vec![0x20, 0xff, 0xff, 0xff, 0xff, 1],
        vec![0xd0, 0],
        after_accepting(&[0; 8]),
        after_accepting(&[0xff; 64]),
        // Acknowledgements of what was never sent.
        after_accepting(&[0x40, 2, 0, 9]),
        after_accepting(&[0x40, 2, 0xff, 0xff]),
        after_accepting(&[0x50, 2, 0, 9]),
        after_accepting(&[0x70, 2, 0, 9]),
        after_accepting(&[0x90, 3, 0, 9, 1]),
        after_accepting(&[0xb0, 2, 0, 9]),
        // Publishes: a topic that is too long for its packet, no topic, not UTF-8, id zero, level three.
        after_accepting(&[0x30, 3, 0, 9, 1]),
        after_accepting(&[0x30, 0]),
        after_accepting(&[0x30, 4, 0, 2, 0xff, 0xfe]),
        after_accepting(&[0x32, 5, 0, 1, b't', 0, 0]),
        after_accepting(&[0x36, 5, 0, 1, b't', 0, 1]),
        // A packet that announces 256 MB.
        after_accepting(&[0x30, 0xff, 0xff, 0xff, 0x7f]),
        after_accepting(&[0x10, 0]),
        after_accepting(&ACCEPTED),
        after_accepting(&[0xe0, 0]),
    ];
    for answer in answers {
        let (address, serving) = strange_broker(answer.clone(), true).await;
        let (link, mut events) = connect(LinkOptions::new(address.into(), "id")).unwrap();
        next_disconnection(&mut events).await;
        // Again, on a connection of its own, and the handle still works.
        next_disconnection(&mut events).await;
        link.publish(Message::new("t", ""))
            .await
            .unwrap_or_else(|error| panic!("{answer:02x?}: {error}"));
        assert_eq!(link.close_within(Duration::ZERO).await.len(), 1, "{answer:02x?}");
        serving.abort();
    }
}
