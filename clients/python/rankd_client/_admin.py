"""Client of the admin service: rankers are loaded, shadowed, judged, promoted, rolled back and unloaded, pilots run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Self

import grpc

from rankd_client._connection import TlsConfig, open_channel, shown_to
from rankd_client._errors import RankdRefusedError, RankdUnavailableError
from rankd_client._failures import NotConnectedError, explain
from rankd_client._learned import LearnedHead, learned_of
from rankd_client._pilot import PilotPlan, PilotStatus, request_of, status_of
from rankd_client._rankers import Judgement, JudgeOptions, RankerInfo, Rankers, judgement_of, ranker_of, rankers_of
from rankd_client._sync_io import Connections
from rankd_client._token import Token
from rankd_client._token_interceptor import TokenInterceptor
from rankd_client._validation import seconds
from rankd_client.v1 import admin_pb2, admin_pb2_grpc

DEFAULT_ADMIN_TARGET = "127.0.0.1:50052"
_REFUSED = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED,
}


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
        web_proxy: the same.
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
        web_proxy: bool = False,
    ) -> None:
        """Open nothing before the first call.

        Raises:
            ValueError: the token cannot be read, or would go over a network in the clear.
        """
        reader = shown_to(target, web_proxy=web_proxy)
        shown = Token(token, token_file, target=reader, tls=tls, plaintext=plaintext_token)
        self._connections = Connections(partial(_AdminConnection, target, tls, shown, web_proxy=web_proxy))
        self._timeout = seconds(timeout)

    @property
    def _stub(self) -> Any:
        return self._connections.here().stub

    def rankers(self) -> Rankers:
        """What is loaded, where the daemon's registry is, and that registry's history."""
        with _errors():
            answer = self._stub.ListRankers(admin_pb2.ListRankersRequest(), timeout=self._timeout)
        return rankers_of(answer)

    def load(self, path: str, *, timeout: float = 120.0) -> RankerInfo:
        """Load the ranker in a directory below the registry, relative to it."""
        with _errors():
            return ranker_of(
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
            return ranker_of(self._stub.StartShadow(request, timeout=self._timeout).ranker)

    def stop_shadow(self, ranker_version: str) -> RankerInfo:
        """Take a ranker out of the shadow."""
        with _errors():
            request = admin_pb2.StopShadowRequest(ranker_version=ranker_version)
            return ranker_of(self._stub.StopShadow(request, timeout=self._timeout).ranker)

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

    def roll_back(self, ranker_version: str = "", *, timeout: float = 120.0) -> RankerInfo:
        """Put the ranker that was in service before back, or the one named; done twice it goes further back.

        Args:
            ranker_version: loaded, in service before, or in the registry; default: the one before, by the history.
            timeout: seconds; what is not loaded any more is loaded.
        """
        request = admin_pb2.RollbackRankerRequest(ranker_version=ranker_version)
        with _errors():
            return ranker_of(self._stub.RollbackRanker(request, timeout=seconds(timeout)).ranker)

    def learned(self, model: str = "", ranker_version: str = "") -> LearnedHead:
        """What was learned of a served model's traffic; refused where nothing was.

        Args:
            model: the served model.
            ranker_version: of the ranker that it adds to; default: the one in service.
        """
        request = admin_pb2.GetLearnedRequest(model=model, ranker_version=ranker_version)
        with _errors():
            return learned_of(self._stub.GetLearned(request, timeout=self._timeout))

    def forget_learned(self, model: str = "", ranker_version: str = "") -> None:
        """Forget what was learned of a served model's traffic; arguments as of :meth:`learned`."""
        request = admin_pb2.ForgetLearnedRequest(model=model, ranker_version=ranker_version)
        with _errors():
            self._stub.ForgetLearned(request, timeout=self._timeout)

    def start_pilot(self, plan: PilotPlan) -> PilotStatus:
        """Begin a pilot."""
        with _errors():
            return status_of(self._stub.StartPilot(request_of(plan), timeout=self._timeout).pilot)

    def pilot(self, model: str | None = "") -> PilotStatus:
        """How a served model's pilot stands, also after its end. None: the only model that has one."""
        request = admin_pb2.GetPilotRequest(model=model or "", only_model=model is None)
        with _errors():
            return status_of(self._stub.GetPilot(request, timeout=self._timeout).pilot)

    def stop_pilot(self, model: str | None = "") -> PilotStatus:
        """End a served model's pilot. None: the only model that has one."""
        request = admin_pb2.StopPilotRequest(model=model or "", only_model=model is None)
        with _errors():
            return status_of(self._stub.StopPilot(request, timeout=self._timeout).pilot)

    def close(self) -> None:
        """Close the channel, for good."""
        self._connections.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _AdminConnection:
    """A channel to the admin listener, and its calls over it."""

    def __init__(self, target: str, tls: TlsConfig | None, token: Token, *, web_proxy: bool) -> None:
        channel = open_channel(grpc, target, tls, web_proxy=web_proxy)
        self.channels = (channel,)
        self.stub = admin_pb2_grpc.AdminServiceStub(grpc.intercept_channel(channel, TokenInterceptor(token)))


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except grpc.RpcError as error:
        if error.code() in _REFUSED:
            raise RankdRefusedError(error.details() or error.code().name) from None
        raise RankdUnavailableError(": ".join(explain(error))) from None
    except NotConnectedError as error:
        raise RankdUnavailableError(str(error)) from None
