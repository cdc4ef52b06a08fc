//! Rules that sort what comes into queues, from which the program takes what it handles next.
//!
//! ```no_run
//! use wayfare_guest::calls;
//! use wayfare_guest::rules::{Mailbox, When};
//!
//! calls::serve("kitchen")?;
//! let mut mailbox = Mailbox::new();
//! mailbox.rules("main").extend([
//!     When::any().kind("order").field("/table", 4).queue("terrace"),
//!     When::any().kind("order").queue("orders"),
//!     When::any().function("+").list("calls"),
//! ]);
//! mailbox.rules("calls").push(When::any().function("count").queue("questions"));
//! loop {
//!     let (queue, message) = mailbox.receive(&["questions", "orders"])?;
//!     println!("{queue}: {:?}", message.text());
//! #   break;
//! }
//! # Ok::<(), wayfare_guest::Error>(())
//! ```
//!
//! Of a list of rules the first that fits decides: the message goes into a queue, or on to another list. Lists can be changed
//! at any time, also while messages wait ([`Mailbox::sort_again`]). A program that waits for one queue keeps what comes for
//! the others, in the order in which it came.
//!
//! # What holds
//! Nothing is dropped without a word. What no rule takes, or a queue has no room for, is *undelivered*: a call fails as
//! [`Refused`](FailureKind::Refused) with the reason, the next message of its key may come, a line on standard error says so, and
//! [`Mailbox::take_undelivered`] has it. Queues are bounded, and move with the program.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::calls::{self, FailureKind};
use crate::message::{Message, ProgramId};
use crate::{Error, Result, messages};

/// The list that rules begin with.
pub const MAIN: &str = "main";
/// Messages of one queue, where [`Mailbox::limit`] says nothing else.
const MESSAGES_MAX: usize = 256;
/// Bytes of their payloads; one message has room whatever it has.
const BYTES_MAX: usize = 1 << 20;
/// Of more that are undelivered and not taken the newest are kept.
const UNDELIVERED_MAX: usize = 64;

/// What a rule fits. Everything that is said has to be so.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct When {
    kind: Option<String>,
    function: Option<String>,
    sender: Option<ProgramId>,
    address: Option<String>,
    fields: Vec<(String, Value)>,
    is_cancelled: bool,
}

/// One rule of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    when: When,
    then: Then,
}

#[derive(Debug, Clone, PartialEq)]
enum Then {
    Queue(String),
    List(String),
}

/// Why a message is in no queue.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Why {
    NoRule,
    /// A rule names a list that is not there, or one that it came from.
    NoList(String),
    QueueFull(String),
}

/// A message that is in no queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undelivered {
    pub why: Why,
    pub message: Message,
}

impl When {
    /// Fits everything but what was [`cancelled`](When::cancelled).
    pub fn any() -> Self {
        Self::default()
    }

    /// Fits the word that a call was cancelled which the program has taken, and nothing else. One that waits in a queue leaves it by itself.
    pub fn cancelled() -> Self {
        Self {
            is_cancelled: true,
            ..Self::default()
        }
    }

    /// Messages that their sender calls so ([`messages::Send::kind`]). The program has to [attend](messages::attend_to_order) to something
    /// to know of it.
    pub fn kind(self, kind: &str) -> Self {
        let kind = Some(kind.to_owned());
        Self { kind, ..self }
    }

    /// Calls of a function; `+`: of any.
    pub fn function(self, function: &str) -> Self {
        let function = Some(function.to_owned());
        Self { function, ..self }
    }

    /// What this program has sent.
    pub fn sender(self, sender: ProgramId) -> Self {
        let sender = Some(sender);
        Self { sender, ..self }
    }

    /// What came to an address, or on a topic, that this filter matches: `+` stands for a level, `#` at the end for any number of them.
    pub fn address(self, filter: &str) -> Self {
        let address = Some(filter.to_owned());
        Self { address, ..self }
    }

