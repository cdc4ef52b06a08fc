"""Wayfare for Python programs: messages, calls, values and devices, over the files of /wayfare.

    import wayfare

    for message in wayfare.subscribe("greenhouse/temperature"):
        wayfare.publish("greenhouse/fan", "on" if float(message.text) > 25 else "off")

Each call waits until it is done. All of it may be moved at any time, within a call too: nothing is lost, and nothing
is done twice. With `wayfare.aio` the same works within asyncio.

The book's page "Lines" describes the files; this is a thin layer over them, in plain Python.
"""

import base64
import collections
import contextlib
import json
import os
import select
import time
import weakref

__all__ = [
    "Absent", "Call", "Conflict", "Device", "Mailbox", "Message", "NotGranted", "OpenCall", "Service", "Subscription", "TimedOut",
    "Unavailable", "Value", "WayfareError", "begin", "call", "compare_and_set", "device", "get", "healthy", "hold", "listen", "me",
    "on_moved", "publish", "ready", "remove", "request", "send", "serve", "set", "subscribe",
]

#: Where the files are. Tests put something else in their place.
FOLDER = "/wayfare"
_READ_BYTES = 1 << 16


class WayfareError(Exception):
    """An action that was refused. `kind` is for programs, as the page "Lines" lists them; `reason` for people."""

    def __init__(self, kind, reason, version=None):
        super().__init__(f"{kind}: {reason}")
        self.kind = kind
        self.reason = reason
        #: That the value has, where it is another than was expected.
        self.version = version


class NotGranted(WayfareError, PermissionError):
    """It was not granted when the program was run. Its log names the option."""


class Absent(WayfareError, KeyError):
    """There is no such value."""

    __str__ = Exception.__str__


class Conflict(WayfareError):
    """The value has another `version` by now."""


class TimedOut(WayfareError, TimeoutError):
    """Nothing came in time."""


class Unavailable(WayfareError):
    """No dispatcher answered, or the provider of a service is gone."""


_KINDS = {
    "not-granted": NotGranted,
    "absent": Absent,
    "conflict": Conflict,
    "timeout": TimedOut,
    "deadline-exceeded": TimedOut,
    "unavailable": Unavailable,
}


class Message:
    """What was published. `payload` is bytes."""

    __slots__ = ("topic", "payload", "retained", "sender", "type", "order", "_request")

    def __init__(self, event):
        self.topic = event["topic"]
        #: What its sender calls messages of this sort, and the key that it is ordered by, as `send` was told.
        self.type = event.get("type")
        self.order = event.get("order")
        self.payload = _bytes_of(event, "payload")
        self.retained = event.get("retained", False)
        #: The id of the program that published it, if it was one.
        self.sender = event.get("from")
        self._request = event.get("request")

    @property
    def text(self):
        return self.payload.decode()

    def json(self):
        return json.loads(self.payload)

    @property
    def is_request(self):
        """Whether somebody waits for a reply to it."""
        return self._request is not None

    def reply(self, payload):
        """Answers a request."""
        if self._request is None:
            raise WayfareError("not-repliable", "this message is no request")
        _channel().act({"do": "reply", "to": self._request, **_field("payload", payload)})

    def handled(self):
        """Of messages that are ordered by this one's key, the next may come."""
        _channel().act({"do": "handled", "order": self.order})

    def __repr__(self):
        return f"Message(topic={self.topic!r}, payload={self.payload!r})"


