"""One pilot from plan to report: what it learns of requests, when it measures slots, and when it stops."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
from rankd_client.ordering import Policy

from rankd.pilot.latency import METRICS, Floats, LatencyMetric, summarise
from rankd.pilot.report import Effect, PilotCounts, PilotReport, PilotState, effects_of
from rankd.pilot.sample import SlotSample
from rankd.pilot.schedule import SLOTS_PER_BLOCK, Arm, Schedule
from rankd.pilot.sequence import log_evidence

HARM_ALPHA = 0.01
"""The probability of ever stopping for harm where there is none is at most this."""


@dataclass(frozen=True, slots=True)
class SwitchbackPlan:
    """What is to be compared, how long, and what stops it."""

    schedule: Schedule
    control: Policy
    treatment: Policy
    metric: LatencyMetric = LatencyMetric.P99
    """What harm is measured by."""
    harm_tolerance: float = 0.1
    """Harm is a ratio above 1 + this."""
    shadow: bool = False
    """Order nothing: everything is computed, and as nothing was treated every ratio should be 1."""
    least_requests: int = 20
    """Slots with fewer requests say nothing."""
    most_kept: int = 10_000
    """Requests kept per slot; of more, a fair share."""
    idle_after: float = 0.0
    """Seconds without any request from its beginning on that end it; 0: it waits for ever."""

    def __post_init__(self) -> None:
        """Refuse what is no plan."""
        if not (math.isfinite(self.harm_tolerance) and self.harm_tolerance >= 0):
            raise ValueError("harm_tolerance must be at least 0 and finite")
        if not self.idle_after >= 0:
            raise ValueError("idle_after must be at least 0")
        if self.least_requests < 1 or self.most_kept < self.least_requests:
            raise ValueError("least_requests must be at least 1, and most_kept no less")

    @property
    def horizon(self) -> float:
        """Seconds up to which latencies are compared: one slot."""
        return self.schedule.slot

    def policy(self, arm: Arm) -> Policy:
        """What an arm orders by."""
        return self.treatment if arm is Arm.TREATMENT else self.control


class Switchback:
    """A switchback under way. Time only comes in as ``now``, which never runs backwards.

    Memory: the samples of the slots that are open, four at most, and four figures per slot that is not.
    """

    def __init__(self, plan: SwitchbackPlan) -> None:
        """Begin as planned."""
        self.plan = plan
        self.state = PilotState.PLANNED
        self._reason = ""
        self._samples: dict[int, SlotSample] = {}
        self._next = 0
        """The first slot that was not measured yet."""
        self._pending: dict[Arm, Floats | None] = {}
        self._figures: dict[Arm, list[Floats]] = {arm: [] for arm in Arm}
        self._counts = PilotCounts()
        self._effects: tuple[Effect, ...] | None = ()
        self._began: float | None = None
        """When it was both there and due."""
        self._seen = False
        """Whether any request came."""
        self._timed = 0
        """Ends with a latency that counted."""

    @property
    def active(self) -> bool:
        """Whether it may still change anything."""
        return self.state in {PilotState.PLANNED, PilotState.RUNNING}

    @property
    def has_traffic(self) -> bool:
        """Whether any request came."""
        return self._seen

    # -- what orders ask ---------------------------------------------------------------------------------------------

    def policy_at(self, now: float) -> Policy | None:
        """What to order by; None where that is not the pilot's to say: outside its slots, and in the shadow always."""
        arm = self._arm_at(now)
        return None if arm is None or self.plan.shadow else self.plan.policy(arm)

    def ticket_at(self, arrival: float) -> int:
        """What a request that arrived then brings back with its end; 0 where it does not count."""
        slot = self.plan.schedule.counted_slot(arrival) if self.active else None
        return 0 if slot is None else self.plan.schedule.ticket(slot)

    def ordered(self, now: float, policy: Policy) -> None:
        """Note by what a queue was ordered."""
        self._seen = True
        if (wanted := self.policy_at(now)) is not None:
            self._counts.answers += 1
            self._counts.overridden += policy is not wanted

    def _arm_at(self, now: float) -> Arm | None:
        slot = self.plan.schedule.slot_at(now) if self.active else None
        return None if slot is None else self.plan.schedule.arm(slot)

    # -- what it learns ----------------------------------------------------------------------------------------------

    def arrived(self, key: int, ticket: int, arrival: float) -> None:
        """Note a request that arrived; as often as it is seen.

        Args:
            key: of the request, the same in every call, uniform in 0 to 2^64 - 1.
            ticket: what ``ticket_at`` said of it.
            arrival: seconds.
        """
        self._seen = True
        if (sample := self._sample(ticket)) is not None:
            sample.arrived(key, arrival)

    def ended(self, key: int, ticket: int, arrival: float, latency: float | None, *, served: bool) -> None:
        """Note a request that ended.

        Args:
            key: as in ``arrived``; one that never arrived here is taken too.
            ticket: as it was echoed; 0 for a request that does not count.
            arrival: seconds.
            latency: seconds from arrival to end; None where it was not reported.
            served: false where it gave up: its latency is a lower bound.
        """
        if not ticket or not self.active:
            return
        self._seen = True
        if (sample := self._sample(ticket)) is None:
            self._counts.late += 1
        elif latency is None:
            self._counts.unknown += 1
            self._end_without_latencies()
        else:
            self._timed += 1
            sample.ended(key, arrival, latency, served=served)

    def _sample(self, ticket: int) -> SlotSample | None:
        slot = self.plan.schedule.slot_of(ticket) if self.active and ticket else None
        if slot is None or not self._next <= slot < self._next + 2 * SLOTS_PER_BLOCK:
            return None
        return self._samples.setdefault(slot, SlotSample(self.plan.most_kept))

    # -- what it decides ---------------------------------------------------------------------------------------------

    def advance(self, now: float, elsewhere: str = "") -> None:
        """Let time pass: measure slots that are over, stop on harm, end. Call about once a second.

        Args:
            now: seconds.
            elsewhere: where traffic was seen meanwhile, for the reason of a pilot that had none.
        """
        if self.state is PilotState.PLANNED and now >= self.plan.schedule.start:
            self.state, self._began = PilotState.RUNNING, now
        self._end_without_traffic(now, elsewhere)
        while self.state is PilotState.RUNNING and self._over(self._next, now):
            self._measure(self._next, now)
            self._next += 1
            if self._next % SLOTS_PER_BLOCK == 0:
                self._close_block()
            if self.state is PilotState.RUNNING and self._next == self.plan.schedule.slots:
                self._finish()

    def cancel(self) -> None:
        """End it, from outside; one that has ended stays as it is."""
        if self.active:
            self._end(PilotState.CANCELLED, "stopped by an administrator")

    def report(self, now: float) -> PilotReport:
        """How it stands; a few milliseconds after each block, else nothing."""
        if self._effects is None:
            control, treatment = self._figures[Arm.CONTROL], self._figures[Arm.TREATMENT]
            self._effects = effects_of(control, treatment, self.plan.horizon)
        return PilotReport(
            state=self.state,
            reason=self._reason,
            arm=self._arm_at(now),
            blocks=len(self._figures[Arm.CONTROL]),
            counts=dataclasses.replace(self._counts),
            effects=self._effects,
        )

    def _over(self, slot: int, now: float) -> bool:
        """Whether all is known of a slot: its requests ended, or are known to be longer than the horizon."""
        ends = self.plan.schedule.ends(slot)
        sample = self._samples.get(slot)
        # A washout later also the last arrivals have been reported.
        ended = sample is not None and not sample.open and now >= ends + self.plan.schedule.washout
        return ended or now >= ends + self.plan.horizon

    def _measure(self, slot: int, now: float) -> None:
        counts, arm = self._counts, self.plan.schedule.arm(slot)
        counts.slots += 1
        self._pending[arm] = None
        sample = self._samples.pop(slot, None)
        if sample is None:
            return
        arrival, latency, served = sample.columns(now)
        counts.requests += len(sample)
        counts.unfinished += sample.open
        counts.gave_up += int(np.count_nonzero(~served)) - sample.open
        counts.crossed += int(np.count_nonzero(arrival + latency > self.plan.schedule.ends(slot)))
        if len(sample) >= self.plan.least_requests:
            self._pending[arm] = summarise(latency, served, self.plan.horizon)

    def _close_block(self) -> None:
        control, treatment = self._pending.pop(Arm.CONTROL), self._pending.pop(Arm.TREATMENT)
        if not self._timed and self._counts.requests >= self.plan.least_requests:
            self._end(
                PilotState.UNMEASURED,
                f"of {self._counts.requests:,} requests none was reported to have ended within a slot's length: the "
                "engine must report completions with their predictions, and slots must be longer than requests take",
            )
            return
        if control is None or treatment is None:
            self._counts.skipped += 1
            return
        self._figures[Arm.CONTROL].append(control)
        self._figures[Arm.TREATMENT].append(treatment)
        self._effects = None
        self._stop_on_harm()

    def _stop_on_harm(self) -> None:
        column = METRICS.index(self.plan.metric)
        pairs = zip(self._figures[Arm.TREATMENT], self._figures[Arm.CONTROL], strict=True)
        differences = np.array([math.log(ours[column] / theirs[column]) for ours, theirs in pairs])
        if log_evidence(differences - math.log1p(self.plan.harm_tolerance)) < math.log(1.0 / HARM_ALPHA):
            return
        self._end(
            PilotState.STOPPED,
            f"harm: {self.plan.metric.value} is worse by more than {self.plan.harm_tolerance:.0%} "
            f"(ratio {math.exp(differences.mean()):.2f} over {len(differences)} blocks)",
        )

    def _finish(self) -> None:
        if self._figures[Arm.CONTROL]:
            self._end(PilotState.FINISHED, "all blocks are done")
            return
        self._end(
            PilotState.UNMEASURED if self._seen else PilotState.NO_TRAFFIC,
            f"no block had {self.plan.least_requests} requests in both of its slots: take longer slots"
            if self._seen
            else "no request of this model came in any slot",
        )

    def _end_without_traffic(self, now: float, elsewhere: str) -> None:
        waited = 0.0 if self._began is None else now - self._began
        if self.state is not PilotState.RUNNING or self._seen or not 0 < self.plan.idle_after <= waited:
            return
        self._end(
            PilotState.NO_TRAFFIC,
            f"no request of this model came in {waited:.0f} s{elsewhere and f'; {elsewhere}'}",
        )

    def _end_without_latencies(self) -> None:
        if not self._timed and self._counts.unknown >= self.plan.least_requests:
            self._end(
                PilotState.UNMEASURED,
                f"{self._counts.unknown:,} completions were reported, and none with total_duration, which is what a "
                "pilot measures",
            )

    def _end(self, state: PilotState, reason: str) -> None:
        self.state, self._reason = state, reason
        self._samples.clear()
