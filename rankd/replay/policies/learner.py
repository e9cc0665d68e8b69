"""What the daemon would know during a replay: lengths learned from completions, trust, how fast requests are served."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from rankd_client.calibration import Calibration, fit_monotone
from rankd_client.ordering import ServedRequest, fit_costs

from rankd.monitor.load import ModelLoad
from rankd.monitor.supported import ServedHistory
from rankd.monitor.tracker_settings import guard_settings, quality_settings
from rankd.monitor.trust import Trust, trust_in, work_model
from rankd.monitor.window_jobs import tuning
from rankd.quality import UNKNOWN_PROMPT, Guard, GuardSnapshot, OutcomeReport, possible
from rankd.quality.arrivals import ArrivalTable
from rankd.replay.engine.engine import RunningBatch
from rankd.replay.policies.traffic import LearnedTraffic, ReplayedTraffic
from rankd.replay.trace.trace import Floats, Trace
from rankd.settings import OrderSection, Settings

_LOOK_EVERY = (50, 100)
"""Completions between two looks of the guard, fewest and most; the daemon's 20 take longer and decide hardly sooner."""
_LOOKS = 200
"""Looks in a replay of a middling trace."""
_FIRST_FITS = (32, 64, 128)
"""Completions after which a map is learned besides, where there is no prior and nothing would be known so long."""
_CLOCK = 1.0
"""Added to times: the tracker takes a time of 0 for one that was not given."""


def read_prompts(trace: Trace) -> list[float]:
    """Prompt tokens that the engine reads for each request, [n]; NaN where the trace has no counts of them."""
    counted = bool(trace.prompt.any())
    read: list[float] = np.where(counted, trace.uncached.astype(np.float64), np.nan).tolist()
    return read


def learn_load(load: ModelLoad, order: OrderSection, served: ServedRequest) -> bool:
    """Take a completion, and learn costs and tune patience where it is time to, as the daemon does; say if any changed.

    In the daemon that ends some 50 ms after it began, here at once.
    """
    load.take(served)
    changed = False
    if load.fit_due(order):
        load.fitted_at, all_served = load.taken, load.history.served()
        load.fitted(fit_costs(all_served), all_served.prompt)
        changed = True
    if load.tune_due(order):
        load.tuned_at = load.taken
        load.tuned(tuning(order, load)(load.history.served()), order.patience_backlog_share)
        changed = True
    return changed


