"""Answers of QualityService, made once for all who ask while nothing changes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Generator, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from rankd_client.v1 import quality_pb2

from rankd.clock import CLOCK
from rankd.monitor.monitor import Monitor
from rankd.monitor.window import Window
from rankd.pilot.live import LivePilots
from rankd.ranking.policy import in_force
from rankd.ranking.savings import SavingsReports
from rankd.settings import Settings
from rankd.transport.convert.quality import policy_in_force_of, quality_of
from rankd.transport.convert.savings import savings_message

_MOST_KEPT = 64
"""Answers: each names a model, a version, or neither."""

Question = tuple[str | None, str]
"""The model that is asked for (None: any), and the ranker version (empty: any)."""


@dataclass(frozen=True, slots=True)
class QualityParts:
    """What an answer holds beside what the daemon says of itself."""

    qualities: list[quality_pb2.Quality]
    policies: list[quality_pb2.PolicyInForce]
    savings: list[quality_pb2.Savings]


class QualityAnswers:
    """Makes them, and keeps each until something that it says has changed."""

    def __init__(self, monitor: Monitor, pilots: LivePilots, settings: Settings) -> None:
        """Nothing is made yet."""
        self._monitor = monitor
        self._pilots = pilots
        self._settings = settings
        self._savings = SavingsReports(monitor, pilots, settings)
        self._kept: OrderedDict[Question, tuple[Hashable, QualityParts]] = OrderedDict()

    def steps(
        self, question: Question, windows: Sequence[Window], models: Sequence[str], in_service: str
    ) -> Generator[None, None, QualityParts]:
        """Answer a question, a window or a model at a time; ``yield`` is where others may come between.

        Args:
            question: what the answer is kept under.
            windows: what it is about.
            models: whose policies it tells.
            in_service: the version of the ranker in service.
        """
        now = CLOCK.now()
        # Without a name where requests are reported so; the window that stands for all models says nothing.
        reported = sorted({w.model for w in windows if w.model or w.tracker.completions})
        reports = [self._savings.of(m, in_service, now) for m in reported]
        state = (
            in_service,
            CLOCK.offset(),
            tuple(map(_state_of, windows)),
            tuple(self._policy_state(m, in_service) for m in models),
            tuple(reports),
        )
        kept = self._kept.get(question)
        if kept is not None and kept[0] == state:
            return kept[1]
        parts = QualityParts([], [], list(map(savings_message, reports)))
        for window in windows:
            parts.qualities.append(quality_of(window, self._settings.guard.enabled))
            yield
        for model in models:
            parts.policies.append(self._policy(model, in_service))
            yield
        self._kept[question] = state, parts
        self._kept.move_to_end(question)
        if len(self._kept) > _MOST_KEPT:
            self._kept.popitem(last=False)
        return parts

    def _policy_state(self, model: str, ranker_version: str) -> Hashable:
        window = self._monitor.own_or_base(model, ranker_version)
        load = window.load
        return model, _state_of(window), load.reports, load.fitted_at, load.tuned_at, self._pilots.policy(model)

    def _policy(self, model: str, ranker_version: str) -> quality_pb2.PolicyInForce:
        trust = self._monitor.trust(model, ranker_version)
        effective = in_force(self._settings.order, trust, self._pilots.policy(model))
        return policy_in_force_of(model, ranker_version, effective, trust)


def _state_of(window: Window) -> tuple[Any, ...]:
    """What changes where anything changes that is told of a window; what is compared by identity is kept alive."""
    guard = window.guard
    return (
        window,
        window.tracker.completions,
        window.tracker.progress_reports,
        window.transitions,
        guard.mode,
        guard.since,
        guard.pinned_until,
        guard.order_tau_low,
        guard.ignores_lengths,
        window.reason,
        _Same(window.estimate),
        _Same(window.fleet),
        _Same(window.calibration),
    )


class _Same:
    """Equal where it holds the same object."""

    __slots__ = ("_held",)

    def __init__(self, held: object) -> None:
        self._held = held

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self._held is other._held

    def __hash__(self) -> int:
        return id(self._held)