class Call:
    """A call of a service of this program's. `payload` has the arguments, as bytes."""

    __slots__ = ("address", "function", "payload", "sender", "is_cancelled", "_request", "__weakref__")

    def __init__(self, event):
        #: The address that was called, such as service/calc.
        self.address = event["address"]
        self.function = event["function"]
        self.payload = _bytes_of(event, "payload")
        #: The id of the caller.
        self.sender = event.get("from")
        #: Whether the caller does not wait for the end any longer. Known when the program next reads or waits.
        self.is_cancelled = False
        self._request = event["request"]

    @property
    def text(self):
        return self.payload.decode()

    def json(self):
        return json.loads(self.payload)

    def answer(self, result):
        """Ends the call with text or bytes; once, now or later."""
        _channel().act({"do": "answer", "to": self._request, **_field("payload", result)})

    def fail(self, kind, reason):
        """Ends the call without a result: `kind` is one of those of the page "Lines", such as refused, not-found or failed."""
        _channel().act({"do": "fail", "to": self._request, "kind": kind, "reason": reason})

    def progress(self, payload):
        """Tells the caller how far the call is, if it takes that."""
        _channel().act({"do": "progress", "to": self._request, **_field("payload", payload)})

    def hand_on(self, address, function, payload="", *, timeout=30):
        """Has a function at another address called in its place: the end of that is the end of the call."""
        action = {"do": "hand_on", "to": self._request, "address": address, "function": function}
        _channel().act({**action, "deadline_ms": _ms(timeout), **_field("payload", payload)})

    def __repr__(self):
        return f"Call(address={self.address!r}, function={self.function!r}, payload={self.payload!r})"


class Service:
    """Calls of a service, and messages that were sent to it, in the order in which they came: an iterator that waits for
    the next. A call is a Call."""

    def __init__(self, name, schema=None):
        self.name = name
        self._queue = collections.deque()
        _channel().serve(self, schema)

    def __iter__(self):
        return self

    def __next__(self):
        return self.receive()

    def receive(self, timeout=None):
        """The next one. Waits for it, `timeout` seconds at most: then that is TimedOut."""
        until = None if timeout is None else time.monotonic() + timeout
        while not self._queue:
            if not _channel().pump(until):
                raise TimedOut("timeout", f"no call of {self.name} within {timeout} s")
        return self._queue.popleft()


class Mailbox(Service):
    """Messages to the program's own addresses, where it provides no service."""

    def __init__(self):
        self.name = "messages"
        self._queue = collections.deque()
        _channel().listen(self)


class OpenCall:
    """A call that was made. Many can be open."""

    def __init__(self, action, on_progress):
        self._answer = None
        self._on_progress = on_progress
        self._number = _channel().begin(action, self._ended, self._progress)

    def result(self, timeout=None):
        """The bytes of the result, as soon as there is one. Waits `timeout` seconds at most: then that is TimedOut, and the
        call is still open."""
        until = None if timeout is None else time.monotonic() + timeout
        while self._answer is None:
            if not _channel().pump(until):
                raise TimedOut("timeout", f"no answer within {timeout} s")
        if self._answer["event"] == "error":
            raise _error(self._answer)
        return _bytes_of(self._answer, "payload")

    @property
    def is_done(self):
        return self._answer is not None

    def cancel(self):
        """Ends the call, if it has no end, and tells its provider. It may have been done."""
        if self._answer is None:
            _channel().act({"do": "cancel", "call": self._number})

    def _ended(self, event):
        self._answer = event

    def _progress(self, event):
        if self._on_progress is not None:
            self._on_progress(_bytes_of(event, "payload"))


class Subscription:
    """Messages on the topics of a filter, in the order in which they came: an iterator that waits for the next.

    Within asyncio, `async for` does. A context manager that unsubscribes at its end.
    """

    def __init__(self, filter, qos):
        self.filter = filter
        self._queue = collections.deque()
        self._waiters = []
        self._is_open = True
        _channel().subscribe(self, qos)

    def __iter__(self):
        return self

    def __next__(self):
        if not self._is_open and not self._queue:
            raise StopIteration
        return self.receive()

    def receive(self, timeout=None):
        """The next message. Waits for it, `timeout` seconds at most: then that is TimedOut."""
        until = None if timeout is None else time.monotonic() + timeout
        while not self._queue:
            if not self._is_open:
                raise WayfareError("gone", f"not subscribed to {self.filter} any more")
            if not _channel().pump(until):
                raise TimedOut("timeout", f"no message for {self.filter} within {timeout} s")
        return self._queue.popleft()

    def unsubscribe(self):
        """Messages that are here already are still given."""
        if self._is_open:
            self._is_open = False
            _channel().unsubscribe(self)
            self._wake()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.unsubscribe()

    def __aiter__(self):
        return self

    async def __anext__(self):
        from . import aio

        while not self._queue:
            if not self._is_open:
                raise StopAsyncIteration
            await aio.next_of(self)
        return self._queue.popleft()

    def _put(self, message):
        self._queue.append(message)
        self._wake()

    def _wake(self):
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)