    /// What is JSON and has this at a place in it, such as `/table` or `/dishes/0` (a JSON pointer, RFC 6901).
    pub fn field(mut self, pointer: &str, value: impl Into<Value>) -> Self {
        self.fields.push((pointer.to_owned(), value.into()));
        self
    }

    /// Goes into this queue.
    pub fn queue(self, name: &str) -> Rule {
        let then = Then::Queue(name.to_owned());
        Rule { when: self, then }
    }

    /// Goes on with this list.
    pub fn list(self, name: &str) -> Rule {
        let then = Then::List(name.to_owned());
        Rule { when: self, then }
    }

    fn fits(&self, message: &Message, json: &Json<'_>) -> bool {
        let call = message.call.as_ref();
        let address = call.map_or(message.topic.as_str(), |call| call.address.as_str());
        let is_called =
            |function: &String| call.is_some_and(|call| function == "+" || *function == call.function);
        self.is_cancelled == message.cancelled.is_some()
            && self
                .kind
                .as_ref()
                .is_none_or(|kind| message.kind.as_ref() == Some(kind))
            && self.function.as_ref().is_none_or(is_called)
            && self.sender.is_none_or(|sender| message.sender == Some(sender))
            && self
                .address
                .as_ref()
                .is_none_or(|filter| matches(filter, address))
            && self
                .fields
                .iter()
                .all(|(pointer, value)| json.read().and_then(|json| json.pointer(pointer)) == Some(value))
    }
}

/// The payload, read once and only if a rule asks for it.
struct Json<'a> {
    payload: &'a [u8],
    read: std::cell::OnceCell<Option<Value>>,
}

impl Json<'_> {
    fn read(&self) -> Option<&Value> {
        let read = || serde_json::from_slice(self.payload).ok();
        self.read.get_or_init(read).as_ref()
    }
}

fn matches(filter: &str, address: &str) -> bool {
    let mut given = address.split('/');
    for level in filter.split('/') {
        match (level, given.next()) {
            ("#", _) => return true,
            ("+", Some(_)) => {}
            (level, Some(given)) if level == given => {}
            _ => return false,
        }
    }
    given.next().is_none()
}

#[derive(Debug, Clone, Default)]
struct Queue {
    /// With the number in the order of all that came.
    waiting: VecDeque<(u64, Message)>,
    bytes: usize,
}

/// Rules, and what they have sorted. It is the program's only reader of messages.
#[derive(Debug, Clone)]
pub struct Mailbox {
    lists: BTreeMap<String, Vec<Rule>>,
    default: Option<String>,
    queues: BTreeMap<String, Queue>,
    came: u64,
    messages_max: usize,
    bytes_max: usize,
    undelivered: VecDeque<Undelivered>,
}

impl Default for Mailbox {
    fn default() -> Self {
        Self::new()
    }
}

impl Mailbox {
    /// Without rules.
    pub fn new() -> Self {
        Self {
            lists: BTreeMap::from([(MAIN.to_owned(), Vec::new())]),
            default: None,
            queues: BTreeMap::new(),
            came: 0,
            messages_max: MESSAGES_MAX,
            bytes_max: BYTES_MAX,
            undelivered: VecDeque::new(),
        }
    }

    /// What fits no rule goes into this queue.
    pub fn otherwise(&mut self, queue: &str) {
        self.default = Some(queue.to_owned());
    }

    /// How much a queue has room for: 256 messages and 1 MiB where nothing is said. What is there already stays.
    pub fn limit(&mut self, messages: usize, bytes: usize) {
        (self.messages_max, self.bytes_max) = (messages, bytes);
    }

    /// A list of rules, which is there from then on. All begin with [`MAIN`].
    pub fn rules(&mut self, list: &str) -> &mut Vec<Rule> {
        self.lists.entry(list.to_owned()).or_default()
    }

    /// Sorts all that waits by the rules of now.
    pub fn sort_again(&mut self) {
        let queues = std::mem::take(&mut self.queues);
        let all: BTreeMap<u64, Message> = queues.into_values().flat_map(|queue| queue.waiting).collect();
        for (number, message) in all {
            if let Err(undelivered) = self.put(number, message) {
                self.refuse(*undelivered);
            }
        }
    }

