//! A gateway over a broker without engines.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use wayfare_client::{Client, ClientOptions};
use wayfare_gateway::{Allowed, Gateway, GatewayOptions, Port};
use wayfare_link::{BrokerOptions, EmbeddedBroker};

pub(crate) const WAIT_MAX: Duration = Duration::from_secs(20);

pub(crate) struct Opened {
    pub(crate) gateway: Gateway,
    pub(crate) client: Client,
    pub(crate) broker: EmbeddedBroker,
    _data: tempfile::TempDir,
}

impl Opened {
    pub(crate) async fn new(allowed: Allowed) -> Self {
        let broker = EmbeddedBroker::start(BrokerOptions::loopback()).await.unwrap();
        let client = Client::connect(ClientOptions::new(broker.local_addr().into()))
            .await
            .unwrap();
        let data = tempfile::tempdir().unwrap();
        let gateway = Gateway::open(client.clone(), options("127.0.0.1:0", data.path(), allowed)).await;
        Self {
            gateway: gateway.unwrap(),
            client,
            broker,
            _data: data,
        }
    }

    pub(crate) fn token(&self) -> String {
        self.gateway.link().rsplit('=').next().unwrap().to_owned()
    }

    /// The status and the body of the answer to this request, with the token.
    pub(crate) async fn ask(&self, line: &str, body: &str) -> (u16, Value) {
        let head = format!("Authorization: Bearer {}\r\n", self.token());
        let text = self.raw(line, &head, body).await;
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (status(head), serde_json::from_str(body).unwrap_or(Value::Null))
    }

    pub(crate) async fn raw(&self, line: &str, head: &str, body: &str) -> String {
        let address = self.gateway.address();
        let mut stream = TcpStream::connect(address).await.unwrap();
        let host = if head.contains("Host:") {
            String::new()
        } else {
            format!("Host: {address}\r\n")
        };
        let request = format!(
            "{line} HTTP/1.1\r\n{host}{head}Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        timeout(WAIT_MAX, stream.read_to_string(&mut text))
            .await
            .unwrap()
            .unwrap();
        text
    }

    pub(crate) async fn close(self) {
        self.gateway.close().await;
        self.client.close().await;
        self.broker.shutdown().await.unwrap();
    }
}

pub(crate) fn options(bind: &str, data: &std::path::Path, allowed: Allowed) -> GatewayOptions {
    GatewayOptions {
        bind: bind.parse().unwrap(),
        port: Port::ThisOne,
        data: data.to_owned(),
        allowed,
        tls: None,
        login: None,
        by: "ann@desk".into(),
        sources: None,
    }
}

pub(crate) fn status(head: &str) -> u16 {
    head.split(' ').nth(1).unwrap().parse().unwrap()
}