Value = collections.namedtuple("Value", "value version")
Value.__doc__ = "What is kept under a key: its bytes, and the version that `compare_and_set` takes."


def publish(topic, payload, *, qos=1, retain=False, plain=False):
    """Publishes text or bytes. `plain`: for receivers that know nothing of Wayfare."""
    action = {"do": "publish", "topic": topic, "qos": qos, "retain": retain, "plain": plain}
    _channel().act({**action, **_field("payload", payload)})


def subscribe(filter, *, qos=1):
    """Subscribes to a topic, or to a filter with + and #. Messages that come are kept until they are taken."""
    return Subscription(filter, qos)


def request(topic, payload, *, timeout=30):
    """Publishes a request and gives the bytes of the reply to it."""
    return _bytes_of(_channel().act(_request(topic, payload, timeout)), "payload")


def serve(name, *, schema=None):
    """Provides a service. Calls that come are kept until they are taken; those at the program's own addresses come with the first.

    `schema` is a dict that says what functions there are and what they take and give; the page "Calls" has its fields. Engines of
    earlier releases know of none, and the service has none there.
    """
    return Service(name, schema)


def call(address, function, payload="", *, timeout=30, **options):
    """Calls a function at an address, such as service/calc, and gives the bytes of its result. The options are those of `begin`."""
    return begin(address, function, payload, timeout=timeout, **options).result()


def begin(
    address,
    function,
    payload="",
    *,
    timeout=30,
    on_progress=None,
    idempotent=False,
    coalesce=None,
    supersede=None,
    choose=None,
):
    """Calls a function, and gives an OpenCall.

    `on_progress(payload)` is called with what the provider says of how far it is. A call that is `idempotent` is sent again where its
    provider was set back to before it had it. One with the key `coalesce` is not made while one of the same address, function and key
    is open: both get its end. One with the key `supersede` cancels those that are open. `choose` says which of several providers is
    called, such as "least-cpu" or "label=zone=attic,round-robin".
    """
    action = {"do": "call", "address": address, "function": function, "deadline_ms": _ms(timeout)}
    options = {"coalesce": coalesce, "supersede": supersede, "choose": choose}
    options.update(idempotent=idempotent or None, progress=on_progress is not None or None)
    action.update((name, value) for name, value in options.items() if value is not None)
    return OpenCall({**action, **_field("payload", payload)}, on_progress)


def listen(*, order=False):
    """Takes messages to the program's own addresses: a Mailbox. `order`: of messages with one key the next comes when the one before
    is `handled`."""
    if order:
        _channel().attend(order=True)
    return Mailbox()


def send(address, payload, *, timeout=30, type=None, order=None, expires=None, receipt=False):
    """Sends a message to one program, or to each of a set such as app/shop. It comes there with the calls of the service.

    It is not handed to a receiver that it reaches more than `expires` seconds later. With a `receipt`, this returns when all receivers
    have taken it, and fails with kind ended, expired or unavailable where one never will.
    """
    options = {"type": type, "order": order, "receipt": receipt or None}
    options["expires_ms"] = None if expires is None else _ms(expires)
    action = {"do": "send", "address": address, "timeout_ms": _ms(timeout)}
    action.update((name, value) for name, value in options.items() if value is not None)
    _channel().act({**action, **_field("payload", payload)})


def get(key):
    """A value of the program's own, or with a / in front one that all programs know. None: there is none."""
    try:
        answer = _channel().act({"do": "get", "key": key})
    except Absent:
        return None
    return Value(_bytes_of(answer, "value"), answer["version"])


def set(key, value):
    """Keeps text or bytes under a key, and gives the version that it has now."""
    return _channel().act({"do": "set", "key": key, **_field("value", value)})["version"]


