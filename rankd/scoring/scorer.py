"""One ranker's way from prompts to scores: cache, admission, tokenise, batch, infer.

Everything here runs on the event loop's thread except encoding and the model, which have threads of their own.
A caller gets one result per prompt by its deadline: a score, or the reason why there is none.
"""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import Sequence

from rankd.adaptation import FeatureHasher
from rankd.scoring.admission import Admission
from rankd.scoring.batch_queue import URGENT_SECONDS, BatchQueue, CallWaiter, QueuedPrompt
from rankd.scoring.batch_runner import BatchRunner
from rankd.scoring.batch_sizes import DEFAULT_BATCH_TOKENS, EFFICIENT_BATCH_TOKENS, WIDTH_MULTIPLE
from rankd.scoring.onnx_model import Ids, OnnxModel
from rankd.scoring.prompt_encoder import PromptEncoder
from rankd.scoring.score_cache import ScoreCache
from rankd.scoring.tokeniser import PromptLimits
from rankd.scoring.workers import ModelWorkers
from rankd.settings import ScoringSection
from rankd.telemetry.telemetry import Telemetry
from rankd.types import Reason, Scored

_JOIN_AT_ONCE = 256
"""Prompts of one call that are looked up before the event loop serves others: a millisecond or two."""

_LEAVE_AT_ONCE = 64
_LEAVE_AFTER = 0.01
"""Seconds after its deadline at which a call with more prompts than that is taken off what it waited for."""
Result = Scored | Reason


