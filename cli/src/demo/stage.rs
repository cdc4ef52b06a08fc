//! What the demo plays on: a broker, two engines, a client, and a folder that goes when it ends.

use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;
use wayfare_client::{Client, ClientOptions};
use wayfare_link::{BrokerOptions, BrokerUrl, EmbeddedBroker};
use wayfare_protocol::topics::Topics;
use wayfare_protocol::trust::roster::{Orders, Role};

use super::timeline::Timeline;
use crate::args::services::DemoArgs;
use crate::children::{EngineOutput, LocalEngine, LocalEngineOptions, stop_all};
use crate::fail::{Fail, Result, connecting};
use crate::output::tell;
use crate::trusting::{Authority, make_key, own_key};

pub(crate) const A: &str = "a";
pub(crate) const B: &str = "b";
/// How long the engines may take to come up.
const ENGINES_TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) struct Stage {
    pub(crate) client: Client,
    broker: EmbeddedBroker,
    engines: Vec<LocalEngine>,
    _folder: TempDir,
}

impl Stage {
    pub(crate) async fn set(args: &DemoArgs, timeline: &mut Timeline) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("wayfare-demo-").tempdir()?;
        let broker = EmbeddedBroker::start(BrokerOptions::loopback())
            .await
            .map_err(|error| Fail::new("broker", error.to_string()))?;
        let url = BrokerUrl::from(broker.local_addr());
        timeline.step(
            "broker",
            &format!("embedded, at {url}"),
            json!({ "broker": url.to_string() }),
        )?;
        let output = if args.engine_logs {
            EngineOutput::All
        } else {
            EngineOutput::Nothing
        };
        // A fleet like any other: its engines take what the demo's own key has signed.
        let mut authority = Authority::open_or_init(&folder.path().join("root.key"))?;
        let before = authority.roster.clone();
        let key_file = folder.path().join("operator.key");
        let name = "demo".parse().expect("letters make a name");
        authority.add(name, make_key(&key_file)?, [Role::Operator]);
        authority.roster.orders = Orders::Require;
        authority.keep(&before)?;
        let mut options = ClientOptions::new(url.clone());
        options.key = Some(own_key(&key_file)?);
        let client = Client::connect(options).await.map_err(connecting)?;
        authority.publish(&client).await?;
        let start = |name: &str| {
            LocalEngine::start(LocalEngineOptions {
                id: name.parse().expect("a letter is a name"),
                broker: url.clone(),
                topics: Topics::default(),
                data: folder.path().join(name),
                output,
                login: None,
                trust_root: authority.public(),
            })
        };
        let engines = vec![start(A)?, start(B)?];
        let mut stage = Self {
            client,
            broker,
            engines,
            _folder: folder,
        };
        stage.wait_for_engines().await?;
        timeline.step(
            "engines",
            "a and b, each a process of its own",
            json!({ "engines": [A, B] }),
        )?;
        Ok(stage)
    }

    async fn wait_for_engines(&mut self) -> Result {
        let fleet = self.client.clone();
        let all_online = async {
            let mut seen = 0;
            loop {
                let online = fleet.engines().await?.iter().filter(|view| view.online).count();
                if online == 2 {
                    return Ok(());
                }
                fleet.changed(&mut seen).await?;
            }
        };
        tokio::select! {
            result = tokio::time::timeout(ENGINES_TIMEOUT, all_online) => result.unwrap_or_else(|_| {
                let limit = ENGINES_TIMEOUT.as_secs();
                Err(Fail::new("demo", format!("the engines did not come up within {limit} s")).hint("--engine-logs shows why"))
            }),
            fail = self.engine_ended() => Err(fail),
        }
    }

    /// Returns if an engine ends, which none should.
    pub(crate) async fn engine_ended(&mut self) -> Fail {
        let [a, b] = self.engines.as_mut_slice() else {
            return std::future::pending().await;
        };
        let fail = tokio::select! { fail = a.ended() => fail, fail = b.ended() => fail };
        fail.hint("--engine-logs shows why")
    }

    pub(crate) async fn clear(self) {
        self.client.close().await;
        stop_all(self.engines).await;
        if let Err(error) = self.broker.shutdown().await {
            tell(format!("the broker did not stop in good order: {error}"));
        }
    }
}
