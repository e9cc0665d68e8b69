"""Which ranker a daemon serves when it starts: the one that is set, else the one promoted last, else the bundled one.

A promoted ranker that cannot be loaded any more does not keep a daemon from starting: the one before it serves then.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import structlog

from rankd.errors import ArtifactError, RankdError
from rankd.registry.bundled import default_ranker_path, wanted_ranker
from rankd.registry.history import SERVING, Beginning, Place, RankerChoice, ServiceHistory
from rankd.registry.loaded import LoadedRanker, Registry
from rankd.registry.shelf import BUNDLED, directory_of
from rankd.settings import Settings

_log = structlog.get_logger("rankd")
MOST_TRIED = 5
"""Rankers of the history that are tried before the bundled one: each may take seconds to fail."""


async def load_first(registry: Registry, history: ServiceHistory, settings: Settings) -> LoadedRanker:
    """Load the ranker that a daemon begins with, and say where it is not the one promoted last.

    Raises:
        RankdError: the one that is set, or the bundled one, cannot be loaded.
    """
    promoted = await asyncio.to_thread(_promoted, history, settings)
    unusable: list[tuple[str, str]] = []
    if settings.ranker is not None:
        choice, ranker = RankerChoice.SETTING, await registry.load(wanted_ranker(settings.ranker))
        if history.last is not None and history.last.ranker_version != ranker.version:
            _log.warning("promotion_not_followed", ranker_version=ranker.version, previous=history.last.ranker_version)
    else:
        found = await _first_usable(registry, promoted[:MOST_TRIED], settings.registry, unusable)
        ranker = await registry.load(default_ranker_path()) if found is None else found
        choice = RankerChoice.BUNDLED if found is None else RankerChoice.PROMOTED
        choice = RankerChoice.FALLEN_BACK if unusable else choice
    history.beginning = Beginning(ranker.version, choice, tuple(unusable))
    return ranker


async def _first_usable(
    registry: Registry, places: list[Place], root: Path | None, unusable: list[tuple[str, str]]
) -> LoadedRanker | None:
    """Load the first that can be; those before go to ``unusable``."""
    for place in places:
        try:
            return await load_place(registry, place, root)
        except (RankdError, OSError) as error:
            version, reason = place.ranker_version or SERVING, getattr(error, "reason", type(error).__name__)
            unusable.append((version, reason))
            _log.error("promoted_ranker_unusable", ranker_version=version, reason=reason)
    return None


async def load_place(registry: Registry, place: Place, root: Path | None) -> LoadedRanker:
    """Load a ranker of the history.

    Raises:
        ArtifactError: it cannot be served, or OTHER_RANKER: another one lies there now.
        ProviderError: the provider asked for is not there.
    """
    loaded = {r.version: r for r in registry.all()}
    if place.ranker_version in loaded:
        return loaded[place.ranker_version]
    ranker = await registry.load(directory_of(place, root))
    # A bundled one comes with rankd: after an upgrade it is the newer one that is meant.
    if place.ranker_version and ranker.version != place.ranker_version and not place.path.startswith(BUNDLED):
        if ranker.version not in loaded:
            registry.unload(ranker.version)
        raise ArtifactError(
            "OTHER_RANKER", f"{ranker.path} holds {ranker.version} now, and {place.ranker_version} is wanted"
        )
    return ranker


def _promoted(history: ServiceHistory, settings: Settings) -> list[Place]:
    """What was promoted in the registry, the newest first; by the link where there is no history yet."""
    if settings.registry is None or not settings.promotion.follow:
        return []
    if history.trouble or history.skipped:
        _log.error("history_unusable", reason=history.trouble or f"{history.skipped} lines are no steps")
    stack: list[Place] = []
    for place in reversed(history.stack()):
        if place not in stack:
            stack.append(place)
    if stack:
        if settings.ranker is None:
            history.mend_link()
        return stack
    try:
        linked = (settings.registry / SERVING).is_symlink()
    except OSError:
        return []
    return [Place("", SERVING)] if linked else []
