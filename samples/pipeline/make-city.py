#!/usr/bin/env python3
"""Makes city.csv: what twelve sensors of a made-up city say every five minutes, for 17 hours.

    ./make-city.py > city.csv

The same every time. In the manner of the city data that RIoTBench uses (temperature, humidity, light, dust, air quality),
with what real sensors do: values that are missing, values far out of range, and two sensors that nobody knows.
"""

import math

ROUNDS = 200
PERIOD_S = 300
BEGIN_S = 1_422_748_800  # 2015-02-01 00:00 UTC
KNOWN = [f"s{number:02}" for number in range(1, 11)]
UNKNOWN = ["x01", "x02"]


class Numbers:
    """Knuth's 64-bit linear congruential generator (MMIX), its upper half."""

    def __init__(self, seed):
        self.state = seed

    def unit(self):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) % 2**64
        return (self.state >> 32) / 2**32

    def noise(self, width):
        return (self.unit() + self.unit() + self.unit() - 1.5) * width


def row(numbers, place, round_number):
    day = math.sin(2 * math.pi * (round_number * PERIOD_S / 86_400 - 0.3))
    light_of_day = max(0.0, day)
    values = [
        ("temperature", 18 + 1.3 * place + 6 * day + numbers.noise(0.8)),
        ("humidity", 62 - 2 * place - 14 * day + numbers.noise(3)),
        ("light", 1500 + 400 * place + 15_000 * light_of_day + numbers.noise(250)),
        ("dust", 700 + 90 * place + 260 * day + numbers.noise(180)),
        ("airquality", 24 + place + 5 * day + numbers.noise(4)),
    ]
    texts = []
    for _name, value in values:
        luck = numbers.unit()
        if luck < 0.03:
            texts.append("")
        elif luck < 0.045:
            texts.append(f"{value * 40 - 9_000:.2f}")
        else:
            texts.append(f"{value:.2f}")
    return texts


def main():
    numbers = Numbers(2026)
    print("time,sensor,temperature,humidity,light,dust,airquality")
    for round_number in range(ROUNDS):
        for place, sensor in enumerate(KNOWN + UNKNOWN):
            texts = row(numbers, place, round_number)
            print(",".join([str(BEGIN_S + round_number * PERIOD_S), sensor, *texts]))


main()
