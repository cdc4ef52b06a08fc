//! What calls are open, for who looks at the program.

use wayfare_protocol::call::Sent;
use wayfare_protocol::ids::ProgramId;
use wayfare_protocol::open_calls::{LISTED_MAX, MadeCall, OpenCalls, ReceivedCall};
use wayfare_protocol::topics::Topic;

use super::open::{Open, What};
use super::{Asked, Taken};
use crate::Mail;
use crate::message::ReceivedMessage;

impl Mail {
    /// The program's open calls. `now_ns` is by the program's clock, by which calls end; `clock_ms` by the
    /// engine's.
    pub fn open_calls(&self, now_ns: u64, clock_ms: u64) -> OpenCalls {
        let own = || {
            self.calls
                .own()
                .filter(|(_, one)| one.called_provider().is_some())
        };
        let taken = || self.calls.taken.iter().filter_map(|one| self.taken_call(one));
        let queued = || self.inbox.iter().filter_map(|message| self.queued_call(message));
        OpenCalls {
            clock_ms,
            made: own()
                .filter_map(|(number, one)| made(*number, one, now_ns))
                .take(LISTED_MAX)
                .collect(),
            made_count: own().count() as u64,
            received: taken().chain(queued()).take(LISTED_MAX).collect(),
            received_count: (taken().count() + queued().count()) as u64,
        }
    }

    fn taken_call(&self, taken: &Taken) -> Option<ReceivedCall> {
        let Topic::ProgramReply(caller) = self.home.topics.parse(&taken.reply_to)? else {
            return None;
        };
        let asked = taken.asked.as_ref();
        Some(ReceivedCall {
            number: taken.number,
            caller,
            address: asked.map(|asked| asked.to.clone()),
            function: asked.map(|asked| asked.function.clone()),
            since_ms: asked.and_then(Asked::since_ms),
            deadline_ms: asked.map(|asked| asked.deadline_ms),
            queued: false,
        })
    }

    fn queued_call(&self, message: &ReceivedMessage) -> Option<ReceivedCall> {
        let stamp = message.stamp.as_ref()?;
        let Some((
            Sent::Call {
                to,
                function,
                deadline_ms,
                ..
            },
            _,
        )) = self.sent_here(message)
        else {
            return None;
        };
        Some(ReceivedCall {
            number: stamp.number,
            caller: stamp.sender,
            address: Some(to),
            function: Some(function),
            since_ms: None,
            deadline_ms: Some(deadline_ms),
            queued: true,
        })
    }
}

impl Asked {
    fn since_ms(&self) -> Option<u64> {
        Some(self.since_ms).filter(|since_ms| *since_ms > 0)
    }
}

impl Open {
    /// Who is called, unless it is a message.
    fn called_provider(&self) -> Option<ProgramId> {
        match &self.what {
            What::Call { provider, .. } => Some(*provider),
            What::Message { .. } => None,
        }
    }
}

fn made(number: u64, one: &Open, now_ns: u64) -> Option<MadeCall> {
    Some(MadeCall {
        number,
        address: one.address.clone(),
        provider: one.called_provider()?,
        function: Some(one.keys.function.clone()).filter(|function| !function.is_empty()),
        since_ms: Some(one.since_ms).filter(|since_ms| *since_ms > 0),
        left_ms: one.until_ns.saturating_sub(now_ns) / 1_000_000,
        ended: one.outcome(now_ns).is_some(),
    })
}
