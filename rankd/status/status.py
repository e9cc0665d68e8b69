"""What the page at ``/`` shows: the state as text for everybody, as JSON for the page's script (docs/guides/page.md).

No prompt and no request id is in it. Names of served models and of tenants are: callers choose them.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from rankd_client.ordering import Policy

from rankd.auth import FileWatch
from rankd.clock import CLOCK
from rankd.completion_log import CompletionLog
from rankd.monitor.monitor import Monitor
from rankd.monitor.trust import Trust
from rankd.monitor.window import Window
from rankd.pilot import PilotState
from rankd.pilot.live import LivePilots
from rankd.quality.savings.values import SavingsState
from rankd.ranking.ranker import QueueRanker
from rankd.ranking.savings import SavingsReports
from rankd.ranking.tenant_counts import TenantCounts
from rankd.registry.history import ServiceHistory
from rankd.registry.loaded import Registry
from rankd.registry.shadow import ShadowRankers
from rankd.settings import Settings
from rankd.status.events import EventRecord
from rankd.status.facts import facts_of, saved_facts
from rankd.status.history import SpanName, StatusHistory
from rankd.status.json_parts import pilot_of, ranker_of, row_of, window_of
from rankd.status.savings_json import savings_of
from rankd.status.service_parts import service_of
from rankd.telemetry.telemetry import Telemetry
from rankd.types import Reason
from rankd.version import VERSION

SCHEMA = 1
"""Of the JSON. Fields are added under the same number; it grows where one changes its meaning or goes."""
_PRESENT = {SavingsState.GAINS, SavingsState.NO_GAIN, SavingsState.LOSES}
"""What is saved then is of the present."""
STAGES = ("call", "score", "queue", "tokenise", "infer", "order")
_FRESH = 0.5
"""Seconds for which an answer serves all requests: the work is bounded, however many there are."""


class Status:
    """The state of one daemon. ``sample`` belongs to the event loop, the rest may be called in any thread."""

    def __init__(
        self,
        settings: Settings,
        registry: Registry,
        monitor: Monitor,
        ranker: QueueRanker,
        shadows: ShadowRankers,
        pilots: LivePilots,
        log: CompletionLog | None,
        tenants: TenantCounts,
        telemetry: Telemetry,
        draining: Callable[[], bool],
        files: FileWatch,
        service: ServiceHistory,
    ) -> None:
        """Take the parts whose state is shown."""
        self._settings = settings
        self._registry = registry
        self._monitor = monitor
        self._ranker = ranker
        self._shadows = shadows
        self._pilots = pilots
        self._savings = SavingsReports(monitor, pilots, settings)
        self._log = log
        self._tenants = tenants
        self._telemetry = telemetry
        self._draining = draining
        self._files = files
        self._service = service
        self._history = StatusHistory(settings.page)
        self._events = EventRecord(settings.page.events)
        self._started = CLOCK.now()
        self._lock = threading.Lock()
        self._answers: dict[str, tuple[float, bytes]] = {}

    def sample(self, now: float) -> None:
        """Note events, and a row of the figures for each span that wants one; call about once a second."""
        in_service = self._registry.in_service.version
        self._events.look(now, self._pilots.all())
        spans = list(self._history.due(now))
        if not spans:
            return
        traffic = self._counters()
        reports = self._savings.all(in_service, now)
        saved = {r.model: r.figures.mean for r in reports if r.figures is not None and r.state in _PRESENT}
        windows = {
            (w.model, w.ranker_version): row_of(w, self._trust(w), self._settings.order, saved.get(w.model))
            for w in self._monitor.shown_windows(in_service)
        }
        for span in spans:
            span.add(now, traffic, windows)

    def ready(self) -> tuple[bool, str]:
        """Whether calls are welcome, and why not."""
        draining = self._draining()
        return not draining, "draining" if draining else "serving"

    # -- for people without a script -----------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """The state for probes, and as plain facts: ``ready``, ``reason``, and ``facts`` by label."""
        ranker, counts = self._registry.in_service, self._ranker.counts
        completions, progress = self._telemetry.accepted_reports()
        facts: dict[str, str] = {}
        for report in self._savings.all(ranker.version, CLOCK.now()):
            facts |= saved_facts(report)
        for model, pilot in self._pilots.all():
            if pilot.state is PilotState.RUNNING:
                facts[f"pilot {model}".strip()] = f"{pilot.plan.treatment.value} against {pilot.plan.control.value}"
        facts |= {
            "rankd": VERSION,
            "ranker": f"{ranker.version} on {ranker.scorer.provider}, workers: {ranker.scorer.runner.workers}",
            "up since": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(CLOCK.to_wall(self._started))),
            "calls": f"{counts.calls:,} with {counts.items:,} items, {counts.unscored:,} without a score",
            "waiting for the model": f"{ranker.scorer.queued_prompts:,} prompts",
            "completions": f"{completions:,} accepted, and {progress:,} progress reports",
        }
        if self._log is not None:
            facts["completion log"] = "failing: see the log" if self._log.failing else "written"
        for setting in self._files.failing():
            facts[setting] = "not in force: its file cannot be read, or is wrong; see the log"
        for window in self._shown()[0]:
            facts |= facts_of(window)
        ready, reason = self.ready()
        return {"ready": ready, "reason": reason, "facts": facts}

    # -- for the page's script -----------------------------------------------------------------------------------------

    def body(self, window: str, span: SpanName) -> bytes:
        """``/status.json``; an answer of a moment ago is given again.

        Args:
            window: whose history to tell, by its id; where it is none, that of the first one listed.
            span: how far back the history goes.
        """
        with self._lock:
            windows = {id_of(v): v for v in self._shown()[0]}
            chosen = window if window in windows else next(iter(windows))
            state = self._cached("", self.state)
            history = self._cached(f"{span} {chosen}", lambda: self._window_history(chosen, windows[chosen], span))
        return state[:-1] + b',"history":' + history + b"}"

    def _cached(self, name: str, make: Callable[[], dict[str, Any]]) -> bytes:
        """An answer of a moment ago, or a new one; the caller has the lock."""
        now = time.monotonic()
        self._answers = {n: t for n, t in self._answers.items() if now - t[0] < _FRESH}
        if name not in self._answers:
            self._answers[name] = now, json.dumps(make(), separators=(",", ":"), allow_nan=False).encode()
        return self._answers[name][1]

    def state(self) -> dict[str, Any]:
        """What ``/status.json`` holds, but for the history."""
        ready, reason = self.ready()
        windows, left_out = self._shown()
        pilots = self._pilots.all()
        piloted = {model: p.policy_at(self._pilots.now(model)) for model, p in pilots if p.active}
        tallies, others = self._tenants.tallies()
        in_service = self._registry.in_service.version
        return {
            "schema": SCHEMA,
            "at": time.time(),
            "ready": ready,
            "reason": reason,
            "rankd": {"version": VERSION, "started_at": CLOCK.to_wall(self._started)},
            "settings": self._thresholds(),
            "rankers": [ranker_of(r, self._registry, self._shadows) for r in self._registry.all()],
            "service": service_of(self._service, in_service),
            "windows": [self._window(v, piloted.get(v.model)) for v in windows],
            "windows_left_out": left_out,
            "savings": [savings_of(s) for s in self._savings.all(in_service, CLOCK.now())],
            "traffic": self._traffic(),
            "stages": self._telemetry.stages.quantiles(STAGES),
            "tenants": [{"tenant": name, **asdict(tally)} for name, tally in tallies],
            "other_tenants": asdict(others),
            "pilots": [pilot_of(model, pilot, self._pilots) for model, pilot in pilots],
            "events": self._events.told(self._monitor.shown_windows(in_service), self._service.recent()),
            "files": [asdict(state) for state in self._files.states()],
            "completion_log": None if self._log is None else "failing" if self._log.failing else "written",
        }

    def _thresholds(self) -> dict[str, Any]:
        """What figures are compared with."""
        guard = self._settings.guard
        return {
            "guard_enabled": guard.enabled,
            "floor": guard.floor,
            "return_above": guard.floor + guard.margin,
            "min_known": guard.min_known,
            "ceiling": self._settings.page.ceiling or None,
            "policy": self._settings.order.policy,
            "objective": self._settings.order.objective,
            "slo": self._settings.order.slo or None,
            "prompt_cost_is_learned": self._settings.order.prompt_cost < 0,
            "full_trust_tau": self._settings.order.full_trust_tau,
            "spans": {name: s.every * self._settings.page.samples for name, s in self._history.spans.items()},
        }

    def _window_history(self, chosen: str, window: Window, span: SpanName) -> dict[str, Any]:
        history = self._history.spans[span]
        return {
            "span": span,
            "every": history.every,
            "points": self._settings.page.samples,
            "traffic": history.traffic(),
            "window_id": chosen,
            "window": history.window((window.model, window.ranker_version)),
        }

    def _window(self, window: Window, piloted: Policy | None) -> dict[str, Any]:
        return {
            "id": id_of(window),
            "in_service": window.ranker_version == self._registry.in_service.version,
            **window_of(window, self._trust(window), self._settings, piloted),
        }

    def _traffic(self) -> dict[str, Any]:
        counts = self._ranker.counts
        scorers = [r.scorer for r in self._registry.all()]
        reports: dict[str, dict[str, int]] = {"final": {}, "progress": {}}
        for labels, n in self._telemetry.counted("rankd.completions"):
            reports[labels["kind"]][labels["outcome"]] = n
        return {
            "answers": counts.calls,
            "items": counts.items,
            "unscored": counts.unscored,
            "answers_by": [{**labels, "answers": n} for labels, n in self._telemetry.counted("rankd.answers")],
            "items_by": [{**labels, "items": n} for labels, n in self._telemetry.counted("rankd.items")],
            "completions": reports["final"],
            "progress_reports": reports["progress"],
            "rate_limited": sum(n for _, n in self._telemetry.counted("rankd.rate_limited")),
            "queued_prompts": sum(s.queued_prompts for s in scorers),
            "failed_batches": sum(s.runner.counts.failed_batches for s in scorers),
        }

    # -- parts ---------------------------------------------------------------------------------------------------------

    def _shown(self) -> tuple[list[Window], int]:
        """The windows that are listed, and how many are not."""
        in_service, most = self._registry.in_service.version, self._settings.page.windows
        windows = sorted(
            self._monitor.shown_windows(in_service),
            key=lambda w: (w.ranker_version != in_service, -w.tracker.completions, w.model, w.ranker_version),
        )
        return windows[:most], max(0, len(windows) - most)

    def _trust(self, window: Window) -> Trust:
        return self._monitor.trust(window.model, window.ranker_version)

    def _counters(self) -> tuple[int, ...]:
        """What ``history.TRAFFIC`` names, without the time."""
        answers: Counter[bool] = Counter()
        for labels, number in self._telemetry.counted("rankd.answers"):
            # Prompts alone may order where the guard says that scores do not.
            by_prompts = labels["reason"] == Reason.GUARD.value and labels["policy"] != Policy.FCFS.value
            answers[by_prompts or labels["reason"] == Reason.NONE.value] += number
        counts = self._ranker.counts
        queued = sum(r.scorer.queued_prompts for r in self._registry.all())
        return (
            answers.total(),
            answers[False],
            counts.items,
            counts.unscored,
            *self._telemetry.accepted_reports(),
            queued,
        )


def id_of(window: Window) -> str:
    """A window's id: the same on every replica, and after a restart."""
    names = json.dumps([window.model, window.ranker_version]).encode()
    return hashlib.blake2b(names, digest_size=6).hexdigest()
