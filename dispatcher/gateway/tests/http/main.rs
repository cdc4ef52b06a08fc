//! The gateway over a broker without engines, by bytes: who is let in, what is refused, and how the stream
//! begins.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod messages;
mod opened;
mod secure;

use opened::{Opened, WAIT_MAX, options, status};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;
use wayfare_gateway::{Allowed, Gateway, GatewayError};
use wayfare_link::{BrokerUrl, LinkOptions, Message};
use wayfare_protocol::ids::BootId;
use wayfare_protocol::status::{EngineState, EngineStatus};
use wayfare_protocol::topics::{Topic, Topics};
use wayfare_protocol::wire;

#[tokio::test(flavor = "multi_thread")]
async fn only_who_has_the_token_is_answered_and_mistakes_are_told() {
    let opened = Opened::new(Allowed::Everything).await;
    let text = opened.raw("GET /api/v1/engines", "", "").await;
    assert_eq!(status(&text), 401, "{text}");
    assert!(
        text.contains("content-security-policy: default-src 'self'"),
        "{text}"
    );
    let rebound = format!(
        "Host: evil.example\r\nAuthorization: Bearer {}\r\n",
        opened.token()
    );
    assert_eq!(
        status(&opened.raw("GET /api/v1/engines", &rebound, "").await),
        403
    );
    let foreign = format!(
        "Origin: http://evil.example\r\nAuthorization: Bearer {}\r\n",
        opened.token()
    );
    assert_eq!(
        status(&opened.raw("POST /api/v1/release", &foreign, "").await),
        403
    );
    // The address that is printed, once: then there is a cookie.
    let text = opened
        .raw(&format!("GET /?token={}", opened.token()), "", "")
        .await;
    assert_eq!(status(&text), 303);
    let cookie = text
        .lines()
        .find_map(|line| line.strip_prefix("set-cookie: "))
        .unwrap();
    assert!(cookie.contains("HttpOnly; SameSite=Strict"), "{cookie}");
    let head = format!("Cookie: {}\r\n", cookie.split(';').next().unwrap());
    assert_eq!(status(&opened.raw("GET /api/v1/engines", &head, "").await), 200);
    assert_eq!(
        opened.ask("GET /api/v1/engines", "").await,
        (200, Value::Array(Vec::new()))
    );
    for (line, body, expected, error) in [
        ("GET /api/v1/engines?where=nam+%3D+a", "", 400, "bad-usage"),
        ("GET /api/v1/engines?colour=red", "", 400, "bad-usage"),
        ("GET /api/v1/programs?limit=few", "", 400, "bad-usage"),
        ("GET /api/v1/programs/p", "", 404, "no-program"),
        (
            "POST /api/v1/programs/p/move",
            "{\"to\":\"a\"}",
            404,
            "no-program",
        ),
        ("POST /api/v1/programs/p/move", "{\"to\":{}}", 400, "bad-usage"),
        ("POST /api/v1/programs/p/move", "[", 400, "bad-usage"),
        ("POST /api/v1/programs/p/move", "", 400, "bad-usage"),
        (
            "POST /api/v1/programs/p/pause?coalesce=&supersede=",
            "",
            400,
            "bad-usage",
        ),
        (
            "POST /api/v1/programs/p/pause?coalesce=a%2Fb",
            "",
            400,
            "bad-usage",
        ),
        (
            "POST /api/v1/programs/p/pause?expires=often",
            "",
            400,
            "bad-usage",
        ),
        ("POST /api/v1/programs", "", 400, "bad-usage"),
        ("POST /api/v1/programs", "no module", 400, "not-wasm"),
        ("POST /api/v1/programs?sample=nosuch", "", 404, "no-module"),
        ("POST /api/v1/programs?sample=primes", "", 409, "no-place"),
        ("GET /api/v1/apps?timeout=100ms", "", 504, "no-answer"),
        ("GET /api/v1/messages?filter=a/%23/b", "", 400, "bad-usage"),
        ("GET /api/v1/messages", "", 400, "bad-usage"),
        ("GET /api/v1/services/calc", "", 404, "not-found"),
        ("GET /api/v1/services/a+b", "", 400, "bad-usage"),
        ("POST /api/v1/messages?topic=a/%2B", "", 400, "bad-usage"),
        (
            "POST /api/v1/messages?topic=wayfare/v1/engine/a/command",
            "",
            409,
            "refused",
        ),
        (
            "POST /api/v1/call?address=calc&function=add",
            "",
            400,
            "bad-usage",
        ),
        (
            "POST /api/v1/call?address=service/calc&function=add",
            "[1,",
            400,
            "bad-usage",
        ),
        (
            "POST /api/v1/call?address=service/calc&function=add",
            "[1, 2]",
            404,
            "not-found",
        ),
        ("POST /api/v1/send?address=app/shop", "hello", 404, "not-found"),
        ("GET /api/v1/engines/a/devices", "", 404, "no-engine"),
        (
            "POST /api/v1/engines/a/devices/led",
            "{\"value\":\"on\"}",
            404,
            "no-engine",
        ),
        ("GET /nothing", "", 404, "not-found"),
        ("PUT /api/v1/engines", "", 405, "not-found"),
    ] {
        let (status, problem) = opened.ask(line, body).await;
        assert_eq!(
            (status, &problem["error"]),
            (expected, &Value::from(error)),
            "{line} {body}: {problem}"
        );
    }
    let (status, document) = opened.ask("GET /api/v1/openapi.json", "").await;
    assert_eq!((status, &document["openapi"]), (200, &Value::from("3.1.0")));
    opened.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_only_shows_takes_no_order_and_nobody_listens_on_other_addresses() {
    let opened = Opened::new(Allowed::Looking).await;
    let (status, problem) = opened.ask("POST /api/v1/programs/p/pause", "").await;
    assert_eq!((status, &problem["error"]), (403, &Value::from("read-only")));
    assert_eq!(opened.ask("GET /api/v1/programs", "").await.0, 200);
    let data = tempfile::tempdir().unwrap();
    let refused = Gateway::open(
        opened.client.clone(),
        options("0.0.0.0:0", data.path(), Allowed::Looking),
    )
    .await;
    assert!(matches!(refused, Err(GatewayError::NotLoopback { .. })));
    opened.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_reads_the_fleet_with_the_token_and_without_a_dispatcher() {
    let opened = Opened::new(Allowed::Looking).await;
    assert_eq!(status(&opened.raw("GET /metrics", "", "").await), 401);
    let boot = BootId::from_random([1; 16]);
    let status_of_a = EngineStatus {
        live_programs: Some(3),
        ..EngineStatus::new("pi-1".parse().unwrap(), boot, EngineState::Online)
    };
    let (link, mut events) = wayfare_link::connect(LinkOptions::new(
        BrokerUrl::from(opened.broker.local_addr()),
        "pi-1".to_owned(),
    ))
    .unwrap();
    let pumped = tokio::spawn(async move { while events.next().await.is_some() {} });
    let topic = Topics::default().topic(&Topic::EngineStatus("pi-1".parse().unwrap()));
    let message = Message::new(topic, wire::encode(&status_of_a)).retained();
    link.publish(message).await.unwrap();
    let head = format!("Authorization: Bearer {}\r\n", opened.token());
    let text = timeout(WAIT_MAX, async {
        loop {
            let text = opened.raw("GET /metrics", &head, "").await;
            if text.contains("pi-1") {
                return text;
            }
        }
    });
    let text = text.await.unwrap();
    assert_eq!(status(&text), 200, "{text}");
    assert!(
        text.contains("content-type: application/openmetrics-text; version=1.0.0"),
        "{text}"
    );
    for line in [
        "# TYPE wayfare_engine_online gauge",
        "wayfare_engine_online{engine=\"pi-1\"} 1.0",
        "wayfare_engine_programs{engine=\"pi-1\"} 3.0",
        "# EOF",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
    link.close().await;
    pumped.await.unwrap();
    opened.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stream_begins_with_all_and_ends_with_the_gateway() {
    let opened = Opened::new(Allowed::Everything).await;
    let mut stream = TcpStream::connect(opened.gateway.address()).await.unwrap();
    let request = format!(
        "GET /api/v1/stream HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\r\n",
        opened.token()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut lines = BufReader::new(stream).lines();
    let data = timeout(WAIT_MAX, async {
        loop {
            let line = lines.next_line().await.unwrap().expect("the stream goes on");
            if let Some(data) = line.strip_prefix("data: ") {
                return serde_json::from_str::<Value>(data).unwrap();
            }
        }
    });
    let data = data.await.unwrap();
    assert_eq!(
        (&data["engines"], &data["more"]),
        (&Value::Array(Vec::new()), &Value::from(false))
    );
    opened.close().await;
    let end = timeout(WAIT_MAX, async {
        while let Ok(Some(_)) = lines.next_line().await {}
    })
    .await;
    assert!(end.is_ok(), "the stream has no end");
}
