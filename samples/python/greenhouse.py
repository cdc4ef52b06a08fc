"""greenhouse [house=greenhouse]: keeps a greenhouse within its limits.

Subscribes to HOUSE/temperature, HOUSE/humidity and HOUSE/soil, where a message is a number, and publishes `on` or `off`
to HOUSE/fan, HOUSE/heater, HOUSE/mist and HOUSE/valve, plain and retained, whenever one is to change. A number on HOUSE/set/LIMIT,
such as HOUSE/set/warm, changes a limit; limits are kept in the fleet, so that the next run has them too. An empty message on
HOUSE/end ends it.
"""

import json
import sys

import wayfare

#: Below and above which something is done, and how much further until it is undone.
LIMITS = {"cold": 16.0, "warm": 26.0, "dry": 45.0, "damp": 85.0, "thirsty": 30.0}
HYSTERESIS = 1.0


class Switch:
    """One actor, which is only told what changes."""

    def __init__(self, topic):
        self.topic = topic
        self.is_on = None

    def set(self, is_on):
        if is_on == self.is_on:
            return
        self.is_on = is_on
        word = "on" if is_on else "off"
        wayfare.publish(self.topic, word, retain=True, plain=True)
        print(f"{self.topic} {word}")


class Greenhouse:
    def __init__(self, house):
        self.house = house
        self.key = f"limits-{house}"
        kept = wayfare.get(self.key)
        self.limits = LIMITS | (json.loads(kept.value) if kept else {})
        self.fan, self.heater, self.mist, self.valve = (
            Switch(f"{house}/{name}") for name in ("fan", "heater", "mist", "valve")
        )
        self.seen = {}

    def take(self, topic, text):
        name = topic.removeprefix(f"{self.house}/")
        try:
            value = float(text)
        except ValueError:
            print(f"no number on {topic}: {text!r}")
            return
        if name.startswith("set/"):
            self.change(name.removeprefix("set/"), value)
        else:
            self.seen[name] = value
        self.decide()

    def change(self, limit, value):
        if limit not in self.limits:
            print(f"no limit '{limit}': there are {', '.join(self.limits)}")
            return
        self.limits[limit] = value
        wayfare.set(self.key, json.dumps(self.limits))
        print(f"limit {limit} {value}")

    def below(self, switch, name, limit):
        """On below a limit, and off again somewhat above."""
        if name in self.seen:
            bound = self.limits[limit] + (HYSTERESIS if switch.is_on else 0)
            switch.set(self.seen[name] < bound)

    def decide(self):
        self.below(self.heater, "temperature", "cold")
        self.below(self.mist, "humidity", "dry")
        self.below(self.valve, "soil", "thirsty")
        warm = self.limits["warm"] - (HYSTERESIS if self.fan.is_on else 0)
        damp = self.limits["damp"] - (HYSTERESIS if self.fan.is_on else 0)
        if "temperature" in self.seen or "humidity" in self.seen:
            self.fan.set(self.seen.get("temperature", 0) > warm or self.seen.get("humidity", 0) > damp)


def main():
    house = sys.argv[1] if len(sys.argv) > 1 else "greenhouse"
    greenhouse = Greenhouse(house)
    messages = wayfare.subscribe(f"{house}/#")
    own = {switch.topic for switch in (greenhouse.fan, greenhouse.heater, greenhouse.mist, greenhouse.valve)}
    print(f"keeps {house}: {json.dumps(greenhouse.limits)}")
    for message in messages:
        if message.topic == f"{house}/end":
            break
        if message.topic not in own:
            greenhouse.take(message.topic, message.text)
    print("ends, with all off")
    for switch in (greenhouse.fan, greenhouse.heater, greenhouse.mist, greenhouse.valve):
        switch.set(False)


main()
