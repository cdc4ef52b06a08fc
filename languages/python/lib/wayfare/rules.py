"""Rules that sort what comes into queues, from which the program takes what it handles next.

    import wayfare
    from wayfare.rules import Mailbox, rule

    mailbox = Mailbox(wayfare.serve("kitchen"))
    mailbox.rules["main"] = [
        rule(type="order", fields={"/table": 4}, queue="terrace"),
        rule(type="order", queue="orders"),
        rule(function="+", list="calls"),
    ]
    mailbox.rules["calls"] = [rule(function="count", queue="questions")]
    while True:
        queue, message = mailbox.receive("questions", "orders")
        print(queue, message.text)

Of a list of rules the first that fits decides: the message goes into a queue, or on to another list. Lists can be changed
at any time, also while messages wait (`sort_again`). A program that waits for one queue keeps what comes for the others, in
the order in which it came. A call that is cancelled leaves its queue. Within asyncio, `await wayfare.aio.receive(mailbox, "questions")`.

Nothing is dropped without a word. What no rule takes, or a queue has no room for, is undelivered: a call fails as `refused`
with the reason, the next message of its key may come, a line on standard error says so, and `take_undelivered` has it. Queues
are bounded, and move with the program.
"""

import collections
import itertools
import json
import sys
import time

import wayfare

__all__ = ["MAIN", "Mailbox", "Undelivered", "rule"]

#: The list that rules begin with.
MAIN = "main"
#: Of more that are undelivered and not taken the newest are kept.
_UNDELIVERED_MAX = 64

Undelivered = collections.namedtuple("Undelivered", "why message")
Undelivered.__doc__ = "A message that is in no queue, and why, as a text."

_Rule = collections.namedtuple("_Rule", "type function sender address fields queue list")


def rule(*, type=None, function=None, sender=None, address=None, fields=None, queue=None, list=None):
    """Fits what all of this is so of, which goes into a `queue`, or on to a `list`.

    `type`: messages that their sender calls so. `function`: calls of it; "+" is any. `sender`: the id of a program. `address`: what came to
    an address, or on a topic, that this filter matches, with + and # as in MQTT. `fields`: JSON that has these values at these places,
    such as {"/table": 4} (JSON pointers, RFC 6901).
    """
    if (queue is None) == (list is None):
        raise ValueError("a rule has a queue or a list")
    return _Rule(type, function, sender, address, dict(fields or {}), queue, list)


