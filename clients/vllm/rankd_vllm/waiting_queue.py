"""vLLM's waiting queue in the order of rankd's rules."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from rankd_client.integration import FCFS, InTurn, logger
from rankd_client.ordering import Rules, WaitingQueue
from rankd_client.v1.prediction_pb2 import Prediction

_CLASSES = range(-(2**15), 2**15)


def learned_score_of(prediction: Prediction | None) -> float:
    """The learned score of a prediction; NaN where there is none."""
    if prediction is None or not prediction.HasField("learned_score"):
        return math.nan
    return prediction.learned_score


class RankedRequests:
    """What vLLM calls a ``RequestQueue``, by a ``WaitingQueue``. Its time stands still while an iteration lasts."""

    def __init__(self, cached_tokens: Callable[[Any], int] = lambda _: 0) -> None:
        """Start empty, first come first served.

        Args:
            cached_tokens: how many tokens of a request that waits the prefix cache holds now; must not raise.
        """
        self._cached_tokens = cached_tokens
        self._to_look_up = InTurn()
        self._now = time.time()
        self.predictions: dict[str, Prediction] = {}
        """Of requests that wait or run, by id; kept by the scheduler."""
        self.classes: dict[str, int] = {}
        """Priorities that clients gave, by id."""
        self._queue = WaitingQueue(FCFS)
        self._requests: dict[str, Any] = {}
        self._first: str | None = None
        self._broken = False

    @property
    def rules(self) -> Rules:
        """The rules in force; may be replaced at any time."""
        return self._queue.rules

    @rules.setter
    def rules(self, rules: Rules) -> None:
        self._queue.rules, self._first = rules, None

    def class_of(self, request: Any) -> int:
        """The class that a client's priority stands for; a serving key of the middleware stands for none."""
        priority = self.classes.get(request.request_id, 0)
        return priority if priority in _CLASSES else 0

    def begin_iteration(self, now: float) -> None:
        """An iteration begins: who goes next may have changed with time."""
        self._now, self._first = now, None

    def backlog_tokens(self) -> float:
        """Tokens that are expected of what waits."""
        return float(self._queue.lengths().sum())

    def look_up_cached(self) -> None:
        """Ask anew what of some prompts is cached, in turn: others leave their blocks there, and take them away."""
        if not (self.rules.prompt_cost or self.rules.prompt_pace):
            return  # it changes nothing
        for request_id in self._to_look_up.some(self._requests):
            self._queue.cache(request_id, float(self._cached_tokens(self._requests[request_id])))
        self._first = None

    def predict(self, request_id: str, prediction: Prediction) -> None:
        """Order a request by its prediction; one that does not wait is none of this queue's."""
        if request_id in self._requests:
            expected = prediction.expected_token_count if prediction.HasField("expected_token_count") else math.nan
            p90 = prediction.p90_token_count if prediction.HasField("p90_token_count") else math.nan
            learned = learned_score_of(prediction)
            self._queue.predict(request_id, score=prediction.score, expected=expected, p90=p90, learned=learned)
            self._first = None

    def add_request(self, request: Any) -> None:
        """Let a request wait."""
        request_id = request.request_id
        self.classes.setdefault(request_id, request.priority)
        self._requests[request_id] = request
        self._first = None
        self._queue.add(
            request_id,
            request.arrival_time,
            # As an average request until its score comes, and not as one of unknown length: see WaitingQueue.
            expected=math.nan if self.rules.prior_expected is None else self.rules.prior_expected,
            generated=float(request.num_output_tokens),
            max_tokens=float(request.max_tokens or 0),
            priority_class=self.class_of(request),
            # Who was preempted has its answer to read, too, as far as that is not cached.
            prompt_tokens=float(request.num_tokens),
            cached_prompt_tokens=float(self._cached_tokens(request)),
        )
        if (prediction := self.predictions.get(request_id)) is not None:
            self.predict(request_id, prediction)

    def peek_request(self) -> Any:
        """Who goes next."""
        if not self._requests:
            raise IndexError("peek from an empty queue")
        if self._first is None:
            self._first = self._next()
        return self._requests[self._first]

    def pop_request(self) -> Any:
        """Take out who goes next: who was peeked at."""
        request = self.peek_request()
        if self.rules.overtake_cap > 0 and not self._broken:
            self._queue.pop(self._now)  # counts whom it overtakes; one that is put back was counted too much
        else:
            self._queue.remove(request.request_id)
        del self._requests[request.request_id]
        self._first = None
        return request

    def _next(self) -> str:
        if not self._broken:
            try:
                return self._queue.peek(self._now)
            except Exception as error:  # noqa: BLE001 - the engine must go on
                self._broken = True
                logger.warning("rankd: the queue could not be ordered (%s): arrival order", type(error).__name__)
        return min(self._requests.values(), key=lambda r: (r.arrival_time, r.request_id)).request_id  # type: ignore[no-any-return]

    def prepend_request(self, request: Any) -> None:
        """The rules say where a preempted request stands."""
        self.add_request(request)

    def prepend_requests(self, requests: Iterable[Any]) -> None:
        """As ``prepend_request``."""
        for request in requests:
            self.add_request(request)

    def remove_request(self, request: Any) -> None:
        """Take a request out."""
        self.remove_requests([request])

    def remove_requests(self, requests: Iterable[Any]) -> None:
        """Take requests out; those that do not wait are ignored."""
        for request in requests:
            if self._requests.pop(request.request_id, None) is not None:
                self._queue.remove(request.request_id)
                self._first = None

    def __bool__(self) -> bool:
        return bool(self._requests)

    def __len__(self) -> int:
        return len(self._requests)

    def __iter__(self) -> Iterator[Any]:
        return iter(list(self._requests.values()))
