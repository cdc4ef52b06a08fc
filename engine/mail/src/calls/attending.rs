//! What of the inbox the program is handed next, and what it has said that it attends to.

use wayfare_protocol::call::Sent;
use wayfare_protocol::stamp::Stamp;

use crate::message::ReceivedMessage;
use crate::{Mail, SUBSCRIPTIONS_MAX};

/// What a program attends to that programs of earlier releases know nothing of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attention {
    /// It is told of calls that it has taken and that were cancelled.
    pub cancels: bool,
    /// It says when it has handled a message that is ordered by a key, and is handed the next of that key
    /// only then. Without, it has handled each when it takes it.
    pub ordered: bool,
    /// It is handed what senders say about their messages.
    pub about: bool,
    /// While it receives, it is told of the end and progress of this call of its own.
    pub reply: Option<u64>,
}

impl Attention {
    pub(super) fn to_byte(self) -> u8 {
        let all = [self.cancels, self.ordered, self.about, self.reply.is_some()];
        all.into_iter()
            .rev()
            .fold(0, |byte, flag| byte << 1 | u8::from(flag))
    }

    /// `reply`: the number that follows where [`Attention::has_reply`].
    pub(super) fn of_byte(byte: u8, reply: Option<u64>) -> Self {
        Self {
            cancels: byte & 1 != 0,
            ordered: byte & 2 != 0,
            about: byte & 4 != 0,
            reply,
        }
    }

    pub(super) fn has_reply(byte: u8) -> bool {
        byte & 8 != 0
    }
}

/// Whether a message in the inbox is handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Now,
    Later,
    Never,
}

impl Mail {
    pub fn attend(&mut self, attention: Attention) {
        self.calls.attention = attention;
        if !attention.ordered {
            self.calls.busy.clear();
        }
    }

    pub fn attention(&self) -> Attention {
        self.calls.attention
    }

    /// The program has handled the message of this key that it took. `false`: it has taken none.
    pub fn handled(&mut self, key: &str) -> bool {
        self.calls.busy.remove(key)
    }

    /// Where in the inbox the next message for the program is.
    pub(crate) fn next_in_inbox(&self) -> Option<usize> {
        self.inbox
            .iter()
            .position(|message| self.turn_of(message) == Turn::Now)
    }

    /// Removes a message that is handed over, and what before it never will be.
    pub(crate) fn remove_from_inbox(&mut self, at: usize) -> Option<ReceivedMessage> {
        let message = self.inbox.remove(at)?;
        self.inbox_bytes -= message.bytes();
        for before in (0..at).rev() {
            if self.turn_of(&self.inbox[before]) == Turn::Never
                && let Some(unwanted) = self.inbox.remove(before)
            {
                self.inbox_bytes -= unwanted.bytes();
            }
        }
        if let Some((Sent::Message { about, .. }, _)) = self.sent_here(&message)
            && self.calls.attention.ordered
            && let Some(key) = about.ordered
        {
            self.calls.busy.insert(key);
        }
        self.tell_delivery(&message, false);
        Some(message)
    }

    /// Removes what never will be handed over, where nothing else is: nobody would take it from an inbox that
    /// is full of it.
    pub(crate) fn remove_unwanted(&mut self) {
        if self.next_in_inbox().is_some() {
            return;
        }
        let mut inbox = std::mem::take(&mut self.inbox);
        inbox.retain(|message| self.turn_of(message) != Turn::Never);
        self.inbox_bytes = inbox.iter().map(ReceivedMessage::bytes).sum();
        self.inbox = inbox;
    }

    fn turn_of(&self, message: &ReceivedMessage) -> Turn {
        match self.sent_here(message) {
            Some((Sent::Cancel { call, .. }, _)) => match self.is_attended(message, call) {
                true => Turn::Now,
                false => Turn::Never,
            },
            Some((Sent::Message { about, .. }, _)) if self.calls.attention.ordered => {
                let busy = &self.calls.busy;
                let is_over = busy.len() >= SUBSCRIPTIONS_MAX;
                match about.ordered.is_some_and(|key| is_over || busy.contains(&key)) {
                    true => Turn::Later,
                    false => Turn::Now,
                }
            }
            _ => Turn::Now,
        }
    }

    /// Whether the program is told of it if this call of the sender's, which it has or will have, is
    /// cancelled. What is not wanted when it comes is not kept: an inbox could be full of it.
    pub(super) fn may_cancel(&self, cancel: &Stamp, call: u64) -> bool {
        let is_it = |message: &ReceivedMessage| {
            let stamp = message.stamp.as_ref();
            stamp.is_some_and(|stamp| stamp.sender == cancel.sender && stamp.number == call)
        };
        let taken = || {
            self.calls
                .position(&self.replies_of(cancel.sender), call)
                .is_some()
        };
        self.calls.attention.cancels && (taken() || self.inbox.iter().any(is_it))
    }

    /// Whether the program has taken this call of the sender's, has not answered it, and is told that it was
    /// cancelled.
    fn is_attended(&self, message: &ReceivedMessage, call: u64) -> bool {
        let Some(stamp) = message.stamp.as_ref().filter(|_| self.calls.attention.cancels) else {
            return false;
        };
        let reply_to = self.replies_of(stamp.sender);
        self.calls.position(&reply_to, call).is_some()
    }
}
