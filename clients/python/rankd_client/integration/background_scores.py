"""Scores and rules for a scheduler, fetched by threads of their own. The engine's loop only puts and takes."""

from __future__ import annotations

import itertools
import queue
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from rankd_client import Item, PolicyInForce, QualityReport, RankClient, RankdUnavailableError
from rankd_client._backoff import Backoff
from rankd_client._forks import follow_forks
from rankd_client.integration.settings import IntegrationSettings, logger, warn_once
from rankd_client.integration.tally import MemoryTally, Tally
from rankd_client.ordering import Policy, Rules
from rankd_client.shape import RequestShape
from rankd_client.v1.prediction_pb2 import Prediction

FCFS = Rules(Policy.FCFS)
_BATCH = 256
_ASK_TIMEOUT = 1.0
"""Seconds for a call; nobody waits for it."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0
_BACKLOG_CHANGE = 0.1
"""Change of the backlog, as a share of it, for which rules are made anew: keys are, too."""
_REFUSED = "error:INVALID_ARGUMENT"
_RULES_HOLD = 10.0
"""Seconds of the daemon's silence after which its rules hold no more: nobody watches the ranker."""


@dataclass(frozen=True, slots=True)
class ArrivedRequest:
    """A request of the engine; ``token_ids`` of its prompt become text in the thread."""

    engine_id: str
    token_ids: Sequence[int]
    arrival: float
    max_tokens: int
    ranked_id: str
    cached_prompt_tokens: int = 0
    """What of the prompt the engine's prefix cache held on arrival."""
    shape: RequestShape | None = None
    """What else is known of it."""

    def item(self, text: str) -> Item:
        """What the daemon is asked, the text of the prompt given."""
        return Item(
            text,
            self.ranked_id,
            arrival=self.arrival,
            max_tokens=self.max_tokens,
            prompt_tokens=len(self.token_ids),
            cached_prompt_tokens=self.cached_prompt_tokens,
            shape=self.shape,
        )


