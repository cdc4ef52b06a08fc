//! The hub over a broker without engines: what a watcher begins with.

use wayfare_client::{Client, ClientOptions};
use wayfare_link::{BrokerOptions, EmbeddedBroker};

use super::{Beginning, Hub, Watching};

fn is_anew(watching: &Watching) -> bool {
    matches!(watching.beginning, Beginning::Anew(..))
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_back_begins_anew_if_nobody_watched_meanwhile() {
    let broker = EmbeddedBroker::start(BrokerOptions::loopback()).await.unwrap();
    let options = ClientOptions::new(broker.local_addr().into());
    let client = Client::connect(options).await.unwrap();
    let hub = Hub::start(client.clone()).await.unwrap();
    let first = hub.watch(None).await.unwrap();
    let Beginning::Anew(id, _) = first.beginning else {
        panic!("it has seen nothing yet")
    };
    // Others watch: what has changed was told, and is kept.
    let second = hub.watch(Some(id)).await.unwrap();
    assert!(!is_anew(&second), "nothing has changed");
    drop((first.next, second));
    let third = hub.watch(Some(id)).await.unwrap();
    assert!(is_anew(&third), "what has changed meanwhile was told to nobody");
    client.close().await;
    broker.shutdown().await.unwrap();
}
