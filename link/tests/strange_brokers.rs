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

/// A packet: its first byte, and what stands behind its length.
async fn packet(socket: &mut (impl AsyncReadExt + Unpin)) -> Option<(u8, Vec<u8>)> {
    let first = socket.read_u8().await.ok()?;
    let (mut length, mut shift) = (0, 0);
    loop {
        let byte = socket.read_u8().await.ok()?;
        length |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            break;
        }
    }
    let mut rest = vec![0; length];
    socket.read_exact(&mut rest).await.ok()?;
    Some((first, rest))
}

/// Sends all that is not acknowledged at once, to whoever connects, as Mosquitto 2.0.11 does. Message `n` has
/// the packet id `n`.
async fn broker_without_a_window(listener: TcpListener, count: u16) -> usize {
    let mut waiting: Vec<u16> = (1..=count).collect();
    let mut connections = 0;
    while !waiting.is_empty() {
        let (socket, _) = listener.accept().await.unwrap();
        connections += 1;
        let (reader, mut writer) = socket.into_split();
        let mut reader = tokio::io::BufReader::new(reader);
        packet(&mut reader).await.unwrap();
        let mut flood = vec![0x20, 2, 1, 0];
        for number in &waiting {
            flood.extend([0x32, 7, 0, 1, b't']);
            flood.extend(number.to_be_bytes());
            flood.extend(number.to_be_bytes());
        }
        writer.write_all(&flood).await.unwrap();
        while let Some((first, rest)) = packet(&mut reader).await {
            match first >> 4 {
                3 => {
                    // It answers a publish behind the flood.
                    let topic_bytes = usize::from(u16::from_be_bytes([rest[0], rest[1]]));
                    let id = &rest[2 + topic_bytes..][..2];
                    writer.write_all(&[0x40, 2, id[0], id[1]]).await.unwrap();
                }
                4 => {
                    let acknowledged = u16::from_be_bytes([rest[0], rest[1]]);
                    assert_eq!(waiting.first(), Some(&acknowledged), "in the order of receipt");
                    waiting.remove(0);
                }
                14 => break,
                _ => {}
            }
            if waiting.is_empty() {
                break;
            }
        }
    }
    connections
}

/// More than there is room for, and a receiver that takes a message only when the broker has answered one of
/// its own.
#[tokio::test]
async fn a_flood_is_taken_once_and_in_order_and_does_not_hold_up_what_is_published() {
    const COUNT: u16 = 40_000;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let broker = tokio::spawn(broker_without_a_window(listener, COUNT));
    let (link, mut events) = connect(LinkOptions::kept(address.into(), "id")).unwrap();
    let mut expected = 1;
    while expected <= COUNT {
        let event = soon("the next message", events.next()).await.unwrap();
        let Event::Received(message) = event else { continue };
        assert_eq!(message.payload[..], expected.to_be_bytes());
        if expected % 10_000 == 0 {
            let answer = Message::new("a", "");
            soon("an answer", link.publish_acknowledged(answer))
                .await
                .unwrap();
        }
        link.acknowledge(message.token);
        expected += 1;
    }
    let connections = soon("the last acknowledgement", broker).await.unwrap();
    // While the receiver takes what has come, no more is read; while it waits for an answer, as much as there
    // is room for.
    assert!(
        (2..=3).contains(&connections),
        "each of {connections} has what there is room for"
    );
    link.close_within(Duration::ZERO).await;
}

/// Sends all of it at once to whoever connects, as it does with what is retained. Returns how many
/// connections that took, when the last message is acknowledged on one of them.
async fn broker_of_retained_messages(listener: TcpListener, count: u16) -> usize {
    for connections in 1.. {
        let (socket, _) = listener.accept().await.unwrap();
        let (reader, mut writer) = socket.into_split();
        let mut reader = tokio::io::BufReader::new(reader);
        packet(&mut reader).await.unwrap();
        let mut flood = vec![0x20, 2, 0, 0];
        for number in 1..=count {
            flood.extend(publish(number, &number.to_be_bytes()));
        }
        let sending = tokio::spawn(async move {
            // The receiver may hang up in the middle.
            let _ = writer.write_all(&flood).await;
            writer
        });
        while let Some((first, rest)) = packet(&mut reader).await {
            match first >> 4 {
                4 if rest == count.to_be_bytes() => return connections,
                14 => break,
                _ => {}
            }
        }
        sending.await.unwrap();
    }
    unreachable!("it returns")
}

/// What is retained is more than there is room for, and would be on every further connection.
#[tokio::test]
async fn a_clean_session_takes_more_than_its_room_on_one_connection() {
    const COUNT: u16 = 60_000;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let broker = tokio::spawn(broker_of_retained_messages(listener, COUNT));
    let (link, mut events) = connect(LinkOptions::new(address.into(), "id")).unwrap();
    let mut expected = 1;
    while expected <= COUNT {
        let event = soon("the next message", events.next()).await.unwrap();
        let Event::Received(message) = event else { continue };
        assert_eq!(message.payload[..], expected.to_be_bytes());
        expected += 1;
        // Slower than what is read: the link's task has its turn, with all that has come, between any two
        // messages.
        tokio::task::yield_now().await;
    }
    assert_eq!(soon("the last acknowledgement", broker).await.unwrap(), 1);
    link.close_within(Duration::ZERO).await;
}

