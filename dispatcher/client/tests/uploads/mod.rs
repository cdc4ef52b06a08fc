//! What applications need on its way to dispatchers that are played by hand.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::sync::mpsc;
use wayfare_client::app::ask::Ask;
use wayfare_client::{Client, ClientOptions};
use wayfare_link::BrokerUrl;
use wayfare_protocol::dispatcher::{Answer, Answered, Asker, Lease, LeaseState};
use wayfare_protocol::error::Failure;
use wayfare_protocol::ids::{Blob, Digest, OperationId, PeerName, Term};
use wayfare_protocol::limits::CHUNK_BYTES;
use wayfare_protocol::peer::PeerMessage;
use wayfare_protocol::pull::{Pull, Pulled, Puller};
use wayfare_protocol::topics::Topics;

use crate::fake_engine::{LIMIT, broker, connect};

/// Two blobs, one of them of many chunks.
fn blobs() -> BTreeMap<Digest, Vec<u8>> {
    let large: Vec<u8> = (0..CHUNK_BYTES * 40 + 7).map(|i| (i % 249) as u8).collect();
    [b"small".to_vec(), large]
        .map(|bytes| (Digest::of(&bytes), bytes))
        .into()
}

/// Acts, and answers what `answers` says.
async fn dispatcher(
    url: &BrokerUrl,
    mut answers: impl FnMut(&Client, Ask) -> Result<serde_json::Value, Failure> + Send + 'static,
) -> Client {
    let lease = Lease {
        term: Term(1),
        dispatcher: "d".parse().unwrap(),
        state: LeaseState::Free,
        lease_ms: 10_000,
    };
    let client = Client::connect(ClientOptions::acting(url.clone(), Topics::default(), lease))
        .await
        .unwrap();
    let mut requests = client.requests().await.unwrap();
    let acting = client.clone();
    tokio::spawn(async move {
        while let Some(incoming) = requests.recv().await {
            let asked = incoming.request;
            let ask: Ask = serde_json::from_value(asked.body.clone()).unwrap();
            let answer = Answer {
                request: asked.request,
                term: Term(1),
                answer: match answers(&acting, ask) {
                    Ok(value) => Answered::Done(value),
                    Err(failure) => Answered::Failed(failure),
                },
            };
            let asker = Asker {
                request: asked.request,
                client: asked.client,
                reads: asked.reads,
            };
            acting.answer(&asker, &answer).await;
        }
    });
    client
}

fn lacking(there: &BTreeMap<Digest, Vec<u8>>, blobs: Vec<Blob>) -> Vec<Blob> {
    let lacks = |blob: &Blob| there.get(&blob.digest).is_none_or(|it| Blob::of(it) != *blob);
    blobs.into_iter().filter(lacks).collect()
}

