"""Schedulers for ``--scheduler-cls``: the waiting queue is ordered anew whenever a place is free.

``schedule()`` makes no call and waits for nothing: scores and rules come from threads, reports go to one.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from rankd_client import Completed, Finish
from rankd_client.integration import (
    BackgroundScores,
    IntegrationSettings,
    PredictionStore,
    Reporter,
    connect,
    ending_of,
    warn_once,
)
from rankd_client.ordering import OrderColumns, order_queue
from vllm.v1.core.sched.async_scheduler import AsyncScheduler
from vllm.v1.core.sched.request_queue import RequestQueue, SchedulingPolicy, create_request_queue
from vllm.v1.core.sched.scheduler import Scheduler

from rankd_vllm.compatibility import check_queue, check_scheduler
from rankd_vllm.counters import REPORTS, REQUESTS
from rankd_vllm.sampling_shape import shape_of_sampling
from rankd_vllm.waiting_queue import RankedRequests, learned_score_of

_PROGRESS_EVERY, _BACKLOG_EVERY = 1.0, 0.1
_SHORT_OF_MEMORY = 0.75
"""Share of the KV cache in use from which running requests are put in order: who is last is preempted first."""


class RankScheduler(Scheduler):
    """For ``--scheduler-cls rankd_vllm.RankScheduler``, with ``--no-async-scheduling`` where that is not a given."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take vLLM's arguments.

        Raises:
            RuntimeError: this vLLM has other hooks than the one that this was made for, or schedules the other way.
            ValueError: an environment variable has a value that it cannot have.
        """
        if problem := check_scheduler(Scheduler) or check_queue(RequestQueue, RankedRequests):
            raise RuntimeError(f"rankd: {problem}")
        super().__init__(*args, **kwargs)
        if bool(self.scheduler_config.async_scheduling) is not isinstance(self, AsyncScheduler):
            right = "RankAsyncScheduler" if self.scheduler_config.async_scheduling else "RankScheduler"
            raise RuntimeError(f"rankd: for how this server schedules take --scheduler-cls rankd_vllm.{right}")
        settings = IntegrationSettings.from_environment()
        self.policy = SchedulingPolicy.PRIORITY  # on memory shortage the worst key goes, not the last that came
        self.waiting = self._ranked = RankedRequests(self._cached_tokens)
        self.kv_holding_waiting = create_request_queue(SchedulingPolicy.PRIORITY)
        self._scores = BackgroundScores(
            settings, functools.partial(_detokenizer, self.vllm_config.model_config), REQUESTS
        )
        self._reports = Reporter(PredictionStore(), functools.partial(connect, settings), REPORTS)
        self._ranked_ids: dict[str, str] = {}
        self._started: dict[str, tuple[float, int]] = {}
        self._progress_reported_at = self._backlog_measured_at = 0.0

    def add_request(self, request: Any) -> None:
        """Let a request wait, and ask for its score."""
        known = request.request_id in self.requests
        super().add_request(request)
        if not known and request.sampling_params is not None and request.prompt_token_ids:
            self._ranked_ids[request.request_id] = self._scores.add(
                request.request_id,
                request.prompt_token_ids,
                request.arrival_time,
                request.max_tokens or 0,
                cached_prompt_tokens=self._cached_tokens(request),
                shape=shape_of_sampling(request.sampling_params),
            )

    def _cached_tokens(self, request: Any) -> int:
        """Tokens of a request that the prefix cache of this engine holds now; 0 where that may not be asked.

        A look in a table for each block up to the first that is not there, and nothing is changed by it: vLLM itself
        asks so at every iteration for who goes next. A connector, which may hold more elsewhere, is not asked: that is
        a call, and it may begin to load.
        """
        manager = self.kv_cache_manager
        try:
            if not manager.prefix_cache_lookup_enabled(request):
                return 0
            if manager.enable_kv_cache_events and getattr(request, "kv_cache_report_mode", "") == "full":
                return 0  # asking tells whoever subscribed that its blocks are in use
            return int(manager.get_computed_blocks(request)[1])
        except Exception as error:  # noqa: BLE001 - it counts as not cached
            warn_once("the prefix cache could not be asked", error)
            return 0

    def schedule(self, *args: Any, **kwargs: Any) -> Any:
        """One iteration of vLLM's, over the queue in order."""
        try:
            self._prepare(time.monotonic())
        except Exception as error:  # noqa: BLE001 - the engine goes on with the order that it has
            warn_once("the queue was not brought up to date", error)
        output = super().schedule(*args, **kwargs)
        if output.scheduled_new_reqs:
            now = time.time()
            for new in output.scheduled_new_reqs:
                self._started.setdefault(new.req_id, (now, new.num_computed_tokens))
        return output

    def _prepare(self, now: float) -> None:
        """Take what came since the last iteration."""
        ranked, new_predictions = self._ranked, self._scores.new_predictions
        ranked.begin_iteration(time.time())
        while new_predictions:
            request_id, prediction = new_predictions.popleft()
            if request_id in self.requests:
                ranked.predictions[request_id] = prediction
                ranked.predict(request_id, prediction)
        if now - self._backlog_measured_at > _BACKLOG_EVERY:
            self._backlog_measured_at = now
            self._scores.backlog_tokens = ranked.backlog_tokens() + self._backlog_of_running()
        if self.kv_cache_manager.enable_caching:
            ranked.look_up_cached()
        rules = self._scores.rules(now)
        if rules is not ranked.rules:
            ranked.rules = rules
        if self.kv_cache_manager.usage > _SHORT_OF_MEMORY and len(self.running) > 1:
            self._order_running()
        if now - self._progress_reported_at > _PROGRESS_EVERY:
            self._progress_reported_at = now
            self._report_progress()

    def _backlog_of_running(self) -> float:
        """Output tokens that are expected yet of what runs: slots that are taken are part of the wait.

        Output, and not work: the rate that turns a backlog into seconds is that of output tokens, prompts and all.
        """
        predictions, rules = self._ranked.predictions, self._ranked.rules
        average = rules.prior_expected if rules.ignore_lengths else None
        left = 0.0
        for request in self.running:
            if (prediction := predictions.get(request.request_id)) is not None:
                expected = prediction.expected_token_count if average is None else average
                left += max(expected - request.num_output_tokens, 0.0)
        return left

    def _order_running(self) -> None:
        """Give running requests the keys by which vLLM chooses whom to preempt."""
        running, ranked = self.running, self._ranked
        predictions = [ranked.predictions.get(r.request_id) for r in running]
        queue = OrderColumns(
            request_ids=[r.request_id for r in running],
            arrival=np.array([r.arrival_time for r in running]),
            score=np.array([np.nan if p is None else p.score for p in predictions]),
            expected=np.array([np.nan if p is None else p.expected_token_count for p in predictions]),
            generated=np.array([float(r.num_output_tokens) for r in running]),
            max_tokens=np.array([float(r.max_tokens or 0) for r in running]),
            priority_class=np.array([ranked.class_of(r) for r in running], dtype=np.int64),
            prompt_tokens=np.array([float(r.num_prompt_tokens) for r in running]),
            cached_prompt_tokens=np.array([float(self._cached_at_start(r)) for r in running]),
            learned=np.array([learned_score_of(p) for p in predictions]),
        )
        keys = order_queue(queue, ranked.rules, now=time.time()).serving_key.tolist()
        for request, key in zip(running, keys, strict=True):
            request.priority = key

    def _report_progress(self) -> None:
        """Tell how far running requests are: without it long answers are undercounted."""
        for request in self.running:
            self._report(request, "in_progress")

    def _free_request(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        request_id = request.request_id
        try:
            self._scores.remove(request_id)
            self._report(request, ending_of(str(request.get_finished_reason())).finish)
        except Exception as error:  # noqa: BLE001 - a lost report costs nothing
            warn_once("a completion was not reported", error)
        for table in (self._ranked_ids, self._started, self._ranked.predictions, self._ranked.classes):
            table.pop(request_id, None)
        return super()._free_request(request, *args, **kwargs)

    def _report(self, request: Any, finish: Finish) -> None:
        request_id = request.request_id
        prediction = self._ranked.predictions.get(request_id)
        if prediction is None or request_id not in self._ranked_ids:
            return
        arrival, started, tokens = request.arrival_time, self._started.get(request_id), request.num_output_tokens
        whole = finish == "length" and request.sampling_params.ignore_eos and tokens >= request.max_tokens
        self._reports.put(
            Completed(
                self._ranked_ids[request_id],
                prediction,
                tokens,
                finish_reason=finish,
                length_is_complete=whole,
                arrival=arrival,
                queue_seconds=None if started is None else max(0.0, started[0] - arrival),
                total_seconds=None if finish == "in_progress" else max(0.0, time.time() - arrival),
                prompt_tokens=request.num_prompt_tokens,
                cached_prompt_tokens=self._cached_at_start(request),
            )
        )

    def _cached_at_start(self, request: Any) -> int:
        """Prompt tokens that the engine did not read for a request, by whatever cache; 0 for one that never ran."""
        _, cached = self._started.get(request.request_id, (0.0, 0))
        return min(cached, int(request.num_prompt_tokens))

    def shutdown(self) -> None:
        """End the threads, too."""
        self._scores.close()
        self._reports.close()
        super().shutdown()


class RankAsyncScheduler(RankScheduler, AsyncScheduler):
    """For ``--scheduler-cls rankd_vllm.RankAsyncScheduler``: what vLLM takes by itself except on a CPU."""


def _detokenizer(model_config: Any) -> Callable[[Sequence[int]], str]:
    """What makes text of token ids; runs in the thread that asks."""
    from vllm.tokenizers import cached_tokenizer_from_config  # noqa: PLC0415 - loading takes a while

    tokenizer = cached_tokenizer_from_config(model_config)
    return lambda ids: str(tokenizer.decode(list(ids), skip_special_tokens=True))
