"""Putting a ranker into service on all replicas: the first one that answers judges, the others follow it.

They would judge on other evidence, and serve different rankers. Doing it twice is as doing it once: a replica that
serves the ranker already is left as it is, so that a run that was killed half-way is mended by the next.
"""

from __future__ import annotations

import dataclasses
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from rankd_client import (
    AdminClient,
    EvidenceName,
    Judgement,
    JudgeOptions,
    RankdRefusedError,
    RankdUnavailableError,
    RankerInfo,
)

from rankd.errors import ConfigError
from rankd.retraining.options import RetrainOptions, ShadowOptions, Tools
from rankd.retraining.outcome import RunEndedError, RunOutcome
from rankd.settings.section import split_address

Connect = Callable[[str], AdminClient]
_POLL = 0.5
_UNDECIDED = ("too_few_completions", "too_few_unseen_completions")
"""Verdicts that say that new completions are needed."""


@dataclass(slots=True)
class ReplicaPromotion:
    """What the replicas were told, and answered."""

    promoted: bool = False
    judged_by: str = ""
    """The replica that judged; empty where none had to."""
    judgement: Judgement | None = None
    shadow_completions: int | None = None
    """Completions in the shadow; None: it was not in the shadow."""
    replicas: dict[str, str] = field(default_factory=dict)
    """By address: promoted, in_service (it was already), unreachable, or refused with its reason."""

    def as_json(self) -> dict[str, Any]:
        """As plain values."""
        return dataclasses.asdict(self)


def addresses_of(options: RetrainOptions) -> list[str]:
    """All replicas, HOST:PORT each; every address of a DNS name.

    Raises:
        ConfigError: a name that is no HOST:PORT.
        RunEndedError: UNREACHABLE, where the name has no address.
    """
    found = list(options.admin)
    for target in (*options.admin, *([options.admin_name] if options.admin_name else [])):
        try:
            split_address(target)
        except ValueError as error:
            raise ConfigError(f"--admin, --admin-name: {error}") from None
    if options.admin_name:
        host, port = split_address(options.admin_name)
        try:
            infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise RunEndedError(
                RunOutcome.UNREACHABLE,
                f"{host} has no address ({error}): is --admin-name right, is a replica ready?",
            ) from None
        hosts = sorted({str(info[4][0]) for info in infos})
        found += [f"[{one}]:{port}" if ":" in one else f"{one}:{port}" for one in hosts]
    return list(dict.fromkeys(found))


def in_service(connect: Connect, addresses: Sequence[str]) -> RankerInfo | None:
    """What the first replica that answers has in service; None where none answers."""
    for address in addresses:
        with suppress(RankdUnavailableError), connect(address) as client:
            return client.rankers().rankers[0]
    return None