    /// The oldest message of these queues, and the queue's name. Waits for it, and sorts what comes meanwhile.
    ///
    /// # Errors
    /// None that can be foreseen.
    pub fn receive(&mut self, queues: &[&str]) -> Result<(String, Message)> {
        loop {
            if let Some(taken) = self.take(queues) {
                return Ok(taken);
            }
            self.sort(crate::receive()?);
        }
    }

    /// The same, for so long at most.
    ///
    /// # Errors
    /// [`Error::TimedOut`].
    pub fn receive_timeout(&mut self, queues: &[&str], timeout: Duration) -> Result<(String, Message)> {
        let since = Instant::now();
        loop {
            if let Some(taken) = self.take(queues) {
                return Ok(taken);
            }
            let left = timeout.checked_sub(since.elapsed()).ok_or(Error::TimedOut)?;
            self.sort(crate::receive_timeout(left)?);
        }
    }

    /// The oldest message of these queues, of what was sorted.
    pub fn take(&mut self, queues: &[&str]) -> Option<(String, Message)> {
        let first = |name: &&&str| Some(self.queues.get(**name)?.waiting.front()?.0);
        let oldest = queues
            .iter()
            .filter(|name| first(name).is_some())
            .min_by_key(first)?;
        let queue = self.queues.get_mut(*oldest)?;
        let (_, message) = queue.waiting.pop_front()?;
        queue.bytes -= message.payload.len();
        Some(((*oldest).to_owned(), message))
    }

    /// How many wait in a queue.
    pub fn waiting(&self, queue: &str) -> usize {
        self.queues.get(queue).map_or(0, |queue| queue.waiting.len())
    }

    /// The oldest message that is in no queue.
    pub fn take_undelivered(&mut self) -> Option<Undelivered> {
        self.undelivered.pop_front()
    }

    /// Sorts a message that the program has received by itself.
    pub fn sort(&mut self, message: Message) {
        if let Some(cancelled) = &message.cancelled {
            let is_it = |one: &Message| one.call.as_ref().is_some_and(|call| call.request() == cancelled);
            for queue in self.queues.values_mut() {
                if let Some(at) = queue.waiting.iter().position(|(_, one)| is_it(one)) {
                    let removed = queue.waiting.remove(at);
                    queue.bytes -= removed.map_or(0, |(_, one)| one.payload.len());
                    return;
                }
            }
        }
        self.came += 1;
        if let Err(undelivered) = self.put(self.came, message) {
            self.refuse(*undelivered);
        }
    }

    fn put(&mut self, number: u64, message: Message) -> std::result::Result<(), Box<Undelivered>> {
        let name = match self.queue_of(&message) {
            Ok(name) => name,
            Err(why) => return Err(Box::new(Undelivered { why, message })),
        };
        let queue = self.queues.entry(name.clone()).or_default();
        let bytes = queue.bytes + message.payload.len();
        let has_room =
            queue.waiting.is_empty() || queue.waiting.len() < self.messages_max && bytes <= self.bytes_max;
        if !has_room {
            let why = Why::QueueFull(name);
            return Err(Box::new(Undelivered { why, message }));
        }
        queue.bytes = bytes;
        queue.waiting.push_back((number, message));
        Ok(())
    }

    fn queue_of(&self, message: &Message) -> std::result::Result<String, Why> {
        let json = Json {
            payload: &message.payload,
            read: std::cell::OnceCell::new(),
        };
        let mut list = MAIN;
        let mut passed = BTreeSet::new();
        loop {
            let rules = self.lists.get(list).filter(|_| passed.insert(list));
            let rules = rules.ok_or_else(|| Why::NoList(list.to_owned()))?;
            match rules
                .iter()
                .find(|rule| rule.when.fits(message, &json))
                .map(|rule| &rule.then)
            {
                Some(Then::Queue(name)) => return Ok(name.clone()),
                Some(Then::List(next)) => list = next,
                None => return self.default.clone().ok_or(Why::NoRule),
            }
        }
    }

