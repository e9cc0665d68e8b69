"""From a ranked request to the report of its answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence

import structlog
from rankd_client import Completed, Finish
from rankd_client.integration import NO_TEXT, Ending, PromptTokens, Reporter, Route

from rankd.proxy.answer_reader import AnswerReader, without_asking
from rankd.proxy.metrics import Metrics
from rankd.proxy.prompt_usage import PromptUsage
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
        self.model, self.asks_usage = ranked.model, ranked.request.asks_usage
        self.text = ranked.request.texts[0] if ranked.request.texts else NO_TEXT
        self.answer: AnswerReader | None = None

    @property
    def prompt(self) -> PromptUsage:
        """What the engine said of its prompt by now."""
        return self.answer.prompt if self.answer is not None else PromptUsage()

    def completed(self, tokens: int, finish: Finish) -> Completed:
        """What to report.

        When it was first scheduled the proxy cannot see: the first byte comes after the prompt was read, too.
        """
        whole = finish == "length" and self._ignore_eos and tokens >= self._max_tokens > 0
        prompt = self.prompt
        return Completed(
            self._request_id,
            self._prediction,
            tokens,
            finish_reason=finish,
            length_is_complete=whole,
            arrival=self.arrival,
            total_seconds=None if finish == "in_progress" else max(0.0, time.time() - self.arrival),
            model=self.model,
            prompt_tokens=prompt.tokens,
            cached_prompt_tokens=prompt.cached or 0,
        )

    def ended(self, tokens: int, ending: Ending) -> Completed:
        """What to report of an answer that is over.

        Where no reason is given it is taken for whole, unless it is as long as it may be.
        """
        finish = ending.finish
        if ending is Ending.NOT_GIVEN:
            finish = "length" if 0 < self._max_tokens <= tokens else "stop"
        return self.completed(tokens, "aborted" if finish == "in_progress" else finish)

    @property
    def lower_bound(self) -> int:
        """Tokens that it has at least by now."""
        return self.answer.lower_bound if self.answer is not None else 0


class CompletionTracker:
    """Requests that are under way, and what is reported of them."""

    def __init__(self, reporter: Reporter, metrics: Metrics, limit: int, prompt_tokens: PromptTokens) -> None:
        """Follow nothing yet.

        Args:
            reporter: takes what became of requests.
            metrics: counts it.
            limit: bytes of an answer, or of a line of a stream, that are kept to be read.
            prompt_tokens: is told how many tokens prompts have.
        """
        self._reporter, self._metrics, self._limit, self._prompt_tokens = reporter, metrics, limit, prompt_tokens
        self._under_way: set[TrackedRequest] = set()
        self._counts = False
        """Whether answers say their lengths: progress of such that never do would be all there is."""
        self._warned: set[str] = set()

    def placed(self, outcome: str) -> None:
        """Count a request that goes to the engine, by what its priority is."""
        self._reporter.placed(outcome)

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

    def begins(
        self,
        tracked: TrackedRequest,
        kind: str,
        codings: Sequence[bytes],
        take_memory: Callable[[int], bool] = without_asking,
    ) -> None:
        """Its answer begins, of a Content-Type in lower case and in content codings; memory is ``AnswerReader``'s."""
        tracked.answer = AnswerReader(
            tracked.route,
            kind=kind,
            limit=self._limit,
            codings=codings,
            asks_usage=tracked.asks_usage,
            take_memory=take_memory,
        )

    def ended(self, tracked: TrackedRequest) -> None:
        """Its answer is complete."""
        self._under_way.discard(tracked)
        outcome = tracked.answer.outcome() if tracked.answer is not None else None
        if outcome is not None:
            self._counts = True
            self._metrics.endings.inc(outcome[1].value)
            self._prompt_tokens.learn(tracked.model, tracked.text, *tracked.prompt)
            self._reporter.put(tracked.ended(*outcome))
            return
        cause = tracked.answer.cause if tracked.answer is not None else "ended_early"
        self._metrics.reports.inc("no_usage")
        self._metrics.no_usage.inc(cause)
        if cause not in self._warned:
            self._warned.add(cause)
            _log.warning("answers_without_usage", reason=f"{_NOT_REPORTED}: {WITHOUT_USAGE[cause]} ({cause})")

    def broken_off(self, tracked: TrackedRequest, finish: Finish) -> None:
        """Its answer is not complete: what there is of it is a lower bound.

        Unless it has said all that matters: many clients hang up at ``[DONE]``, before the stream's end.
        """
        if tracked.answer is not None and tracked.answer.says_its_end:
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


_NOT_REPORTED = (
    "an answer does not say how many tokens it has, so that its completion is not reported and rankd cannot judge "
    "itself by it"
)
WITHOUT_USAGE: Mapping[str, str] = {
    "not_asked": "streams say it only where it is asked for: start vLLM with --enable-force-include-usage, SGLang with "
    "--stream-response-default-include-usage, or have clients ask for stream_options.include_usage",
    "not_sent": "the engine, or a gateway before it, sends no usage though it is asked for",
    "ended_early": "a stream was over before its end: look for what cuts it between the engine and the proxy",
    "unfinished": "the engine answers before it is done, as for background responses, and says the rest elsewhere",
    "error": "the engine began an answer, and ended it in an error: look at the engine's log",
    "too_large": "it is longer than RANKD_MAX_BODY_BYTES, or an event of it is: raise that",
    "no_memory": "the memory for requests under way was used up: give the proxy more, or lower RANKD_MAX_BODY_BYTES",
    "not_json": "it is no JSON: look at what answers in the engine's place",
    "not_events": "a stream without an event: look at what answers in the engine's place",
    "coding_unknown": "it is compressed in a way that is not read, though only gzip and deflate were asked for: have "
    "the gateway before the engine not compress, or use gzip",
    "coding_broken": "it is compressed, and what is compressed is damaged: look at the gateway before the engine",
}
"""By cause, what to do."""
