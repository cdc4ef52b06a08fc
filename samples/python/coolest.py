"""Picks providers for others' calls: one on the board that is coolest. A caller chooses it as `service/coolest`:

    wayfare run coolest.py --allow-serve coolest
    wayfare call service/calc double 21 --choose service/coolest
"""

import wayfare


def heat(candidate):
    return candidate.get("temperature_millidegrees", float("inf"))


for call in wayfare.serve("coolest"):
    if not isinstance(call, wayfare.Call):
        continue  # A message.
    if call.function != "pick":
        call.fail("not-found", "there is 'pick'")
        continue
    # Of equals the last.
    coolest = min(reversed(call.json()["candidates"]), key=heat)
    call.answer(coolest["program"])
