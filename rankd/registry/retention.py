"""Keeps a registry from growing for ever: after a promotion the oldest rankers that nobody needs are removed."""

from __future__ import annotations

import asyncio
import time

import structlog

from rankd.errors import RankdError
from rankd.registry.history import ServiceHistory
from rankd.registry.loaded import Registry
from rankd.registry.shelf import Shelf, place_of
from rankd.settings import Settings
from rankd.telemetry.redaction import describe_error

_log = structlog.get_logger("rankd")


class Retention:
    """Removes rankers beyond ``promotion.keep``, in the background."""

    def __init__(self, registry: Registry, history: ServiceHistory, settings: Settings) -> None:
        """Nothing is removed yet."""
        self._registry = registry
        self._history = history
        self._settings = settings
        self._task: asyncio.Task[None] | None = None

    def soon(self) -> None:
        """Look through the registry, unless that is under way."""
        if self._settings.registry is None or not self._settings.promotion.keep:
            return
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._look(), name="rankd-retention")

    def close(self) -> None:
        """Begin nothing more."""
        if self._task is not None:
            self._task.cancel()

    async def _look(self) -> None:
        root, most = self._settings.registry, self._settings.promotion.keep
        assert root is not None
        loaded = [place_of(r.version, r.path, root).path for r in self._registry.all()]
        try:
            gone = await asyncio.to_thread(self._remove, Shelf(root), most, loaded)
        except (RankdError, OSError) as error:
            _log.error("registry_not_tidied", **describe_error(error))
            return
        for version in gone:
            _log.info("ranker_removed", ranker_version=version)

    def _remove(self, shelf: Shelf, most: int, loaded: list[str]) -> list[str]:
        self._history.refresh()
        if self._history.trouble or self._history.skipped:
            return []  # what is needed is not known
        steps = [path for step in self._history.recent(most) for path in (step.path, step.before_path)]
        stack = [place.path for place in self._history.stack()[-most:]]
        return shelf.keep(most, [*loaded, *steps, *stack], time.time())
