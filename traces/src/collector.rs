//! A collector for tests: it takes what is exported to it, and shows it.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use prost::Message;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Of a batch.
const BODY_BYTES_MAX: usize = 16 << 20;

/// A span as it came, its ids in hexadecimal digits.
#[derive(Debug, Clone)]
pub struct Span {
    /// `service.name` and `service.instance.id` of the process.
    pub service: String,
    pub instance: String,
    pub trace: String,
    pub id: String,
    /// Empty: it is a root.
    pub parent: String,
    pub name: String,
    pub attributes: BTreeMap<String, String>,
    /// What was logged in it.
    pub events: Vec<String>,
    /// Why it failed, if it did.
    pub failure: Option<String>,
}

#[derive(Debug)]
pub struct Collector {
    address: SocketAddr,
    spans: mpsc::UnboundedReceiver<Span>,
    _serving: JoinSet<()>,
}

impl Collector {
    pub async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (taken, spans) = mpsc::unbounded_channel();
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let taken = taken.clone();
                open.spawn(async move {
                    // Whoever exports says what is wrong.
                    let _ = exchange(stream, taken).await;
                });
            }
        });
        Ok(Self {
            address,
            spans,
            _serving: serving,
        })
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next span of any process.
    pub async fn next(&mut self) -> Option<Span> {
        self.spans.recv().await
    }
}

/// One request after the other, as HTTP/1.1 has them.
async fn exchange(stream: TcpStream, taken: mpsc::UnboundedSender<Span>) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut bytes, mut is_for_traces) = (0, false);
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            is_for_traces |= line.starts_with("POST /v1/traces ");
            let line = line.trim().to_ascii_lowercase();
            if let Some(length) = line.strip_prefix("content-length:") {
                bytes = length.trim().parse().map_err(io::Error::other)?;
            }
            if line.is_empty() {
                break;
            }
        }
        if bytes > BODY_BYTES_MAX || !is_for_traces {
            return Err(io::Error::other("no batch of spans"));
        }
        let mut body = vec![0; bytes];
        stream.read_exact(&mut body).await?;
        for span in read(&body)? {
            // A test may have seen enough.
            let _ = taken.send(span);
        }
        let answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";
        stream.get_mut().write_all(answer).await?;
    }
}

fn read(body: &[u8]) -> io::Result<Vec<Span>> {
    let request = ExportTraceServiceRequest::decode(body).map_err(io::Error::other)?;
    let mut spans = Vec::new();
    for of_one in request.resource_spans {
        let about = texts(
            of_one
                .resource
                .map(|resource| resource.attributes)
                .unwrap_or_default(),
        );
        let about = |name: &str| about.get(name).cloned().unwrap_or_default();
        for span in of_one.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            let failure = span.status.filter(|status| status.code == 2);
            spans.push(Span {
                service: about("service.name"),
                instance: about("service.instance.id"),
                trace: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                name: span.name,
                attributes: texts(span.attributes),
                events: span.events.into_iter().map(|event| event.name).collect(),
                failure: failure.map(|status| status.message),
            });
        }
    }
    Ok(spans)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn texts(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |value: Option<AnyValue>| match value.and_then(|value| value.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    };
    let one = |attribute: KeyValue| (attribute.key, text(attribute.value));
    attributes.into_iter().map(one).collect()
}