/// Sends a message where it should answer a ping, `count` times. Returns how many connections that took.
async fn broker_without_answers_to_pings(listener: TcpListener, count: u16) -> usize {
    let (mut sent, mut connections) = (0, 0);
    while sent < count {
        let (mut socket, _) = listener.accept().await.unwrap();
        connections += 1;
        packet(&mut socket).await.unwrap();
        socket.write_all(&[0x20, 2, 0, 0]).await.unwrap();
        while let Some((first, _)) = packet(&mut socket).await {
            if first >> 4 == 12 {
                sent += 1;
                socket.write_all(&publish(sent, b"")).await.unwrap();
            }
            if sent == count {
                break;
            }
        }
    }
    connections
}

#[tokio::test]
async fn a_broker_whose_messages_come_is_not_taken_for_gone() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let options = LinkOptions {
        keep_alive: Duration::from_secs(1),
        ..LinkOptions::new(listener.local_addr().unwrap().into(), "id")
    };
    let broker = tokio::spawn(broker_without_answers_to_pings(listener, 3));
    let (link, _events) = connect(options).unwrap();
    assert_eq!(soon("three pings", broker).await.unwrap(), 1);
    link.close_within(Duration::ZERO).await;
}

/// Queues `before`, a message of `bytes` and `after` for a kept session, as often as it is resumed; queues
/// nothing once it was given up. Returns the flags of all connections that were made, when nothing is queued
/// any more.
async fn broker_with_an_oversized_message(listener: TcpListener, bytes: usize) -> Vec<bool> {
    let large = vec![b'x'; bytes];
    let mut waiting: Vec<(u16, &[u8])> = vec![(1, b"before"), (2, &large), (3, b"after")];
    let mut cleaned = Vec::new();
    while !waiting.is_empty() {
        let (socket, _) = listener.accept().await.unwrap();
        let (reader, mut writer) = socket.into_split();
        let mut reader = tokio::io::BufReader::new(reader);
        let (_, connect) = packet(&mut reader).await.unwrap();
        let is_clean = connect[7] & 2 != 0;
        cleaned.push(is_clean);
        if is_clean {
            waiting.clear();
        }
        writer
            .write_all(&[0x20, 2, u8::from(!is_clean), 0])
            .await
            .unwrap();
        let queued = waiting.clone();
        let sending = async move {
            for (id, payload) in queued {
                // The receiver may hang up in the middle.
                if writer.write_all(&publish(id, payload)).await.is_err() {
                    break;
                }
            }
            writer
        };
        let answers = async {
            let mut acknowledged = Vec::new();
            while let Some((first, rest)) = packet(&mut reader).await {
                if first >> 4 == 4 {
                    acknowledged.push(u16::from_be_bytes([rest[0], rest[1]]));
                }
                if first >> 4 == 14 || acknowledged.len() == waiting.len() {
                    break;
                }
            }
            acknowledged
        };
        let (_writer, acknowledged) = tokio::join!(sending, answers);
        waiting.retain(|(id, _)| !acknowledged.contains(id));
    }
    cleaned
}

fn publish(id: u16, payload: &[u8]) -> Vec<u8> {
    let mut length = 5 + payload.len();
    let mut packet = vec![0x32];
    while length >= 0x80 {
        packet.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
        length >>= 7;
    }
    packet.push(u8::try_from(length).unwrap());
    packet.extend([0, 1, b't']);
    packet.extend(id.to_be_bytes());
    packet.extend(payload);
    packet
}

/// The payloads that came, an oversized one as its size, until the broker has nothing more.
async fn received_beside_an_oversized_message(bytes: usize, skipped_max: usize) -> (Vec<String>, Vec<bool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let options = LinkOptions {
        skipped_packet_bytes_max: skipped_max,
        ..LinkOptions::kept(listener.local_addr().unwrap().into(), "id")
    };
    let mut broker = tokio::spawn(broker_with_an_oversized_message(listener, bytes));
    let (link, mut events) = connect(options).unwrap();
    let mut came = Vec::new();
    let receiving = async {
        loop {
            tokio::select! {
                cleaned = &mut broker => return cleaned.unwrap(),
                event = events.next() => match event.expect("the link is open") {
                    Event::Received(message) => {
                        came.push(String::from_utf8(message.payload.to_vec()).unwrap());
                        link.acknowledge(message.token);
                    }
                    Event::Oversized(message) => {
                        came.push(message.bytes.to_string());
                        link.acknowledge(message.token);
                    }
                    Event::Connected { .. } | Event::Disconnected { .. } => {}
                },
            }
        }
    };
    let cleaned = soon("the last acknowledgement", receiving).await;
    link.close_within(Duration::ZERO).await;
    came.dedup();
    (came, cleaned)
}

#[tokio::test]
async fn an_oversized_message_in_a_kept_session_is_reported_acknowledged_and_passed() {
    const MIB: usize = 1024 * 1024;
    // One that every connection reads, and one for which another connection is made.
    for (bytes, connections) in [(2 * MIB, 1), (20_000_000, 2)] {
        let (came, cleaned) = received_beside_an_oversized_message(bytes, 64 * MIB).await;
        assert_eq!(came, ["before", &bytes.to_string(), "after"]);
        assert!(cleaned.len() <= connections, "{cleaned:?}");
        assert!(!cleaned.contains(&true), "the session is kept");
    }
}

#[tokio::test]
async fn a_session_with_a_message_larger_than_memory_allows_is_given_up_once() {
    let (came, cleaned) = received_beside_an_oversized_message(20_000_000, 17_000_000).await;
    assert_eq!(came, ["before"]);
    assert_eq!(cleaned, [false, true], "the second connection ends the session");
}
