"""When to trust a ranker: a pure state machine over evidence, with no clock of its own."""

from __future__ import annotations

import math
from dataclasses import replace

from rankd.quality.guard_evidence import GuardEvidence
from rankd.quality.guard_state import Evidence, GuardReason, GuardSettings, GuardStanding, HealthEvidence, Transition
from rankd.quality.prompt_judgement import PromptJudgement, supported_lower_bound
from rankd.types import GuardMode


class Guard:
    """WARMING_UP → RANKED ⇄ FALLBACK, deciding on confidence bounds and never on point estimates.

    A pin is laid over the machine: underneath it goes on, and when the pin ends its mode shows again.
    Times may come out of order; the latest one seen counts.
    """

    def __init__(self, settings: GuardSettings | None = None, *, measured: bool = False, now: float = 0.0) -> None:
        """Start warming up; ``measured`` says that the manifest carries a measured tau."""
        self.settings = settings or GuardSettings()
        self._measured = measured
        self._now = now
        self._mode = GuardMode.WARMING_UP
        self._since = -math.inf
        self._cause: GuardReason | None = None
        self._stay = self.settings.dwell
        self._recovered_at = -math.inf
        self._relapses = 0
        self._below = 0
        self._above = 0
        self._slow = 0
        self._healthy = True
        self._pin: tuple[GuardMode, float] | None = None
        self._tau_low: float | None = None
        self._other_scores = False
        """Whether the lower bound of tau is that of other scores than order now."""
        self._prompts = PromptJudgement()
        """Never changed in place: a copy of this guard goes its own way."""

    @property
    def basis(self) -> tuple[object, ...]:
        """All that what it says of orders rests on: while this is equal, so is that."""
        return self._mode, self._pin, self._cause, self._tau_low, self._prompts

    @property
    def tau_low(self) -> float | None:
        """The lower bound of tau when it was last evidence; None before, and where a pin says to rank."""
        return None if self._pin is not None and self._pin[0] is GuardMode.RANKED else self._tau_low

    @property
    def ignores_lengths(self) -> bool:
        """Whether prompts alone order: expected lengths do not add to them, or scores are of no use and prompts are.

        A pin says what orders, scores or arrival.
        """
        if self._pin is not None:
            return False
        prompts = self._prompts.standing
        return prompts.better if self.ranks else prompts.proven

    @property
    def order_tau_low(self) -> float | None:
        """The lower bound of the tau of what orders, as ``tau_low``."""
        return self._prompts.standing.tau_low if self.ignores_lengths else self.tau_low

    @property
    def mode(self) -> GuardMode:
        """The mode in force: the pin's where there is one."""
        return self._pin[0] if self._pin else self._mode

    @property
    def ranks(self) -> bool:
        """Whether scores order the queue now."""
        mode = self.mode
        return mode is GuardMode.RANKED or (mode is GuardMode.WARMING_UP and self._measured)

    @property
    def pinned_until(self) -> float | None:
        """When the pin ends by itself; None without a pin."""
        return self._pin[1] if self._pin else None

    @property
    def pinned(self) -> tuple[GuardMode, float] | None:
        """The pin: its mode and end; None without one."""
        return self._pin

    @property
    def cause(self) -> GuardReason | None:
        """Why it is in fallback; None in other modes."""
        return self._cause

    @property
    def since(self) -> float | None:
        """When the mode under any pin was entered; None before the first change."""
        return self._since if math.isfinite(self._since) else None

    @property
    def standing(self) -> GuardStanding:
        """What the machine under any pin stands at."""
        return GuardStanding(
            self._mode,
            self._since,
            self._cause,
            self._stay,
            self._recovered_at,
            self._relapses,
            self._tau_low,
            self._prompts.standing,
        )

    def adopt(self, standing: GuardStanding, now: float) -> Transition | None:
        """Stand where another guard does, but for what scoring itself does here: that stays a fallback."""
        ended = self.tick(now)
        origin = self.mode
        self._stay = min(max(standing.stay, self.settings.dwell), self.settings.dwell_max)
        self._recovered_at, self._relapses = min(standing.recovered_at, self._now), standing.relapses
        self._tau_low, self._other_scores = standing.tau_low, False
        if standing.prompts != self._prompts.standing:
            self._prompts = PromptJudgement(standing.prompts)
        if self.standing.scoring_failed or standing.scoring_failed:
            return ended
        if (standing.mode, standing.cause) != (self._mode, self._cause):
            self._below = self._above = self._slow = 0
        self._mode, self._since, self._cause = standing.mode, min(standing.since, self._now), standing.cause
        return _merged(ended, self._visible_change(origin, GuardReason.FOLLOWED, None))

    def pin(self, mode: GuardMode, until: float, now: float) -> Transition | None:
        """Fix the mode until a time; None where that changes nothing that shows."""
        if mode is GuardMode.WARMING_UP:
            raise ValueError("a guard can be pinned to ranked or fallback only")
        if not math.isfinite(until):
            raise ValueError("a pin must end: until must be finite")
        self._advance(now)
        origin = self.mode
        if until <= self._now:
            return self.tick(now)
        self._pin = (mode, until)
        return self._visible_change(origin, GuardReason.PINNED, None)

    def unpin(self, now: float) -> Transition | None:
        """End the pin by hand."""
        self._advance(now)
        origin = self.mode
        self._pin = None
        return self._visible_change(origin, GuardReason.UNPINNED, None)

    def tick(self, now: float) -> Transition | None:
        """End a pin whose time has come; the only thing that happens by itself."""
        self._advance(now)
        if self._pin is None or self._now < self._pin[1]:
            return None
        return self.unpin(now)

    def observe_quality(self, evidence: GuardEvidence, now: float) -> Transition | None:
        """Decide on the guard's cohort as it was just evaluated."""
        ended = self.tick(now)
        tau, settings = evidence.tau.tau, self.settings
        if (
            tau is None
            or evidence.tau.known < settings.min_known * (1.0 - evidence.left_out)
            or not math.isfinite(tau.low + tau.high)
        ):
            # No evidence is no reason: keep the mode, and start confirming anew.
            self._below = self._above = 0
            self._prompts = self._prompts.unclear()
            return ended
        # Reports can be invented: what any one tenant brought must not be what decides.
        good = settings.floor + settings.margin
        bad_for_all = tau.high < settings.floor and all(t < settings.floor for t in evidence.without)
        good_for_all = tau.low > good and all(t > good for t in evidence.without)
        before, self._other_scores = None if self._other_scores else self._tau_low, False
        self._tau_low = supported_lower_bound(tau, evidence.without, before)
        self._judge_prompts(evidence)
        self._below = self._below + 1 if bad_for_all else 0
        self._above = self._above + 1 if good_for_all else 0
        return _merged(ended, self._decide_quality(evidence))

    def _judge_prompts(self, evidence: GuardEvidence) -> None:
        """Decide on what the same cohort says of prompts alone; it is as large."""
        prompts, settings = evidence.prompts, self.settings
        least = settings.min_known * (1.0 - evidence.left_out)
        if prompts is None or prompts.tau.tau is None or prompts.tau.known < least:
            self._prompts = self._prompts.unclear()
            return
        self._prompts = self._prompts.looked(
            prompts, floor=settings.floor, good=settings.floor + settings.margin, confirm=settings.confirm
        )

    def _decide_quality(self, evidence: GuardEvidence) -> Transition | None:
        settings = self.settings
        bad, good = self._below >= settings.confirm, self._above >= settings.confirm
        if self._mode is GuardMode.FALLBACK:
            if self._cause is GuardReason.QUALITY and good and self._healthy and self._dwelt(self._stay):
                return self._go(GuardMode.RANKED, GuardReason.RECOVERED, evidence)
            return None
        if bad and self._dwelt(settings.dwell):
            return self._go(GuardMode.FALLBACK, GuardReason.QUALITY, evidence)
        # A measured ranker is trusted unless found bad; an unmeasured one once it is found good.
        if self._mode is GuardMode.WARMING_UP and (good or (self._measured and not self._below)):
            return self._go(GuardMode.RANKED, GuardReason.WARMED_UP, evidence)
        return None

    def scores_changed(self, *, better: bool) -> None:
        """Note that other scores order from now on: what was seen of the ones before confirms nothing of these.

        Args:
            better: whether they were proven to order better; where the ones before fell back, how often they had
                relapsed then holds these back no longer.
        """
        self._below = self._above = 0
        self._other_scores = True
        self._prompts = self._prompts.unclear()
        if better and self._cause is GuardReason.QUALITY:
            self._stay, self._relapses = self.settings.dwell, 0

    def observe_health(self, evidence: HealthEvidence, now: float) -> Transition | None:
        """Decide on how scoring went."""
        ended = self.tick(now)
        settings = self.settings
        slow = evidence.latency is not None and not evidence.latency <= settings.max_latency
        self._slow = self._slow + 1 if slow else 0
        failing = evidence.consecutive_failures >= settings.max_consecutive_failures or (
            evidence.batches >= settings.min_batches
            and evidence.failures >= settings.max_failure_share * evidence.batches
        )
        self._healthy = not failing and not slow
        return _merged(ended, self._decide_health(evidence, failing=failing))

    def _decide_health(self, evidence: HealthEvidence, *, failing: bool) -> Transition | None:
        settings = self.settings
        if self._mode is not GuardMode.FALLBACK:
            if failing:
                # At once: ranking with a ranker that answers nothing has no upside to wait for.
                return self._go(GuardMode.FALLBACK, GuardReason.ERRORS, evidence)
            if self._slow >= settings.latency_confirm and self._dwelt(settings.dwell):
                return self._go(GuardMode.FALLBACK, GuardReason.LATENCY, evidence)
            return None
        well = self._healthy and evidence.consecutive_successes >= settings.recover_successes
        if self._cause is not GuardReason.QUALITY and well and self._dwelt(self._stay):
            if self._below >= settings.confirm:
                # Well again, but meanwhile found to be bad: quality keeps it out.
                self._cause = GuardReason.QUALITY
                self._prompts = self._prompts.scores_fell()
                return None
            return self._go(GuardMode.RANKED, GuardReason.RECOVERED, evidence)
        return None

    def _advance(self, now: float) -> None:
        if math.isfinite(now):
            self._now = max(self._now, now)

    def _dwelt(self, dwell: float) -> bool:
        return self._now - self._since >= dwell

    def _go(self, to: GuardMode, reason: GuardReason, evidence: Evidence) -> Transition | None:
        """Change the machine's mode; under a pin nothing shows."""
        origin = self.mode
        if to is GuardMode.FALLBACK:
            relapse = self._now - self._recovered_at <= self.settings.relapse_window
            self._relapses = self._relapses + 1 if relapse else 0
            # 2**60 dwells are beyond any dwell_max: the exponent need not grow without bound.
            self._stay = min(self.settings.dwell * 2.0 ** min(self._relapses, 60), self.settings.dwell_max)
            if reason is GuardReason.QUALITY:
                self._prompts = self._prompts.scores_fell()
        elif reason is GuardReason.RECOVERED:
            self._recovered_at = self._now
            if self._cause is GuardReason.QUALITY:
                self._prompts = self._prompts.scores_recovered(self.settings.confirm)
        self._cause = reason if to is GuardMode.FALLBACK else None
        self._mode, self._since = to, self._now
        self._below = self._above = self._slow = 0
        return self._visible_change(origin, reason, evidence)

    def _visible_change(self, origin: GuardMode, reason: GuardReason, evidence: Evidence) -> Transition | None:
        if origin is self.mode:
            return None
        return Transition(at=self._now, origin=origin, to=self.mode, reason=reason, evidence=evidence)


def _merged(first: Transition | None, second: Transition | None) -> Transition | None:
    """One change for two at the same time, as seen from outside: a pin that ends and a decision right after."""
    if first is None or second is None:
        return first or second
    return None if first.origin is second.to else replace(second, origin=first.origin)
