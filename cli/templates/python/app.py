# Counts, once a second. Move it while it runs: it goes on counting where it was.
#   wayfare run . --follow
import sys
import time

limit = int(sys.argv[1]) if len(sys.argv) > 1 else 0
count = 0
while not limit or count < limit:
    count += 1
    print(f"hello {count}", flush=True)
    time.sleep(1)
