"""The pilots under way, one per served model: between what orders and reports say, and ``rankd.pilot``."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray
from rankd_client.ordering import Policy

from rankd.clock import CLOCK
from rankd.errors import NotFoundError, PilotError
from rankd.pilot import PilotState, Switchback, SwitchbackPlan
from rankd.telemetry.telemetry import Telemetry
from rankd.types import Completion, FinishReason, RankQueue, RequestHasher

MOST_PILOTS = 16
"""Served models with a pilot, ended ones included."""
_MOST_NAMED = 8
_SERVED = {FinishReason.STOP, FinishReason.LENGTH}


class LivePilots:
    """Begins, feeds and ends pilots. All on one event loop.

    A pilot's slots are times of the machine's clock, which replicas share, as it was when the pilot was started: a
    clock that is set later neither repeats slots nor leaves some out.
    """

    def __init__(self, telemetry: Telemetry) -> None:
        """Begin without any."""
        self._telemetry = telemetry
        self._pilots: dict[str, Switchback] = {}
        self._announced: dict[str, PilotState] = {}
        self._changed_at: dict[str, float] = {}
        """When each pilot's state changed last, by its clock."""
        self._offsets: dict[str, float] = {}
        """What each pilot's clock is ahead of the daemon's, seconds."""
        self._ranked: dict[str, float] = {}
        """Models whose queues were ordered of late, a few, and when; kept while there are pilots."""
        self._hasher = RequestHasher()

    # -- administration ------------------------------------------------------------------------------------------------

    def start(self, model: str, plan: SwitchbackPlan) -> Switchback:
        """Begin a pilot; the report of one that ended on this model is forgotten.

        Raises:
            PilotError: one is under way for this model, or too many are for others.
        """
        before = self._pilots.get(model)
        if before is not None and before.active:
            raise PilotError("a pilot is under way for this model: stop it, or wait for its end")
        if before is None and len(self._pilots) >= MOST_PILOTS:
            ended = next((m for m, p in self._pilots.items() if not p.active), None)
            if ended is None:
                raise PilotError(f"pilots are under way for {MOST_PILOTS} models already: stop one")
            del self._pilots[ended], self._announced[ended], self._changed_at[ended], self._offsets[ended]
        pilot = self._pilots[model] = Switchback(plan)
        self._offsets[model] = time.time() - CLOCK.now()
        self._announced.pop(model, None)
        self._advance(model, pilot)
        return pilot

    def now(self, model: str) -> float:
        """The time by the clock of a model's pilot, seconds since the epoch. May be called in any thread."""
        return CLOCK.now() + self._offsets.get(model, 0.0)

    def get(self, model: str) -> Switchback:
        """A model's pilot, also one that ended.

        Raises:
            NotFoundError: there was none since the daemon's start.
        """
        pilot = self._pilots.get(model)
        if pilot is None:
            raise NotFoundError("model: no pilot was started for it")
        self._advance(model, pilot)
        return pilot

    def all(self) -> list[tuple[str, Switchback]]:
        """Every model's pilot, those that ended too. May be called in any thread."""
        return list(self._pilots.copy().items())

    def ends_at(self, model: str, pilot: Switchback) -> float:
        """When a pilot ends as planned, or ended, by its clock. May be called in any thread."""
        planned = pilot.plan.schedule.end
        return planned if pilot.active else min(planned, self._changed_at.get(model, planned))

    def stop(self, model: str) -> Switchback:
        """End a model's pilot; one that has ended stays as it is.

        Raises:
            NotFoundError: there is none.
        """
        pilot = self.get(model)
        pilot.cancel()
        self._advance(model, pilot)
        return pilot

    def advance(self) -> None:
        """Let time pass; call about once a second."""
        for model, pilot in self._pilots.items():
            self._advance(model, pilot)

    def _advance(self, model: str, pilot: Switchback) -> None:
        now = self.now(model)
        pilot.advance(now, self._elsewhere(model, pilot) if pilot.active and not pilot.has_traffic else "")
        if self._announced.get(model) is not pilot.state:
            self._announced[model] = pilot.state
            self._changed_at[model] = now
            report = pilot.report(now)
            self._telemetry.pilot_changed(
                model=model, state=report.state.value, reason=report.reason, blocks=report.blocks
            )

    def _elsewhere(self, model: str, pilot: Switchback) -> str:
        """Which other models had traffic since a pilot's start: its own may have been misnamed."""
        since = pilot.plan.schedule.start - self._offsets.get(model, 0.0)
        others = [name for name, at in self._ranked.items() if name != model and at >= since]
        return f"there were of {', '.join(map(repr, sorted(others)))}" if others else ""

    def _note(self, model: str) -> None:
        if model in self._ranked or len(self._ranked) < _MOST_NAMED:
            self._ranked[model] = CLOCK.now()

    def measures(self, model: str) -> bool:
        """Whether a pilot is under way for a model: what orders should not change for the better meanwhile."""
        return self._active(model) is not None

    # -- live traffic --------------------------------------------------------------------------------------------------

    @property
    def any(self) -> bool:
        """Whether there was a pilot since the daemon's start; most daemons never have one."""
        return bool(self._pilots)

    def policy(self, model: str) -> Policy | None:
        """What a model's queue is to be ordered by now; None where no pilot says."""
        pilot = self._active(model)
        return None if pilot is None else pilot.policy_at(self.now(model))

    def ordered(self, queue: RankQueue, policy: Policy) -> None:
        """Note by what a queue was ordered."""
        if self._pilots and queue.request_ids:
            self._note(queue.model)
        pilot = self._active(queue.model)
        if pilot is not None and queue.request_ids:
            pilot.ordered(self.now(queue.model), policy)

    def arrived(self, queue: RankQueue, fresh: NDArray[np.bool_], part: range) -> dict[int, int]:
        """Note the requests in a queue that are new.

        Args:
            queue: what was ordered.
            fresh: [n] the items that were given a prediction.
            part: the items to look at.

        Returns:
            By item: the slot that its prediction is to carry.
        """
        pilot = self._active(queue.model)
        if pilot is None:
            return {}
        now = self.now(queue.model)
        slots = {}
        for i in (part.start + np.flatnonzero(fresh[part.start : part.stop])).tolist():
            # Clocks differ: an age by the caller's clock becomes a time by the pilot's.
            arrival = now - (queue.now - float(queue.arrival[i]))
            if ticket := pilot.ticket_at(arrival):
                pilot.arrived(self._hasher.key(queue.tenant_of(i), queue.request_ids[i]), ticket, arrival)
                slots[i] = ticket
        return slots

    def completed(self, completion: Completion, finish: FinishReason) -> None:
        """Note how a request ended."""
        if not completion.pilot_slot or not completion.final:
            return
        pilot = self._active(completion.model)
        if pilot is not None:
            pilot.ended(
                self._hasher.key(completion.tenant, completion.request_id),
                completion.pilot_slot,
                completion.arrival + self._offsets[completion.model],
                completion.took,
                served=finish in _SERVED,
            )

    def _active(self, model: str) -> Switchback | None:
        pilot = self._pilots.get(model)
        if pilot is None or not pilot.active:
            return None
        self._advance(model, pilot)
        return pilot if pilot.active else None
