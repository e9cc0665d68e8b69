"""From a ranked request to the report of its answer."""

from __future__ import annotations

import asyncio
import time

import structlog
from rankd_client import Completed, Finish
from rankd_client.integration import Reporter, Route

from rankd.proxy.answer_reader import AnswerReader
from rankd.proxy.metrics import Metrics
from rankd.proxy.ranking import RankedRequest

_log = structlog.get_logger("rankd")


class TrackedRequest:
    """One request that was scored."""

    def __init__(self, ranked: RankedRequest, route: Route, arrival: float) -> None:
        """A queue of one item that has a prediction; see ``CompletionTracker.track``."""
        assert ranked.queue is not None
        assert ranked.request is not None
        (item,) = ranked.queue
        self._request_id, self._prediction = item.request_id, item.prediction
        self.route, self.arrival = route, arrival
        self._max_tokens, self._ignore_eos = ranked.request.max_tokens, ranked.request.ignore_eos
        self.answer: AnswerReader | None = None

    def completed(self, tokens: int, finish: Finish) -> Completed:
        """What to report.

        When it was first scheduled the proxy cannot see: the first byte comes after the prompt was read, too.
        """
        whole = finish == "length" and self._ignore_eos and tokens >= self._max_tokens > 0
        return Completed(
            self._request_id,
            self._prediction,
            tokens,
            finish_reason=finish,
            length_is_complete=whole,
            arrival=self.arrival,
            total_seconds=None if finish == "in_progress" else max(0.0, time.time() - self.arrival),
        )

    @property
    def lower_bound(self) -> int:
        """Tokens that it has at least by now."""
        return self.answer.lower_bound if self.answer is not None else 0


class CompletionTracker:
    """Requests that are under way, and what is reported of them."""

    def __init__(self, reporter: Reporter, metrics: Metrics, limit: int) -> None:
        """``limit``: bytes of an answer, or of a line of a stream, that are kept to be read."""
        self._reporter, self._metrics, self._limit = reporter, metrics, limit
        self._under_way: set[TrackedRequest] = set()
        self._counts = False
        """Whether answers say their lengths: progress of such that never do would be all there is."""
        self._warned = False

    def track(self, ranked: RankedRequest, route: Route, arrival: float) -> TrackedRequest | None:
        """Follow a request; None where its answer's length is not that of a prompt."""
        if ranked.queue is None or ranked.request is None:
            return None
        if len(ranked.queue) != 1 or not ranked.request.one_answer_per_prompt:
            self._metrics.reports.inc("several")
            return None
        if ranked.queue[0].prediction is None:
            return None
        tracked = TrackedRequest(ranked, route, arrival)
        self._under_way.add(tracked)
        return tracked

    def begins(self, tracked: TrackedRequest, *, stream: bool, readable: bool) -> None:
        """Its answer begins; one in a content encoding cannot be read."""
        if readable:
            tracked.answer = AnswerReader(tracked.route, stream=stream, limit=self._limit)

    def ended(self, tracked: TrackedRequest) -> None:
        """Its answer is complete."""
        self._under_way.discard(tracked)
        outcome = tracked.answer.outcome() if tracked.answer is not None else None
        if outcome is not None:
            self._counts = True
            self._reporter.put(tracked.completed(*outcome))
            return
        self._metrics.reports.inc("no_usage")
        if not self._warned:
            self._warned = True
            _log.warning("answers_without_usage", reason=WITHOUT_USAGE)

    def broken_off(self, tracked: TrackedRequest, finish: Finish) -> None:
        """Its answer is not complete: what there is of it is a lower bound.

        Unless it has said all that matters: many clients hang up at ``[DONE]``, before the stream's end.
        """
        outcome = tracked.answer.outcome() if tracked.answer is not None else None
        if outcome is not None and outcome[1] != "aborted":
            self.ended(tracked)
            return
        self._under_way.discard(tracked)
        self._reporter.put(tracked.completed(tracked.lower_bound, finish))

    def refused(self, tracked: TrackedRequest) -> None:
        """The engine did not take it: there is nothing to learn of its length."""
        self._under_way.discard(tracked)

    def report_progress(self) -> None:
        """Say how far requests are: without it long answers are undercounted."""
        if self._counts:
            for tracked in self._under_way:
                self._reporter.put(tracked.completed(tracked.lower_bound, "in_progress"))

    async def run(self, every: float) -> None:
        """Report progress now and then, until cancelled."""
        while every > 0:
            await asyncio.sleep(every)
            self.report_progress()


WITHOUT_USAGE = (
    "an answer does not say how many tokens it has, so that its completion is not reported and rankd cannot judge "
    "itself by it: start vLLM with --enable-force-include-usage, SGLang with --stream-response-default-include-usage, "
    "or have clients ask for stream_options.include_usage"
)
