//! The fleet's dispatcher with its registry, in the test's own process; and those that pretend to be one.

use std::path::PathBuf;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use wayfare_client::keys;
use wayfare_dispatcher::compilers::{COMPILER_FORMAT, Compiler, CompilerAbout, Compilers, OwnCompiler};
use wayfare_dispatcher::options::ServiceOptions;
use wayfare_dispatcher::service::{self, ServiceError};
use wayfare_link::{BrokerUrl, Event, LinkOptions, Message, Qos};
use wayfare_protocol::code::{CodeTarget, PublicKey};
use wayfare_protocol::dispatcher::ACTING_NAME;
use wayfare_protocol::ids::{Blob, Digest};
use wayfare_protocol::limits::CHUNK_BYTES;
use wayfare_protocol::peer::{Envelope, PeerMessage};
use wayfare_protocol::pull::Pull;
use wayfare_protocol::topics::{Topic, Topics};
use wayfare_runtime::ahead;

/// A dispatcher that acts.
#[derive(Debug)]
pub struct Registry {
    end: oneshot::Sender<()>,
    task: JoinHandle<Result<(), ServiceError>>,
}

impl Registry {
    pub fn start(broker: BrokerUrl, data: PathBuf) -> Self {
        Self::start_with(broker, data, vec![Compiler::Own(own_compiler())], None)
    }

    /// With the root key of a fleet that signs.
    pub fn start_with(
        broker: BrokerUrl,
        data: PathBuf,
        compilers: Vec<Compiler>,
        trust_root: Option<PublicKey>,
    ) -> Self {
        let path = keys::key_path(&data);
        std::fs::create_dir_all(&data).expect("a folder");
        std::fs::write(&path, format!("{}\n", secret_key(1).reveal())).expect("a key");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&path, mode).expect("its own file");
        let mut options = ServiceOptions::new(broker, "registry".parse().expect("a name"), data);
        options.compilers = Compilers::new(compilers);
        options.trust_root = trust_root;
        let (end, ended) = oneshot::channel();
        let shutdown = async {
            // Dropped or sent: either is the end.
            let _ = ended.await;
        };
        let task = tokio::spawn(service::run(options, shutdown));
        Self { end, task }
    }

    /// Ends in good order.
    pub async fn stop(self) {
        drop(self.end);
        let ended = crate::within("the dispatcher to end", self.task).await;
        ended.expect("it does not panic").expect("it ends well");
    }
}

/// This build's, as `wayfare` has it.
pub fn own_compiler() -> OwnCompiler {
    let target = ahead::here();
    OwnCompiler {
        about: CompilerAbout {
            format: COMPILER_FORMAT,
            compiler: ahead::compiler(),
            wasmtime: target.wasmtime,
            abi: target.abi,
            architectures: ahead::architectures(),
        },
        compile: ahead::compile,
    }
}

/// Keys that tests know.
pub fn secret_key(number: u8) -> wayfare_protocol::code::SecretKey {
    wayfare_protocol::code::SecretKey::from_random([number; 32])
}

/// What a fleet's engines trust.
pub fn registry_key() -> String {
    secret_key(1).public().to_string()
}

/// Answers whoever wants code with what `make` makes, under the dispatcher's name, until it is aborted.
pub fn pretend(
    broker: BrokerUrl,
    make: impl Fn(Digest, &CodeTarget) -> Vec<u8> + Send + 'static,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let topics = Topics::default();
        let name = ACTING_NAME.parse().expect("a name");
        let mut options = LinkOptions::new(broker, "pretender");
        options.subscriptions = vec![(topics.peer_filter(&name), Qos::AtLeastOnce)];
        let (link, mut events) = wayfare_link::connect(options).expect("options are good");
        let mut code = Vec::new();
        while let Some(event) = events.next().await {
            let Event::Received(message) = event else { continue };
            let (envelope, _) = Envelope::decode(&message.payload).expect("engines speak the protocol");
            let topic = topics.topic(&Topic::Peer(envelope.operation, envelope.from.clone()));
            let say = |message: PeerMessage, bytes: &[u8]| {
                let envelope = Envelope {
                    operation: envelope.operation,
                    from: name.clone(),
                    message,
                };
                let message = Message::new(topic.clone(), envelope.encode(bytes));
                link.try_publish(message).expect("the outbox has room");
            };
            match &envelope.message {
                PeerMessage::CodeWanted { module, target, .. } => {
                    code = make(module.digest, target);
                    let code = Blob::of(&code);
                    say(PeerMessage::CodeMade { code }, &[]);
                }
                PeerMessage::Pull { blob, offset, chunks } => {
                    let (offset, chunks) = (*offset, *chunks);
                    for (offset, bytes) in (Pull { offset, chunks }).chunks_of(*blob) {
                        assert!(bytes <= CHUNK_BYTES);
                        let blob = *blob;
                        say(
                            PeerMessage::Chunk { blob, offset },
                            &code[offset as usize..][..bytes],
                        );
                    }
                }
                _ => {}
            }
        }
    })
}
