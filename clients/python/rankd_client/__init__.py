"""Client of rankd: ask for a serving order, report completions, read quality. Fails open."""

from rankd_client.aio import AsyncRankClient
from rankd_client.client import RankClient
from rankd_client.ordering import Policy
from rankd_client.stream import AsyncRankStream, RankStream
from rankd_client.types import (
    Completed,
    Item,
    Progress,
    QualityReport,
    RankdUnavailableError,
    Ranked,
    RankedQueue,
    ReportResult,
    TlsConfig,
)

__all__ = [
    "AsyncRankClient",
    "AsyncRankStream",
    "Completed",
    "Item",
    "Policy",
    "Progress",
    "QualityReport",
    "RankClient",
    "RankStream",
    "RankdUnavailableError",
    "Ranked",
    "RankedQueue",
    "ReportResult",
    "TlsConfig",
]