class Replicas:
    """The replicas that are to serve one ranker."""

    def __init__(self, tools: Tools, addresses: Sequence[str]) -> None:
        """Ask nobody yet."""
        self._connect, self._addresses, self._say = tools.connect, addresses, tools.say
        self._progress = tools.progress("in the shadow")
        self.promotion = ReplicaPromotion()

    def promote(
        self,
        version: str,
        directory: str,
        options: RetrainOptions,
        *,
        shadow: bool,
        promoted_before: bool,
        on_promoted: Callable[[], None],
    ) -> ReplicaPromotion:
        """Judge and promote.

        Args:
            version: ``name@version``.
            directory: relative to the registry.
            options: of the run.
            shadow: judge in the shadow at once: other completions cannot tell.
            promoted_before: this run put it into service before it was killed: there is nothing to judge.
            on_promoted: called once the first one serves it.

        Raises:
            RunEndedError: UNREACHABLE where none answers; NO_BETTER where somebody took it out of service since.
            RankdRefusedError: the judging replica does not do what was asked.
        """
        now = self._ask()
        reachable = [a for a in self._addresses if a in now]
        if not reachable:
            raise RunEndedError(RunOutcome.UNREACHABLE, f"no replica answers: {', '.join(self._addresses)}")
        served = [a for a in reachable if now[a].ranker_version == version]
        if promoted_before and not served:
            raise RunEndedError(RunOutcome.NO_BETTER, f"{version} was taken out of service again; it is left so")
        for address in served:
            self.promotion.replicas[address] = "in_service"
        if not served:
            first = reachable.pop(0)
            if not self._judge(first, version, directory, options, shadow=shadow):
                return self.promotion
            self.promotion.replicas[first] = "promoted"
            on_promoted()
        self.promotion.promoted = True
        for address in reachable:
            if address not in served:
                self._follow(address, version, directory)
        return self.promotion

    def _ask(self) -> dict[str, RankerInfo]:
        """By address, what it has in service."""
        found = {}
        for address in self._addresses:
            try:
                with self._connect(address) as client:
                    found[address] = client.rankers().rankers[0]
            except RankdUnavailableError as error:
                self._say(f"{address} does not answer ({error})")
                self.promotion.replicas[address] = "unreachable"
        return found

    def _follow(self, address: str, version: str, directory: str) -> None:
        try:
            with self._connect(address) as client:
                _loaded(client, version, directory)
                client.promote(version)
            self.promotion.replicas[address] = "promoted"
            self._say(f"{address} follows")
        except RankdUnavailableError as error:
            self._say(f"{address} does not answer ({error})")
            self.promotion.replicas[address] = "unreachable"
        except RankdRefusedError as error:
            self._say(f"{address} refuses: {error}")
            self.promotion.replicas[address] = f"refused: {error}"

    def _judge(self, address: str, version: str, directory: str, options: RetrainOptions, *, shadow: bool) -> bool:
        """Let one replica judge, and promote where it is better; says whether it is in service."""
        self.promotion.judged_by = address
        with self._connect(address) as client:
            _loaded(client, version, directory)
            if options.force:
                client.promote(version)
                return True
            self._say(f"{address} judges {version}")
            if not (shadow or options.shadow.mode == "always"):
                promoted = self._if_better(client, version, options)
                verdict = self.promotion.judgement.verdict if self.promotion.judgement else ""
                if promoted or verdict not in _UNDECIDED or options.shadow.mode == "never":
                    return promoted
                self._say("too few completions that it was not trained on: it goes to the shadow")
            self._wait_in_shadow(client, version, options.shadow)
            return self._if_better(client, version, options, shadow=True)

    def _if_better(self, client: AdminClient, version: str, options: RetrainOptions, *, shadow: bool = False) -> bool:
        evidence: EvidenceName | None = "shadow_scores" if shadow else None
        judge = JudgeOptions(options.model, options.margin, options.min_completions, evidence)
        promoted, self.promotion.judgement = client.promote(version, judge)
        return promoted

    def _wait_in_shadow(self, client: AdminClient, version: str, shadow: ShadowOptions) -> None:
        """Wait until enough completions are reported, or the time is over; one that is there already goes on."""
        began = time.monotonic()
        if _shadow_of(client, version) is None:
            client.start_shadow(version)
        self._say(f"in the shadow until {shadow.completions:,} completions, for {shadow.seconds:,.0f} s at most")
        while True:
            done = _shadow_of(client, version)
            if done is None:
                raise RunEndedError(RunOutcome.NO_BETTER, f"somebody ended the shadow of {version}")
            self.promotion.shadow_completions = done
            self._progress(min(done, shadow.completions), shadow.completions)
            if done >= shadow.completions or time.monotonic() - began >= shadow.seconds:
                return
            time.sleep(_POLL)

    def forget(self, version: str) -> None:
        """Free the memory that a refused candidate takes in the daemon that judged it."""
        with (
            suppress(RankdUnavailableError, RankdRefusedError),
            self._connect(self.promotion.judged_by or self._addresses[0]) as client,
        ):
            client.unload(version)


def _loaded(client: AdminClient, version: str, directory: str) -> None:
    """Make sure that a daemon has a ranker in memory; after a kill it may have it already."""
    if version not in {r.ranker_version for r in client.rankers().rankers}:
        client.load(directory)


def _shadow_of(client: AdminClient, version: str) -> int | None:
    """Completions of a ranker in the shadow; None where it is not there."""
    for ranker in client.rankers().rankers:
        if ranker.ranker_version == version and ranker.shadow is not None:
            return ranker.shadow.completions
    return None
