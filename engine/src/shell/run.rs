//! Running an engine, and ending it in good order.

use std::pin::pin;

use tokio::sync::mpsc::Receiver;

use super::agent::Agent;
use super::hold::{Held, hold};
use super::options::EngineOptions;
use super::supervisor::{Supervisor, Told};

/// Runs an engine until `stops` has a first message; then has programs of applications moved elsewhere,
/// stores the others, says that it has stopped, and returns. A second message ends the wait for moves; the
/// next one everything, with an error unless all is stored. Fails otherwise only where an engine cannot
/// begin: its folder is in use, or cannot be read or written. A broker that is not there is waited for. An
/// engine whose id a newer process has holds still until that is gone.
pub async fn run(options: EngineOptions, mut stops: Receiver<()>) -> anyhow::Result<()> {
    loop {
        let (mut agent, mut link, mut said) = Agent::assemble(&options)?;
        agent.tell(Told::Begun);
        agent.run(&mut link, &mut said, stop(&mut stops)).await;
        let is_taken = agent.is_taken();
        if is_taken {
            agent.cut_off().await;
        } else {
            tracing::info!(engine = %options.engine, "engine stops");
            agent.tell(Told::Stopping);
            if agent.begin_leaving(options.hand_over) {
                agent.run(&mut link, &mut said, stop(&mut stops)).await;
            }
        }
        tokio::select! {
            () = agent.drain(&mut link, &mut said) => {}
            () = stop(&mut stops), if !is_taken => {
                anyhow::bail!("ended by another signal, before everything was stored")
            }
        }
        if !is_taken {
            agent.hand_over(&mut link, &mut said, stop(&mut stops)).await;
            agent.close().await;
            return Ok(());
        }
        agent.note_end();
        drop(agent);
        let supervisor = Supervisor::from_environment();
        if hold(&options, &supervisor, pin!(stop(&mut stops))).await == Held::Stopped {
            return Ok(());
        }
        tracing::info!(engine = %options.engine, "nobody else has the id any more: the engine goes on");
    }
}

/// The next message that it is to stop. Whoever drops the sender leaves it alone.
async fn stop(stops: &mut Receiver<()>) {
    if stops.recv().await.is_none() {
        std::future::pending::<()>().await;
    }
}
