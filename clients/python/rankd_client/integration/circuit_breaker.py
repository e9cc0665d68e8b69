"""Asking the daemon from an event loop, with a circuit breaker: a daemon that is gone costs no request anything."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from rankd_client import AsyncRankClient, Item, RankedQueue
from rankd_client._backoff import Backoff
from rankd_client.integration.settings import IntegrationSettings, logger

_FAILURES = 3
"""In a row, after which nobody waits for the daemon any more."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 2.0
"""Seconds between probes of a daemon that does not answer."""
_PROBE = "Hello"
_REFUSED = ("error:INVALID_ARGUMENT", "error:NOT_FOUND")
"""Answers: that one request is over the daemon's limits, or for a model not listed there, says nothing of others."""


class CircuitBreaker:
    """Asks within a deadline. After failures in a row no request asks, and probes in the background find the end of it.

    Belongs to one event loop at a time; another one gets a connection of its own.
    """

    def __init__(self, settings: IntegrationSettings) -> None:
        """Nothing is opened before the first question."""
        self._settings = settings
        self._loop: asyncio.AbstractEventLoop | None = None
        self._client: AsyncRankClient | None = None
        self._failures = 0
        self._probing: asyncio.Task[None] | None = None

    @property
    def open(self) -> bool:
        """Whether the circuit is broken, so that nobody asks."""
        return self._probing is not None

    async def ask(self, items: Sequence[Item], *, backlog: int = 0, model: str | None = None) -> RankedQueue | None:
        """The daemon's order, in arrival order where it fails; None, at once, while it is known to fail."""
        client = self._client_of_this_loop()
        if self.open:
            return None
        queue = await client.rank(items, backlog=backlog, model=model)
        if not queue.failed or queue.reason in _REFUSED:
            self._failures = 0
        else:
            self._failures += 1
            if self._failures >= _FAILURES and not self.open:
                logger.warning(
                    "rankd at %s does not answer (%s); requests go in arrival order until it does. "
                    "It is asked again in the background.",
                    self._settings.target,
                    queue.reason,
                )
                self._probing = asyncio.get_running_loop().create_task(self._probe(client), name="rankd-probe")
        return queue

    def _client_of_this_loop(self) -> AsyncRankClient:
        loop = asyncio.get_running_loop()
        if self._client is None or self._loop is not loop:
            self._client = AsyncRankClient(**self._settings.connection)
            self._loop, self._failures, self._probing = loop, 0, None
        return self._client

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
        if self._probing is not None:
            self._probing.cancel()
        client, self._client, self._probing = self._client, None, None
        if client is not None and self._loop is asyncio.get_running_loop():
            await client.close()
