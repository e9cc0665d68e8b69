"""The scheduler behind ``scheduler_type="ranked"``: transformers' FIFO one, with the waiting in order of the rules.

No hook makes a call or waits, and whatever fails in one, the engine goes on as if it were not there.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from rankd_client.integration import logger, warn_once
from transformers.generation.continuous_batching.requests import RequestStatus
from transformers.generation.continuous_batching.scheduler import FIFOScheduler

from rankd_transformers.kv_pressure import may_run_out, victims
from rankd_transformers.prompt_cache import cached_tokens
from rankd_transformers.ranking import EngineRanking
from rankd_transformers.registered import Registration


class _FailOpen:
    """Whatever fails inside costs the engine nothing; said once."""

    __slots__ = ("_what",)

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        if isinstance(error, Exception):
            warn_once(self._what, error)
            return True
        return False


class RankedScheduler(FIFOScheduler):
    """Made by ``register``, one class for each registration."""

    registration: ClassVar[Registration]

    def __init__(self, cache: Any, safety_margin: float | None, max_requests_per_batch: int) -> None:
        """Take transformers' arguments."""
        self._ranking: EngineRanking | None = None  # reset() is called below
        super().__init__(cache, safety_margin, max_requests_per_batch)
        with _FailOpen("requests go in arrival order"):
            if _is_one_of_several() and not self.registration.whole_model:
                logger.warning(_SEVERAL)
                return
            self._ranking = self.registration.begin(functools.partial(cached_tokens, cache))
            finalizer = weakref.finalize(self, self.registration.end, self._ranking)
            finalizer.atexit = False

    def reset(self) -> None:
        """Begin anew, as transformers asks for between two runs of a manager."""
        super().reset()
        if self._ranking is not None:
            with _FailOpen("requests of an earlier run are remembered"):
                self._ranking.clear()

    def add_waiting_request(self, state: Any) -> None:
        """Let a request wait, and ask for its score."""
        super().add_waiting_request(state)
        if self._ranking is not None:
            with _FailOpen("a request is not ranked"):
                self._ranking.arrived(state)

    def schedule_batch(self, token_budget: int, cache_budget: int) -> Any:
        """One iteration of transformers', over the queue in order."""
        if self._ranking is not None:
            with _FailOpen("the queue was not brought up to date"):
                self._ranking.prepare(self.active_requests, self.waiting_requests)
        return super().schedule_batch(token_budget, cache_budget)

    def _get_waiting_candidates(self) -> list[Any]:
        ranking = self._ranking
        if not self.waiting_requests:
            return []
        if ranking is not None and not ranking.by_arrival:
            with _FailOpen("the queue could not be ordered"):
                places = self.max_requests_per_batch - len(self.active_requests)
                if not self.active_requests:
                    places = len(self.waiting_requests)  # whoever fits must be found
                elif places > 0 and self._has_little_memory():
                    places = 1  # transformers stops at the first one
                return ranking.candidates(self.waiting_requests, places) if places > 0 else []
        candidates: list[Any] = super()._get_waiting_candidates()
        return candidates

    def _has_little_memory(self) -> bool:
        return bool(self.cache.compute_free_capacity() < self.safety_margin)

    def _process_candidates(self, candidates: list[Any], *args: Any, **kwargs: Any) -> Any:
        """As transformers; on memory shortage, running requests keep their memory in the order of the rules."""
        ranking = self._ranking
        if ranking is None or ranking.by_arrival:
            return super()._process_candidates(candidates, *args, **kwargs)
        preempted: list[Any] = []
        with _FailOpen("running requests could not be ordered"):
            if may_run_out(self.cache, len(self.active_requests)):
                candidates, preempted = self._make_room(ranking, candidates)
        result = super()._process_candidates(candidates, *args, **kwargs)
        with _FailOpen("preempted requests could not be ordered"):
            if len(self.starved_requests) > 1:
                wanted = {state.request_id: tokens for state, tokens in self.starved_requests}
                order = ranking.in_serving_order([state for state, _ in self.starved_requests])
                self.starved_requests = [(state, wanted[state.request_id]) for state in order]
            # The last one is preempted first, and no more of them than must be.
            self.starved_requests += [(state, 1) for state in preempted]
        return result

    def _make_room(self, ranking: EngineRanking, candidates: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        """The candidates, those that are decoding in order, without those that make room; and these."""
        decoding = next(
            (i for i, state in enumerate(candidates) if state.status != RequestStatus.DECODING), len(candidates)
        )
        order = ranking.in_serving_order(candidates[:decoding])
        kept = len(order) - (victims(self.cache, order) if order else 0)
        return [*order[:kept], *candidates[decoding:]], order[kept:]

    def _cleanup_waiting_queue(self, request_ids_to_remove_from_waiting: set[str]) -> None:
        if request_ids_to_remove_from_waiting:
            super()._cleanup_waiting_queue(request_ids_to_remove_from_waiting)
            if self._ranking is not None:
                with _FailOpen("a start was not noted"):
                    self._ranking.started(request_ids_to_remove_from_waiting, self.active_requests)

    def finish_request(self, request_id: str) -> None:
        """A request ended, or gives up its memory to wait again."""
        state = self.active_requests.get(request_id)
        super().finish_request(request_id)
        if self._ranking is not None and state is not None:
            with _FailOpen("a completion was not reported"):
                self._ranking.stopped(state)

    def clear_cancelled_requests(self) -> list[Any]:
        """Let go of requests that were taken back."""
        cancelled: list[Any] = super().clear_cancelled_requests()
        if self._ranking is not None:
            with _FailOpen("a cancellation was not reported"):
                for state in cancelled:
                    self._ranking.cancelled(state)
        return cancelled


_SEVERAL = (
    "rankd: this is one of several processes (torch.distributed). Where they share one model (tensor parallelism) all "
    "must choose the same requests, so requests go in arrival order here. If each process has a model of its own, pass "
    "register(..., whole_model=True)."
)


def _is_one_of_several() -> bool:
    distributed = torch.distributed
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1
