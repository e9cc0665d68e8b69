"""Asking the daemon from an event loop, with a circuit breaker: a daemon that is gone costs no request anything."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from contextlib import suppress

from rankd_client import AsyncRankClient, Item, RankedQueue
from rankd_client._backoff import Backoff
from rankd_client.integration.settings import IntegrationSettings, logger
from rankd_client.ordering import Objective
from rankd_client.ordering.serving_keys import CLASS_SPAN

_FAILURES = 3
"""In a row, after which nobody waits for the daemon any more."""
_TELLING = 0.5
"""Seconds of silence that tell something by themselves, where the timeout follows the queue."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 2.0
"""Seconds between probes of a daemon that does not answer."""
_PROBE = "Hello"
_REFUSED = ("error:INVALID_ARGUMENT", "error:NOT_FOUND")
"""Answers: that one request is over the daemon's limits, or for a model not listed there, says nothing of others."""
_WRONG_TENANT = "error:PERMISSION_DENIED"


class CircuitBreaker:
    """Asks within a deadline. After failures in a row no request asks, and probes in the background find the end of it.

    Loops may share it, one after another or in threads of their own.
    """

    def __init__(self, settings: IntegrationSettings) -> None:
        """Nothing is opened before the first question."""
        self._settings = settings
        self._client = self._made()
        self._failures = 0
        self._probing: asyncio.Task[None] | None = None
        self._strict = False
        """Whether the daemon puts classes strictly one after the other, as its last answer with a class had it."""
        self._answered_at = self._failed_at = -math.inf

    def _made(self) -> AsyncRankClient:
        return AsyncRankClient(**self._settings.connection)

    @property
    def open(self) -> bool:
        """Whether the circuit is broken, so that nobody asks. Where the loop that probes has ended, it is closed."""
        probing = self._probing
        return probing is not None and not probing.done() and probing.get_loop().is_running()

    def offset_of(self, priority_class: int) -> int:
        """What a class adds to a key while the daemon cannot be asked: a strict one keeps its place."""
        return priority_class * CLASS_SPAN if self._strict else 0

    async def ask(
        self,
        items: Sequence[Item],
        *,
        backlog: int = 0,
        model: str | None = None,
        objective: Objective | None = None,
        timeout: float | None = None,
        counts: bool = True,
    ) -> RankedQueue | None:
        """The daemon's order, in arrival order where it fails; None, at once, while it is known to fail.

        Args:
            items: what is asked about.
            backlog: requests that wait beside it.
            model: the served model; default: that of the settings.
            objective: what to order for; default: that of the settings.
            timeout: seconds; default: those of the settings.
            counts: whether a failure counts towards breaking the circuit.
        """
        if self.open:
            return None
        client = self._client
        objective = objective or self._settings.objective
        began = time.monotonic()
        queue = await client.rank(items, backlog=backlog, model=model, objective=objective, timeout=timeout)
        if not queue.failed:
            self._failures, self._answered_at = 0, time.monotonic()
            self._learn_classes(items, queue)
        elif queue.reason in _REFUSED or (queue.reason == _WRONG_TENANT and any(item.tenant for item in items)):
            self._failures = 0
        elif counts and not (queue.reason == "timeout" and self._is_behind(began)):
            self._failed_at = time.monotonic()
            self._failures += 1
            if self._failures >= _FAILURES and not self.open:
                logger.warning(
                    "rankd at %s does not answer (%s: %s); requests go in arrival order until it does. "
                    "It is asked again in the background.",
                    self._settings.target,
                    queue.reason,
                    client.stats.last_error,
                )
                self._probing = asyncio.get_running_loop().create_task(self._probe(client), name="rankd-probe")
        return queue

    def _is_behind(self, began: float) -> bool:
        """Whether a daemon that gave no answer since then is but behind, as in a burst of short questions.

        It answered others meanwhile; or it had little time, and other questions of that time count already.
        """
        if self._settings.timeout is not None:
            return False  # it is the user's word what is too long
        lasted = time.monotonic() - began
        return self._answered_at > began or (lasted < _TELLING and self._failed_at > began)

    def _learn_classes(self, items: Sequence[Item], queue: RankedQueue) -> None:
        """Strict classes show in the keys: nothing else moves one so far."""
        number = items[queue[0].index].priority_class if queue else 0
        if number:
            self._strict = round(queue[0].serving_key / CLASS_SPAN) == number

    async def _probe(self, client: AsyncRankClient) -> None:
        backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
        while True:
            await asyncio.sleep(backoff.pause())
            if not (await client.rank([_PROBE])).failed:
                break
        logger.info("rankd at %s answers again", self._settings.target)
        self._failures, self._probing = 0, None

    async def close(self) -> None:
        """Close the connection; a later question opens a new one."""
        if (probing := self._probing) is not None:
            with suppress(RuntimeError):  # its loop has ended
                probing.get_loop().call_soon_threadsafe(probing.cancel)
        client, self._client, self._probing = self._client, self._made(), None
        await client.close()
