"""A daemon that is measured: what it used, and what its metrics say."""

from __future__ import annotations

import os
import re
import socket
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, build_opener

from benchmarks.gpu.results import Row
from rankd.bench.process import MeasuredProcess

_SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)")


@dataclass(frozen=True, slots=True)
class Usage:
    """What a daemon had used at one moment."""

    processor_seconds: float
    loop_seconds: float
    """Of its main thread, which runs the event loop."""
    stages: dict[str, float]
    """Seconds in each stage of a request, summed, by name."""
    prompts: float
    batches: float


class ServedDaemon(MeasuredProcess):
    """``rankd serve`` on free ports, without cache and guard, so that the same requests may be sent again."""

    def __init__(self, ranker: Path, provider: str, environment: dict[str, str]) -> None:
        """Start it, and wait until it serves.

        Raises:
            RankdError: it did not start; its last lines are in the message.
        """
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.http = f"127.0.0.1:{free.getsockname()[1]}"
        command = ["rankd", "serve", "--listen", "127.0.0.1:0", "--metrics", self.http, "--admin", ""]
        command += ["--provider", provider, "--ranker", str(ranker.absolute())]
        fixed = {
            "RANKD_LOG_FORMAT": "json",
            "RANKD_GUARD__ENABLED": "false",
            "RANKD_SCORING__CACHE_ENTRIES": "0",
        }
        super().__init__(command, environment=fixed | environment, cores=None)

    def get(self, path: str) -> bytes:
        """A page of it."""
        with build_opener(ProxyHandler({})).open(f"http://{self.http}{path}", timeout=30) as answer:
            content: bytes = answer.read()
        return content

    def usage(self) -> Usage:
        """What it has used so far."""
        sums: dict[str, float] = defaultdict(float)
        stages: dict[str, float] = {}
        for name, labels, value in _samples(self.get("/metrics").decode()):
            sums[name] += value
            if name == "rankd_stage_duration_seconds_sum" and (stage := re.search(r'stage="(\w+)"', labels)):
                stages[stage[1]] = value
        prompts, batches = sums["rankd_batch_prompts_sum"], sums["rankd_batch_prompts_count"]
        return Usage(self.processor_seconds, self._loop_seconds(), stages, prompts, batches)

    def _loop_seconds(self) -> float:
        pid = self._process.pid
        try:
            fields = Path(f"/proc/{pid}/task/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def between(before: Usage, after: Usage, seconds: float) -> Row:
    """What a daemon used per prompt between two moments, and how it was kept busy."""
    prompts = max(1.0, after.prompts - before.prompts)
    micro = 1e6 / prompts
    found: dict[str, Any] = {
        "prompts_per_batch": prompts / max(1.0, after.batches - before.batches),
        "processor_us_per_prompt": (after.processor_seconds - before.processor_seconds) * micro,
        "loop_us_per_prompt": (after.loop_seconds - before.loop_seconds) * micro,
        "loop_busy_share": (after.loop_seconds - before.loop_seconds) / seconds,
        "model_busy_share": (after.stages.get("infer", 0.0) - before.stages.get("infer", 0.0)) / seconds,
    }
    for stage in ("tokenise", "infer", "order"):
        found[f"{stage}_us_per_prompt"] = (after.stages.get(stage, 0.0) - before.stages.get(stage, 0.0)) * micro
    return found


def _samples(text: str) -> list[tuple[str, str, float]]:
    found = (_SAMPLE.match(line) for line in text.splitlines() if not line.startswith("#"))
    return [(m[1], m[2] or "", float(m[3])) for m in found if m]
