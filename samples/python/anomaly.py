"""anomaly FILTER [to=anomalies] [bound=4.0]: says which of the numbers on some topics are out of the ordinary.

Keeps for each topic a mean and a variance that follow slowly, and publishes to `to`, as JSON, each value that is further
from the mean than `bound` standard deviations. What is out of the ordinary teaches it nothing, unless it goes on. An empty
message ends it.
"""

import dataclasses
import json
import math
import sys

import wayfare

#: How fast mean and variance follow.
RATE = 0.05
#: Values of a topic before anything is judged.
WARM_UP = 20
#: So many in a row are no anomaly any more, but how it is now.
STREAK_MAX = 10


@dataclasses.dataclass
class Series:
    count: int = 0
    mean: float = 0.0
    variance: float = 0.0
    streak: int = 0

    def judge(self, value):
        """How many standard deviations a value is off; `None` as long as too little is known."""
        if self.count < WARM_UP:
            return None
        return abs(value - self.mean) / math.sqrt(max(self.variance, 1e-9))

    def learn(self, value):
        self.count += 1
        rate = max(RATE, 1 / self.count)
        difference = value - self.mean
        self.mean += rate * difference
        self.variance = (1 - rate) * (self.variance + rate * difference * difference)


def main():
    topics, to = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "anomalies"
    bound = float(sys.argv[3]) if len(sys.argv) > 3 else 4.0
    known = {}
    found = 0
    messages = wayfare.subscribe(topics)
    print(f"watches {topics}")
    for message in messages:
        if not message.payload:
            break
        try:
            value = float(message.text)
        except ValueError:
            continue
        series = known.setdefault(message.topic, Series())
        off = series.judge(value)
        if off is not None and off > bound and series.streak < STREAK_MAX:
            series.streak += 1
            found += 1
            report = {"topic": message.topic, "value": value, "mean": round(series.mean, 3), "off": round(off, 1)}
            wayfare.publish(to, json.dumps(report), plain=True)
            print(f"{message.topic}: {value} is {off:.1f} deviations from {series.mean:.2f}")
        else:
            series.streak = 0
            series.learn(value)
    for topic, series in sorted(known.items()):
        print(f"{topic}: {series.count} values, mean {series.mean:.3f}, deviation {math.sqrt(series.variance):.3f}")
    print(f"{found} out of the ordinary")


main()
