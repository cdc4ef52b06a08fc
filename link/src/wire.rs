//! One connection: the only module that names the client library.
//!
//! Each connection gets an event loop of its own, so that nothing of an earlier one (requests never sent,
//! events not yet read, packet ids) can reach it. Acknowledging is always manual here: with automatic
//! acknowledgements the library writes while it reads, and loses packets when the two meet on a full socket.
//!
//! The library reports what it writes in the order of the requests; the session relies on that to learn ids.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Waker};

use bytes::Bytes;
use rumqttc::mqttbytes;
use rumqttc::{
    AsyncClient, ConnectReturnCode, ConnectionError, EventLoop, LastWill, MqttOptions, NetworkOptions,
    Outgoing, Packet, Publish, QoS, StateError, SubscribeReasonCode, TlsConfiguration, TlsError, Transport,
};
use wayfare_protocol::limits::PAYLOAD_BYTES_MAX;
use wayfare_protocol::qos::Qos;

use crate::attempt::Attempt;
use crate::limits::{CONNECT_TIMEOUT, PACKET_IDS, PACKET_OVERHEAD_BYTES, REQUESTS_MAX, TOPIC_BYTES_MAX};
use crate::message::Message;
use crate::options::LinkOptions;
use crate::subscriptions::Change;
use crate::tls::Tls;

pub(crate) struct Wire {
    client: AsyncClient,
    /// Owns the event loop. It is kept across `next` calls, because polling the library must not be given up
    /// half-way: a packet on its way to a full socket would be lost.
    poll: Option<PollFuture>,
    unread: VecDeque<WireEvent>,
    /// Requests handed over and not yet reported as written.
    requests: usize,
}

type PollFuture =
    Pin<Box<dyn Future<Output = (EventLoop, Result<rumqttc::Event, ConnectionError>)> + Send + 'static>>;

#[derive(Debug)]
pub(crate) enum WireEvent {
    Accepted { session_present: bool },
    PublishWritten { packet_id: u16 },
    RequestWritten { packet_id: u16 },
    DisconnectWritten,
    PublishAcknowledged { packet_id: u16 },
    RequestAnswered { packet_id: u16, granted: bool },
    Received(Delivery),
    Uninteresting,
    Ended(End),
}

/// Why a connection is over.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) reason: String,
    pub(crate) cause: Cause,
    /// The broker began to send a packet of so many bytes, which is more than this connection reads.
    pub(crate) oversized_bytes: Option<usize>,
}

/// Who ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// It broke, or was never made.
    Failure,
    /// The broker closed it, and nothing was wrong with it.
    Broker,
    /// This side closed it, to make another.
    Ourselves,
}

impl End {
    pub(crate) fn new(cause: Cause, reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            cause,
            oversized_bytes: None,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) topic: String,
    pub(crate) payload: Bytes,
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
    /// What to acknowledge it by, where it is to be acknowledged.
    pub(crate) packet_id: Option<u16>,
}

impl Wire {
    /// Prepares a connection; it is made by the first call of `next`.
    pub(crate) fn new(options: &LinkOptions, attempt: Attempt) -> Self {
        let mut mqtt = mqtt_options(options, attempt);
        let mut unread = VecDeque::new();
        match options.broker.tls().map(Tls::client) {
            None => {}
            Some(Ok(client)) => {
                let client = TlsConfiguration::Rustls(client);
                mqtt.set_transport(Transport::tls_with_config(client));
            }
            Some(Err(error)) => {
                unread.push_back(WireEvent::Ended(End::new(Cause::Failure, error.to_string())))
            }
        }
        let (client, mut event_loop) = AsyncClient::new(mqtt, REQUESTS_MAX);
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        network.set_connection_timeout(CONNECT_TIMEOUT.as_secs());
        event_loop.set_network_options(network);
        Self {
            client,
            // With an end to be read first there is nothing to connect for.
            poll: unread
                .is_empty()
                .then(|| -> PollFuture { Box::pin(poll(event_loop)) }),
            unread,
            requests: 0,
        }
    }

