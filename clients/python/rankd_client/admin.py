"""Client of the admin service: rankers are loaded, shadowed, judged, promoted, rolled back and unloaded, pilots run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, Self

import grpc

from rankd_client._core import OPTIONS, credentials, seconds
from rankd_client._failures import explain
from rankd_client._showing import TokenInterceptor
from rankd_client._token import Token
from rankd_client.pilot import PilotPlan, PilotStatus, request_of, status_of
from rankd_client.types import Estimate, RankdUnavailableError, TlsConfig
from rankd_client.v1 import admin_pb2, admin_pb2_grpc

DEFAULT_ADMIN_TARGET = "127.0.0.1:50052"
EvidenceName = Literal["completion_log", "shadow_scores"]
_EVIDENCE = {
    "completion_log": admin_pb2.EVIDENCE_COMPLETION_LOG,
    "shadow_scores": admin_pb2.EVIDENCE_SHADOW_SCORES,
}
_REFUSED = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED,
}


class RankdRefusedError(Exception):
    """The daemon will not do what was asked; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class ShadowState:
    """How far a shadow has come; ``since`` in seconds since the epoch."""

    since: float
    scored: int
    completions: int
    dropped: int


@dataclass(frozen=True, slots=True)
class RankerInfo:
    """A ranker that the daemon holds."""

    ranker_version: str
    in_service: bool
    previous: bool
    provider: str
    path: str
    measured_tau: float | None
    shadow: ShadowState | None


@dataclass(frozen=True, slots=True)
class Rankers:
    """All of them, the one in service first; ``registry`` is a path on the daemon's machine, empty for none."""

    rankers: tuple[RankerInfo, ...]
    registry: str


@dataclass(frozen=True, slots=True)
class RankerFigures:
    """One ranker on the completions of a judgement; None where undefined."""

    ranker_version: str
    tau: Estimate | None
    realised_gain: Estimate | None


@dataclass(frozen=True, slots=True)
class Judgement:
    """A candidate against the ranker in service on the same completions; differences are candidate less the other.

    ``verdict``: better, not_better, too_few_completions, too_few_decided_pairs. ``evidence``: completion_log,
    shadow_scores, or empty where there was nothing.
    """

    verdict: str
    evidence: str
    candidate: RankerFigures
    in_service: RankerFigures
    tau_difference: Estimate | None
    realised_gain_difference: Estimate | None
    completions: int
    censored: int
    decided_pair_share: float
    margin: float
    min_completions: int
    log_completions: int
    shadow_completions: int
    older_completions: int


@dataclass(frozen=True, slots=True)
class JudgeOptions:
    """How to judge; what is None is as the daemon is set."""

    model: str | None = None
    margin: float | None = None
    min_completions: int | None = None
    evidence: EvidenceName | None = None

    def message(self) -> admin_pb2.JudgeOptions:
        """As proto."""
        out = admin_pb2.JudgeOptions(min_completion_count=self.min_completions or 0)
        if self.model is not None:
            out.model = self.model
        if self.margin is not None:
            out.margin = self.margin
        if self.evidence is not None:
            out.evidence = _EVIDENCE[self.evidence]
        return out


