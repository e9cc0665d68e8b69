"""Real daemons for tests: in a thread of this process, or as a process that can be killed."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import grpc

from rankd.daemon import App
from rankd.settings import load_settings

_START_SECONDS = 240
"""A slow ranker reads for long before it serves, on a machine that others keep busy."""


class Daemon:
    """A daemon on real ports, in a thread with an event loop of its own."""

    def __init__(self, **settings):
        defaults = {"listen": "127.0.0.1:0", "admin": "127.0.0.1:0", "metrics": "127.0.0.1:0", "provider": "cpu"}
        patient = {"load_seconds": _START_SECONDS} | settings.pop("scoring", {})
        self.settings = load_settings(**(defaults | settings), scoring=patient)
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="test-daemon", daemon=True)
        self._thread.start()
        self._stopped = False
        try:
            self.app = self.run(self._start(), _START_SECONDS)
        except BaseException:
            self._end_loop()
            raise

    async def _start(self):
        app = App(self.settings)
        await app.start()
        return app

    def run(self, coroutine, timeout=_START_SECONDS):
        """Run a coroutine on the daemon's loop and give its result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(timeout)

    def call(self, function, *arguments):
        """Call a function on the daemon's loop and give its result."""

        async def wrapped():
            return function(*arguments)

        return self.run(wrapped())

    @property
    def target(self):
        return f"127.0.0.1:{self.app.public.port}"

    @property
    def admin_target(self):
        return f"127.0.0.1:{self.app.admin.port}"

    @property
    def http(self):
        return f"http://127.0.0.1:{self.app.http.port}"

    @property
    def scorer(self):
        return self.app.registry.in_service.scorer

    @contextmanager
    def channel(self, target=None):
        with grpc.insecure_channel(
            target or self.target,
            options=[("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1)],
        ) as channel:
            yield channel

    def stop(self):
        if not self._stopped:
            self._stopped = True
            self.run(self.app.stop())
            self._end_loop()

    def _end_loop(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()


class DaemonProcess:
    """``rankd serve`` as a user runs it."""

    def __init__(self, ranker, *, port=0, environment=None, prefix=()):
        command = [
            *prefix, sys.executable, "-m", "rankd", "serve", "--listen", f"127.0.0.1:{port}",
            "--metrics", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--provider", "cpu",
        ]  # fmt: skip
        if ranker is not None:
            command += ["--ranker", str(ranker)]
        self.process = subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, env=os.environ | (environment or {})
        )
        self.lines = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._ready = threading.Event()
        self._reader.start()
        end = time.monotonic() + _START_SECONDS
        while not self._ready.wait(0.1) and self.process.poll() is None and time.monotonic() < end:
            pass
        if not self._ready.wait(1.0 if self.process.poll() is None else 0.0):
            self.kill()
            raise AssertionError("the daemon did not start:\n" + "".join(self.lines))

    def _read(self):
        with self.process.stderr as said:
            for line in said:
                self.lines.append(line)
                if '"event": "started"' in line:
                    event = json.loads(line)
                    self.target, self.admin_target, self.http = event["listen"], event["admin"], event["metrics"]
                    self._ready.set()

    @property
    def port(self):
        return int(self.target.rpartition(":")[2])

    def kill(self):
        self.process.kill()
        self.ended(30)

    def terminate(self, timeout=60):
        self.process.send_signal(signal.SIGTERM)
        return self.ended(timeout)

    def ended(self, timeout=60):
        """Its exit code, once it has ended and what it said is read: to the end, unless a child of it lives on."""
        code = self.process.wait(timeout)
        self._reader.join(10)
        return code
