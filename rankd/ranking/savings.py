"""What is said of saved seconds now: the figures of a served model's load, and the state that follows from them."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from rankd_client.ordering import Policy

from rankd.clock import CLOCK
from rankd.monitor.load import ModelLoad
from rankd.monitor.monitor import Monitor
from rankd.pilot.live import LivePilots
from rankd.quality.savings.values import SavedTotal, SavingsEstimate, SavingsReport, SavingsState
from rankd.ranking.policy import in_force
from rankd.settings import Settings
from rankd.types import GuardMode


class SavingsReports:
    """Says of each served model what ranking did to its traffic lately. May be asked in any thread."""

    def __init__(self, monitor: Monitor, pilots: LivePilots, settings: Settings) -> None:
        """Take what knows of traffic, and of what is in force."""
        self._monitor = monitor
        self._pilots = pilots
        self._settings = settings

    def all(self, ranker_version: str, now: float) -> list[SavingsReport]:
        """Of each served model with reports, by name."""
        models = sorted({w.model for w in self._monitor.reported_windows()})
        return [self.of(model, ranker_version, now) for model in models]

    def of(self, model: str, ranker_version: str, now: float) -> SavingsReport:
        """Of one served model.

        Args:
            model: its name.
            ranker_version: the ranker in service.
            now: by the daemon's clock.
        """
        load = self._load(model, ranker_version)
        saving = load.saving
        figures, total, ended_at = saving.estimate, saving.total, saving.ended_at
        return SavingsReport(
            model=model,
            state=self._state(model, ranker_version, load, now),
            completions=len(saving) if figures is None else figures.completions,
            figures=None if figures is None else _by_wall(figures),
            total=None if total is None else _by_wall(total),
            last_completion_at=None if ended_at is None else CLOCK.to_wall(ended_at),
        )

    def _load(self, model: str, ranker_version: str) -> ModelLoad:
        """All windows of a model share one load, a late one of a ranker that left memory too."""
        own = self._monitor.own_or_base(model, ranker_version)
        if own.model == model:
            return own.load
        return next((w.load for w in self._monitor.reported_windows() if w.model == model), own.load)

    def _state(self, model: str, ranker_version: str, load: ModelLoad, now: float) -> SavingsState:
        if (
            reported_at := load.saving.reported_at
        ) is not None and now - reported_at > self._settings.quality.idle_after:
            return SavingsState.IDLE
        guard = self._monitor.own_or_base(model, ranker_version).guard
        trust = self._monitor.trust(model, ranker_version)
        piloted = self._pilots.policy(model)
        arrival_order = in_force(self._settings.order, trust, piloted).policy is Policy.FCFS
        configured = Policy(self._settings.order.policy) is not Policy.FCFS and piloted is not Policy.FCFS
        # A guard that has seen too little yet does not fall back from anything.
        warming_up = configured and guard.mode is GuardMode.WARMING_UP
        if arrival_order and not warming_up:
            return SavingsState.FALLS_BACK
        return SavingsState.LEARNING if load.saving.estimate is None else state_of(load.saving.estimate)


_Told = TypeVar("_Told", SavingsEstimate, SavedTotal)


def _by_wall(told: _Told) -> _Told:
    """With times as the machine's clock tells them."""
    return replace(told, since=CLOCK.to_wall(told.since), until=CLOCK.to_wall(told.until))


def state_of(figures: SavingsEstimate) -> SavingsState:
    """What figures come to, where ranking is in force and requests end."""
    if not figures.queued:
        return SavingsState.NO_QUEUE
    mean = figures.mean
    if mean.low > 0:
        return SavingsState.GAINS
    return SavingsState.LOSES if mean.high < 0 else SavingsState.NO_GAIN