class AdminClient:
    """Administers a daemon.

    Every method raises :class:`RankdUnavailableError` where the daemon does not answer, and :class:`RankdRefusedError`
    where it will not do what was asked.

    Args:
        target: ``HOST:PORT`` of the admin listener.
        timeout: seconds that a call may take; loading and judging take longer and have their own.
        tls: files' contents for TLS; default: plaintext.
        token: as for :class:`rankd_client.RankClient`.
        token_file: the same.
        plaintext_token: the same.
    """

    def __init__(
        self,
        target: str = DEFAULT_ADMIN_TARGET,
        *,
        timeout: float = 10.0,
        tls: TlsConfig | None = None,
        token: str | None = None,
        token_file: str | os.PathLike[str] | None = None,
        plaintext_token: bool = False,
    ) -> None:
        """Open a channel; nothing is sent before the first call.

        Raises:
            ValueError: the token cannot be read, or would go over a network in the clear.
        """
        shown = Token(token, token_file, target=target, tls=tls, plaintext=plaintext_token)
        if tls is None:
            self._channel = grpc.insecure_channel(target, options=OPTIONS)
        else:
            self._channel = grpc.secure_channel(target, credentials(tls), options=OPTIONS)
        self._stub = admin_pb2_grpc.AdminServiceStub(grpc.intercept_channel(self._channel, TokenInterceptor(shown)))
        self._timeout = seconds(timeout)

    def rankers(self) -> Rankers:
        """What is loaded, and where the daemon's registry is."""
        with _errors():
            answer = self._stub.ListRankers(admin_pb2.ListRankersRequest(), timeout=self._timeout)
        return Rankers(tuple(_ranker(r) for r in answer.rankers), answer.registry_path)

    def load(self, path: str, *, timeout: float = 120.0) -> RankerInfo:
        """Load the ranker in a directory below the registry, relative to it."""
        with _errors():
            return _ranker(
                self._stub.LoadRanker(admin_pb2.LoadRankerRequest(path=path), timeout=seconds(timeout)).ranker
            )

    def unload(self, ranker_version: str) -> None:
        """Free a ranker's memory."""
        with _errors():
            self._stub.UnloadRanker(admin_pb2.UnloadRankerRequest(ranker_version=ranker_version), timeout=self._timeout)

    def start_shadow(self, ranker_version: str) -> RankerInfo:
        """Let a ranker score in the shadow."""
        with _errors():
            request = admin_pb2.StartShadowRequest(ranker_version=ranker_version)
            return _ranker(self._stub.StartShadow(request, timeout=self._timeout).ranker)

    def stop_shadow(self, ranker_version: str) -> RankerInfo:
        """Take a ranker out of the shadow."""
        with _errors():
            request = admin_pb2.StopShadowRequest(ranker_version=ranker_version)
            return _ranker(self._stub.StopShadow(request, timeout=self._timeout).ranker)

    def judge(
        self,
        ranker_version: str,
        options: JudgeOptions,
        on_progress: Callable[[int, int], None] = lambda _done, _total: None,
        *,
        timeout: float = 3600.0,
    ) -> Judgement:
        """Compare a ranker with the one in service; ``on_progress`` gets prompts scored, and of how many."""
        request = admin_pb2.JudgeRankerRequest(ranker_version=ranker_version, options=options.message())
        with _errors():
            for answer in self._stub.JudgeRanker(request, timeout=seconds(timeout)):
                on_progress(answer.scored_count, answer.total_count)
                if answer.HasField("judgement"):
                    return judgement_of(answer.judgement)
        raise RankdUnavailableError("the daemon ended the judgement without a verdict")

    def promote(
        self, ranker_version: str, only_if_better: JudgeOptions | None = None, *, timeout: float = 3600.0
    ) -> tuple[bool, Judgement | None]:
        """Put a ranker into service; with ``only_if_better`` judge it first. Says whether it was promoted, and why."""
        request = admin_pb2.PromoteRankerRequest(ranker_version=ranker_version)
        if only_if_better is not None:
            request.only_if_better.CopyFrom(only_if_better.message())
        with _errors():
            answer = self._stub.PromoteRanker(request, timeout=seconds(timeout))
        return answer.promoted, judgement_of(answer.judgement) if answer.HasField("judgement") else None

    def roll_back(self) -> RankerInfo:
        """Put the previous ranker back into service."""
        with _errors():
            return _ranker(self._stub.RollbackRanker(admin_pb2.RollbackRankerRequest(), timeout=self._timeout).ranker)

    def start_pilot(self, plan: PilotPlan) -> PilotStatus:
        """Begin a pilot."""
        with _errors():
            return status_of(self._stub.StartPilot(request_of(plan), timeout=self._timeout).pilot)

    def pilot(self, model: str = "") -> PilotStatus:
        """How a served model's pilot stands, also after its end."""
        with _errors():
            return status_of(self._stub.GetPilot(admin_pb2.GetPilotRequest(model=model), timeout=self._timeout).pilot)

    def stop_pilot(self, model: str = "") -> PilotStatus:
        """End a served model's pilot."""
        with _errors():
            return status_of(self._stub.StopPilot(admin_pb2.StopPilotRequest(model=model), timeout=self._timeout).pilot)

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except grpc.RpcError as error:
        if error.code() in _REFUSED:
            raise RankdRefusedError(error.details() or error.code().name) from None
        raise RankdUnavailableError(": ".join(explain(error))) from None


def judgement_of(message: admin_pb2.Judgement) -> Judgement:
    """A judgement as plain values."""
    return Judgement(
        verdict=_word(admin_pb2.Verdict, message.verdict, "VERDICT_"),
        evidence=_word(admin_pb2.Evidence, message.evidence, "EVIDENCE_"),
        candidate=_figures(message.candidate),
        in_service=_figures(message.in_service),
        tau_difference=_estimate(message, "tau_difference"),
        realised_gain_difference=_estimate(message, "realised_gain_difference"),
        completions=message.completion_count,
        censored=message.censored_count,
        decided_pair_share=message.decided_pair_share,
        margin=message.margin,
        min_completions=message.min_completion_count,
        log_completions=message.log_completion_count,
        shadow_completions=message.shadow_completion_count,
        older_completions=message.older_completion_count,
    )


def _figures(message: admin_pb2.RankerFigures) -> RankerFigures:
    return RankerFigures(message.ranker_version, _estimate(message, "tau"), _estimate(message, "realised_gain"))


def _estimate(message: Any, name: str) -> Estimate | None:
    if not message.HasField(name):
        return None
    estimate = getattr(message, name)
    return Estimate(estimate.value, estimate.low, estimate.high)


def _word(kind: Any, value: int, prefix: str) -> str:
    """An enum's value as a lower-case word: empty for none, a number for one that this client does not know."""
    if value == 0:
        return ""
    known = value in kind.values()
    return kind.Name(value).removeprefix(prefix).lower() if known else f"{prefix.lower()}{value}"


def _ranker(message: admin_pb2.Ranker) -> RankerInfo:
    shadow = None
    if message.HasField("shadow"):
        state = message.shadow
        since = state.since.seconds + state.since.nanos * 1e-9
        shadow = ShadowState(since, state.scored_count, state.completion_count, state.dropped_count)
    return RankerInfo(
        ranker_version=message.ranker_version,
        in_service=message.in_service,
        previous=message.previous,
        provider=message.provider,
        path=message.path,
        measured_tau=message.measured_tau if message.HasField("measured_tau") else None,
        shadow=shadow,
    )
