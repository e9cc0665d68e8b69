"""Load against a daemon that runs already, at a rate of arrivals: open loop, by any connection that a client can have.

Calls begin at Poisson times whatever comes back, and what a call took counts from the time it was due: a daemon that
stalls, and a generator that is late, show in the figures instead of making the load lighter (Schroeder, Wierman and
Harchol-Balter, "Open versus closed", NSDI 2006).
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from rankd_client import AsyncRankClient, Item, RankedQueue

from rankd.bench.overload import poisson
from rankd.bench.prompts import PromptSupply
from rankd.bench.scenarios import Figures, ProgressCallback, spread

MODEL = "rankd-bench"
"""The served model that calls are about unless another is named: what is counted by model stays apart from traffic."""
_EVERY = 0.25
"""Seconds between two tellings of progress."""


@dataclass(frozen=True, slots=True)
class TargetLoad:
    """What is sent."""

    rate: float
    """Calls a second on average."""
    seconds: float
    deadline: float
    """Seconds that a call waits for its answer."""
    most_open: int
    """Calls under way at most; what would be more is not sent, and counted."""
    model: str = MODEL

    def in_words(self, target: str, prompts: PromptSupply) -> str:
        """What a daemon's owner wants to know before it begins."""
        return (
            f"{target} gets {self.rate:g} calls a second for {self.seconds:g} s, about "
            f"{self.rate * self.seconds:,.0f}, at Poisson times: one new prompt each ({prompts.source}), with a "
            f"deadline of {self.deadline * 1000:g} ms, for the served model {self.model!r}. At most {self.most_open:,} "
            "are under way at once. No completions are reported. A daemon with a completion log logs these prompts as "
            "any others."
        )


@dataclass
class _Seen:
    """What came of the calls."""

    outcomes: Counter[str] = field(default_factory=Counter)
    scored: int = 0
    from_due: list[float] = field(default_factory=list)
    """Milliseconds from when a call was due to its end, of those that were answered."""
    behind: list[float] = field(default_factory=list)
    """Milliseconds that calls were begun after they were due."""
    not_sent: int = 0


async def send_load(
    client: AsyncRankClient, load: TargetLoad, prompts: PromptSupply, on_progress: ProgressCallback
) -> Figures:
    """Send it, and wait for the last answer.

    Returns:
        Figures by the names of the other scenarios: counts, shares from 0 to 1, milliseconds.
    """
    seen, open_calls, texts = _Seen(), set[asyncio.Task[None]](), _fresh(prompts)
    own, began = time.process_time(), time.perf_counter()
    told = began
    for due in poisson(load.rate, began, load.seconds, seed=secrets.randbits(32)):
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        now = time.perf_counter()
        seen.behind.append((now - due) * 1000)
        if now - told >= _EVERY:
            told = now
            on_progress(min(1.0, (now - began) / load.seconds))
        if len(open_calls) >= load.most_open:
            seen.not_sent += 1
            continue
        call = asyncio.create_task(_call(client, next(texts), due, load, seen))
        open_calls.add(call)
        call.add_done_callback(open_calls.discard)
    await asyncio.gather(*open_calls)
    wall = time.perf_counter() - began
    return _figures(seen, wall, (time.process_time() - own) / wall)


def _fresh(prompts: PromptSupply) -> Iterator[str]:
    """Prompts that no run before had: what a daemon has scored already it answers from memory."""
    run = secrets.token_hex(4)
    return (f"{run} {prompt}" for prompt in prompts)


async def _call(client: AsyncRankClient, prompt: str, due: float, load: TargetLoad, seen: _Seen) -> None:
    queue = await client.rank([Item(prompt)], timeout=load.deadline)
    kind = _kind(queue)
    seen.outcomes[kind] += 1
    if not queue.failed:
        seen.scored += queue[0].score is not None
        seen.from_due.append((time.perf_counter() - due) * 1000)


def _kind(queue: RankedQueue) -> str:
    """How a call ended: ranked, the daemon's reason why not, or what it failed by."""
    if queue.failed:
        return f"failed_{queue.reason}"
    reason = queue.reason or queue[0].reason
    return f"reason_{reason}" if reason else "ranked"


def _figures(seen: _Seen, wall: float, generator_share: float) -> Figures:
    calls = sum(seen.outcomes.values())
    due = calls + seen.not_sent
    figures: Figures = {
        "calls": calls,
        "calls_not_sent": seen.not_sent,
        "calls_per_second": calls / wall,
        "generator_share": generator_share,
        "answered_share": _share(len(seen.from_due), due),
        "scored_share": _share(seen.scored, due),
        "ranked_share": _share(seen.outcomes["ranked"], due),
        "outcomes": {kind: count for kind, count in seen.outcomes.items() if count},
    }
    if seen.behind:
        figures["generator_behind_ms"] = spread(seen.behind)
    if seen.from_due:
        figures["call_ms"] = spread(seen.from_due) | {"max": max(seen.from_due)}
    return figures


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