def compare_and_set(key, value, version):
    """As `set`, if the value has this version (0: there is none). Otherwise that is Conflict."""
    action = {"do": "compare_and_set", "key": key, "version": version}
    return _channel().act({**action, **_field("value", value)})["version"]


def remove(key):
    _channel().act({"do": "remove", "key": key})


def ready():
    """Says that this program is ready for work: a roll-out waits for it where the manifest has `health`."""
    _channel().act({"do": "ready"})


def healthy(seconds):
    """Says that it is ready, and well for so long. If it does not say so again in that time, it is unhealthy."""
    _channel().act({"do": "healthy", "for_ms": _ms(seconds)})


@contextlib.contextmanager
def hold(reason, seconds):
    """Within `with`, this program is not to be moved or replaced, for so long at most, and never for more than five minutes."""
    _channel().act({"do": "hold", "reason": reason, "at_most_ms": _ms(seconds)})
    try:
        yield
    finally:
        _channel().act({"do": "release"})


class Device:
    """A device of the board, by its alias."""

    def __init__(self, alias):
        self.alias = alias
        self._path = os.path.join(FOLDER, "device", alias)

    def read(self):
        """What a converter measures, or 1 or 0 of a line."""
        with open(self._path, "rb", buffering=0) as file:
            return float(file.read(_READ_BYTES))

    def write(self, value):
        """Sets a line: to active where `value` is true."""
        with open(self._path, "wb", buffering=0) as file:
            file.write(b"1" if value else b"0")

    def on(self):
        self.write(True)

    def off(self):
        self.write(False)

    def open(self):
        """A serial port as a file of bytes."""
        return open(self._path, "r+b", buffering=0)


def device(alias):
    return Device(alias)


def me():
    """What this program is: a dictionary with `program`, `name`, `engine`, `generation`, `moves` and `grants`."""
    with open(os.path.join(FOLDER, "me"), encoding="utf-8") as file:
        return json.load(file)


def on_moved(callback):
    """Calls `callback(engine)` after each move, when the program next reads or waits."""
    _channel().moved.append(callback)


def _request(topic, payload, timeout):
    timeout_ms = max(1, round(timeout * 1000))
    return {"do": "request", "topic": topic, "timeout_ms": timeout_ms, **_field("payload", payload)}


def _ms(seconds):
    return max(1, round(seconds * 1000))


def _field(name, content):
    """As a text if it is one, so that lines can be read; otherwise in Base64."""
    if isinstance(content, str):
        return {name: content}
    content = bytes(content)
    try:
        return {name: content.decode()}
    except UnicodeDecodeError:
        return {name + "_base64": base64.b64encode(content).decode()}


def _bytes_of(event, name):
    if name in event:
        return event[name].encode()
    return base64.b64decode(event.get(name + "_base64", ""))


def _error(event):
    kind = event.get("kind", "malformed")
    return _KINDS.get(kind, WayfareError)(kind, event.get("reason", ""), event.get("version"))


def _matches(filter, topic):
    if filter.startswith("$share/"):
        filter = filter.split("/", 2)[2]
    if topic.startswith("$") != filter.startswith("$"):
        return False
    asked, given = filter.split("/"), topic.split("/")
    for at, level in enumerate(asked):
        if level == "#":
            return True
        if at >= len(given) or level not in ("+", given[at]):
            return False
    return len(asked) == len(given)


