"""The parts of a day: a real daemon by a script's clock, hours of traffic, what an operator does, and looks at all."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rankd_client import AdminClient, Item, PilotPlan, RankClient
from support.browser import Chromium
from support.scripted_clock import ScriptedClock
from support.tiny_ranker import make_artifact

from soak.scripted_day.checks import cover, findings
from soak.scripted_day.faces import Faces, look
from soak.scripted_day.served import serve
from soak.scripted_day.traffic import hour
from soak.scripted_day.truth import Coverage, Truth

MODEL = "llm"
BEGIN = 1_772_438_400.0
"""2026-03-02 08:00 UTC."""
_PROBES = ("Is bread true or false? Be short.", "Write a long and detailed essay on the history of chess.")


@dataclass
class Point:
    """A time at which all was looked at."""

    name: str
    at: float
    ranker: str
    order: str
    state: str
    headline: str
    said: str
    """Mean end-to-end seconds saved, as told."""
    true: str
    lately: str
    """The same of the last hour's requests alone, and by the ranker of that hour."""
    untrue: list[str]


@dataclass
class Seen:
    """What was to be seen at a point, and what is true then."""

    name: str
    at: float
    faces: Faces
    truth: Truth


@dataclass
class Day:
    """One day with one registry and log, and as many daemons as it takes, one after the other."""

    directory: Path
    seed: int = 0
    settings: dict = field(default_factory=dict)
    points: list[Point] = field(default_factory=list)
    coverage: Coverage = field(default_factory=Coverage)
    truth: Truth = field(default_factory=Truth)
    on_point: object = None
    browser: Chromium | None = None

    def __post_init__(self) -> None:
        self.clock = ScriptedClock(self.directory / "clock", BEGIN)
        self.registry = self.directory / "registry"
        self.registry.mkdir()
        self._rng = np.random.default_rng(self.seed)
        self._hours = 0
        self.daemon = self.client = None

    # -- the daemon --------------------------------------------------------------------------------------------------

    def start(self, **settings) -> None:
        """Start a daemon; ``ranker`` is no setting where it follows the registry."""
        kept = {
            "registry": self.registry,
            "completion_log__directory": self.directory / "log",
            "completion_log__flush_seconds": 0.2,
            "quality__snapshot": self.directory / "snapshot",
            "quality__snapshot_every": 1,
        }
        self.daemon = self.clock.daemon(**(kept | self.settings | settings))
        self.client = RankClient(self.daemon.target, model=MODEL, timeout=60)

    def kill(self) -> None:
        """As a machine that loses its power does it."""
        self.client.close()
        self.daemon.kill()

    def restart(self, **settings) -> None:
        """Another process in its place."""
        self.kill()
        self.truth.restart()
        self.start(**settings)

    def close(self) -> None:
        """End what runs."""
        if self.daemon is not None:
            self.client.close()
            if self.daemon.process.poll() is None:
                self.daemon.kill()

    # -- time --------------------------------------------------------------------------------------------------------

    def serve(self, requests: int, load: float, *, unreported: float = 0.0, half_way: str = "", **how) -> None:
        """Let requests come and end.

        Args:
            requests: how many.
            load: 1 is all that the engine can do.
            unreported: share of them of which nobody tells.
            half_way: name of a point in the middle; empty: none.
            how: see ``hour``.
        """
        self._hours += 1
        made = hour(self._rng, requests, load, **how)
        untold = frozenset(np.flatnonzero(self._rng.random(requests) < unreported).tolist())
        seen = []
        look_at_all = (lambda: seen.append(self._seen(half_way))) if half_way else None
        with self.clock.here():
            served = serve(made, self.client, self.clock, self.truth.sent, f"h{self._hours}", untold, look_at_all)
        self.truth.took(served)
        for one in seen:
            one.truth.hours, one.truth.last_end = self.truth.hours, one.at
            self._judge(one)
        assert not self.truth.sent.refused, self.truth.sent.refused[:2]

    def wait(self, seconds: float) -> None:
        """Let nothing happen."""
        self.clock.to(self.clock.now + seconds)

    def point(self, name: str) -> Faces:
        """Look at all, and note what is not true."""
        self._probe()
        seen = self._seen(name)
        self._judge(seen)
        return seen.faces

    def _seen(self, name: str) -> Seen:
        return Seen(name, self.clock.now, look(self.clock, self.daemon, self.browser), self.truth.now())

    def _judge(self, seen: Seen) -> None:
        faces, truth = seen.faces, seen.truth
        untrue = [*findings(faces, truth, MODEL, seen.at)]
        compared = cover(faces, truth, MODEL, seen.at, self.coverage, f"seed {self.seed}, {seen.name}")
        saved = next((s for s in faces.state["savings"] if s["model"] == MODEL), None)
        said = true = "-"
        if compared is not None and len(compared):
            mean = saved["latencies"][0]["saved_seconds"]
            said = f"{mean['value']:.2f} ({mean['low']:.2f} to {mean['high']:.2f})"
            true = f"{compared.saved('end_to_end', 'mean'):.2f}"
        first = faces.text.lstrip().splitlines()[0].rstrip()
        state, lately = "-" if saved is None else saved["state"], truth.lately()
        point = Point(seen.name, seen.at, truth.ranker, truth.mode, state, first, said, true, lately, untrue)
        self.points.append(point)
        if self.on_point is not None:
            self.on_point(point)

    def _probe(self) -> None:
        """What orders now."""
        with self.clock.here():
            queue = self.client.rank([Item(text, arrival=self.clock.now) for text in _PROBES], timeout=60)
        self.truth.sent.calls += 1
        self.truth.sent.items += len(_PROBES)
        self.truth.sent.policy = queue.policy.value

    # -- an operator -------------------------------------------------------------------------------------------------

    def ranker(self, version: str, **fields) -> Path:
        """A small ranker, which lay in the registry before the day began."""
        made = make_artifact(self.registry / f"tiny-{version}", version=version, **fields)
        for file in made.iterdir():
            os.utime(file, (BEGIN - 3600, BEGIN - 3600))
        return made

    def promote(self, directory: Path, *flags: str) -> dict:
        """``rankd promote``; its JSON, with ``status``, the exit status."""
        self.clock.settle(self.daemon.process)
        ended = self.clock.run("promote", directory, "--json", "--admin", self.daemon.admin_target, *flags)
        assert ended.returncode in (0, 3), ended.stderr
        said = json.loads(ended.stdout)
        if ended.returncode == 0:
            self.came_into_service("promoted", said["ranker_version"])
        return said | {"status": ended.returncode}

    def retrain(self) -> dict:
        """``rankd retrain`` as a timer starts it; its record."""
        self.clock.settle(self.daemon.process)
        ended = self.clock.run_apart(
            "retrain", "--base", "ngram", "--data", self.directory / "log", "--registry", self.registry,
            "--admin", self.daemon.admin_target, "--json",
        )  # fmt: skip
        record = json.loads(ended.stdout)
        assert record["outcome"] == "promoted", (record, ended.stderr)
        self.came_into_service("promoted", record["trained"]["ranker_version"])
        return record

    def rollback(self) -> None:
        """``rankd rollback``."""
        before = self.truth.steps[-1][2]
        ended = self.clock.run("rollback", "--json", "--admin", self.daemon.admin_target)
        assert ended.returncode == 0, ended.stderr
        self.came_into_service("rolled_back", before)

    def came_into_service(self, kind: str, version: str) -> None:
        """Note a step of the registry's history."""
        self.truth.steps.append((kind, version, self.truth.ranker))
        self.truth.events.append((kind, self.clock.now))
        self.truth.ranker = version

    def start_pilot(self, slot: float, blocks: int) -> None:
        """The daemon's policy against arrival order."""
        with AdminClient(self.daemon.admin_target) as admin:
            admin.start_pilot(PilotPlan(slot=slot, blocks=blocks, model=MODEL, seed=1))
        self.truth.pilot = True
        self.truth.events.append(("pilot_began", self.clock.now))
        self.clock.settle(self.daemon.process)

    def stop_pilot(self) -> None:
        """Before its end."""
        with AdminClient(self.daemon.admin_target) as admin:
            admin.stop_pilot(MODEL)
        self.pilot_ended()

    def pilot_ended(self) -> None:
        """Note that it has, by now."""
        self.truth.pilot = False
        self.truth.events.append(("pilot_ended", self.clock.now))