    /// What happened next. Safe to give up and call again. After `Ended` it never returns.
    pub(crate) async fn next(&mut self) -> WireEvent {
        if let Some(event) = self.unread.pop_front() {
            return event;
        }
        let Some(running) = &mut self.poll else {
            return std::future::pending().await;
        };
        let (mut event_loop, result) = running.await;
        match result {
            Ok(event) => {
                self.poll = Some(Box::pin(poll(event_loop)));
                self.translate(event)
            }
            Err(error) => {
                self.poll = None;
                let leftover: Vec<_> = event_loop.state.events.drain(..).collect();
                let told = leftover
                    .iter()
                    .any(|event| matches!(event, rumqttc::Event::Incoming(Packet::Disconnect)));
                for event in leftover {
                    let event = self.translate(event);
                    self.unread.push_back(event);
                }
                self.unread.push_back(ended(&error, told));
                self.unread.pop_front().unwrap_or(WireEvent::Uninteresting)
            }
        }
    }

    /// Whether another request can be handed over now.
    pub(crate) fn has_room(&self) -> bool {
        self.requests < REQUESTS_MAX
    }

    pub(crate) fn publish(&mut self, message: &Message) {
        let (qos, payload) = (qos_to_wire(message.qos), message.payload.clone());
        let request = self
            .client
            .publish_bytes(message.topic.as_str(), qos, message.retain, payload);
        // The library offers no way to hand over bytes without waiting; with room it does not wait.
        let handed_over = pin!(request)
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_ready();
        self.count(handed_over);
    }

    pub(crate) fn change(&mut self, filter: &str, change: Change) {
        let handed_over = match change {
            Change::Subscribe(qos) => self.client.try_subscribe(filter, qos_to_wire(qos)).is_ok(),
            Change::Unsubscribe => self.client.try_unsubscribe(filter).is_ok(),
        };
        self.count(handed_over);
    }

    pub(crate) fn acknowledge(&mut self, packet_id: u16) {
        let mut delivery = Publish::from_bytes("", QoS::AtLeastOnce, Bytes::new());
        delivery.pkid = packet_id;
        let handed_over = self.client.try_ack(&delivery).is_ok();
        self.count(handed_over);
    }

    pub(crate) fn disconnect(&mut self) {
        let handed_over = self.client.try_disconnect().is_ok();
        self.count(handed_over);
    }

    /// After the connection ended the library takes nothing more, and the session hears of the end next.
    fn count(&mut self, handed_over: bool) {
        assert!(
            handed_over || self.poll.is_none(),
            "a request was made without room"
        );
        self.requests += 1;
    }

    fn translate(&mut self, event: rumqttc::Event) -> WireEvent {
        match event {
            rumqttc::Event::Incoming(packet) => match packet {
                Packet::ConnAck(accepted) => WireEvent::Accepted {
                    session_present: accepted.session_present,
                },
                Packet::Publish(publish) => WireEvent::Received(delivery(publish)),
                Packet::PubAck(answer) => WireEvent::PublishAcknowledged {
                    packet_id: answer.pkid,
                },
                Packet::SubAck(answer) => WireEvent::RequestAnswered {
                    packet_id: answer.pkid,
                    granted: !answer.return_codes.contains(&SubscribeReasonCode::Failure),
                },
                Packet::UnsubAck(answer) => WireEvent::RequestAnswered {
                    packet_id: answer.pkid,
                    granted: true,
                },
                _ => WireEvent::Uninteresting,
            },
            rumqttc::Event::Outgoing(outgoing) => self.translate_outgoing(&outgoing),
        }
    }

    fn translate_outgoing(&mut self, outgoing: &Outgoing) -> WireEvent {
        let event = match *outgoing {
            Outgoing::Publish(packet_id) => WireEvent::PublishWritten { packet_id },
            Outgoing::Subscribe(packet_id) | Outgoing::Unsubscribe(packet_id) => {
                WireEvent::RequestWritten { packet_id }
            }
            Outgoing::Disconnect => WireEvent::DisconnectWritten,
            Outgoing::PubAck(_) => WireEvent::Uninteresting,
            // Held back until an id is free: it is reported as written later. Pings are not requests of ours.
            _ => return WireEvent::Uninteresting,
        };
        self.requests = self.requests.saturating_sub(1);
        event
    }
}

async fn poll(mut event_loop: EventLoop) -> (EventLoop, Result<rumqttc::Event, ConnectionError>) {
    let result = event_loop.poll().await;
    if let Ok(rumqttc::Event::Incoming(_)) = result {
        // Whatever comes shows that the broker is there. Its answer to a ping may stand behind more than is
        // read in a keep-alive time.
        event_loop.state.await_pingresp = false;
    }
    (event_loop, result)
}

