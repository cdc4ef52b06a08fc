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
import json
import os
import select
import time

__all__ = [
    "Absent", "Call", "Conflict", "Device", "Message", "NotGranted", "Service", "Subscription", "TimedOut", "Unavailable",
    "Value", "WayfareError", "call", "compare_and_set", "device", "get", "me", "on_moved", "publish", "remove", "request",
    "send", "serve", "set", "subscribe",
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

    __slots__ = ("topic", "payload", "retained", "sender", "_request")

    def __init__(self, event):
        self.topic = event["topic"]
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

    def __repr__(self):
        return f"Message(topic={self.topic!r}, payload={self.payload!r})"


class Call:
    """A call of a service of this program's. `payload` has the arguments, as bytes."""

    __slots__ = ("address", "function", "payload", "sender", "_request")

    def __init__(self, event):
        #: The address that was called, such as service/calc.
        self.address = event["address"]
        self.function = event["function"]
        self.payload = _bytes_of(event, "payload")
        #: The id of the caller.
        self.sender = event.get("from")
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

    def __repr__(self):
        return f"Call(address={self.address!r}, function={self.function!r}, payload={self.payload!r})"


class Service:
    """Calls of a service, and messages that were sent to it, in the order in which they came: an iterator that waits for
    the next. A call is a Call."""

    def __init__(self, name):
        self.name = name
        self._queue = collections.deque()
        _channel().serve(self)

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


def serve(name):
    """Provides a service. Calls that come are kept until they are taken; those at the program's own addresses come with the first."""
    return Service(name)


def call(address, function, payload="", *, timeout=30):
    """Calls a function at an address, such as service/calc, and gives the bytes of its result."""
    deadline_ms = max(1, round(timeout * 1000))
    action = {"do": "call", "address": address, "function": function, "deadline_ms": deadline_ms}
    return _bytes_of(_channel().act({**action, **_field("payload", payload)}), "payload")


def send(address, payload, *, timeout=30):
    """Sends a message to a program that serves. It comes there with the calls of the service."""
    timeout_ms = max(1, round(timeout * 1000))
    _channel().act({"do": "send", "address": address, "timeout_ms": timeout_ms, **_field("payload", payload)})


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
        #: What is called with the line that answers an action, by the action's number.
        self._answers = {}
        self._subscriptions = []
        self._services = []
        self._poll = select.poll()
        self._poll.register(self.input, select.POLLIN)

    def begin(self, action, answered):
        """Writes a line; `answered` is called with its answer when that is read."""
        self._number += 1
        number = self._number
        line = json.dumps({**action, "id": number}, ensure_ascii=False).encode() + b"\n"
        self._answers[number] = answered
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

    def serve(self, service):
        # It is known before the first of its calls can come.
        self._services.append(service)
        try:
            self.act({"do": "serve", "name": service.name})
        except BaseException:
            self._services.remove(service)
            raise

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
            self._service(event["address"], Call(event))
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
