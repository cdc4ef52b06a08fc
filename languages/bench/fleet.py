"""A fleet for the scripts of this folder, and programs in it."""

import json
import os
import pathlib
import subprocess
import sys
import time

PORT = 18951


class Part:
    """A program of several that run together."""

    def __init__(self, program, args=(), options=(), says=None):
        self.program, self.args, self.options = program, args, options
        #: What it prints once others may begin.
        self.says = says


class Fleet:
    """A broker, a dispatcher and two engines, the second of which may be one for boards."""

    def __init__(self, wayfare, board, work):
        self.wayfare = os.path.realpath(wayfare)
        self.board = board
        self.work = work
        self.environment = {**os.environ, "WAYFARE_BROKER": f"mqtt://127.0.0.1:{PORT}", "XDG_CACHE_HOME": f"{work}/cache"}
        self.environment["XDG_STATE_HOME"] = f"{work}/state"
        self.processes = []
        #: Those of the engines, by name.
        self.engine_processes = {}
        self.engines = ["host", "board" if board else "other"]

    def begin(self):
        work = self.work
        up = [self.wayfare, "up", "--engines", "1", "--port", str(PORT), "--data", f"{work}/up"]
        self.processes = [subprocess.Popen(up, env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)]
        # The dispatcher makes it when it begins.
        while not (key := self.types("key", "show", "--data", f"{work}/up", check=False).strip()):
            time.sleep(0.2)
        roster = json.loads(self.types("operator", "ls", "--json", "--root-key", f"{work}/up/root.key"))
        for name in self.engines:
            command = self.board if name == "board" else [self.wayfare, "engine", "start"]
            # Splay takes more memory than engines give by default.
            engine = [*command, "--id", name, "--data", f"{work}/{name}", "--config", "/dev/null", "--memory-max", "256"]
            engine += ["--trust", key, "--trust-root", roster["root"], "--broker-login", f"{work}/up/login"]
            engine += ["--broker", f"mqtt://127.0.0.1:{PORT}"]
            with open(f"{work}/{name}.log", "wb") as log:
                self.engine_processes[name] = subprocess.Popen(engine, stdout=log, stderr=log)
            self.processes.append(self.engine_processes[name])
            self.until_online(name)

    def add_python(self, module):
        language = pathlib.Path(__file__).resolve().parent.parent / "python"
        words = ["--module", module, "--library", str(language / "lib"), "--timeout", "90s"]
        self.types("language", "add", str(language / "language.toml"), *words)

    def warm(self, program):
        """Has it compiled on both engines, so that no move waits for that."""
        begun = self.starts(Part(program, options=["--name", "warm"]))
        for engine in reversed(self.engines):
            self.types("move", begun, "--to", engine, "--timeout", "900s")
        self.types("kill", begun)

    def until_online(self, name):
        while name not in self.types("engines", check=False):
            if any(process.poll() is not None for process in self.processes):
                logs = "".join(path.read_text()[-2000:] for path in pathlib.Path(self.work).glob("*.log"))
                sys.exit(f"no engine {name}: is something else on port {PORT}?\n{logs}")
            time.sleep(0.2)

    def types(self, *words, check=True):
        ran = subprocess.run([self.wayfare, *words], env=self.environment, capture_output=True, text=True)
        if check and ran.returncode != 0:
            sys.exit(f"wayfare {' '.join(words)}: {ran.stderr}")
        return ran.stdout

    def starts(self, part):
        options = ["--json", "--on", "host", "--timeout", "900s", *part.options]
        begun = json.loads(self.types("run", str(part.program), *options, "--", *part.args))["program"]
        while part.says is not None and part.says not in self.types("logs", begun):
            time.sleep(0.1)
        return begun

    def printed(self, program):
        return self.types("logs", program, "--follow", "--stream", "stdout")

    def has_ended(self, program):
        listed = json.loads(self.types("ps", "--all", "--json"))
        return next(one["state"] for one in listed if one["program"] == program) in ("exited", "failed")

    def moves(self, programs, count, chance):
        """Moves them by turns, at random times, until each has ended or was moved so often. How often each was."""
        moved = dict.fromkeys(programs, 0)
        left = list(programs)
        while left:
            for program in list(left):
                time.sleep(chance.uniform(0, 0.3))
                target = self.engines[(moved[program] + 1) % 2]
                command = ["move", program, "--to", target, "--timeout", "300s"]
                ran = subprocess.run([self.wayfare, *command], env=self.environment, capture_output=True, text=True)
                if ran.returncode == 0:
                    moved[program] += 1
                elif not self.has_ended(program):
                    sys.exit(f"move: {ran.stderr}")
                if ran.returncode != 0 or moved[program] == count:
                    left.remove(program)
        return moved

    def close(self):
        for process in reversed(self.processes):
            process.terminate()
            process.wait()
