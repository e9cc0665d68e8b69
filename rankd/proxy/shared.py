"""What all requests of a proxy share."""

from __future__ import annotations

from dataclasses import dataclass

import aiohttp
from rankd_client.integration import LateScores

from rankd.proxy.body_budget import BodyBudget
from rankd.proxy.holding_queue import HoldingQueue
from rankd.proxy.metrics import Metrics
from rankd.proxy.paths import EnginePaths
from rankd.proxy.ranking import ProxyRanking
from rankd.proxy.reporting import CompletionTracker
from rankd.proxy.upstream import Upstream


@dataclass(frozen=True, slots=True)
class Shared:
    """What all exchanges share. ``limit`` in bytes of a body that is read before it is passed on."""

    session: aiohttp.ClientSession
    paths: EnginePaths
    upstream: Upstream
    ranking: ProxyRanking
    tracker: CompletionTracker
    metrics: Metrics
    limit: int
    budget: BodyBudget
    holding: HoldingQueue
    late_scores: LateScores

    @property
    def base(self) -> str:
        """The engine's URL, as it was given."""
        return self.paths.base