/// What a client of this release asks, and nothing else.
fn taken(ask: Ask) -> (OperationId, PeerName, Vec<Blob>) {
    match ask {
        Ask::Take {
            transfer,
            from,
            blobs,
        } => (transfer, from, blobs),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_dispatcher_pulls_what_it_lacks_and_its_successor_goes_on() {
    let (_broker, url) = broker().await;
    let (came, mut arrived) = mpsc::unbounded_channel::<Vec<u8>>();
    let there = Arc::new(Mutex::new(BTreeMap::new()));
    let (kept, mut turn) = (there.clone(), 0);
    let _acting = dispatcher(&url, move |acting, ask| {
        let (transfer, from, blobs) = taken(ask);
        let lacks = lacking(&kept.lock().unwrap(), blobs);
        if let Some(blob) = lacks.first().copied() {
            turn += 1;
            // The first one dies after its first chunks.
            let dies = turn == 1;
            tokio::spawn(pulls(
                acting.clone(),
                transfer,
                from,
                blob,
                dies,
                came.clone(),
                kept.clone(),
            ));
        }
        Ok(serde_json::json!(lacks))
    })
    .await;
    let client = connect(&url).await;
    let (blobs, mut places) = (blobs(), Vec::new());
    client
        .upload(&blobs, LIMIT, |done, total| places.push((done, total)))
        .await
        .unwrap();
    assert_eq!(*there.lock().unwrap(), blobs);
    let total = blobs.values().map(|bytes| bytes.len() as u64).sum();
    assert!(places.is_sorted(), "{places:?}");
    assert_eq!(places.last(), Some(&(total, total)));
    arrived.close();
    let mut times = 0;
    while arrived.recv().await.is_some() {
        times += 1;
    }
    assert_eq!(times, 2, "each came once");
    // Nothing is sent of what is there.
    let before = places.len();
    client
        .upload(&blobs, LIMIT, |done, total| places.push((done, total)))
        .await
        .unwrap();
    assert_eq!(places.len(), before);
}

async fn pulls(
    acting: Client,
    transfer: OperationId,
    from: PeerName,
    blob: Blob,
    dies: bool,
    came: mpsc::UnboundedSender<Vec<u8>>,
    kept: Arc<Mutex<BTreeMap<Digest, Vec<u8>>>>,
) {
    let mut peers = acting.peers().await.unwrap();
    let (mut puller, first) = Puller::new(blob, 0);
    let say = |Pull { offset, chunks }: Pull| {
        acting.say(&from, transfer, PeerMessage::Pull { blob, offset, chunks }, &[]);
    };
    say(first);
    while let Some((envelope, bytes)) = peers.recv().await {
        let PeerMessage::Chunk { blob: of, offset } = envelope.message else {
            continue;
        };
        if of != blob || envelope.operation != transfer {
            continue;
        }
        match puller.chunk(offset, &bytes, 0) {
            Pulled::Next(_) if dies => return,
            Pulled::Next(next) => next.into_iter().for_each(say),
            Pulled::Whole(bytes) => {
                kept.lock().unwrap().insert(blob.digest, bytes.clone());
                came.send(bytes).unwrap();
                let ack = PeerMessage::Ack {
                    digest: blob.digest,
                    received: blob.bytes,
                };
                return acting.say(&from, transfer, ack, &[]);
            }
            Pulled::Damaged => panic!("damaged"),
        }
    }
}

#[tokio::test]
async fn why_a_dispatcher_does_not_take_a_blob_is_heard() {
    let (_broker, url) = broker().await;
    let mut asked = 0;
    let full = Failure::Internal {
        reason: "the disk is full".into(),
    };
    let refusal = full.clone();
    let _acting = dispatcher(&url, move |acting, ask| {
        let (transfer, from, blobs) = taken(ask);
        asked += 1;
        if asked > 1 {
            return Err(refusal.clone());
        }
        let digest = blobs[0].digest;
        acting.say(&from, transfer, PeerMessage::Ack { digest, received: 0 }, &[]);
        Ok(serde_json::json!(blobs))
    })
    .await;
    let client = connect(&url).await;
    let error = client.upload(&blobs(), LIMIT, |_, _| {}).await.unwrap_err();
    assert_eq!(error.to_string(), full.to_string());
}

#[tokio::test]
async fn a_dispatcher_of_the_last_release_is_sent_parts() {
    let (_broker, url) = broker().await;
    let there = Arc::new(Mutex::new(BTreeMap::<Digest, Vec<u8>>::new()));
    let kept = there.clone();
    let _acting = dispatcher(&url, move |_, ask| {
        let mut there = kept.lock().unwrap();
        match ask {
            Ask::Lacks { blobs } => Ok(serde_json::json!(lacking(&there, blobs))),
            Ask::Put { blob, offset, hex } => {
                let bytes = there.entry(blob.digest).or_default();
                assert_eq!(bytes.len() as u64, offset);
                let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
                bytes.extend((0..hex.len()).step_by(2).map(byte));
                Ok(serde_json::json!(bytes.len()))
            }
            // As it says of what it does not know.
            other => Err(Failure::BadRequest {
                reason: format!("the dispatcher cannot read the request: {other:?}"),
            }),
        }
    })
    .await;
    let client = connect(&url).await;
    let blobs = blobs();
    client.upload(&blobs, LIMIT, |_, _| {}).await.unwrap();
    assert_eq!(*there.lock().unwrap(), blobs);
}