class Mailbox:
    """Rules, and what they have sorted of these sources: what `wayfare.serve`, `listen` and `subscribe` give. Their only reader."""

    def __init__(self, *sources):
        #: Lists of rules by their names. All begin with "main".
        self.rules = {MAIN: []}
        #: What fits no rule goes into this queue, if it has a name.
        self.otherwise = None
        #: How much a queue has room for. One message has room in an empty queue, whatever it has.
        self.messages_max = 256
        self.bytes_max = 1 << 20
        self._queues = {}
        self._numbers = itertools.count()
        self._undelivered = collections.deque(maxlen=_UNDELIVERED_MAX)
        self._sources = []
        self._waiters = []
        for source in sources:
            self.add(source)

    def add(self, source):
        """Sorts what comes there from now on, and what waits there."""
        waiting, source._queue = source._queue, _Into(self)
        self._sources.append(source)
        for message in waiting:
            self.sort(message)

    def receive(self, *queues, timeout=None):
        """The oldest message of these queues, behind the queue's name. Waits for it, `timeout` seconds at most: then that is TimedOut."""
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            taken = self.take(*queues)
            if taken is not None:
                return taken
            if not wayfare._channel().pump(until):
                raise wayfare.TimedOut("timeout", f"no message for {', '.join(queues)} within {timeout} s")

    def take(self, *queues):
        """The oldest message of these queues, of what was sorted. None: they are empty."""
        for name in queues:
            self._forget_cancelled(name)
        oldest = min((name for name in queues if self._queues.get(name)), key=lambda name: self._queues[name][0][0], default=None)
        if oldest is None:
            return None
        return oldest, self._queues[oldest].popleft()[1]

    def waiting(self, queue):
        """How many wait in a queue."""
        self._forget_cancelled(queue)
        return len(self._queues.get(queue, ()))

    def take_undelivered(self):
        """The oldest message that is in no queue: an Undelivered. None: there is none."""
        return self._undelivered.popleft() if self._undelivered else None

    def sort_again(self):
        """Sorts all that waits by the rules of now."""
        queues, self._queues = self._queues, {}
        for number, message in sorted(itertools.chain.from_iterable(queues.values()), key=lambda one: one[0]):
            self._put(number, message)

    def sort(self, message):
        """Sorts a message that the program has received by itself."""
        self._put(next(self._numbers), message)

    def _put(self, number, message):
        name, why = self._queue_of(message)
        if why is None:
            self._forget_cancelled(name)
            queue = self._queues.setdefault(name, collections.deque())
            size = sum(len(one.payload) for _, one in queue) + len(message.payload)
            if not queue or (len(queue) < self.messages_max and size <= self.bytes_max):
                queue.append((number, message))
                self._wake()
                return
            why = f"queue '{name}' of the mailbox is full"
        self._refuse(message, why)

    def _wake(self):
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _queue_of(self, message):
        """The name of a queue, or None and why there is none."""
        content = _Content(message.payload)
        name, passed = MAIN, set()
        while True:
            if name in passed or name not in self.rules:
                return None, f"its rules lead to the list '{name}', which is not there or was passed"
            passed.add(name)
            fits = next((one for one in self.rules[name] if _fits(one, message, content)), None)
            if fits is None:
                return (self.otherwise, None) if self.otherwise is not None else (None, "no rule of the mailbox fits it")
            if fits.queue is not None:
                return fits.queue, None
            name = fits.list

    def _forget_cancelled(self, name):
        queue = self._queues.get(name)
        if queue and any(_is_cancelled(message) for _, message in queue):
            self._queues[name] = collections.deque(one for one in queue if not _is_cancelled(one[1]))

    def _refuse(self, message, why):
        """Says so to whoever waits for it, and to people."""
        print(f"wayfare: undelivered: {why}: {_named(message)}", file=sys.stderr)
        self._undelivered.append(Undelivered(why, message))
        # Others may be read meanwhile. One that was answered, or has no key that is attended to, needs no word.
        try:
            if isinstance(message, wayfare.Call):
                message.fail("refused", why)
            elif message.order is not None:
                message.handled()
        except wayfare.WayfareError:
            pass


class _Into:
    """In the place of a source's queue."""

    #: What came last: a message on a topic that several sources match is one.
    _last = None

    def __init__(self, mailbox):
        self._mailbox = mailbox

    def append(self, message):
        if _Into._last is not message:
            _Into._last = message
            self._mailbox.sort(message)

    def __bool__(self):
        return False


class _Content:
    """A payload, read once and only if a rule asks for it."""

    def __init__(self, payload):
        self._payload = payload
        self._read = None

    def at(self, pointer):
        """A list with what is there, or an empty one."""
        if self._read is None:
            try:
                self._read = [json.loads(self._payload)]
            except ValueError:
                self._read = []
        found = self._read
        if pointer and not pointer.startswith("/"):
            return []
        for step in pointer.split("/")[1:]:
            step = step.replace("~1", "/").replace("~0", "~")
            if found and isinstance(found[0], dict) and step in found[0]:
                found = [found[0][step]]
            elif found and isinstance(found[0], list) and _is_index(step, found[0]):
                found = [found[0][int(step)]]
            else:
                return []
        return found


def _is_index(step, values):
    return step.isdecimal() and step.isascii() and str(int(step)) == step and int(step) < len(values)


def _same(one, other):
    """As JSON has it: true is not 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    return one == other


def _fits(rule, message, content):
    is_call = isinstance(message, wayfare.Call)
    kind = None if is_call else message.type
    address = message.address if is_call else message.topic
    return (
        (rule.type is None or kind == rule.type)
        and (rule.function is None or is_call and rule.function in ("+", message.function))
        and (rule.sender is None or message.sender == rule.sender)
        and (rule.address is None or wayfare._matches(rule.address, address))
        and all(any(_same(found, value) for found in content.at(at)) for at, value in rule.fields.items())
    )


def _is_cancelled(message):
    return isinstance(message, wayfare.Call) and message.is_cancelled


def _named(message):
    if isinstance(message, wayfare.Call):
        return f"call of '{message.function}' at {message.address}"
    kind = f" '{message.type}'" if message.type is not None else ""
    return f"message{kind} to {message.topic}"
