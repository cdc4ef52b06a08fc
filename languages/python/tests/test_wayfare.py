"""The module `wayfare`, and the samples that use it, against a stand-in for the files of /wayfare: two FIFOs, and a thread that plays the engine.

    python3 -m unittest discover -s languages/python/tests
"""

import asyncio
import base64
import contextlib
import io
import json
import os
import runpy
import sys
import tempfile
import threading
import unittest
import unittest.mock

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))

import wayfare
import wayfare.aio
from wayfare.rules import Mailbox, rule


class Engine:
    """Answers lines of `out` as the book's page "Lines" says, with one key's values, and gives what it is asked to."""

    def __init__(self, folder):
        self.folder = folder
        for name in ("in", "out"):
            os.mkfifo(os.path.join(folder, name))
        self.actions = []
        self.values = {}
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        # In the order in which the module opens them.
        with open(os.path.join(self.folder, "in"), "w", buffering=1) as self.input:
            with open(os.path.join(self.folder, "out")) as output:
                for line in output:
                    action = json.loads(line)
                    number = self.number = action.pop("id")
                    self.actions.append(action)
                    answer = self.answer(action)
                    if answer is not None:
                        self.say({"event": "answer", "id": number, **answer})

    def say(self, event):
        self.input.write(json.dumps(event) + "\n")

    def message(self, topic, payload, **more):
        self.say({"event": "message", "topic": topic, "payload": payload, **more})

    def answer(self, action):
        if action.get("topic") == "forbidden":
            return {"event": "error", "kind": "not-granted", "reason": "it is not granted"}
        if action["do"] == "serve" and "schema" in action:
            if action["name"] == "earlier":
                return {"event": "error", "kind": "malformed", "reason": "no field 'schema' is known here"}
            if action["name"] == "forbidden":
                return {"event": "error", "kind": "not-granted", "reason": "it is not granted"}
        if action["do"] == "publish" and action["topic"] == "echo":
            # The stand-in gives back what it gets, as a broker would.
            self.message("echo", action["payload"])
        if action["do"] == "request":
            if action["topic"] == "nobody":
                return {"event": "error", "kind": "timeout", "reason": "no reply came in time"}
            self.message("noise", "between")
            return {"payload_base64": base64.b64encode(b"\xff" + action["payload"].encode()).decode()}
        if action["do"] == "call":
            if action["address"] == "service/nobody":
                return {"event": "error", "kind": "not-found", "reason": "nobody serves this address"}
            if action["function"] == "never":
                return None
            if action.get("progress"):
                self.say({"event": "progress", "id": self.number, "payload": "50%"})
            return {"payload": action["function"] + action["payload"]}
        if action["do"] == "send":
            self.message(action["address"], action["payload"], address=action["address"])
        key = action.get("key")
        has = self.values.get(key, (None, 0))
        if action["do"] == "get":
            if has[1] == 0:
                return {"event": "error", "kind": "absent", "reason": "there is no such value"}
            return {"value": has[0], "version": has[1]}
        if action["do"] in ("set", "compare_and_set"):
            if action.get("version", has[1]) != has[1]:
                return {"event": "error", "kind": "conflict", "reason": "another version", "version": has[1]}
            self.values[key] = (action["value"], has[1] + 1)
            return {"version": has[1] + 1}
        if action["do"] == "remove":
            del self.values[key]
        return {}


