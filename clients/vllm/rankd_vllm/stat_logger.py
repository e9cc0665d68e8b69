"""The stat logger that vLLM loads by its entry point: reports completions of what the middleware ranked."""

from __future__ import annotations

import functools
from typing import Any

from rankd_client.integration import FinishedRequest, IntegrationSettings, Reporter, connect, ending_of, logger
from vllm.v1.metrics.loggers import StatLoggerBase

from rankd_vllm.compatibility import check_finished
from rankd_vllm.counters import REPORTS
from rankd_vllm.middleware import PREDICTIONS


class RankStatLogger(StatLoggerBase):
    """Costs nothing unless the middleware ranks in this process; never raises into the engine's loop."""

    def __init__(self, vllm_config: Any, engine_index: int = 0) -> None:
        """Connect to nothing yet; the arguments are vLLM's."""
        del vllm_config, engine_index
        self._off = False

    def record(
        self,
        scheduler_stats: Any,
        iteration_stats: Any,
        mm_cache_stats: Any = None,
        engine_idx: int = 0,
    ) -> None:
        """Hand the completions of an iteration over; the arguments are vLLM's."""
        del scheduler_stats, mm_cache_stats, engine_idx
        if self._off or iteration_stats is None or not PREDICTIONS.used:
            return
        try:
            for finished in iteration_stats.finished_requests:
                if finished.request_id is not None:
                    reporter().put(_finished(finished))
        except Exception as error:  # noqa: BLE001 - the engine goes on without reports
            self._off = True
            logger.warning(
                "rankd: completions are not reported, so that rankd cannot judge or tune itself: %s", _described(error)
            )

    def log_engine_initialized(self) -> None:
        """Check what is read later."""
        problem = check_finished()
        if problem:
            self._off = True
            logger.warning("rankd: completions will not be reported: %s", problem)


def _described(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if isinstance(error, AttributeError) else type(error).__name__


def _finished(stats: Any) -> FinishedRequest:
    return FinishedRequest(
        engine_id=stats.request_id,
        output_tokens=stats.num_generation_tokens,
        finish_reason=ending_of(str(stats.finish_reason)).finish,
        max_tokens=stats.max_tokens_param,
        # Negative where it never ran.
        queue_seconds=stats.queued_time if stats.queued_time >= 0 else None,
        total_seconds=stats.e2e_latency if stats.e2e_latency > 0 else None,
        prompt_tokens=stats.num_prompt_tokens,
        cached_prompt_tokens=min(stats.num_cached_tokens, stats.num_prompt_tokens),
    )


@functools.cache
def reporter() -> Reporter:
    """That of this process; several engines of a server share it."""
    settings = IntegrationSettings.from_environment()
    return Reporter(PREDICTIONS, functools.partial(connect, settings), REPORTS)
