//! Holding still, for another engine has the id: its programs are stored and nothing runs. Now and then it is
//! tried whether the other is gone. Who connects under the id is thrown out at once by another that lives: if
//! nobody comes for a while, there is nobody.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use wayfare_link::{Event, Link, LinkEvents, LinkOptions, OnTakeover};

use super::options::EngineOptions;
use super::supervisor::{Supervisor, Told};

/// Between two tries: each costs the other one connection.
const TRY_INTERVAL: Duration = Duration::from_secs(600);
/// Longest that another engine takes to come back when it was thrown out.
const ALONE_AFTER: Duration = Duration::from_secs(30);
/// The service manager hears that we live.
const ALIVE_INTERVAL: Duration = Duration::from_secs(5);

/// Why an engine holds still no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Held {
    /// Nobody else has the id.
    Alone,
    Stopped,
}

pub(super) async fn hold(
    options: &EngineOptions,
    supervisor: &Supervisor,
    mut shutdown: impl Future<Output = ()> + Unpin,
) -> Held {
    let alone = async {
        loop {
            tokio::time::sleep(TRY_INTERVAL).await;
            if is_alone(options).await {
                return;
            }
        }
    };
    let alive = async {
        loop {
            supervisor.tell(Told::Alive);
            tokio::time::sleep(ALIVE_INTERVAL).await;
        }
    };
    tokio::select! {
        () = alone => Held::Alone,
        () = alive => unreachable!("it goes on for ever"),
        () = &mut shutdown => Held::Stopped,
    }
}

/// Takes the session without a word, and waits for whoever takes it back.
async fn is_alone(options: &EngineOptions) -> bool {
    let probe = LinkOptions {
        on_takeover: OnTakeover::Stop,
        ..LinkOptions::new(options.broker.clone(), options.client_id())
    };
    let Ok((link, mut events)) = wayfare_link::connect(probe) else {
        return false;
    };
    let alone = nobody_comes(&mut events).await;
    close(link).await;
    alone
}

async fn nobody_comes(events: &mut LinkEvents) -> bool {
    loop {
        match events.next().await {
            Some(Event::Connected { .. }) => break,
            Some(_) => {}
            None => return false,
        }
    }
    let deadline = Instant::now() + ALONE_AFTER;
    loop {
        match timeout_at(deadline, events.next()).await {
            Err(_) => return true,
            Ok(Some(Event::Received(_))) => {}
            // Thrown out, or the network broke: nothing is known, and it is tried again later.
            Ok(_) => return false,
        }
    }
}

async fn close(link: Link) {
    link.close_within(Duration::ZERO).await;
}
