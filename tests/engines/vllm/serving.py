"""Real processes: a vLLM server with or without the middleware, and the daemon from its own environment."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from contextlib import contextmanager

from support.repository import ROOT

from engines.vllm.tiny_model import ENVIRONMENT

RANKD_PYTHON = os.environ.get("DAEMON_PYTHON") or str(ROOT / ".venv" / "bin" / "python")
NEWER = os.environ.get("VLLM_SOURCE", "")
"""A folder with another vLLM than the one that is installed (``newer_source.py``)."""
PATHS = os.pathsep.join(str(ROOT / p) for p in (".", "clients/python", "clients/vllm", "tests"))


def free_port():
    """A port that nobody listens on at this moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Process:
    """A process with its lines; killed at the end whatever happens."""

    def __init__(self, command, environment, *, ready, seconds):
        """Start it, and wait until ``ready`` of a line says so."""
        self.lines = []
        self._ready, self._event = ready, threading.Event()
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | environment,
            start_new_session=True,
        )
        threading.Thread(target=self._read, daemon=True).start()
        end = time.monotonic() + seconds
        while not self._event.wait(0.1):
            if self.process.poll() is not None or time.monotonic() > end:
                self.kill()
                raise RuntimeError("it did not start:\n" + "".join(self.lines[-40:]))

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line)
            if self._ready(line):
                self._event.set()

    def send(self, number):
        """Signal it and all it started."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, number)

    def kill(self):
        """End it."""
        self.send(signal.SIGKILL)
        self.process.wait(30)


class Daemon(Process):
    """``rankd serve``."""

    def __init__(self, port=0, ranker="minilm-l6", **environment):
        """Serve a bundled ranker."""
        command = [RANKD_PYTHON, "-m", "rankd", "serve", "--listen", f"127.0.0.1:{port}", "--metrics", "127.0.0.1:0",
                   "--admin", "127.0.0.1:0", "--provider", "cpu", "--ranker", ranker]  # fmt: skip
        super().__init__(
            command,
            {"PYTHONPATH": PATHS, "RANKD_SCORING__THREADS": "1"} | environment,
            ready=lambda line: '"event": "started"' in line,
            seconds=60,
        )
        event = next(json.loads(line) for line in self.lines if '"event": "started"' in line)
        self.target, self.http = event["listen"], event["metrics"]


class Proxy(Process):
    """``rankd proxy``."""

    def __init__(self, upstream, target, *flags, **environment):
        """Stand before a server."""
        command = [RANKD_PYTHON, "-m", "rankd", "proxy", "--upstream", upstream, "--listen", "127.0.0.1:0",
                   "--metrics", "127.0.0.1:0", "--target", target, "--log-format", "json", *flags]  # fmt: skip
        super().__init__(
            command,
            {"PYTHONPATH": PATHS} | environment,
            ready=lambda line: '"event": "proxy_started"' in line,
            seconds=60,
        )
        event = next(json.loads(line) for line in self.lines if '"event": "proxy_started"' in line)
        self.url, self.metrics, self.direction = event["listen"], event["metrics"], event["direction"]


class Server(Process):
    """vLLM's OpenAI server."""

    def __init__(self, model, *arguments, slots=8, policy="priority", **environment):
        """Serve a tiny model."""
        self.port = free_port()
        command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", model, "--port",
                   str(self.port), "--host", "127.0.0.1", "--served-model-name", "tiny", "--load-format", "dummy",
                   "--dtype", "float32", "--enforce-eager", "--max-model-len", "2048", "--max-num-seqs", str(slots),
                   "--scheduling-policy", policy, "--no-enable-prefix-caching", *arguments]  # fmt: skip
        super().__init__(
            command,
            ENVIRONMENT | {"PYTHONPATH": os.pathsep.join(filter(None, (NEWER, PATHS)))} | environment,
            ready=lambda line: "Application startup complete" in line,
            seconds=240,
        )
        self.url = f"http://127.0.0.1:{self.port}"
        # It says so before it listens.
        end = time.monotonic() + 20
        while not self._listens():
            if time.monotonic() > end:
                self.kill()
                raise RuntimeError("it does not listen")
            time.sleep(0.05)

    def _listens(self):
        with socket.socket() as caller:
            return caller.connect_ex(("127.0.0.1", self.port)) == 0

    def get(self, path):
        """The text of a page."""
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:
            return answer.read().decode()

    def outcomes(self, name="rankd_engine_requests"):
        """Counters of rankd on the metrics page, by outcome."""
        found = re.findall(rf'^{name}_total{{outcome="([^"]+)"}} (\S+)', self.get("/metrics"), re.MULTILINE)
        return Counter({outcome: int(float(count)) for outcome, count in found})

    def counted(self, name, outcome):
        """One of them; 0 where it is not there."""
        return self.outcomes(name)[outcome]


@contextmanager
def running(process):
    """Kills it at the end."""
    try:
        yield process
    finally:
        process.kill()
