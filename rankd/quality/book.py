"""The trackers of all (model, ranker version) pairs, bounded in number."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

from rankd.quality.report import QualitySettings
from rankd.quality.tracker import QualityTracker

WindowKey = tuple[str, str]
"""(model, ranker version)"""


class QualityBook:
    """Opens a tracker at first need and forgets the one that was reported to longest ago."""

    def __init__(self, settings: QualitySettings | None = None, max_windows: int = 32) -> None:
        """Keep at most ``max_windows`` trackers, all with the same settings."""
        if max_windows < 1:
            raise ValueError("max_windows must be at least 1")
        self._settings = settings or QualitySettings()
        self._max = max_windows
        self._trackers: OrderedDict[WindowKey, QualityTracker] = OrderedDict()
        self.evicted = 0
        """Trackers forgotten so far."""

    def __len__(self) -> int:
        return len(self._trackers)

    def __iter__(self) -> Iterator[tuple[WindowKey, QualityTracker]]:
        return iter(list(self._trackers.items()))

    def get(self, model: str, ranker_version: str) -> QualityTracker | None:
        """Look a tracker up without opening or refreshing it."""
        return self._trackers.get((model, ranker_version))

    def open(self, model: str, ranker_version: str) -> QualityTracker:
        """Return the tracker, opening it where it is new, and mark it as used."""
        key = (model, ranker_version)
        tracker = self._trackers.get(key)
        if tracker is None:
            tracker = self._trackers[key] = QualityTracker(self._settings)
            if len(self._trackers) > self._max:
                self._trackers.popitem(last=False)
                self.evicted += 1
        else:
            self._trackers.move_to_end(key)
        return tracker
