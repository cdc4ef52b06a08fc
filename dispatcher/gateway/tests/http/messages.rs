//! What is published, as pages hear it.

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use wayfare_client::Retain;
use wayfare_gateway::Allowed;

use super::opened::{Opened, WAIT_MAX, status};

/// So little is on its way to who does not read.
const RECEIVE_BYTES: u32 = 16 * 1024;

struct Listening(Lines<BufReader<TcpStream>>);

impl Listening {
    /// Returns once it is certain that nothing more is missed.
    async fn to(opened: &Opened, filter: &str) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(RECEIVE_BYTES).unwrap();
        let mut stream = socket.connect(opened.gateway.address()).await.unwrap();
        let request = format!(
            "GET /api/v1/messages?filter={filter} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\r\n",
            opened.token()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut listening = Self(BufReader::new(stream).lines());
        let head = listening.line().await.unwrap();
        assert_eq!(status(&head), 200, "{head}");
        listening
    }

    async fn line(&mut self) -> Option<String> {
        let line = timeout(WAIT_MAX, self.0.next_line()).await.unwrap();
        line.unwrap_or_default()
    }

    /// The next event's name and document.
    async fn next(&mut self) -> (String, Value) {
        let mut name = String::new();
        loop {
            let line = self.line().await.expect("the stream goes on");
            if let Some(event) = line.strip_prefix("event: ") {
                name = event.to_owned();
            }
            if let Some(data) = line.strip_prefix("data: ") {
                return (name, serde_json::from_str(data).unwrap());
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_is_heard_by_who_listens_until_the_gateway_ends() {
    let opened = Opened::new(Allowed::Everything).await;
    let kept = opened
        .ask("POST /api/v1/messages?topic=site/kept&retain=true", "[1, 2]")
        .await;
    assert_eq!(kept.0, 200, "{kept:?}");
    let mut listening = Listening::to(&opened, "site/%23").await;
    let (name, first) = listening.next().await;
    assert_eq!((&*name, &first["text"]), ("message", &Value::from("[1, 2]")));
    assert_eq!(first["retained"], true);
    // What is not asked for does not come before what is.
    opened.ask("POST /api/v1/messages?topic=other/a", "no").await;
    opened.ask("POST /api/v1/messages?topic=site/a/b", "21").await;
    let (_, second) = listening.next().await;
    assert_eq!(
        (&second["topic"], &second["text"], &second["retained"]),
        (&"site/a/b".into(), &"21".into(), &false.into())
    );
    // All there is, but for what the fleet says to itself.
    let mut all = Listening::to(&opened, "%23").await;
    assert_eq!(all.next().await.1["topic"], "site/kept");
    let mut ours = Listening::to(&opened, "wayfare/v1/%23").await;
    // The fleet is asked who is there.
    assert_eq!(opened.ask("GET /api/v1/status?timeout=10ms", "").await.0, 200);
    assert_eq!(ours.next().await.1["topic"], "wayfare/v1/engines/report");
    opened.ask("POST /api/v1/messages?topic=last", "").await;
    assert_eq!(all.next().await.1["topic"], "last");
    opened.close().await;
    while listening.line().await.is_some() {}
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_read_misses_the_oldest_and_is_told_how_many() {
    const COUNT: u64 = 240;
    let opened = Opened::new(Allowed::Everything).await;
    let mut listening = Listening::to(&opened, "many/%23").await;
    let payload = vec![b'x'; 100 * 1024];
    for _ in 0..COUNT {
        let published = opened
            .client
            .publish("many/a", payload.clone(), Retain::No, WAIT_MAX);
        published.await.unwrap();
    }
    opened
        .client
        .publish("many/last", "", Retain::No, WAIT_MAX)
        .await
        .unwrap();
    let (mut missed, mut heard) = (0, 0);
    loop {
        let (name, document) = listening.next().await;
        match (&*name, document["topic"].as_str()) {
            ("missed", _) => missed += document["count"].as_u64().unwrap(),
            (_, Some("many/last")) => break,
            _ => heard += 1,
        }
    }
    assert!(missed > 0, "{heard} were kept for who does not read");
    assert_eq!(missed + heard, COUNT);
    opened.close().await;
}
