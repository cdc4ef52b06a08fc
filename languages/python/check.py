"""What `check` runs on a fleet and moves about: it subscribes, computes in deep recursion and publishes."""

import asyncio

import wayfare
import wayfare.aio


def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)


def through_c(depth, n):
    """Python's frames and those of C by turns, `fib` at the bottom."""
    return max(map(lambda at: through_c(at - 1, n), [depth])) if depth else fib(n)


def main():
    numbers = wayfare.subscribe("check/numbers")
    print("subscribed")
    for message in numbers:
        if message.text == "end":
            break
        n = int(message.text)
        result = f"{n} {through_c(40, n)}"
        print(result)
        wayfare.publish("check/results", result, plain=True)
        wayfare.set("last", result)
    print(wayfare.get("last").value.decode())


async def beat(steps):
    for step in range(steps):
        await asyncio.sleep(0.2)
        print("beat", step)


async def tasks():
    beats = asyncio.create_task(beat(10))
    async with asyncio.timeout(30):
        more = wayfare.subscribe("check/more")
        print("subscribed again")
        async for message in more:
            print(message.text)
            break
    await beats


main()
asyncio.run(tasks())