class _Channel:
    """Both files, and what was read of `in` for those who did not wait for it."""

    def __init__(self):
        self.input = os.open(os.path.join(FOLDER, "in"), os.O_RDONLY)
        self.output = os.open(os.path.join(FOLDER, "out"), os.O_WRONLY)
        self.moved = []
        self._begun = b""
        self._lines = collections.deque()
        self._number = 0
        #: What is called with the line that answers an action, by the action's number; and with those of its progress.
        self._answers = {}
        self._progress = {}
        #: Calls that were received and may be cancelled.
        self._received = weakref.WeakValueDictionary()
        self._attention = {}
        self._subscriptions = []
        self._services = []
        self._poll = select.poll()
        self._poll.register(self.input, select.POLLIN)

    def begin(self, action, answered, progress=None):
        """Writes a line; `answered` is called with its answer when that is read, `progress` with what comes before."""
        self._number += 1
        number = self._number
        line = json.dumps({**action, "id": number}, ensure_ascii=False).encode() + b"\n"
        self._answers[number] = answered
        if progress is not None:
            self._progress[number] = progress
        while line:
            line = line[os.write(self.output, line):]
        return number

    def forget(self, number):
        self._answers.pop(number, None)

    def act(self, action):
        """Does it, and gives the answer."""
        answers = []
        number = self.begin(action, answers.append)
        try:
            while not answers:
                self.pump(None)
        finally:
            self.forget(number)
        if answers[0]["event"] == "error":
            raise _error(answers[0])
        return answers[0]

    def serve(self, service, schema=None):
        # It is known before the first of its calls can come.
        self._services.append(service)
        if not self._attention.get("cancels"):
            try:
                self.attend(cancels=True)
            except WayfareError:
                # Engines of earlier releases tell of no cancelled calls.
                pass
        try:
            self._serve(service.name, schema)
        except BaseException:
            self._services.remove(service)
            raise

    def _serve(self, name, schema):
        action = {"do": "serve", "name": name}
        if schema is not None:
            try:
                self.act({**action, "schema": schema})
                return
            except WayfareError as error:
                # Engines of earlier releases know of no schemas.
                if error.kind != "malformed":
                    raise
        self.act(action)

    def subscribe(self, subscription, qos):
        # It is known before the first of its messages can come.
        self._subscriptions.append(subscription)
        try:
            self.act({"do": "subscribe", "filter": subscription.filter, "qos": qos})
        except BaseException:
            self._subscriptions.remove(subscription)
            raise

    def unsubscribe(self, subscription):
        self._subscriptions.remove(subscription)
        if all(other.filter != subscription.filter for other in self._subscriptions):
            self.act({"do": "unsubscribe", "filter": subscription.filter})

    def attend(self, **change):
        """What this program is told of that others are not."""
        self._attention.update(change)
        self.act({"do": "attend", **self._attention})

    def listen(self, mailbox):
        self._services.append(mailbox)
        try:
            self.act({"do": "listen"})
        except BaseException:
            self._services.remove(mailbox)
            raise

    def pump(self, until):
        """Takes one line, and gives it to whom it is for. False: none came before `until`, by the monotonic clock."""
        while not self._lines:
            if until is not None:
                left_ms = max(0, round((until - time.monotonic()) * 1000))
                if not self._poll.poll(left_ms):
                    return False
            piece = os.read(self.input, _READ_BYTES)
            if not piece:
                raise EOFError("/wayfare/in has ended")
            *whole, self._begun = (self._begun + piece).split(b"\n")
            self._lines.extend(whole)
        self._take(json.loads(self._lines.popleft()))
        return True

    def _take(self, event):
        kind = event.get("event")
        if kind in ("answer", "error"):
            self._progress.pop(event.get("id"), None)
            answered = self._answers.pop(event.get("id"), None)
            if answered is not None:
                answered(event)
        elif kind == "message" and "address" in event:
            self._service(event["address"], Message(event))
        elif kind == "message":
            message = Message(event)
            for subscription in self._subscriptions:
                if _matches(subscription.filter, message.topic):
                    subscription._put(message)
        elif kind == "call":
            call = self._received[event["request"]] = Call(event)
            self._service(event["address"], call)
        elif kind == "cancelled" and event["request"] in self._received:
            self._received[event["request"]].is_cancelled = True
        elif kind == "progress" and event["id"] in self._progress:
            self._progress[event["id"]](event)
        elif kind == "moved":
            for callback in self.moved:
                callback(event.get("engine"))


    def _service(self, address, came):
        named = [one for one in self._services if address == "service/" + one.name]
        for service in (named or self._services)[:1]:
            service._queue.append(came)


_opened = None


def _channel():
    global _opened
    if _opened is None:
        _opened = _Channel()
    return _opened
