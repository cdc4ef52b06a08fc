//! To a collector: batches over HTTP, as the usual variable says where.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry::KeyValue;
use opentelemetry_http::{HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{BatchSpanProcessor, Span, SpanData, SpanProcessor};
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::OperationSpans;

/// Where the collector is, such as `http://localhost:4318`; without, nothing is exported.
pub const ENDPOINT_VARIABLE: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
/// Of the collector, below that.
const TRACES_PATH: &str = "/v1/traces";
/// A batch that is not taken within this is given up,
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// and what is left at the end, within this.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);
/// Of what a collector answers.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error(
        "{ENDPOINT_VARIABLE} is '{0}': an address such as http://localhost:4318 is expected, without TLS"
    )]
    Endpoint(String),
    #[error("spans cannot be exported: {0}")]
    Exporter(String),
}

/// The export, to be [closed](Exporting::close) at the end.
#[derive(Debug, Clone)]
pub struct Exporting(Arc<BatchSpanProcessor>);

impl Exporting {
    /// Sends what is left, within a limit.
    pub async fn close(self) {
        let closed = tokio::task::spawn_blocking(move || self.0.shutdown_with_timeout(CLOSE_TIMEOUT));
        match closed.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "the last spans were not exported"),
            Err(error) => tracing::debug!(%error, "the last spans were not exported"),
        }
    }
}

impl SpanProcessor for Exporting {
    fn on_start(&self, _: &mut Span, _: &opentelemetry::Context) {}

    fn on_end(&self, span: SpanData) {
        self.0.on_end(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn shutdown_with_timeout(&self, limit: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(limit)
    }
}

/// What a subscriber needs to export the spans of operations to the collector that the environment names, if
/// it does. `service` is the kind of process and `instance` its name in the fleet; batches are sent by tasks
/// of `runtime`.
pub fn exporting(
    service: &'static str,
    instance: &str,
    runtime: &Handle,
) -> Result<Option<(OperationSpans<Exporting>, Exporting)>, SetupError> {
    match std::env::var(ENDPOINT_VARIABLE) {
        Ok(endpoint) if !endpoint.is_empty() => exporting_to(&endpoint, service, instance, runtime).map(Some),
        _ => Ok(None),
    }
}

pub(crate) fn exporting_to(
    endpoint: &str,
    service: &'static str,
    instance: &str,
    runtime: &Handle,
) -> Result<(OperationSpans<Exporting>, Exporting), SetupError> {
    if !endpoint.starts_with("http://") || endpoint.parse::<http::Uri>().is_err() {
        return Err(SetupError::Endpoint(endpoint.to_owned()));
    }
    let collector = Collector {
        runtime: runtime.clone(),
        client: Client::builder(TokioExecutor::new()).build_http(),
    };
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(collector)
        .with_endpoint(format!("{}{TRACES_PATH}", endpoint.trim_end_matches('/')))
        .with_timeout(SEND_TIMEOUT)
        .build()
        .map_err(|error| SetupError::Exporter(error.to_string()))?;
    let mut processor = BatchSpanProcessor::builder(exporter).build();
    let resource = Resource::builder()
        .with_service_name(service)
        .with_attribute(KeyValue::new("service.instance.id", instance.to_owned()))
        .build();
    processor.set_resource(&resource);
    let exporting = Exporting(Arc::new(processor));
    Ok((OperationSpans::new(exporting.clone()), exporting))
}

/// Sends with hyper, which is in the tree; the exporters' own clients bring another release of reqwest.
struct Collector {
    runtime: Handle,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl fmt::Debug for Collector {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Collector")
    }
}

#[async_trait::async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.client.clone();
        // Who exports is a thread of the library's, outside of the runtime.
        let sent = self.runtime.spawn(async move {
            let exchange = async {
                let response = client.request(request.map(Full::new)).await?;
                let (head, body) = response.into_parts();
                let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await?;
                Ok::<_, HttpError>(Response::from_parts(head, body.to_bytes()))
            };
            timeout(SEND_TIMEOUT, exchange).await
        });
        sent.await??
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;
    use tracing::info_span;
    use tracing_subscriber::prelude::*;

    use super::*;
    use crate::collector::Collector as Taken;

    const OPERATION: &str = "65f1460792fb4a55abd5df7cbc7fd9ff";

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn what_ended_before_the_end_reaches_the_collector_with_whose_it_is() {
        let mut collector = Taken::start().await.unwrap();
        let endpoint = collector.endpoint();
        let (spans, exporting) =
            exporting_to(&endpoint, "wayfare-engine", "pi-1", &Handle::current()).unwrap();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(spans), || {
            drop(info_span!("operation", operation = OPERATION, what = "move"));
        });
        exporting.close().await;
        let span = collector.next().await.unwrap();
        assert_eq!((span.trace.as_str(), span.name.as_str()), (OPERATION, "move"));
        assert_eq!(
            (span.service.as_str(), span.instance.as_str()),
            ("wayfare-engine", "pi-1")
        );
        assert_eq!((span.parent.len(), span.failure), (16, None));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_collector_that_is_not_there_or_cannot_be_holds_nobody_up() {
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", gone.local_addr().unwrap());
        drop(gone);
        let (spans, exporting) = exporting_to(&endpoint, "wayfare-engine", "a", &Handle::current()).unwrap();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(spans), || {
            drop(info_span!("operation", operation = OPERATION));
        });
        exporting.close().await;
        for bad in ["localhost:4318", "https://collector", "http://a b"] {
            let error = exporting_to(bad, "wayfare-engine", "a", &Handle::current())
                .err()
                .unwrap();
            assert!(error.to_string().contains(bad), "{error}");
        }
    }
}