class WithEngine(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        wayfare.FOLDER = self.folder.name
        self.engine = Engine(self.folder.name)
        channel = wayfare._channel()
        self.addCleanup(self.close, channel)

    def close(self, channel):
        wayfare._opened = None
        os.close(channel.output)
        self.engine.thread.join()
        os.close(channel.input)


class TheModule(WithEngine):
    def test_what_is_published_comes_to_whom_it_is_for(self):
        some = wayfare.subscribe("a/+/c")
        every = wayfare.subscribe("#")
        with wayfare.subscribe("echo", qos=0) as echo:
            wayfare.publish("echo", "grüße", retain=True)
            self.assertEqual(echo.receive().text, "grüße")
        self.assertEqual(self.engine.actions[-1], {"do": "unsubscribe", "filter": "echo"})
        self.assertEqual(list(echo), [])
        self.engine.message("a/b/c", '{"x": 1}', retained=True, **{"from": "ab"})
        message = next(some)
        self.assertEqual((message.json(), message.retained, message.sender), ({"x": 1}, True, "ab"))
        self.assertEqual([every.receive(5).topic for _ in range(2)], ["echo", "a/b/c"])
        with self.assertRaises(TimeoutError):
            every.receive(0.01)
        wayfare.publish("bytes", b"\xff", plain=True)
        published = {"do": "publish", "topic": "bytes", "qos": 1, "retain": False, "plain": True, "payload_base64": "/w=="}
        self.assertEqual(self.engine.actions[-1], published)

    def test_a_program_says_how_it_is(self):
        wayfare.ready()
        wayfare.healthy(2.5)
        with self.assertRaises(ValueError):
            with wayfare.hold("flashing", 60):
                raise ValueError
        hold = {"do": "hold", "reason": "flashing", "at_most_ms": 60000}
        healthy = {"do": "healthy", "for_ms": 2500}
        self.assertEqual(self.engine.actions, [{"do": "ready"}, healthy, hold, {"do": "release"}])

    def test_filters_match_as_in_mqtt(self):
        for filter, topic, is_match in [
            ("a/b", "a/b", True),
            ("a/b", "a/b/c", False),
            ("a/+", "a/b", True),
            ("a/+", "a", False),
            ("a/+", "a/", True),
            ("a/#", "a", True),
            ("a/#", "a/b/c", True),
            ("#", "$SYS/x", False),
            ("+/x", "$SYS/x", False),
            ("$SYS/#", "$SYS/x", True),
            ("$share/group/a/+", "a/b", True),
        ]:
            self.assertEqual(wayfare._matches(filter, topic), is_match, (filter, topic))

    def test_requests_are_answered_and_replied_to(self):
        noise = wayfare.subscribe("noise")
        self.assertEqual(wayfare.request("somebody", "x", timeout=2), b"\xffx")
        self.assertEqual(self.engine.actions[-1]["timeout_ms"], 2000)
        self.assertEqual(noise.receive().text, "between")
        with self.assertRaises(TimeoutError):
            wayfare.request("nobody", "x")
        self.engine.message("noise", "asks", request="to/1")
        noise.receive().reply("yes")
        self.assertEqual(self.engine.actions[-1], {"do": "reply", "to": "to/1", "payload": "yes"})
        self.engine.message("noise", "tells")
        message = noise.receive()
        self.assertFalse(message.is_request)
        with self.assertRaises(wayfare.WayfareError):
            message.reply("no")

    def test_services_are_called_and_answer(self):
        service = wayfare.serve("calc")
        ask = {"event": "call", "address": "service/calc", "from": "p", "payload": "[1]"}
        self.engine.say({**ask, "function": "double", "request": "7 r"})
        self.engine.say({**ask, "function": "dance", "request": "8 r", "address": "program/p"})
        wayfare.send("service/calc", "hello", timeout=1)
        call = next(service)
        self.assertEqual((call.function, call.address, call.json(), call.sender), ("double", "service/calc", [1], "p"))
        call.answer("2")
        other = service.receive(timeout=5)
        other.fail("not-found", "there is double")
        self.assertEqual(next(service).text, "hello")
        self.assertEqual(wayfare.call("service/calc", "f", "x", timeout=2), b"fx")
        with self.assertRaises(wayfare.WayfareError) as nobody:
            wayfare.call("service/nobody", "f")
        self.assertEqual(nobody.exception.kind, "not-found")
        self.assertEqual(self.engine.actions, [
            {"do": "attend", "cancels": True},
            {"do": "serve", "name": "calc"},
            {"do": "send", "address": "service/calc", "timeout_ms": 1000, "payload": "hello"},
            {"do": "answer", "to": "7 r", "payload": "2"},
            {"do": "fail", "to": "8 r", "kind": "not-found", "reason": "there is double"},
            {"do": "call", "address": "service/calc", "function": "f", "deadline_ms": 2000, "payload": "x"},
            {"do": "call", "address": "service/nobody", "function": "f", "deadline_ms": 30000, "payload": ""},
        ])

    def test_a_service_has_a_schema_where_its_engine_knows_of_any(self):
        schema = {"functions": {"double": {"result": {"type": "integer"}}}}
        wayfare.serve("calc", schema=schema)
        self.assertEqual(self.engine.actions[-1], {"do": "serve", "name": "calc", "schema": schema})
        wayfare.serve("earlier", schema=schema)
        self.assertEqual(self.engine.actions[-1], {"do": "serve", "name": "earlier"})
        with self.assertRaises(wayfare.NotGranted):
            wayfare.serve("forbidden", schema=schema)

    def test_rules_sort_what_comes_into_queues(self):
        mailbox = Mailbox(wayfare.serve("kitchen"), wayfare.subscribe("hall/+"), wayfare.subscribe("hall/#"))
        mailbox.rules["main"] = [
            rule(type="order", fields={"/table": 4, "/dishes/0": "soup"}, queue="terrace"),
            rule(type="order", queue="orders"),
            rule(sender="boss", queue="boss"),
            rule(address="program/+", list="own"),
            rule(function="count", queue="questions"),
            rule(function="+", queue="calls"),
            rule(address="hall/#", queue="hall"),
        ]
        mailbox.rules["own"] = [rule(fields={"": True}, queue="true")]
        soup = json.dumps({"table": 4, "dishes": ["soup"]})
        sent = lambda type, payload, address="service/kitchen", **more: self.engine.message(address, payload, address=address, type=type, **more)
        called = lambda function, request: self.engine.say(
            {"event": "call", "address": "service/kitchen", "function": function, "payload": "", "request": request}
        )
        expected = []
        for say, queue in [
            (lambda: sent("order", soup), "terrace"),
            (lambda: sent("order", '{"table": 5}'), "orders"),
            (lambda: sent("order", '{"table": true, "dishes": []}'), "orders"),
            (lambda: sent("order", "no JSON"), "orders"),
            (lambda: sent("note", "", **{"from": "boss"}), "boss"),
            (lambda: sent("note", "true", "program/ann"), "true"),
            (lambda: called("count", "1 r"), "questions"),
            (lambda: called("cook", "2 r"), "calls"),
            (lambda: self.engine.message("hall/door", "open"), "hall"),
        ]:
            say()
            expected.append(queue)
        everywhere = ["terrace", "orders", "boss", "true", "questions", "calls", "hall"]
        for queue in expected:
            self.assertEqual(mailbox.receive(*everywhere, timeout=5)[0], queue)
        with self.assertRaises(TimeoutError):
            # What several subscriptions match came once.
            mailbox.receive(*everywhere, timeout=0.01)

    def test_the_oldest_is_taken_rules_change_and_what_is_cancelled_leaves(self):
        mailbox = Mailbox(wayfare.serve("kitchen"))
        mailbox.rules["main"] = [rule(function="a", queue="a"), rule(function="b", queue="b")]
        for number, function in enumerate("babab"):
            call = {"event": "call", "address": "service/kitchen", "function": function, "payload": "", "request": f"{number} r"}
            self.engine.say(call)
        self.engine.say({"event": "cancelled", "address": "service/kitchen", "request": "2 r"})
        self.engine.message("service/kitchen", "", address="service/kitchen", type="last")
        mailbox.otherwise = "rest"
        self.assertEqual(mailbox.receive("rest", timeout=5)[0], "rest")
        self.assertEqual((mailbox.waiting("a"), mailbox.waiting("b")), (2, 2))
        self.assertEqual(mailbox.take("a")[1]._request, "1 r")
        self.assertEqual(mailbox.take("a", "b")[1]._request, "0 r")
        self.assertIsNone(mailbox.take("c"))
        mailbox.rules["main"] = [rule(queue="c")]
        mailbox.sort_again()
        self.assertEqual([mailbox.take("a", "b", "c")[1]._request for _ in range(2)], ["3 r", "4 r"])
        self.assertIsNone(mailbox.take("c"))

    def test_what_is_in_no_queue_is_undelivered_and_says_why(self):
        service = wayfare.serve("kitchen")
        mailbox = Mailbox(service)
        mailbox.messages_max, mailbox.bytes_max = 2, 100
        mailbox.rules["main"] = [
            rule(type="a", queue="a"),
            rule(type="round", list="round"),
            rule(type="nowhere", list="nowhere"),
            rule(type="end", queue="end"),
        ]
        mailbox.rules["round"] = [rule(list="main")]
        large = "x" * 200
        for type, payload in [("a", large), ("a", ""), ("round", ""), ("nowhere", ""), ("other", "")]:
            self.engine.message("service/kitchen", payload, address="service/kitchen", type=type, order="k")
        self.engine.say({"event": "call", "address": "service/kitchen", "function": "cook", "payload": "", "request": "7 r"})
        self.engine.message("service/kitchen", "", address="service/kitchen", type="end")
        with contextlib.redirect_stderr(io.StringIO()) as said:
            mailbox.receive("end", timeout=5)
        no_rule = "no rule of the mailbox fits it"
        lost = "its rules lead to the list '{}', which is not there or was passed"
        reasons = ["queue 'a' of the mailbox is full", lost.format("main"), lost.format("nowhere"), no_rule, no_rule]
        self.assertEqual([mailbox.take_undelivered().why for _ in reasons], reasons)
        self.assertIsNone(mailbox.take_undelivered())
        self.assertEqual(said.getvalue().splitlines()[-1], f"wayfare: undelivered: {no_rule}: call of 'cook' at service/kitchen")
        self.assertEqual(self.engine.actions[-5:], [
            *[{"do": "handled", "order": "k"}] * 4,
            {"do": "fail", "to": "7 r", "kind": "refused", "reason": no_rule},
        ])
        self.assertEqual(mailbox.take("a")[1].text, large)
        with self.assertRaises(ValueError):
            rule(type="a")

    def test_calls_have_progress_and_are_cancelled_and_handed_on(self):
        parts = []
        asked = {"timeout": 1, "idempotent": True, "coalesce": "k", "supersede": "s"}
        self.assertEqual(wayfare.call("service/calc", "f", on_progress=parts.append, **asked), b"f")
        self.assertEqual(parts, [b"50%"])
        call = {"do": "call", "address": "service/calc", "function": "f", "deadline_ms": 1000, "payload": ""}
        options = {"coalesce": "k", "supersede": "s", "idempotent": True, "progress": True}
        self.assertEqual(self.engine.actions[-1], {**call, **options})
        never = wayfare.begin("service/calc", "never")
        with self.assertRaises(TimeoutError):
            never.result(0.01)
        never.cancel()
        number = self.engine.number - 1
        self.assertEqual(self.engine.actions[-1], {"do": "cancel", "call": number})
        self.engine.say({"event": "error", "id": number, "kind": "cancelled", "reason": "it was"})
        with self.assertRaises(wayfare.WayfareError) as cancelled:
            never.result()
        self.assertEqual((cancelled.exception.kind, never.is_done), ("cancelled", True))

        service = wayfare.serve("calc")
        for request in ("7 r", "8 r"):
            ask = {"event": "call", "address": "service/calc", "function": "f", "payload": "", "request": request}
            self.engine.say(ask)
        self.engine.say({"event": "cancelled", "address": "service/calc", "request": "8 r"})
        self.engine.say({"event": "cancelled", "address": "service/calc", "request": "9 r"})
        first, second = next(service), next(service)
        first.progress("1 of 2")
        first.hand_on("service/other", "g", "x", timeout=2)
        self.assertEqual((first.is_cancelled, second.is_cancelled), (False, True))
        self.assertEqual(self.engine.actions[-2:], [
            {"do": "progress", "to": "7 r", "payload": "1 of 2"},
            {"do": "hand_on", "to": "7 r", "address": "service/other", "function": "g", "deadline_ms": 2000, "payload": "x"},
        ])

    def test_messages_have_types_and_keys_and_are_handled(self):
        mailbox = wayfare.listen(order=True)
        wayfare.send("app/shop", "x", timeout=1, type="order", order="t4", expires=60, receipt=True)
        self.engine.message("program/p", "soup", address="program/p", type="order", order="t4")
        self.assertEqual(next(mailbox).text, "x")
        message = next(mailbox)
        self.assertEqual((message.text, message.type, message.order), ("soup", "order", "t4"))
        message.handled()
        sent = {"do": "send", "address": "app/shop", "timeout_ms": 1000, "payload": "x"}
        self.assertEqual(self.engine.actions, [
            {"do": "attend", "order": True},
            {"do": "listen"},
            {**sent, "type": "order", "order": "t4", "receipt": True, "expires_ms": 60000},
            {"do": "handled", "order": "t4"},
        ])

    def test_values_have_versions_and_errors_have_kinds(self):
        self.assertIsNone(wayfare.get("/k"))
        self.assertEqual(wayfare.set("/k", "1"), 1)
        self.assertEqual(wayfare.get("/k"), (b"1", 1))
        self.assertEqual(wayfare.compare_and_set("/k", "2", 1), 2)
        with self.assertRaises(wayfare.Conflict) as conflict:
            wayfare.compare_and_set("/k", "3", 1)
        self.assertEqual(conflict.exception.version, 2)
        wayfare.remove("/k")
        self.assertIsNone(wayfare.get("/k"))
        with self.assertRaises(PermissionError):
            wayfare.publish("forbidden", "x")

    def test_files_are_files(self):
        os.mkdir(os.path.join(self.folder.name, "device"))
        led = wayfare.device("led")
        led.on()
        self.assertEqual(led.read(), 1.0)
        with open(os.path.join(self.folder.name, "me"), "w") as me:
            me.write('{"name": "app"}')
        self.assertEqual(wayfare.me()["name"], "app")

    def test_moves_are_told(self):
        engines = []
        wayfare.on_moved(engines.append)
        self.engine.say({"event": "moved", "engine": "local-2"})
        self.engine.say({"event": "of a later format"})
        wayfare.publish("x", "y")
        self.assertEqual(engines, ["local-2"])

    def test_asyncio_waits_for_messages_timers_and_replies_at_once(self):
        async def listen(seen):
            async for message in wayfare.subscribe("echo"):
                seen.append(message.text)
                if message.text == "end":
                    return

        async def main():
            seen = []
            listening = asyncio.create_task(listen(seen))
            await asyncio.sleep(0.01)
            replies = await asyncio.gather(*(wayfare.aio.request("somebody", text) for text in "ab"))
            self.assertEqual(replies, [b"\xffa", b"\xffb"])
            with self.assertRaises(TimeoutError):
                await wayfare.aio.request("nobody", "x")
            wayfare.publish("echo", "one")
            wayfare.publish("echo", "end")
            await listening
            return seen

        self.assertEqual(asyncio.run(main()), ["one", "end"])

    def test_asyncio_receives_from_queues_while_other_tasks_go_on(self):
        async def main():
            mailbox = Mailbox(wayfare.subscribe("echo"))
            mailbox.rules["main"] = [rule(fields={"": 1}, queue="ones"), rule(address="echo", queue="others")]
            with self.assertRaises(TimeoutError):
                await asyncio.wait_for(wayfare.aio.receive(mailbox, "ones"), 0.01)
            self.assertEqual(mailbox._waiters, [], "who has given up is forgotten")
            ones = asyncio.create_task(wayfare.aio.receive(mailbox, "ones"))
            either = asyncio.create_task(wayfare.aio.receive(mailbox, "others", "ones"))
            for text in ["2", "1"]:
                await asyncio.sleep(0.01)
                wayfare.publish("echo", text)
            received = [await either, await ones]
            wayfare.publish("echo", "3")
            received.append(await wayfare.aio.receive(mailbox, "others"))
            return [(queue, message.text) for queue, message in received]

        self.assertEqual(asyncio.run(main()), [("others", "2"), ("ones", "1"), ("others", "3")])

    def test_a_request_that_is_given_up_does_not_hold_up_the_next(self):
        async def main():
            self.engine.answer = lambda action: None if action["topic"] == "late" else {"payload": "now"}
            with self.assertRaises(TimeoutError):
                await asyncio.wait_for(wayfare.aio.request("late", "x"), 0.01)
            self.engine.say({"event": "answer", "id": 1, "payload": "late"})
            return await wayfare.aio.request("soon", "x")

        self.assertEqual(asyncio.run(main()), b"now")

    def test_waiting_for_nothing_is_an_error(self):
        async def main():
            await asyncio.get_running_loop().create_future()

        with self.assertRaises(RuntimeError):
            asyncio.run(main())


class TheSamples(WithEngine):
    """Those of samples/python that listen, with the messages that they get."""

    def run_sample(self, name, arguments, messages):
        """What it prints, and what it publishes."""
        plain = self.engine.answer

        def answer(action):
            if action["do"] == "subscribe":
                for topic, payload in messages:
                    self.engine.message(topic, payload)
            return plain(action)

        self.engine.answer = answer
        path = os.path.join(os.path.dirname(__file__), "../../../samples/python", name)
        printed = io.StringIO()
        with unittest.mock.patch.object(sys, "argv", [path, *arguments]), contextlib.redirect_stdout(printed):
            runpy.run_path(path, run_name="__main__")
        published = [action for action in self.engine.actions if action["do"] == "publish"]
        return printed.getvalue().splitlines(), [(action["topic"], action["payload"]) for action in published]

    def test_anomaly_tells_what_is_out_of_the_ordinary(self):
        values = [20.0, 20.2] * 15 + [85.0, 20.1]
        messages = [("bed/temperature", str(value)) for value in values]
        messages[5:5] = [("bed/humidity", "60"), ("bed/temperature", "no number")]
        printed, published = self.run_sample("anomaly.py", ["bed/+"], [*messages, ("bed/temperature", "")])
        self.assertEqual([topic for topic, _ in published], ["anomalies"])
        report = json.loads(published[0][1])
        self.assertEqual((report["topic"], report["value"], round(report["mean"], 1)), ("bed/temperature", 85.0, 20.1))
        self.assertGreater(report["off"], 100)
        self.assertEqual(printed[0], "watches bed/+")
        self.assertIn("bed/temperature: 31 values, mean 20.1", printed[-2])
        self.assertEqual(printed[-1], "1 out of the ordinary")

    def test_greenhouse_switches_by_its_limits_and_keeps_them(self):
        messages = [("temperature", "30"), ("temperature", "25.5"), ("temperature", "24"), ("soil", "12"), ("set/warm", "22")]
        messages += [("temperature", "21.5"), ("temperature", "23"), ("temperature", "wet"), ("set/hot", "1"), ("temperature", "9")]
        messages = [(f"greenhouse/{name}", text) for name, text in messages]
        printed, published = self.run_sample("greenhouse.py", [], [*messages, ("greenhouse/end", "")])
        expected = [("heater", "off"), ("fan", "on"), ("fan", "off"), ("valve", "on"), ("fan", "on"), ("heater", "on"), ("fan", "off")]
        expected += [("heater", "off"), ("mist", "off"), ("valve", "off")]
        self.assertEqual([(topic.removeprefix("greenhouse/"), payload) for topic, payload in published], expected)
        self.assertIn("limit warm 22.0", printed)
        self.assertIn("no number on greenhouse/temperature: 'wet'", printed)
        self.assertIn("no limit 'hot': there are cold, warm, dry, damp, thirsty", printed)
        kept, _ = self.engine.values["limits-greenhouse"]
        self.assertEqual(json.loads(kept)["warm"], 22.0)

    def test_jobs_are_given_again_where_a_worker_has_left_and_printed_in_their_order(self):
        plain, left = self.engine.answer, []

        def answer(action):
            if action["do"] == "call" and action["payload"] == "3" and not left:
                left.append(action)
                return {"event": "error", "kind": "unavailable", "reason": "its provider is gone"}
            return plain(action)

        self.engine.answer = answer
        printed, _ = self.run_sample("jobs.py", ["give", "service/steps", "12", "4"], [])
        self.assertEqual(printed, [f"job {job}: steps{job}" for job in range(1, 13)])
        calls = [action for action in self.engine.actions if action["do"] == "call"]
        self.assertEqual((len(left), len(calls)), (1, 13))
        self.assertTrue(all(call["idempotent"] for call in calls))

    def test_jobs_are_worked_on_until_the_engine_ends_it(self):
        plain = self.engine.answer

        def answer(action):
            if action["do"] == "serve":
                for number, (function, payload) in enumerate([("steps", "1"), ("steps", "x"), ("dance", "1"), ("steps", "2")]):
                    call = {"event": "call", "address": "service/steps", "function": function, "payload": payload}
                    self.engine.say({**call, "from": "p", "request": f"{number} r"})
            if action.get("to") == "3 r":
                self.engine.input.close()
                return None
            return plain(action)

        self.engine.answer = answer
        with self.assertRaises(EOFError):
            self.run_sample("jobs.py", ["work", "steps"], [])
        told = [action for action in self.engine.actions if action["do"] in ("answer", "fail")]
        reason = "'steps' with a number up to 1000 is expected"
        # The sums of steps up to 200 and 400.
        self.assertEqual(told, [
            {"do": "answer", "to": "0 r", "payload": "8418"},
            {"do": "fail", "to": "1 r", "kind": "refused", "reason": reason},
            {"do": "fail", "to": "2 r", "kind": "refused", "reason": reason},
            {"do": "answer", "to": "3 r", "payload": "20141"},
        ])


if __name__ == "__main__":
    unittest.main()