class Scorer:
    """Scores prompts with one loaded model. Create and use it on the event loop's thread.

    A prompt goes from ``score`` to ``PromptEncoder``, which gives its token ids to ``_take_ids``; from there to
    ``BatchQueue`` and ``BatchRunner``, which gives its score to ``_take_scores``.
    """

    def __init__(
        self,
        ranker_version: str,
        tokeniser: PromptLimits,
        model: OnnxModel,
        workers: ModelWorkers,
        settings: ScoringSection,
        telemetry: Telemetry,
        hasher: FeatureHasher | None = None,
    ) -> None:
        """Take a warmed-up model and the threads that run it; ``hasher`` makes features of texts, None none."""
        self._hasher = hasher
        self.ranker_version = ranker_version
        self.provider = model.provider
        self.cached = 0
        """Prompts that were known already, or on their way."""
        self._loop = asyncio.get_running_loop()
        self._tokeniser = tokeniser
        self._telemetry = telemetry
        self._cache = ScoreCache(settings.cache_entries, ranker_version, settings.cache_bytes)
        self._admission = Admission(settings.max_queued_prompts, settings.max_queued_tokens)
        self._pending: dict[bytes, QueuedPrompt] = {}
        self._late: OrderedDict[QueuedPrompt, None] = OrderedDict()
        self._callers: dict[CallWaiter, None] = {}
        self._joining = asyncio.Lock()
        """Held by the long call of which some prompts are looked up."""
        self._queue = BatchQueue(
            tokeniser.max_tokens,
            max_tokens=settings.max_batch_tokens or DEFAULT_BATCH_TOKENS[model.provider],
            max_prompts=settings.max_batch_prompts,
            max_padding_share=settings.max_padding_share,
            multiple=WIDTH_MULTIPLE[model.provider],
            efficient_tokens=EFFICIENT_BATCH_TOKENS[model.provider],
        )
        self._encoder = PromptEncoder(tokeniser, settings.tokeniser_threads, telemetry, self._take_ids, self._fail)
        self.runner = BatchRunner(self._queue, model, workers, telemetry, self._take_scores, hasher)

    @property
    def queued_prompts(self) -> int:
        """Prompts admitted and not yet decided."""
        return self._admission.prompts

    @property
    def queued_tokens(self) -> int:
        """Their tokens; estimates for those not yet encoded."""
        return self._admission.tokens

    @property
    def callers(self) -> int:
        """Calls that wait for scores."""
        return len(self._callers)

    @property
    def cached_scores(self) -> int:
        """Scores in the cache."""
        return len(self._cache)

    def run_in(self, workers: ModelWorkers, *, background: bool) -> None:
        """Let other threads run the model; in the background nobody learns from what is read: no features are made."""
        self.runner.hasher = None if background else self._hasher
        self.runner.run_in(workers)

    def cut(self, prompt: str) -> str:
        """Shorten a prompt to what can matter to this ranker; scoring the result gives the prompt's score."""
        return self._tokeniser.cut(prompt)

    def known(self, prompts: Sequence[str]) -> list[Scored | None]:
        """Look scores up without waiting or queueing."""
        return [self._cache.get(self._cache.digest(p)) for p in prompts]

    def known_now(self, prompt: str) -> Scored | None:
        """The score of a caller's prompt, where it need not wait; None where ``score`` is to be asked."""
        if (known := self._cache.get(self._cache.digest(prompt))) is not None:
            self.cached += 1
        return known

    async def score(self, prompts: Sequence[str], deadline: float) -> list[Result]:
        """Score prompts.

        A prompt that is not scored by the deadline, or plainly cannot be, stays queued and fills the cache, so that the
        next call over the same queue finds it; if the call is cancelled instead, prompts that nobody else waits for are
        dropped. Nobody waits for what the model cannot have read by then: under overload answers come at once.

        Args:
            prompts: texts, any number; equal ones are scored once.
            deadline: on the event loop's clock, seconds.

        Returns:
            Per prompt its score, or why there is none: DEADLINE, OVERLOADED or RANKER_UNAVAILABLE.
        """
        if len(prompts) == 1 and (known := self.known_now(prompts[0])) is not None:
            return [known]
        # One too many until all prompts have joined, so that early results do not end the wait.
        waiter = CallWaiter(deadline, self._loop.create_future(), left=1, span=self._telemetry.current_span())
        results: list[Result] = [Reason.DEADLINE] * len(prompts)
        waiting: list[tuple[int, QueuedPrompt]] = []
        self._callers[waiter] = None
        try:
            for start in range(0, len(prompts), _JOIN_AT_ONCE):
                if start and self._loop.time() >= deadline:
                    break  # the next call over this queue finds these known, and gets further
                part = range(start, min(start + _JOIN_AT_ONCE, len(prompts)))
                if len(prompts) <= _JOIN_AT_ONCE:
                    self._join_some(prompts, part, waiter, results, waiting)
                    continue
                # A long queue must not keep results of others, and the model, waiting; nor must many together.
                async with self._joining:
                    self._join_some(prompts, part, waiter, results, waiting)
                    await asyncio.sleep(0)
            waiter.entry_decided()
            if waiting:
                with self._telemetry.stage("score"):
                    await self._wait(waiter)
        except asyncio.CancelledError:
            # gRPC cancels a handler at the call's deadline too: that is lateness, not a caller who went away.
            self._remove_waiter_from_all(waiter, [e for _, e in waiting], for_cache=self._loop.time() >= deadline)
            raise
        finally:
            del self._callers[waiter]
        if waiter.left:
            # The answer is due now, and leaving a long queue takes a while: answer first.
            self._leave(waiter, [e for _, e in waiting])
        for i, entry in waiting:
            if entry.result is not None:
                results[i] = entry.result
        return results

    def _leave(self, waiter: CallWaiter, entries: list[QueuedPrompt]) -> None:
        if len(entries) > _LEAVE_AT_ONCE:
            self._loop.call_later(_LEAVE_AFTER, self._remove_waiter_from_all, waiter, entries)
        else:
            self._remove_waiter_from_all(waiter, entries)

    def _join_some(
        self,
        prompts: Sequence[str],
        indices: range,
        waiter: CallWaiter,
        results: list[Result],
        waiting: list[tuple[int, QueuedPrompt]],
    ) -> None:
        """Look some prompts up, and let ``waiter`` wait for those that can have a score in time."""
        budget, longest = self._tokens_in_time(waiter)
        for i in indices:
            digest = self._cache.digest(prompts[i])
            known = self._cache.get(digest)
            if known is not None:
                self.cached += 1
                results[i] = known
            elif (entry := self._find_or_admit(digest, prompts[i])) is None:
                results[i] = Reason.OVERLOADED
            elif waiter in entry.waiters:
                waiting.append((i, entry))  # the same prompt twice in one call
            elif entry.tokens <= min(budget, longest) or entry.waiters:
                budget -= 0 if entry in self.runner.demand else entry.tokens
                self._add_waiter(entry, waiter)
                waiting.append((i, entry))
            elif not entry.abandoned:
                self._keep_for_cache(entry)
        self._encoder.pump()
        self.runner.pump()

    def _tokens_in_time(self, waiter: CallWaiter) -> tuple[float, float]:
        """What the model can still read before an urgent caller's deadline, after what is due sooner.

        Returns:
            Tokens, and those of the longest prompt.
        """
        now = self._loop.time()
        if waiter.deadline - now > URGENT_SECONDS:
            return math.inf, math.inf
        self._queue.note_urgent(now)
        tokens, longest = self.runner.tokens_until(waiter.deadline)
        return tokens - self.runner.demand.until(waiter.deadline), longest

    def _find_or_admit(self, digest: bytes, prompt: str) -> QueuedPrompt | None:
        """The entry of a prompt, a new one where there is none; None where there is no room."""
        entry = self._pending.get(digest)
        if entry is not None:
            self.cached += 1
            return entry
        cut = self._tokeniser.cut(prompt)
        tokens = self._tokeniser.estimate(cut)
        if not self._make_room(tokens):
            return None
        entry = QueuedPrompt(digest, cut, tokens, since=self._loop.time())
        self._admission.take(tokens)
        self._pending[digest] = entry
        return entry

    def _add_waiter(self, entry: QueuedPrompt, waiter: CallWaiter) -> None:
        """Let a caller wait for an entry."""
        self._late.pop(entry, None)
        before = entry.deadline
        entry.join(waiter)
        if entry.deadline < before:
            self._reschedule(entry)

    def _keep_for_cache(self, entry: QueuedPrompt) -> None:
        """Read an entry when there is time, for the cache; its caller is answered without it."""
        entry.abandon()
        self._late[entry] = None
        self._reschedule(entry)

    def _reschedule(self, entry: QueuedPrompt) -> None:
        """Give an entry its place after its earliest deadline changed."""
        now = self._loop.time()
        self.runner.demand.count(entry, now)
        if entry.text is not None:
            # What is not urgent is encoded in the order in which it came.
            due = min(entry.deadline, now + URGENT_SECONDS)
            self._encoder.add(entry, due)
        else:
            self._queue.moved(entry)

    def _make_room(self, tokens: int) -> bool:
        """Drop late entries, the oldest first, until one of ``tokens`` fits; live ones are never dropped."""
        while not self._admission.fits(tokens):
            if not self._late:
                return False
            self._decide(next(iter(self._late)), Reason.OVERLOADED)
        return True

    async def _wait(self, waiter: CallWaiter) -> None:
        """Wait until all entries are decided or the deadline has come."""
        timer = self._loop.call_at(waiter.deadline, waiter.finish)
        try:
            await waiter.finished
        finally:
            timer.cancel()

    def _remove_waiter_from_all(
        self, waiter: CallWaiter, entries: list[QueuedPrompt], *, for_cache: bool = True
    ) -> None:
        """Take a caller off what it waited for, a part at a time."""
        for entry in entries[:_JOIN_AT_ONCE]:
            self._remove_waiter(entry, waiter, for_cache=for_cache)
        if len(entries) > _JOIN_AT_ONCE:
            rest = entries[_JOIN_AT_ONCE:]
            self._loop.call_soon(lambda: self._remove_waiter_from_all(waiter, rest, for_cache=for_cache))

    def _remove_waiter(self, entry: QueuedPrompt, waiter: CallWaiter, *, for_cache: bool) -> None:
        """Take a caller off an entry; without callers it is kept as late, or dropped."""
        if entry.result is not None or waiter not in entry.waiters:
            return
        before = entry.deadline
        entry.leave(waiter)
        if for_cache:
            entry.abandon()
        if not entry.waiters:
            if not entry.abandoned:
                self._decide(entry, Reason.DEADLINE)
                return
            self._late[entry] = None
        if entry.deadline != before:
            self._reschedule(entry)

    def _decide(self, entry: QueuedPrompt, result: Result) -> None:
        """Give an entry its result, tell its callers and forget it."""
        if entry.result is not None:
            return
        del self._pending[entry.digest]
        self._late.pop(entry, None)
        self._admission.give_back(entry.tokens)
        self.runner.demand.drop(entry)
        if entry.ids is not None:
            self._queue.remove(entry)
        entry.decide(result)

    # -- what tokeniser and model return -------------------------------------------------------------------------------

    def _take_ids(self, chunk: list[QueuedPrompt], encoded: list[Ids]) -> None:
        """Queue a chunk that was encoded."""
        now = self._loop.time()
        for entry, ids in zip(chunk, encoded, strict=True):
            if entry.result is None:
                self._admission.resize(entry.tokens, len(ids))
                entry.encoded(ids)
                self.runner.demand.count(entry, now)
                self._queue.add(entry)
        self._encoder.pump()
        self.runner.pump()

    def _fail(self, entries: list[QueuedPrompt]) -> None:
        for entry in entries:
            self._decide(entry, Reason.RANKER_UNAVAILABLE)

    def _take_scores(self, batch: list[QueuedPrompt], found: list[Scored] | None) -> None:
        """Hand the scores of a batch out; None where it failed, which fails its own entries and nothing else."""
        if found is None:
            self._fail(batch)
            return
        for entry, scored in zip(batch, found, strict=True):
            if math.isfinite(scored.score):
                self._cache.put(entry.digest, scored)  # also for those whose callers went away meanwhile
                self._decide(entry, scored)
            else:
                self._decide(entry, Reason.RANKER_UNAVAILABLE)

    def close(self) -> None:
        """Decide everything that is left and let the threads end; the caller has waited for its calls."""
        self._fail(list(self._pending.values()))
        self._encoder.close()
        self._tokeniser.close()
        self.runner.close()