class Learner:
    """One window, guard and calibration, fed by what happens in the simulation."""

    def __init__(
        self,
        trace: Trace,
        scores: Floats,
        settings: Settings,
        *,
        prior: Calibration | None = None,
        measured: bool = True,
        traffic: ReplayedTraffic | None = None,
    ) -> None:
        """Start as a daemon does that was just given this ranker.

        Args:
            trace: true lengths, used only when requests end.
            scores: the ranker's, [n].
            settings: the daemon's.
            prior: the calibration of the ranker's manifest.
            measured: whether the manifest carries a measured tau, so that the ranker is trusted until found bad.
            traffic: what learns the traffic beside it; None: nothing does.
        """
        # A tracker without its plain window, which is for people to read: here nobody does, and it is half of the cost.
        self._quality = quality_settings(settings)
        self._table = ArrivalTable(self._quality.arrivals, self._quality.progress_ttl)
        self._completions = self._look_at = 0
        self._guard = Guard(guard_settings(settings), measured=measured)
        self._settings = settings
        self._look_every = max(settings.guard.every, int(np.clip(len(trace) // _LOOKS, *_LOOK_EVERY)))
        self._order = settings.order
        self._arrival: list[float] = trace.arrival.tolist()
        self._output: list[int] = trace.output.tolist()
        self._prompt = read_prompts(trace)
        self._scores: list[float] = scores.tolist()
        self._prior = self.calibration = prior
        self._traffic = traffic
        self._start: dict[int, float] = {}
        self._load = ModelLoad(history=ServedHistory(settings.order.tune_window))
        self._fit_at = 0
        self.version = 0
        """Changes when lengths or trust do."""
        self.guard_history: list[tuple[float, float | None, float]] = []
        """Of every look of the guard: when, the lower bound of tau that trust rests on, and the trust after it."""

    def arrived(self, request: int, now: float) -> None:
        """Take word of a new request."""
        if self._traffic is not None:
            self._traffic.arrived(request)
        self._report(request, 0, now, final=False)

    def started(self, request: int, now: float) -> None:
        """Take word of how long a request waited."""
        self._start[request] = now
        self._load.wait.add(now - self._arrival[request])

    def finished(self, request: int, now: float, batch: RunningBatch) -> None:
        """Take a completion; now and then, take word of those that run, and let the guard look."""
        tokens = self._output[request]
        self._report(request, tokens, now, final=True)
        self._load.rate.add(tokens, now)
        expected = float(self.expected_of([request])[0])
        arrival, start = self._arrival[request], self._start.pop(request)
        served = ServedRequest(arrival, start - arrival, now - start, expected, tokens, self._prompt[request])
        if learn_load(self._load, self._order, served):
            self.version += 1
        self._completions += 1
        if self._traffic is not None and self._traffic.finished(request, now):
            self._traffic.refit(self._table.known(learned=True))
            self._guard.scores_changed(better=self._traffic.in_use)
            self._look_at = self._completions - self._look_every
        if self._completions - self._look_at >= self._look_every:
            self._look_at = self._completions
            for other in batch.running():
                self._report(other, batch.generated(other), now, final=False)
            self._look(now)
        self._refit()

    def expected(self, scores: Floats) -> Floats:
        """Expected lengths in tokens, same shape; NaN where nothing was learned, or there is no score."""
        if self.calibration is None:
            return np.full(len(scores), np.nan)
        return self.calibration.expected(scores)

    def expected_of(self, requests: Sequence[int]) -> Floats:
        """The same of requests, by what was learned of the traffic where that is in use."""
        base = self.expected(np.array([self._scores[request] for request in requests]))
        return self._traffic.expected(requests, base) if self._traffic is not None and self._learned_in_use else base

    @property
    def learned(self) -> LearnedTraffic | None:
        """What was learned of the traffic; None where nothing was to be."""
        return None if self._traffic is None else self._traffic.result

    @property
    def trust(self) -> Trust:
        """How far the ranker is to be trusted now, by the rule of the daemon's monitor."""
        return trust_in(self._guard, self._calibration_in_use, self._load, self._settings)

    @property
    def _learned_in_use(self) -> bool:
        return self._traffic is not None and self._traffic.in_use

    @property
    def _calibration_in_use(self) -> Calibration | None:
        return self._traffic.calibration if self._traffic is not None and self._learned_in_use else self.calibration

    def _report(self, request: int, tokens: int, now: float, *, final: bool) -> None:
        prompt = self._prompt[request]
        report = OutcomeReport(
            request,
            self._scores[request],
            tokens,
            final,
            final,
            self._arrival[request] + _CLOCK,
            prompt=UNKNOWN_PROMPT if math.isnan(prompt) else int(prompt),
            learned=math.nan if self._traffic is None else self._traffic.learned(request),
        )
        if possible(report, now + _CLOCK):
            self._table.update(report, now + _CLOCK)

    def _look(self, now: float) -> None:
        quality, at = self._quality, now + _CLOCK
        cohort = self._table.cohort(quality.guard_cohort, at, quality.settle, learned=self._learned_in_use)
        work = work_model(self._calibration_in_use, self._load, self._settings)
        evidence = GuardSnapshot(at, quality, self._completions, cohort, work).evaluate()
        self._guard.observe_quality(evidence, at)
        self.guard_history.append((now, self._guard.order_tau_low, self.trust.level))
        self.version += 1

    def _refit(self) -> None:
        completions = self._completions
        early = self._prior is None and completions in _FIRST_FITS
        if not early and completions - self._fit_at < self._order.recalibrate_every:
            return
        known = self._table.known()
        if not len(known.score) and self._prior is None:
            return
        self.calibration = fit_monotone(
            known.score,
            known.tokens,
            known.complete,
            prior=self._prior,
            prior_weight=self._order.calibration_prior_weight,
        )
        if self._traffic is not None:
            self._traffic.refit(self._table.known(learned=True))
        if not early:
            self._fit_at = completions
        self.version += 1


class TailInflated(Learner):
    """Expected lengths and what is beyond: the score of arXiv 2604.00499 ("TIE"), with the calibration's p90 as tail.

    There each request has a distribution of its own, a log-t, and the mean of its upper tail is added. A calibration
    has one of each *score*, and both its mean and its p90 rise with it: so from scores alone the order is that of
    expected lengths. Prompts do not count, there is no guard and no bound.
    """

    def expected(self, scores: Floats) -> Floats:
        """Mean and p90 together; the mean where no p90 is known."""
        mean = super().expected(scores)
        tail = None if self.calibration is None else self.calibration.p90(scores)
        return mean if tail is None else mean + tail
