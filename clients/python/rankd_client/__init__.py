"""Client of rankd: ask for a serving order, report completions, read quality, administer a daemon.

:class:`RankClient` and :class:`AsyncRankClient` fail open: :meth:`~RankClient.rank` and :meth:`~RankStream.step` raise
nothing for the daemon's sake, the queue comes back in arrival order with a ``reason``. What has no fallback raises:

* :class:`RankdClientError`

  * :class:`RankdUnavailableError`: the daemon did not answer (``quality``, ``watch_quality``, all of
    :class:`AdminClient`)
  * :class:`RankdRefusedError`: the daemon will not do what was asked (:class:`AdminClient`)

A caller's own mistake is a ``ValueError`` or a ``TypeError`` that names the field; nothing was sent.

All that a caller passes in or gets back is here. For whoever builds an engine or a plug-in of one there is more:
:mod:`rankd_client.ordering` (from scores to a serving order), :mod:`rankd_client.calibration` (from scores to lengths),
:mod:`rankd_client.shape` (what is known of a request beside its text), :mod:`rankd_client.integration` (what the
plug-ins share) and :mod:`rankd_client.v1` (the stubs). Modules whose names begin with an underscore may change at any
time.
"""

# The first: it loads gRPC and protobuf so that no variable of others ends the process.
from rankd_client import _environment  # noqa: F401

# isort: split
from rankd_client._admin import DEFAULT_ADMIN_TARGET, AdminClient
from rankd_client._async.client import AsyncRankClient
from rankd_client._async.stream import AsyncRankStream
from rankd_client._connection import DEFAULT_TARGET, DEFAULT_TIMEOUT, TlsConfig
from rankd_client._errors import RankdClientError, RankdRefusedError, RankdUnavailableError
from rankd_client._learned import LearnedHead
from rankd_client._pilot import MetricName, PilotEffect, PilotPlan, PilotStatus
from rankd_client._pilot_in_force import PilotInForce, PilotRatio
from rankd_client._placed import Placed
from rankd_client._placement import ModelPlacement
from rankd_client._policy import PolicyInForce
from rankd_client._quality import (
    FleetState,
    GuardState,
    LearnedQuality,
    ModelQuality,
    QualityReport,
    ServiceStatus,
)
from rankd_client._rankers import (
    EvidenceName,
    Judgement,
    JudgeOptions,
    RankerFigures,
    RankerInfo,
    Rankers,
    RankerStep,
    RankerStepEvidence,
    ShadowState,
)
from rankd_client._savings import Payer, SavedLatency, Savings
from rankd_client._stats import ClientStats
from rankd_client._sync.client import RankClient
from rankd_client._sync.stream import RankStream
from rankd_client._types import MAX_ID_BYTES, Completed, Finish, Item, Progress, Ranked, RankedQueue, ReportResult
from rankd_client._values import Estimate
from rankd_client.calibration import Calibration, Knot
from rankd_client.ordering import (
    AdaptiveRules,
    ClassPolicy,
    CostEstimate,
    LatencyTarget,
    LearnedCosts,
    Objective,
    ObjectiveOutcome,
    Policy,
    Rules,
    ServiceCosts,
)
from rankd_client.shape import RequestShape
from rankd_client.v1.prediction_pb2 import Prediction

__all__ = [
    "DEFAULT_ADMIN_TARGET",
    "DEFAULT_TARGET",
    "DEFAULT_TIMEOUT",
    "MAX_ID_BYTES",
    "AdaptiveRules",
    "AdminClient",
    "AsyncRankClient",
    "AsyncRankStream",
    "Calibration",
    "ClassPolicy",
    "ClientStats",
    "Completed",
    "CostEstimate",
    "Estimate",
    "EvidenceName",
    "Finish",
    "FleetState",
    "GuardState",
    "Item",
    "JudgeOptions",
    "Judgement",
    "Knot",
    "LatencyTarget",
    "LearnedCosts",
    "LearnedHead",
    "LearnedQuality",
    "MetricName",
    "ModelPlacement",
    "ModelQuality",
    "Objective",
    "ObjectiveOutcome",
    "Payer",
    "PilotEffect",
    "PilotInForce",
    "PilotPlan",
    "PilotRatio",
    "PilotStatus",
    "Placed",
    "Policy",
    "PolicyInForce",
    "Prediction",
    "Progress",
    "QualityReport",
    "RankClient",
    "RankStream",
    "RankdClientError",
    "RankdRefusedError",
    "RankdUnavailableError",
    "Ranked",
    "RankedQueue",
    "RankerFigures",
    "RankerInfo",
    "RankerStep",
    "RankerStepEvidence",
    "Rankers",
    "ReportResult",
    "RequestShape",
    "Rules",
    "SavedLatency",
    "Savings",
    "ServiceCosts",
    "ServiceStatus",
    "ShadowState",
    "TlsConfig",
]
