# Made from rankd_client/_async/client.py by `make generate`: change that one.
"""The client. It fails open: whatever happens to the daemon, a queue comes back within its deadline."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any, Self

from rankd_client._client_queue import ClientQueue
from rankd_client._connection import DEFAULT_TARGET, DEFAULT_TIMEOUT, Connection, TlsConfig, shown_to
from rankd_client._errors import RankdUnavailableError
from rankd_client._failures import explain, readable
from rankd_client._placed import Placed
from rankd_client._quality import QualityReport, report_of
from rankd_client._reports import report_result, reports
from rankd_client._stats import ClientStats, note
from rankd_client._stream_core import StreamCore
from rankd_client._sync.stream import RankStream
from rankd_client._sync_io import FAILURES, GRPC, NO_ANSWER, Connections, raise_if_cancelled, results, start
from rankd_client._token import Token
from rankd_client._trace import client_span
from rankd_client._types import Completed, Item, RankedQueue, ReportResult
from rankd_client._validation import seconds
from rankd_client.ordering import Objective, Policy
from rankd_client.ordering.fair_shares import NO_TENANTS
from rankd_client.v1 import quality_pb2


class RankClient:
    """Asks a rank daemon for orders.

    Make it anywhere: it connects where it is first used. A ``RankClient`` is safe to share between threads, an
    ``AsyncRankClient`` between event loops, one after another or in threads of their own; each loop has a connection.
    In a forked child both connect anew, where gRPC was not used before the fork or ``GRPC_ENABLE_FORK_SUPPORT=1`` is
    set; else ``reason`` is ``error:FORKED``.

    Args:
        target: ``HOST:PORT`` of the daemon; of several that stand for each other see ``balance``.
        model: the served language model, for calibration and the guard.
        timeout: seconds that :meth:`rank` may take, answer or not. 0 or less counts as a millisecond, and what is
            over some months, ``inf`` too, as some months.
        policy: the policy asked for; default: the daemon's.
        tls: files' contents for TLS; default: plaintext.
        token: shown with every call, where the daemon asks for one.
        token_file: a file that holds it instead; read again within a second when it changes.
        plaintext_token: show it without TLS to other machines too, as where a mesh speaks TLS for this process.
        balance: calls of :meth:`rank` take turns over all addresses of the target (``dns:///NAME:PORT``,
            ``ipv4:A:PORT,B:PORT``); streams, reports and quality stay with one of them while it answers.
        web_proxy: go through the web proxy that ``grpc_proxy``, ``https_proxy`` or ``http_proxy`` names, unless
            ``no_proxy`` names the target; default: straight to the daemon, whatever these say.
    """

    def __init__(
        self,
        target: str = DEFAULT_TARGET,
        *,
        model: str = "",
        timeout: float = DEFAULT_TIMEOUT,
        policy: Policy | None = None,
        objective: Objective | None = None,
        tls: TlsConfig | None = None,
        token: str | None = None,
        token_file: str | os.PathLike[str] | None = None,
        plaintext_token: bool = False,
        balance: bool = False,
        web_proxy: bool = False,
    ) -> None:
        """Open nothing before the first call.

        Raises:
            ValueError: the token cannot be read, or would go over a network in the clear.
        """
        reader = shown_to(target, web_proxy=web_proxy)
        self._token = Token(token, token_file, target=reader, tls=tls, plaintext=plaintext_token)
        self.stats = ClientStats()
        self._model, self._timeout, self._policy, self._objective = model, seconds(timeout), policy, objective
        self._connections = Connections(partial(Connection, GRPC, target, tls, balance=balance, web_proxy=web_proxy))

    def rank(
        self,
        items: Iterable[str | Item],
        *,
        timeout: float | None = None,
        served: Mapping[str, float] = NO_TENANTS,
        weights: Mapping[str, float] = NO_TENANTS,
        backlog: int = 0,
        model: str | None = None,
        objective: Objective | None = None,
    ) -> RankedQueue:
        """Order a queue of prompts or items.

        Never raises for the daemon's sake: when it is down, slow or sick, the queue comes back in arrival order with
        ``failed`` set and the reason, within ``timeout`` seconds.

        Args:
            items: the queue.
            timeout: seconds; default: the client's.
            served: what each tenant was served so far, in output tokens (docs/guides/ordering.md); default 0.
            weights: of tenants; default 1.
            backlog: requests that wait and are not in ``items``, as far as you know: of use where requests are asked
                about one by one.
            model: the served model that the queue is for; default: the client's.
            objective: what to order it for; default: the client's, and else the daemon's.

        Raises:
            ValueError: two items have the same id, a field is impossible or the timeout is NaN; nothing was sent.
            TypeError: an item is none, or one of its fields is of another type.
        """
        end = time.monotonic() + (self._timeout if timeout is None else seconds(timeout))
        queue = ClientQueue(items, served=served, weights=weights, backlog=backlog, model=model)
        error = ""
        try:
            requests = queue.requests(self._model, self._policy, objective or self._objective)
            rpc = self._connections.here().rank
            with client_span("rankd.v1.RankService/Rank", self._token) as metadata:
                calls = [start(rpc, r, timeout=queue.wait(end - time.monotonic()), metadata=metadata) for r in requests]
                try:
                    ranked = queue.answer(results(calls))
                finally:
                    for call in calls:
                        call.cancel()
        except FAILURES as failure:  # whatever it is, it must not cost a request
            raise_if_cancelled(failure)
            reason, error = explain(failure)
            ranked = queue.fallback(reason)
        note(self.stats, ranked.reason, error)
        return ranked

    def stream(self) -> RankStream:
        """One queue that is ordered again and again, told in changes; for an engine that orders at every iteration."""
        core = StreamCore(self.stats, self._model, self._policy, self._objective)
        return RankStream(self._connections, core, self._timeout, self._token)

    def report(
        self, completions: Iterable[Completed], *, timeout: float = 1.0, placed: Placed | None = None
    ) -> ReportResult:
        """Report what requests produced. Never raises for the daemon's sake; see ``error`` of the result.

        Args:
            completions: what they produced.
            timeout: seconds for all of it.
            placed: how requests were placed since the last report, for the daemon to show.

        Raises:
            ValueError: a finish reason or a count that there is none of, or the timeout is NaN; nothing was sent.
        """
        requests, skipped = reports(self._model, completions, placed)
        end = time.monotonic() + seconds(timeout)
        parts: list[tuple[list[int], Any]] = []
        try:
            rpc = self._connections.here().report
            with client_span("rankd.v1.CompletionService/ReportCompletions", self._token) as metadata:
                for indices, request in requests:
                    left = max(0.001, end - time.monotonic())
                    answer = rpc(request, timeout=left, metadata=metadata)
                    parts.append((indices, readable(answer)))
        except FAILURES as failure:  # a lost report must not cost the engine anything
            raise_if_cancelled(failure)
            return report_result(parts, skipped, ": ".join(explain(failure)))
        return report_result(parts, skipped, "")

    def quality(self, *, timeout: float = 5.0) -> QualityReport:
        """Read live quality, the guard and the policies in force.

        Raises:
            RankdUnavailableError: the daemon did not answer.
            ValueError: the timeout is NaN.
        """
        wait = seconds(timeout)
        try:
            rpc = self._connections.here().quality.GetQuality
            with client_span("rankd.v1.QualityService/GetQuality", self._token) as metadata:
                request = quality_pb2.GetQualityRequest()
                answer = rpc(request, timeout=wait, metadata=metadata)
                return report_of(readable(answer))
        except NO_ANSWER as failure:
            raise_if_cancelled(failure)
            raise RankdUnavailableError(": ".join(explain(failure))) from None

    def watch_quality(self, interval: float = 1.0, *, model: str | None = None) -> Iterator[QualityReport]:
        """Follow :meth:`quality`: now, every ``interval`` seconds, and whenever a guard changes.

        With a ``model`` of that one alone, also while nothing was reported of it: its policy is what orders it.

        Raises:
            RankdUnavailableError: the daemon went away.
            ValueError: the interval is NaN.
        """
        request = quality_pb2.WatchQualityRequest(model=model)
        request.interval.FromNanoseconds(round(seconds(interval, "interval") * 1e9))
        call = None
        try:
            call = self._connections.here().quality.WatchQuality(request, metadata=self._token.metadata())
            for answer in call:
                yield report_of(readable(answer))
        except NO_ANSWER as failure:
            raise_if_cancelled(failure)
            raise RankdUnavailableError(": ".join(explain(failure))) from None
        finally:
            if call is not None:
                call.cancel()

    def close(self) -> None:
        """Close all connections, for good."""
        self._connections.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
