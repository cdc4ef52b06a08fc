#!/usr/bin/env python3
"""What the pipeline's sink must print, computed over the whole table at once, with nothing of the programs' own code.

    ./reference.py < city.csv > ../expected/pipeline.txt
"""

import csv
import math
import sys

OBSERVED = ["temperature", "humidity", "light", "dust", "airquality"]
BOUNDS = {
    "temperature": (-12.5, 43.1),
    "humidity": (10.7, 95.2),
    "light": (1345.0, 26282.0),
    "dust": (186.61, 5188.21),
    "airquality": (12.0, 49.0),
}
KNOWN = [f"s{number:02}" for number in range(1, 11)]
WORD = 2**64


def hashed(text):
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = (value ^ byte) * 0x100000001B3 % WORD
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        value = (value ^ value >> 33) * factor % WORD
    return value ^ value >> 33


def bloom_bits(name):
    value = hashed(name)
    return {(value % 2**32 + number * (value >> 32)) % 512 for number in range(4)}


def estimate(texts):
    ranks = [0] * 256
    for text in texts:
        bits = f"{hashed(text):064b}"
        tail = bits[8:] + "1" * 8
        register = int(bits[:8], 2)
        ranks[register] = max(ranks[register], tail.index("1") + 1)
    guess = 0.7213 / (1 + 1.079 / 256) * 256 * 256 / sum(2.0**-rank for rank in ranks)
    empty = ranks.count(0)
    if guess <= 2.5 * 256 and empty:
        guess = 256 * math.log(256 / empty)
    return math.floor(guess + 0.5)


def total(values):
    """One after the other, as the programs do: Python's own sum rounds less."""
    result = 0.0
    for value in values:
        result += value
    return result


def mean(values):
    return total(values) / len(values) if values else None


def smoothed(values):
    result, state, variance = [], None, 1.0
    for value in values:
        if value is not None:
            state = value if state is None else state
            variance += 0.02
            gain = variance / (variance + 0.32)
            state += gain * (value - state)
            variance = (1 - gain) * variance
        result.append(state)
    return result


def fit(points):
    if len(points) < 2:
        return None, None
    begin = points[0][0]
    times = [float(time - begin) for time, _ in points]
    values = [value for _, value in points]
    time_mean, value_mean = mean(times), mean(values)
    square = total((time - time_mean) ** 2 for time in times)
    if square == 0:
        return None, None
    both = total((time - time_mean) * (value - value_mean) for time, value in zip(times, values))
    slope = both / square
    following = times[-1] + (times[-1] - times[-2])
    return slope * 3600, value_mean + slope * (following - time_mean)


def shown(value, digits):
    return "-" if value is None else f"{value:.{digits}f}"


def main():
    counts = dict.fromkeys(
        ["rows", "rows of unknown sensors", "values filled in", "values left empty", "values out of range"], 0
    )
    taught = set().union(*map(bloom_bits, KNOWN))
    history, rows = {}, []
    for line in csv.DictReader(sys.stdin):
        counts["rows"] += 1
        row = {"time": int(line["time"]), "sensor": line["sensor"]}
        for name in OBSERVED:
            row[name] = float(line[name]) if line[name] else None
            if row[name] is not None and not BOUNDS[name][0] <= row[name] <= BOUNDS[name][1]:
                row[name] = None
                counts["values out of range"] += 1
        if not bloom_bits(row["sensor"]) <= taught:
            counts["rows of unknown sensors"] += 1
            continue
        for name in OBSERVED:
            before = history.setdefault((row["sensor"], name), [])
            if row[name] is not None:
                before.append(row[name])
            elif before:
                row[name] = mean(before[-5:])
                counts["values filled in"] += 1
            else:
                counts["values left empty"] += 1
        rows.append(row)

    print(f"{'sensor':8} {'block':>5}" + "".join(f" {name:>11}" for name in OBSERVED) + f" {'an hour':>8} {'next':>8}")
    for sensor in sorted({row["sensor"] for row in rows}):
        own = [row for row in rows if row["sensor"] == sensor]
        smooth = smoothed([row["temperature"] for row in own])
        for begin in range(0, len(own), 20):
            block = own[begin : begin + 20]
            means = [mean([row[name] for row in block if row[name] is not None]) for name in OBSERVED]
            end = begin + len(block)
            points = [(row["time"], value) for row, value in zip(own[:end], smooth) if value is not None]
            slope, following = fit(points[-10:])
            print(
                f"{sensor:8} {begin // 20 + 1:>5}"
                + "".join(f" {shown(value, 2):>11}" for value in means)
                + f" {shown(slope, 3):>8} {shown(following, 2):>8}"
            )
    for begin in range(0, len(rows), 200):
        sensors = estimate({row["sensor"] for row in rows[begin : begin + 200]})
        readings = estimate({repr(row["light"]).removesuffix(".0") for row in rows[: begin + 200] if row["light"] is not None})
        print(f"block {begin // 200 + 1}: about {sensors} sensors; about {readings} readings of light so far")
    for name, count in sorted(counts.items()):
        print(f"{name}: {count}")


main()
