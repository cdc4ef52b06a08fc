"""asyncio for Wayfare's programs. Importing this is enough: `asyncio.run` then waits for messages and timers at once.

    import asyncio, wayfare, wayfare.aio

    async def main():
        async for message in wayfare.subscribe("greenhouse/temperature"):
            print(await wayfare.aio.request("greenhouse/advice", message.payload))

    asyncio.run(main())

Python's own loop needs sockets, which programs have not. This one waits for lines of /wayfare/in.
"""

import asyncio
import time

import wayfare

__all__ = ["receive", "request"]

_asking = None


async def request(topic, payload, *, timeout=30):
    """As `wayfare.request`, while other tasks go on. One request is under way at a time; others wait for it."""
    global _asking
    loop = asyncio.get_running_loop()
    if _asking is None or _asking[0] is not loop:
        _asking = (loop, asyncio.Lock())
    lock = _asking[1]
    await lock.acquire()
    reply = loop.create_future()
    # An error that nobody waits for any more is none.
    reply.add_done_callback(asyncio.Future.exception)

    def answered(event):
        lock.release()
        _waiting.discard(reply)
        if event["event"] == "error":
            reply.set_exception(wayfare._error(event))
        else:
            reply.set_result(wayfare._bytes_of(event, "payload"))

    wayfare._channel().begin(wayfare._request(topic, payload, timeout), answered)
    _waiting.add(reply)
    # Who is cancelled stops waiting. The next request waits until this one is answered or has timed out.
    return await asyncio.shield(reply)


async def receive(mailbox, *queues):
    """As `receive` of a `wayfare.rules.Mailbox`, while other tasks go on; without a timeout, which `asyncio.timeout` has."""
    while True:
        taken = mailbox.take(*queues)
        if taken is not None:
            return taken
        await next_of(mailbox)


async def next_of(source):
    """Waits until a subscription, or a queue of a mailbox, has something more."""
    waiter = asyncio.get_running_loop().create_future()
    source._waiters.append(waiter)
    _waiting.add(waiter)
    try:
        await waiter
    finally:
        _waiting.discard(waiter)
        if waiter in source._waiters:
            source._waiters.remove(waiter)


#: Futures that a line of `in` completes. While there are none, no line is taken.
_waiting = set()


class _Lines:
    """What the loop waits with: for a line, if a task waits for one, or for the time that a timer has left."""

    def select(self, timeout):
        until = None if timeout is None else time.monotonic() + max(0, timeout)
        if any(not waiter.done() for waiter in _waiting):
            wayfare._channel().pump(until)
        elif until is None:
            raise RuntimeError("all tasks wait for each other: nothing can ever happen")
        elif timeout > 0:
            time.sleep(timeout)
        return []

    def close(self):
        pass


class _Loop(asyncio.BaseEventLoop):
    def __init__(self):
        super().__init__()
        self._selector = _Lines()

    def _process_events(self, event_list):
        pass

    def _write_to_self(self):
        # There are no threads that could wake it.
        pass

    def close(self):
        super().close()
        self._selector.close()


class _Policy(asyncio.DefaultEventLoopPolicy):
    def new_event_loop(self):
        return _Loop()


asyncio.set_event_loop_policy(_Policy())
