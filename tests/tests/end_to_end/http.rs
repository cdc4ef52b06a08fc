//! Programs that answer HTTP, asked through a gateway wherever they are.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wayfare_client::{Order, Run};
use wayfare_gateway::{Allowed, Gateway, GatewayOptions, Port};
use wayfare_protocol::grants::Grants;
use wayfare_tests::broker::Kind;
use wayfare_tests::fleet::{Fleet, done};
use wayfare_tests::stream::order;
use wayfare_tests::within;

use crate::calls::{calc, caller_of};
use crate::fleet;

const LINES: usize = 60;

fn web() -> Run {
    Run {
        name: "web".into(),
        grants: Grants {
            serve: vec!["http".into()],
            ..Grants::default()
        },
        ..order("web", &["Well"], "a", &[], &[])
    }
}

async fn gateway(fleet: &Fleet) -> Gateway {
    let options = GatewayOptions {
        bind: "127.0.0.1:0".parse().expect("an address"),
        port: Port::ThisOne,
        data: fleet.folder().to_owned(),
        tls: None,
        login: None,
        allowed: Allowed::Everything,
        by: "ann@desk".into(),
        sources: None,
    };
    let opened = Gateway::open(fleet.client.clone(), options).await;
    opened.expect("a gateway")
}

struct Answer {
    status: u16,
    head: BTreeMap<String, String>,
    body: String,
}

async fn ask(to: SocketAddr, head: &str, line: &str, body: &str) -> Answer {
    let asking = async {
        let mut stream = TcpStream::connect(to).await?;
        let length = body.len();
        let request = format!(
            "{line} HTTP/1.1\r\nHost: {to}\r\n{head}Connection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        std::io::Result::Ok(text)
    };
    let text = within("an answer", asking).await.expect("one that listens");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1));
    let fields = lines.filter_map(|line| line.split_once(": "));
    Answer {
        status: status.and_then(|status| status.parse().ok()).expect("a status"),
        head: fields
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect(),
        body: body.to_owned(),
    }
}

/// While it moves, each line that is written is written once; and only who may looks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_is_found_wherever_its_program_is() {
    let fleet = fleet(Kind::Mosquitto).engines(&["a", "b"]).start().await;
    let program = fleet.runs(web()).await;
    let service = "service/http".parse().expect("an address");
    caller_of(&fleet, &service, &[program.program]).await;
    let gateway = gateway(&fleet).await;
    let token = gateway
        .link()
        .rsplit('=')
        .next()
        .expect("it has a token")
        .to_owned();
    let bearer = format!("Authorization: Bearer {token}\r\n");
    let (dashboard, programs) = (gateway.address(), gateway.programs());

    // By the same door as everything, with the token; a browser is sent to the other one.
    let engine = ask(dashboard, &bearer, "GET /r/web/engine", "").await;
    assert_eq!((engine.status, engine.body.as_str()), (200, "a"));
    let opened = ask(dashboard, "", &format!("GET /?token={token}"), "").await;
    let cookie = opened.head["set-cookie"]
        .split(';')
        .next()
        .expect("a cookie")
        .to_owned();
    let cookie = format!("Cookie: {cookie}\r\n");
    let sent = ask(dashboard, &cookie, "GET /r/web/engine?a=b", "").await;
    assert_eq!(sent.status, 307);
    assert_eq!(
        sent.head["location"],
        format!("http://127.0.0.1:{}/r/web/engine?a=b", programs.port())
    );
    for (head, line, status) in [
        (&cookie, "GET /r/web/engine", 200),
        (&cookie, "GET /r/web", 307),
        (&cookie, "GET /r/nobody/", 404),
        (&cookie, "GET /r/web/nowhere", 404),
        (
            &format!("{cookie}Origin: http://{programs}\r\n"),
            "DELETE /r/web/",
            405,
        ),
        // As the page of another site would have it, with an old browser.
        (&cookie, "DELETE /r/web/", 401),
        // Nothing of the fleet is there.
        (&cookie, "GET /api/v1/programs", 404),
        (&cookie, "GET /", 404),
        (&String::new(), "GET /r/web/engine", 401),
        (
            &format!("{cookie}Sec-Fetch-Site: cross-site\r\n"),
            "GET /r/web/engine",
            403,
        ),
        (
            &format!("{cookie}Origin: http://{dashboard}\r\n"),
            "POST /r/web/",
            403,
        ),
    ] {
        let found = ask(programs, head, line, "").await;
        assert_eq!(found.status, status, "{line} {head:?}: {}", found.body);
    }

    let writes = async {
        for number in 0..LINES {
            let written = ask(programs, &bearer, "POST /r/web/", &format!("line=n{number}.")).await;
            assert_eq!((written.status, written.head["location"].as_str()), (303, "."));
            let looked = ask(programs, &bearer, "GET /r/web/", "").await;
            assert_eq!(looked.status, 200);
        }
    };
    let moves = async {
        for to in ["b", "a", "b", "a", "b"] {
            fleet.moves(program.program, to).await;
        }
    };
    tokio::join!(writes, moves);
    let page = ask(programs, &bearer, "GET /r/web/", "").await;
    for number in 0..LINES {
        assert_eq!(
            page.body.matches(&format!("<li>n{number}.</li>")).count(),
            1,
            "{}",
            page.body
        );
    }
    assert!(page.body.contains("On b, looked at 61 times"), "{}", page.body);

    done(fleet.apply(Order::kill("web")).await).await;
    let gone = ask(programs, &bearer, "POST /r/web/", "line=late").await;
    assert!([404, 503].contains(&gone.status), "{}", gone.body);
    assert_eq!(gone.status == 503, gone.head.contains_key("retry-after"));
    gateway.close().await;
}

/// By whoever provides it, also while that does something else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_services_schema_is_shown_wherever_its_provider_is() {
    let fleet = fleet(Kind::Mosquitto).engines(&["a", "b"]).start().await;
    let program = fleet.runs(calc("hall", &["serve", "calc"], "a")).await;
    let page = fleet.runs(web()).await;
    for (service, program) in [("calc", program.program), ("http", page.program)] {
        let service = format!("service/{service}").parse().expect("an address");
        caller_of(&fleet, &service, &[program]).await;
    }
    let gateway = gateway(&fleet).await;
    let link = gateway.link();
    let token = link.rsplit('=').next().expect("it has a token");
    let bearer = format!("Authorization: Bearer {token}\r\n");
    let shown = async |service: &str| {
        let line = format!("GET /api/v1/services/{service}");
        let answer = ask(gateway.address(), &bearer, &line, "").await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        serde_json::from_str::<Value>(&answer.body).expect("JSON")
    };
    for to in ["b", "a"] {
        let calc = shown("calc").await;
        assert_eq!(
            calc["schema"]["functions"]["double"]["result"]["type"], "integer",
            "{calc}"
        );
        assert_eq!(
            (&calc["providers"][0]["name"], &calc["unknown"]),
            (&"hall".into(), &Value::Null)
        );
        fleet.moves(program.program, to).await;
    }
    let http = shown("http").await;
    assert_eq!(
        (&http["schema"], &http["unknown"]),
        (&Value::Null, &Value::Null),
        "{http}"
    );
    gateway.close().await;
}
