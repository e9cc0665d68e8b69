"""Which engine is behind the proxy, and which priority it serves first: asked, never guessed."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any

import aiohttp
import structlog
from rankd_client.integration import Backoff

from rankd.errors import ConfigError
from rankd.proxy.settings import Direction
from rankd.proxy.upstream_tls import trust_remedy

_log = structlog.get_logger("rankd")
_TIMEOUT = 5.0
"""Seconds for each request to it."""
_MOST_BYTES = 4 * 2**20
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
_PREEMPTS_BELOW = 10**12
"""Milliseconds: a threshold that no two keys of living requests are apart."""

UNKNOWN_ENGINE = (
    "the engine does not say which priority it serves first: there it is neither a vLLM nor an SGLang that answers "
    "/v1/models, /metrics or /server_info without a key. If these are elsewhere, correct --upstream; else say "
    "--direction lower-first (vLLM, and gateways before it) or --direction higher-first"
)


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What an engine is. ``direction`` is never AUTO."""

    name: str
    direction: Direction
    warnings: tuple[str, ...] = ()


class UnknownEngineError(Exception):
    """The engine answers, and does not say what it is."""


async def identify(session: aiohttp.ClientSession, base: str) -> EngineInfo:
    """Ask an engine.

    Raises:
        UnknownEngineError: it is none that is known.
        aiohttp.ClientError, OSError, TimeoutError: it does not answer.
    """
    for path in ("/server_info", "/get_server_info"):
        status, text = await _get(session, base + path)
        info = _object(text) if status == 200 else {}
        if "enable_priority_scheduling" in info or "schedule_low_priority_values_first" in info:
            return _sglang(info)
        if "vllm_config" in info:
            return EngineInfo("vllm", Direction.LOWER_FIRST)
    status, text = await _get(session, base + "/v1/models")
    models = _object(text).get("data") if status == 200 else None
    if isinstance(models, list) and any(isinstance(m, dict) and m.get("owned_by") == "vllm" for m in models):
        return EngineInfo("vllm", Direction.LOWER_FIRST)
    status, text = await _get(session, base + "/metrics")
    if status == 200 and b"\nvllm:" in text:
        return EngineInfo("vllm", Direction.LOWER_FIRST)
    raise UnknownEngineError


def _sglang(info: dict[str, Any]) -> EngineInfo:
    lower = info.get("schedule_low_priority_values_first") is True
    warnings = []
    if info.get("enable_priority_scheduling") is not True:
        warnings.append("sglang_not_in_priority_mode")
    elif info.get("disable_priority_preemption") is not True and not _huge(
        info.get("priority_scheduling_preemption_threshold")
    ):
        warnings.append("sglang_preempts")
    if info.get("enable_metrics") is True and info.get("enable_priority_scheduling") is True:
        warnings.append("sglang_metrics_grow")
    return EngineInfo("sglang", Direction.LOWER_FIRST if lower else Direction.HIGHER_FIRST, tuple(warnings))


def _huge(threshold: object) -> bool:
    return isinstance(threshold, (int, float)) and threshold >= _PREEMPTS_BELOW


class Upstream:
    """What is known of the engine by now; asks again in the background until it is known."""

    def __init__(self, session: aiohttp.ClientSession, base: str, direction: Direction) -> None:
        """``direction`` as the user named it; AUTO asks."""
        self._session, self._base = session, base
        self._named = direction
        self.engine: EngineInfo | None = None if direction is Direction.AUTO else EngineInfo("named", direction)
        self._identifying: asyncio.Task[None] | None = None

    @property
    def direction(self) -> str:
        """The direction in force, or ``unknown``."""
        return self.engine.direction.value if self.engine is not None else "unknown"

    async def start(self) -> None:
        """Ask once; where nobody answers, go on asking in the background.

        Raises:
            ConfigError: it answers, and is none that is known.
        """
        if self._named is not Direction.AUTO:
            return
        try:
            self._take(await identify(self._session, self._base))
        except UnknownEngineError:
            raise ConfigError(f"--upstream {self._base}: {UNKNOWN_ENGINE}") from None
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            told = {"reason": remedy} if (remedy := trust_remedy(error)) else {}
            _log.warning("upstream_unreachable", upstream=self._base, error_type=type(error).__name__, **told)
            self.identify_again()

    def identify_again(self) -> None:
        """Ask in the background, as another engine may come up in its place; what is known holds meanwhile."""
        if self._named is Direction.AUTO and self._identifying is None:
            self._identifying = asyncio.get_running_loop().create_task(
                self._identify_until_known(), name="rankd-upstream"
            )

    async def _identify_until_known(self) -> None:
        backoff, logged = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE), False
        while True:
            await asyncio.sleep(backoff.pause())
            try:
                self._take(await identify(self._session, self._base))
                break
            except UnknownEngineError:
                if not logged:
                    logged = True
                    _log.error("upstream_unknown", upstream=self._base, reason=UNKNOWN_ENGINE)
            except (aiohttp.ClientError, OSError, TimeoutError):
                pass
        self._identifying = None

    def _take(self, engine: EngineInfo) -> None:
        if engine != self.engine:
            self.engine = engine
            _log.info("upstream_found", upstream=self._base, engine=engine.name, direction=engine.direction.value)
            for warning in engine.warnings:
                _log.warning("upstream_misconfigured", engine=engine.name, reason=f"{warning}: {REMEDIES[warning]}")

    async def close(self) -> None:
        """Ask no more."""
        if self._identifying is not None:
            self._identifying.cancel()
            await asyncio.gather(self._identifying, return_exceptions=True)


REMEDIES = {
    "sglang_not_in_priority_mode": "rankd has NO EFFECT: this SGLang was started without --enable-priority-scheduling",
    "sglang_preempts": "priorities are milliseconds, so that nearly every request may push running ones out: start "
    "SGLang with --disable-priority-preemption, or with --priority-scheduling-preemption-threshold 1000000000000000",
    "sglang_metrics_grow": "SGLang keeps series for every priority that it ever saw, and each request has its own: "
    "start it without --enable-metrics",
}


async def _get(session: aiohttp.ClientSession, url: str) -> tuple[int, bytes]:
    async with session.get(
        url, timeout=aiohttp.ClientTimeout(total=_TIMEOUT), allow_redirects=False, auto_decompress=True
    ) as answer:
        text = bytearray()
        while answer.status == 200 and len(text) < _MOST_BYTES and (chunk := await answer.content.readany()):
            text += chunk
        return answer.status, bytes(text)


def _object(text: bytes) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
