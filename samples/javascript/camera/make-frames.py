#!/usr/bin/env python3
"""Makes the camera's frames: 16 pictures of 64 x 48 grey pixels (PGM), in which a bright square crosses a noisy room."""

import pathlib
import random

WIDTH, HEIGHT, FRAMES = 64, 48, 16
folder = pathlib.Path(__file__).parent / "frames"
folder.mkdir(exist_ok=True)
noise = random.Random(7)
room = [[60 + x // 2 + y // 3 for x in range(WIDTH)] for y in range(HEIGHT)]
for number in range(FRAMES):
    left, top = 4 * number - 12, 8 + number
    pixels = bytearray()
    for y in range(HEIGHT):
        for x in range(WIDTH):
            is_square = 3 <= number <= 13 and left <= x < left + 10 and top <= y < top + 8
            pixels.append(230 if is_square else room[y][x] + noise.randrange(5))
    (folder / f"{number:02}.pgm").write_bytes(b"P5\n%d %d\n255\n" % (WIDTH, HEIGHT) + pixels)