    /// Says so to whoever waits for it, and to people.
    fn refuse(&mut self, undelivered: Undelivered) {
        let Undelivered { why, message } = &undelivered;
        eprintln!("wayfare: undelivered: {why}: {}", named(message));
        // One that was answered, or has no key that is attended to, needs no word.
        if let Some(call) = &message.call {
            let _ = calls::fail(call, FailureKind::Refused, &why.to_string());
        }
        if message.order.is_some() {
            let _ = messages::handled(message);
        }
        if self.undelivered.len() >= UNDELIVERED_MAX {
            self.undelivered.pop_front();
        }
        self.undelivered.push_back(undelivered);
    }
}

fn named(message: &Message) -> String {
    match (&message.call, &message.kind) {
        (Some(call), _) => format!("call of '{}' at {}", call.function, call.address),
        (None, Some(kind)) => format!("message '{kind}' to {}", message.topic),
        (None, None) => format!("message to {}", message.topic),
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRule => f.write_str("no rule of the mailbox fits it"),
            Self::NoList(name) => write!(
                f,
                "its rules lead to the list '{name}', which is not there or was passed"
            ),
            Self::QueueFull(name) => write!(f, "queue '{name}' of the mailbox is full"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Call, Request};

    fn message(kind: &str, topic: &str, payload: &str) -> Message {
        Message {
            topic: topic.into(),
            payload: payload.into(),
            retained: false,
            sender: Some(ProgramId([1; 16])),
            request: None,
            call: None,
            kind: (!kind.is_empty()).then(|| kind.into()),
            order: None,
            cancelled: None,
        }
    }

    fn request(number: u64) -> Request {
        let reply_to = "r".into();
        Request { reply_to, number }
    }

    fn call(function: &str, number: u64) -> Message {
        let call = Call {
            address: "service/kitchen".into(),
            function: function.into(),
            request: request(number),
        };
        Message {
            call: Some(call),
            ..message("", "", "")
        }
    }

    /// Which queue it comes into.
    fn sorted(mailbox: &Mailbox, message: &Message) -> std::result::Result<String, Why> {
        mailbox.queue_of(message)
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        let mut mailbox = Mailbox::new();
        mailbox.rules(MAIN).extend([
            When::any()
                .kind("order")
                .field("/table", 4)
                .field("/dishes/0", "soup")
                .queue("terrace"),
            When::any().kind("order").queue("orders"),
            When::any().sender(ProgramId([2; 16])).queue("boss"),
            When::any().address("program/+").list("own"),
            When::any().function("count").queue("questions"),
            When::any().function("+").queue("calls"),
        ]);
        mailbox
            .rules("own")
            .push(When::any().field("", true).queue("true"));
        let soup = r#"{"table":4,"dishes":["soup"]}"#;
        let boss = Message {
            sender: Some(ProgramId([2; 16])),
            ..message("", "service/kitchen", "")
        };
        for (message, expected) in [
            (message("order", "service/kitchen", soup), Ok("terrace")),
            (
                message("order", "service/kitchen", r#"{"table":5}"#),
                Ok("orders"),
            ),
            (message("order", "service/kitchen", "no JSON"), Ok("orders")),
            (message("", "service/kitchen", soup), Err(Why::NoRule)),
            (boss, Ok("boss")),
            (message("", "program/ann", "true"), Ok("true")),
            (message("", "program/ann", "1"), Err(Why::NoRule)),
            (message("", "program", "true"), Err(Why::NoRule)),
            (call("count", 1), Ok("questions")),
            (call("cook", 1), Ok("calls")),
        ] {
            let found = sorted(&mailbox, &message);
            assert_eq!(found.as_deref().map_err(Clone::clone), expected, "{message:?}");
        }
        mailbox.otherwise("rest");
        assert_eq!(sorted(&mailbox, &message("", "a/b", "")).as_deref(), Ok("rest"));
    }

    #[test]
    fn filters_match_whole_levels() {
        for (filter, address, expected) in [
            ("a/b", "a/b", true),
            ("a/+", "a/b", true),
            ("a/#", "a/b/c", true),
            ("#", "a", true),
            ("a", "a/b", false),
            ("a/+", "a", false),
            ("+", "a/b", false),
        ] {
            assert_eq!(matches(filter, address), expected, "{filter} {address}");
        }
    }

    #[test]
    fn the_oldest_of_the_queues_that_are_asked_for_is_taken_and_rules_change_under_way() {
        let mut mailbox = Mailbox::new();
        mailbox
            .rules(MAIN)
            .extend([When::any().kind("a").queue("a"), When::any().kind("b").queue("b")]);
        for (kind, payload) in [("b", "1"), ("a", "2"), ("b", "3"), ("a", "4")] {
            mailbox.sort(message(kind, "x", payload));
        }
        let mut taken = |queues: &[&str]| {
            mailbox
                .take(queues)
                .map(|(queue, one)| queue + one.text().unwrap())
        };
        assert_eq!(taken(&["a"]).as_deref(), Some("a2"));
        assert_eq!(taken(&["a", "b"]).as_deref(), Some("b1"));
        assert_eq!(taken(&["c"]), None);
        *mailbox.rules(MAIN) = vec![When::any().queue("c")];
        mailbox.sort_again();
        assert_eq!((mailbox.waiting("a"), mailbox.waiting("c")), (0, 2));
        let mut taken = |queues: &[&str]| {
            mailbox
                .take(queues)
                .map(|(queue, one)| queue + one.text().unwrap())
        };
        assert_eq!(taken(&["a", "b", "c"]).as_deref(), Some("c3"));
        assert_eq!(taken(&["c"]).as_deref(), Some("c4"));
        assert_eq!(taken(&["c"]), None);
    }

    #[test]
    fn what_is_in_no_queue_is_undelivered_and_says_why() {
        let mut mailbox = Mailbox::new();
        mailbox.limit(2, 1024);
        mailbox.rules(MAIN).extend([
            When::any().kind("a").queue("a"),
            When::any().kind("round").list("round"),
            When::any().kind("nowhere").list("nowhere"),
        ]);
        mailbox.rules("round").push(When::any().list(MAIN));
        for kind in ["a", "a", "a", "b", "round", "nowhere"] {
            mailbox.sort(message(kind, "x", ""));
        }
        for why in [
            Why::QueueFull("a".into()),
            Why::NoRule,
            Why::NoList(MAIN.into()),
            Why::NoList("nowhere".into()),
        ] {
            assert_eq!(mailbox.take_undelivered().map(|one| one.why), Some(why));
        }
        // A large one has room in an empty queue, and no other beside it.
        mailbox
            .rules(MAIN)
            .insert(0, When::any().kind("large").queue("large"));
        for _ in 0..2 {
            mailbox.sort(message("large", "x", &"x".repeat(2048)));
        }
        assert_eq!(mailbox.waiting("large"), 1);
        for _ in 0..2 * UNDELIVERED_MAX {
            mailbox.sort(message("b", "x", ""));
        }
        let undelivered = std::iter::from_fn(|| mailbox.take_undelivered()).count();
        assert_eq!(undelivered, UNDELIVERED_MAX);
    }

    #[test]
    fn a_call_that_is_cancelled_leaves_its_queue() {
        let mut mailbox = Mailbox::new();
        mailbox.rules(MAIN).extend([
            When::any().function("+").queue("calls"),
            When::cancelled().queue("cancelled"),
        ]);
        let cancelled = |number| Message {
            cancelled: Some(request(number)),
            ..message("", "", "")
        };
        for number in [1, 2] {
            mailbox.sort(call("cook", number));
        }
        mailbox.sort(cancelled(1));
        mailbox.sort(cancelled(7));
        assert_eq!((mailbox.waiting("calls"), mailbox.waiting("cancelled")), (1, 1));
        let (_, left) = mailbox.take(&["calls"]).unwrap();
        assert_eq!(left.call.unwrap().request(), &request(2));
    }
}