@dataclass(slots=True, eq=False, weakref_slot=True)
class BackgroundScores:
    """Asks for what arrived until it has a score or is gone, and follows the rules in force.

    ``text_of`` makes text of token ids; it is called in the thread, and made there by ``connect_text``.
    """

    settings: IntegrationSettings
    connect_text: Callable[[], Callable[[Sequence[int]], str]]
    tally: Tally = field(default_factory=MemoryTally)
    """Counts what was scored, and why the rest was not."""
    new_predictions: deque[tuple[str, Prediction]] = field(default_factory=deque)
    """Predictions that came, with the engine's ids; the scheduler takes them off the left end."""
    backlog_tokens: float = 0.0
    """What is still to be made, as the scheduler last said."""
    _inbox: queue.SimpleQueue[ArrivedRequest | str | None] = field(default_factory=queue.SimpleQueue)
    _policy: tuple[PolicyInForce | None, float] = (None, 0.0)
    """And when it came, by the monotonic clock."""
    _rules_made_for: tuple[PolicyInForce | None, float] = (None, 0.0)
    """The policy and the backlog in tokens that ``_rules`` are for."""
    _rules: Rules = FCFS
    _batch_limit: int = _BATCH
    """Requests in the next call: fewer after a refused call, until the request that is at fault is found."""
    _started: bool = False
    _closing: threading.Event = field(default_factory=threading.Event)
    _prefix: str = field(default_factory=lambda: uuid.uuid4().hex)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        follow_forks(self)

    def forked(self) -> None:
        """The parent has the threads, and what they were given; in this process they begin anew when one is needed."""
        self._inbox = queue.SimpleQueue()
        self._closing = threading.Event()
        self._started = False
        self._prefix = uuid.uuid4().hex  # two processes must not give the same ids

    def start(self) -> None:
        """Let the threads begin, where they have not: the rules are there when the first request comes."""
        if not self._started:
            self._started = True
            for name, run in (("rankd-scores", self._run_requests), ("rankd-rules", self._run_rules)):
                threading.Thread(target=run, name=name, daemon=True).start()

    def add(
        self,
        engine_id: str,
        token_ids: Sequence[int],
        arrival: float,
        max_tokens: int,
        *,
        cached_prompt_tokens: int = 0,
        shape: RequestShape | None = None,
    ) -> str:
        """Ask for a request; gives the id that it is ranked under, for its report."""
        self.start()
        ranked_id = f"{self._prefix}-{next(self._numbers)}"
        arrived = ArrivedRequest(engine_id, token_ids, arrival, max_tokens, ranked_id, cached_prompt_tokens, shape)
        self._inbox.put(arrived)
        return ranked_id

    def remove(self, engine_id: str) -> None:
        """Ask no more for a request."""
        self._inbox.put(engine_id)

    def rules(self, now: float) -> Rules:
        """The rules in force at a monotonic time; FCFS where the daemon was not heard of lately."""
        policy, heard = self._policy
        if policy is None or now - heard >= _RULES_HOLD:
            return FCFS
        made_for, backlog = self._rules_made_for
        if policy is not made_for or abs(self.backlog_tokens - backlog) > _BACKLOG_CHANGE * backlog:
            self._rules_made_for = (policy, self.backlog_tokens)
            rules = policy.rules(self.backlog_tokens, objective=self.settings.objective)
            if rules != self._rules:  # the same object where nothing changed: comparing it costs the engine nothing
                self._rules = rules
        return self._rules

    def close(self) -> None:
        """Let the threads end."""
        self._closing.set()
        self._inbox.put(None)

    def _run_requests(self) -> None:
        waiting: dict[str, ArrivedRequest] = {}
        texts: dict[str, str] = {}
        client = self._client()
        text_of: Callable[[Sequence[int]], str] | None = None
        pause, backoff = 0.0, Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
        while not self._closing.is_set():
            try:
                # The whole of it, whoever comes or goes meanwhile: a daemon that fails is not to be asked for each.
                self._closing.wait(pause)
                self._collect(waiting, texts, wait=0 if waiting else None)
                if text_of is None:
                    text_of = self.connect_text()
                answered = self._ask_once(client, waiting, texts, text_of)
                if answered is None:
                    pause = backoff.pause()
                else:
                    backoff.reset()
                    pause = answered
            except Exception as error:  # noqa: BLE001 - the thread must live, or nothing is ranked any more
                warn_once("scores could not be asked for, so that requests go in arrival order", error)
                waiting.clear()
                texts.clear()
                pause = backoff.longest

    def _collect(self, waiting: dict[str, ArrivedRequest], texts: dict[str, str], *, wait: float | None) -> None:
        """Take what arrived and left for so many seconds, however much it is; None waits for the first of it."""
        end = time.monotonic() + (wait or 0.0)
        try:
            change = self._inbox.get() if wait is None else self._inbox.get(timeout=wait)
            while change is not None:
                if isinstance(change, ArrivedRequest):
                    waiting[change.engine_id] = change
                else:
                    waiting.pop(change, None)
                    texts.pop(change, None)
                change = self._inbox.get(timeout=max(0.0, end - time.monotonic()))
        except queue.Empty:
            return

    def _ask_once(
        self,
        client: RankClient,
        waiting: dict[str, ArrivedRequest],
        texts: dict[str, str],
        text_of: Callable[[Sequence[int]], str],
    ) -> float | None:
        """Ask once for those who wait longest; gives the seconds to pause, None where the daemon does not answer."""
        batch = list(itertools.islice(waiting.values(), self._batch_limit))
        if not batch:
            return 0.0
        for request in batch:
            if request.engine_id not in texts:
                try:
                    texts[request.engine_id] = text_of(request.token_ids)
                except Exception as error:  # noqa: BLE001 - one prompt must not cost the others their scores
                    warn_once("a prompt has no text, so that it is not ranked", error)
                    del waiting[request.engine_id]
        batch = [request for request in batch if request.engine_id in texts]
        if not batch:
            return 0.0
        answer = client.rank(
            [r.item(texts[r.engine_id]) for r in batch],
            objective=self.settings.objective,
            timeout=_ASK_TIMEOUT,
        )
        if answer.reason == _REFUSED:
            return self._refused(batch, waiting, texts)
        if answer.failed:
            self.tally.inc(answer.reason)
            return None
        self._batch_limit = min(2 * self._batch_limit, _BATCH)
        scored = 0
        for ranked in answer:
            if ranked.prediction is not None:
                request = batch[ranked.index]
                self.new_predictions.append((request.engine_id, ranked.prediction))
                del waiting[request.engine_id]
                texts.pop(request.engine_id, None)
                scored += 1
        self.tally.inc("scored", scored)
        return 0.0 if scored else _FIRST_PAUSE

    def _refused(self, batch: list[ArrivedRequest], waiting: dict[str, ArrivedRequest], texts: dict[str, str]) -> float:
        """One prompt is over a limit of the daemon's: halve until it stands alone, and rank it no more."""
        if len(batch) > 1:
            self._batch_limit = len(batch) // 2
        else:
            self.tally.inc(_REFUSED)
            del waiting[batch[0].engine_id]
            texts.pop(batch[0].engine_id, None)
        return 0.0

    def _run_rules(self) -> None:
        backoff, warned = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE), False
        client = self._client()
        while not self._closing.is_set():
            try:
                for report in client.watch_quality(model=self.settings.model):
                    backoff.reset()
                    warned = False
                    self._take_rules(report)
                    if self._closing.is_set():
                        break
            except Exception as error:  # noqa: BLE001 - gone, or sick: asked again
                if backoff.exhausted and not warned:
                    warned = True
                    logger.warning(
                        "rankd at %s does not answer (%s); after %.0f s the queue goes in arrival order until it does",
                        self.settings.target,
                        error if isinstance(error, RankdUnavailableError) else type(error).__name__,
                        _RULES_HOLD,
                    )
            self._closing.wait(backoff.pause())

    def _take_rules(self, report: QualityReport) -> None:
        policy = next((p for p in report.policies if p.model == self.settings.model), None)
        self._policy = (policy, time.monotonic())

    def _client(self) -> RankClient:
        return RankClient(**self.settings.connection)
