"""A queue of work, and workers that come and go, as the sample `jobs` has it, with which it can be mixed:

    wayfare run jobs.py --allow-serve steps -- work steps
    wayfare run jobs.py --allow-call service/steps -- give service/steps 100

What `give` prints does not depend on who worked, and where.
"""

import collections
import sys

import wayfare

DEADLINE = 60
# That one job is given to workers who do not end it.
ATTEMPTS_MAX = 100
# A job's number times this is the number up to which it counts.
SIZE = 200


def steps(number):
    """How many steps a number takes to come to 1, as L. Collatz has it."""
    count = 0
    while number > 1:
        number = number // 2 if number % 2 == 0 else 3 * number + 1
        count += 1
    return count


def work(name):
    service = wayfare.serve(name)
    print("works", flush=True)
    for call in service:
        if not isinstance(call, wayfare.Call):
            continue  # A message.
        if call.function != "steps" or not call.text.isdecimal() or int(call.text) > 1000:
            call.fail("refused", "'steps' with a number up to 1000 is expected")
            continue
        call.answer(str(sum(map(steps, range(1, int(call.text) * SIZE + 1)))))


def begin(address, job):
    """It may be done twice: a worker that has forgotten it is asked again."""
    return wayfare.begin(address, "steps", str(job), timeout=DEADLINE, idempotent=True)


def ended(address, job, call):
    """The line that is printed of a job."""
    for _ in range(ATTEMPTS_MAX):
        try:
            return f"job {job}: {call.result().decode()}"
        except wayfare.WayfareError as error:
            if error.kind not in ("unavailable", "deadline-exceeded"):
                return f"job {job}: {error}"
            call = begin(address, job)  # The worker has left.
    return f"job {job}: nobody has ended it"


def give(address, jobs=100, at_once=10):
    given = collections.deque()
    for job in range(1, jobs + 1):
        if len(given) >= at_once:
            print(ended(address, *given.popleft()), flush=True)
        given.append((job, begin(address, job)))
    for job, call in given:
        print(ended(address, job, call), flush=True)


match sys.argv[1:]:
    case ["work", service]:
        work(service)
    case ["give", address, *numbers] if len(numbers) <= 2 and all(text.isdecimal() and 0 < int(text) for text in numbers):
        give(address, *map(int, numbers))
    case _:
        sys.exit("usage: jobs.py give <address> [jobs=100] [at_once=10]\n       jobs.py work <service>")
