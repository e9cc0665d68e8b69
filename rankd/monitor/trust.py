"""What an order needs to know of a ranker on a model."""

from __future__ import annotations

from dataclasses import dataclass, field

from rankd_client.calibration import Calibration

from rankd.monitor.load import ModelLoad


@dataclass(frozen=True, slots=True)
class Trust:
    """What an order needs to know of a ranker on a model."""

    ranks: bool
    worth_waiting: bool
    """False while batches fail or take too long."""
    calibration: Calibration | None
    level: float
    """How far, 0 to 1: what patience is scaled by."""
    load: ModelLoad = field(compare=False)
    """How fast its model is served, and how long requests wait for it. Changes all the time, the trust does not."""

    def drain(self, tokens: float) -> float | None:
        """Seconds that a backlog of so many tokens takes; None where nothing is known.

        At least what requests waited of late: a caller may ask for one request, and have many waiting.
        """
        known = [s for s in (self.load.rate.drain(tokens), self.load.wait.mean) if s is not None]
        # That nothing waited so far says nothing of a queue that there is now.
        return max(known, default=0.0) or None
