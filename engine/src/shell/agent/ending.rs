//! The end of the loop in good order: what belongs to applications leaves, what remains is stored, and the
//! last word is said.

use std::future::Future;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use wayfare_core::types::Input;
use wayfare_link::LinkEvents;
use wayfare_protocol::status::EngineStatus;

use super::Agent;
use crate::shell::machine;
use crate::shell::programs::Said;
use crate::shell::supervisor::Told;

/// Programs are stored, and what they printed is published, within this; what is not done then is as after a
/// crash.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// Moves that are under way when everything is stored are waited for as long as this while their targets
/// answer: what is compiled there, or sent, may take longer than it was meant to take to leave.
const HAND_OVER_SECONDS_LONGEST: u64 = 300;
/// Last words reach the broker within this, or its last will speaks for us.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
impl Agent {
    pub(in crate::shell) fn tell(&mut self, told: Told) {
        self.supervisor.tell(told);
    }

    /// A newer process has our id.
    pub(in crate::shell) fn is_taken(&self) -> bool {
        self.taken.is_some()
    }

    /// It is another's connection now: there is no link any more, and there will be none.
    pub(in crate::shell) async fn cut_off(&mut self) {
        self.out.link.clone().close_within(CLOSE_TIMEOUT).await;
        self.lose_fence();
        self.out.is_connected = false;
        self.times.give_up_logs = None;
        self.programs.set_connected(false);
        self.scrapes.close().await;
    }

    /// Begins to leave; `false`: there is nobody to wait for, or nothing.
    pub(in crate::shell) fn begin_leaving(&mut self, time: Duration) -> bool {
        let has_programs = || self.core.statuses().iter().any(|status| !status.state.is_ended());
        let leaves = !time.is_zero() && self.is_heard() && has_programs() && self.leaving.begin(time);
        if leaves {
            // With the request in it.
            self.feed(Input::Connected);
        }
        leaves
    }

    /// Has the core store its programs, until that is done or its time is over.
    pub(in crate::shell) async fn drain(
        &mut self,
        link: &mut LinkEvents,
        said: &mut UnboundedReceiver<Said>,
    ) {
        self.is_stopping = true;
        self.stop_for_delayed_captures();
        self.inputs.push_back(Input::Stopping);
        self.run(link, said, tokio::time::sleep(DRAIN_TIMEOUT)).await;
    }

    /// The next start finds that this one ended in good order.
    pub(in crate::shell) fn note_end(&self) {
        self.store.note_end();
    }

    /// Waits for the moves that are under way, until `stop`: all that is here is stored.
    pub(in crate::shell) async fn hand_over(
        &mut self,
        link: &mut LinkEvents,
        said: &mut UnboundedReceiver<Said>,
        stop: impl Future<Output = ()>,
    ) {
        if !self.hands_over() {
            return;
        }
        tracing::info!("waits for programs that are being moved: another signal ends that");
        let (seconds, longest) = (
            HAND_OVER_SECONDS_LONGEST,
            Duration::from_secs(HAND_OVER_SECONDS_LONGEST),
        );
        self.supervisor.tell(Told::StoppingWithin {
            seconds: seconds + (DRAIN_TIMEOUT + CLOSE_TIMEOUT).as_secs(),
        });
        let _ = tokio::time::timeout(longest, self.run(link, said, stop)).await;
    }

    /// Says that the engine is offline, as the last thing.
    pub(in crate::shell) async fn close(self) {
        self.note_end();
        let offline = EngineStatus {
            stopped: true,
            ..machine::offline(self.out.engine.clone(), self.boot, self.about.clone())
        };
        self.out.engine_status(&offline);
        let unsaid = self.out.link.close_within(CLOSE_TIMEOUT).await;
        if !unsaid.is_empty() {
            tracing::warn!(
                messages = unsaid.len(),
                "the broker did not take the last messages"
            );
        }
    }
}
