//! A message that was received, from the bytes that the engine hands over (`wayfare.h` has their layout).

use std::fmt;

/// 16 bytes that name a program.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProgramId(pub [u8; 16]);

impl fmt::Display for ProgramId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ProgramId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub topic: String,
    pub payload: Vec<u8>,
    /// The broker had kept it from before the subscription.
    pub retained: bool,
    /// The program that sent it, where it carried an id.
    pub sender: Option<ProgramId>,
    /// There, if whoever sent it waits for a reply. A call has none: it is answered, or fails ([`crate::calls`]).
    pub request: Option<Request>,
    /// There, if it is a call of one of the program's services. Its payload has the arguments.
    pub call: Option<Call>,
    /// What the sender calls messages of this sort ([`messages`](crate::messages)); known once the program attends to anything.
    pub kind: Option<String>,
    /// The key that it is ordered by; known in the same case.
    pub order: Option<String>,
    /// There, if it is no message: this call, which the program has received, was cancelled
    /// ([`calls::attend_to_cancels`](crate::calls::attend_to_cancels)).
    pub cancelled: Option<Request>,
}

/// A call that was received, to be answered once: now or later, in any order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The address that was called, such as `service/calc`.
    pub address: String,
    pub function: String,
    pub(crate) request: Request,
}

impl Call {
    /// By which it is told which call was cancelled.
    pub fn request(&self) -> &Request {
        &self.request
    }
}

/// What [`reply`](crate::reply) needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub(crate) reply_to: String,
    pub(crate) number: u64,
}

impl Request {
    /// As actions name it.
    pub(crate) fn text(&self) -> String {
        format!("{} {}", self.number, self.reply_to)
    }
}

const HEAD_BYTES: usize = 40;

impl Message {
    /// The payload as text, if it is.
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.payload).ok()
    }

    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let (head, rest) = bytes.split_first_chunk::<HEAD_BYTES>()?;
        let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let (topic, rest) = rest.split_at_checked(word(0) as usize)?;
        let (reply_to, rest) = rest.split_at_checked(word(4) as usize)?;
        let payload = rest.get(..word(8) as usize)?;
        let flags = word(12);
        let sender: [u8; 16] = head[16..32].try_into().ok()?;
        let number = u64::from_le_bytes(head[32..40].try_into().ok()?);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
        let topic = text(topic)?;
        let request = match reply_to.is_empty() {
            true => None,
            false => Some(Request {
                reply_to: text(reply_to)?,
                number,
            }),
        };
        let (request, cancelled) = match flags & 8 {
            0 => (request, None),
            _ => (None, request),
        };
        let word = |word: &str| (!word.is_empty()).then(|| word.to_owned());
        let mut words = topic
            .split('\n')
            .map(str::to_owned)
            .collect::<Vec<_>>()
            .into_iter();
        let (topic, kind, order) = match flags & 16 {
            0 => (topic, None, None),
            _ => (words.next()?, word(&words.next()?), word(&words.next()?)),
        };
        let (request, call) = match (request, topic.split_once(' ')) {
            (Some(request), Some((address, function))) if flags & 4 != 0 => {
                let (address, function) = (address.to_owned(), function.to_owned());
                let call = Call {
                    address,
                    function,
                    request,
                };
                (None, Some(call))
            }
            (request, _) => (request, None),
        };
        Some(Self {
            topic,
            payload: payload.to_vec(),
            retained: flags & 1 != 0,
            sender: (flags & 2 != 0).then_some(ProgramId(sender)),
            request,
            call,
            kind,
            order,
            cancelled,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_as_the_engine_writes_them() {
        let mut bytes = Vec::new();
        for word in [3u32, 2, 4, 3] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend([7; 16]);
        bytes.extend(9u64.to_le_bytes());
        bytes.extend(b"a/br2load");
        let message = Message::parse(&bytes).unwrap();
        assert_eq!(message.topic, "a/b");
        assert_eq!(message.text(), Some("load"));
        assert!(message.retained);
        assert_eq!(message.sender, Some(ProgramId([7; 16])));
        let request = message.request.unwrap();
        assert_eq!((request.reply_to.as_str(), request.number), ("r2", 9));
        assert_eq!(message.call, None);
        let mut bytes = Vec::new();
        for word in [14u32, 2, 1, 6] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend([0; 24]);
        bytes.extend(b"service/a f(x)r21");
        let message = Message::parse(&bytes).unwrap();
        let call = message.call.unwrap();
        assert_eq!(
            (call.address.as_str(), call.function.as_str()),
            ("service/a", "f(x)")
        );
        assert_eq!(message.request, None);
        for end in 0..bytes.len() {
            assert_eq!(Message::parse(&bytes[..end]), None, "cut at {end}");
        }
        let parse = |topic: &str, flags: u32| {
            let mut bytes = Vec::new();
            for word in [topic.len() as u32, 2, 1, flags] {
                bytes.extend(word.to_le_bytes());
            }
            bytes.extend([0; 24]);
            bytes.extend(topic.as_bytes());
            bytes.extend(b"r21");
            Message::parse(&bytes)
        };
        let message = parse("service/a\norder\n", 16).unwrap();
        assert_eq!(
            (message.topic.as_str(), message.kind.as_deref()),
            ("service/a", Some("order"))
        );
        assert_eq!(message.order, None);
        assert_eq!(parse("service/a", 16), None);
        let message = parse("service/a", 2 | 8).unwrap();
        assert_eq!(message.cancelled.as_ref(), Some(call.request()));
        assert_eq!(message.request, None);
    }
}
