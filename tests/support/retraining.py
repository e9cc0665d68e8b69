"""Runs of `rankd retrain` that are over in a blink: rows of foretold lengths, and a trainer of tiny rankers."""

import json
import random
import string

from rankd_client import AdminClient

from rankd.cli.install import install
from rankd.retraining.options import Epoch, RetrainOptions, TrainingResult
from support.tiny_ranker import make_artifact

BEGAN = 1_750_000_000.0


def append_rows(path, count, seed=0, began=BEGAN):
    """Completions, ten seconds apart, after those that are there; their length follows the words "long" and "short"."""
    drawn = random.Random(seed)
    there = len(path.read_text().splitlines()) if path.exists() else 0
    with path.open("a") as file:
        for i in range(there, there + count):
            long = drawn.randrange(6)
            own = " ".join("".join(drawn.choices(string.ascii_lowercase, k=6)) for _ in range(2))
            row = {
                "prompt": f"{own} " + "long " * long + "short " * (5 - long),
                "output_token_count": 20 + 30 * long + drawn.randrange(40),
                "ended_at": began + 10 * i,
            }
            file.write(json.dumps(row) + "\n")


class QuickTools:
    """What a run is handed, with a trainer that needs no torch; the ranker that it writes is a real one."""

    def __init__(self, *, scale=1.0, long=1.0):
        """``scale`` and ``long`` are those of ``make_artifact``: with -1 it orders the wrong way round."""
        self.scale, self.long = scale, long
        self.said, self.trained = [], []

    def say(self, line):
        self.said.append(line)

    def progress(self, _what):
        return lambda _done, _total: None

    def train(self, task):
        self.trained.append(list(task.rows))
        make_artifact(task.out, name="retrained", version=task.version, scale=self.scale, long=self.long)
        return TrainingResult("tiny", "none", len(task.rows), 1, (Epoch(0.5, 0.25),))

    def install(self, artifact, registry):
        return install(artifact, registry)

    def connect(self, target):
        return AdminClient(target)


def options(place, **more):
    """Options of a run on ``place``/rows.jsonl with the registry ``place``/registry, without promotion."""
    registry = place / "registry"
    registry.mkdir(exist_ok=True)
    usual = {
        "data": (place / "rows.jsonl",),
        "registry": registry,
        "workspace": registry / ".retraining",
        "scratch": registry / ".retraining" / "scratch",
        "min_new": 100,
        "min_completions": 50,
        "promote": False,
    }
    return RetrainOptions(**(usual | more))