fn mqtt_options(options: &LinkOptions, attempt: Attempt) -> MqttOptions {
    let broker = &options.broker;
    let mut mqtt = MqttOptions::new(&options.client_id, broker.bracketed_host(), broker.port());
    mqtt.set_clean_session(options.clean_session || attempt == Attempt::Forgetting)
        .set_keep_alive(attempt.keep_alive(options.keep_alive))
        .set_manual_acks(true)
        .set_inflight(PACKET_IDS)
        .set_max_packet_size(
            attempt.packet_bytes_max(),
            PAYLOAD_BYTES_MAX + TOPIC_BYTES_MAX + PACKET_OVERHEAD_BYTES,
        );
    if let Some(will) = &options.will {
        let qos = qos_to_wire(will.qos);
        mqtt.set_last_will(LastWill::new(&will.topic, will.payload.clone(), qos, will.retain));
    }
    if let Some(login) = broker.credentials() {
        mqtt.set_credentials(&login.user, &login.password);
    }
    mqtt
}

fn qos_to_wire(qos: Qos) -> QoS {
    match qos {
        Qos::AtMostOnce => QoS::AtMostOnce,
        Qos::AtLeastOnce => QoS::AtLeastOnce,
    }
}

fn delivery(publish: Publish) -> Delivery {
    let (qos, packet_id) = match publish.qos {
        QoS::AtMostOnce => (Qos::AtMostOnce, None),
        // Exactly once is never granted to us, since we never ask for it.
        QoS::AtLeastOnce | QoS::ExactlyOnce => (Qos::AtLeastOnce, Some(publish.pkid)),
    };
    Delivery {
        topic: publish.topic,
        payload: publish.payload,
        qos,
        retain: publish.retain,
        packet_id,
    }
}

fn ended(error: &ConnectionError, told: bool) -> WireEvent {
    if told {
        return WireEvent::Ended(End::new(
            Cause::Broker,
            "the broker closed the connection with a DISCONNECT",
        ));
    }
    let cause = |error: &io::Error| {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
        match error.kind() {
            BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof => Cause::Broker,
            _ => Cause::Failure,
        }
    };
    let failed = |reason: String| End::new(Cause::Failure, reason);
    WireEvent::Ended(match error {
        ConnectionError::MqttState(StateError::ConnectionAborted) => {
            End::new(Cause::Broker, "the broker closed the connection")
        }
        ConnectionError::MqttState(
            StateError::Io(error) | StateError::Deserialization(mqttbytes::Error::Io(error)),
        ) => End::new(cause(error), error.to_string()),
        ConnectionError::MqttState(StateError::Deserialization(
            mqttbytes::Error::PayloadSizeLimitExceeded(bytes),
        )) => End {
            oversized_bytes: Some(*bytes),
            ..failed(format!(
                "the broker sent a packet of {bytes} bytes, more than this connection reads"
            ))
        },
        ConnectionError::MqttState(StateError::AwaitPingResp) => {
            failed("the broker did not answer within the keep-alive time".to_owned())
        }
        ConnectionError::NetworkTimeout => {
            failed(format!("no answer within {} seconds", CONNECT_TIMEOUT.as_secs()))
        }
        ConnectionError::ConnectionRefused(code) => failed(format!("the broker refused: {}", refusal(*code))),
        ConnectionError::Tls(TlsError::Io(error)) => {
            failed(format!("no TLS with the broker: {}", of_tls(error)))
        }
        other => failed(other.to_string()),
    })
}

/// What went wrong, and what to do where it is the usual thing.
fn of_tls(error: &io::Error) -> String {
    use rustls::{CertificateError, Error, InvalidMessage};
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    let way_out = match inner {
        Some(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
            ": no authority that is trusted here has signed its certificate; give the one that has with --broker-ca"
        }
        Some(Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        )) => ": its certificate is for another name; use that in the broker's address",
        Some(Error::InvalidCertificate(
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
        )) => ": is this machine's clock right?",
        Some(Error::InvalidMessage(InvalidMessage::InvalidContentType)) => {
            ": does it listen without TLS? Then its address begins with mqtt://"
        }
        _ => "",
    };
    format!("{error}{way_out}")
}

fn refusal(code: ConnectReturnCode) -> &'static str {
    match code {
        ConnectReturnCode::Success => "it reports success",
        ConnectReturnCode::RefusedProtocolVersion => "it does not speak MQTT 3.1.1",
        ConnectReturnCode::BadClientId => "it does not allow this client id",
        ConnectReturnCode::ServiceUnavailable => "it is not available",
        ConnectReturnCode::BadUserNamePassword => "wrong user name or password",
        ConnectReturnCode::NotAuthorized => "not authorised",
    }
}
