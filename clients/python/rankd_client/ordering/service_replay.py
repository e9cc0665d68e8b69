"""A queue that was served, served again in another order: what every request would have taken.

The run times that were observed are no measure for that. While a prompt is read everybody who runs waits, so each
contains what started beside it, and what did depended on the order. So an engine is replayed, by its fitted costs
(``service_costs``): of so many slots, in which all that run get their tokens at one pace, and in which nobody gets one
while a prompt is read. Who starts next is decided when a slot is free and no prompt is being read.
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heappop, heappush

import numpy as np

from rankd_client.ordering.rules import FloatArray
from rankd_client.ordering.served import ServedRequests
from rankd_client.ordering.service_costs import ServiceCosts

_ROUNDING = 1e-4


@dataclass(frozen=True, slots=True)
class ReplayedLatencies:
    """What requests took, seconds from arrival, [n]."""

    whole: FloatArray
    """To the end."""
    first_token: FloatArray
    """Until the prompt was read."""


@dataclass(frozen=True, slots=True)
class Workload:
    """Requests and what they take of an engine that nobody else uses, [n], by arrival, seconds."""

    arrival: FloatArray
    decode: FloatArray
    """In a slot, while all others that run get on as well."""
    prefill: FloatArray
    """During which nobody else gets on."""
    slots: int

    @classmethod
    def of(cls, served: ServedRequests, costs: ServiceCosts | None) -> Workload:
        """What requests took without what the order added: by costs where these and lengths are known, else as seen.

        Args:
            served: recent completions, by arrival.
            costs: of the engine; None where they are not known.
        """
        decode, prefill = served.ran, np.zeros(len(served))
        if costs is not None and costs.per_output_token.value > 0:
            own = costs.per_request.value + costs.per_output_token.value * served.output
            decode = np.where(np.isnan(served.output), served.ran, np.maximum(own, 0.0))
            prefill = max(costs.per_prompt_token.value, 0.0) * np.nan_to_num(served.prompt)
        return cls(served.arrival, decode, prefill, slots_of(served))


def usual_of(served: ServedRequests, most: float) -> ServedRequests:
    """Those that ran, read and wrote no more than so many times the 99th percentile: others may be invented."""
    usual = np.ones(len(served), dtype=np.bool_)
    for values in (served.ran, served.output, served.prompt):
        some = values[values > 0]
        if len(some):
            usual &= ~(values > most * np.quantile(some, 0.99))
    columns = (served.arrival, served.waited, served.ran, served.expected, served.output, served.prompt)
    return ServedRequests(*(column[usual] for column in columns))


def slots_of(served: ServedRequests) -> int:
    """How many requests ran at a time while others waited, at least 1."""
    start = served.arrival + served.waited
    # A little early: who starts when another ends does not run beside it, whatever rounding made of the two times.
    end = start + served.ran * (1 - _ROUNDING)
    starts, ends = np.sort(start), np.sort(end)
    beside = np.searchsorted(starts, start, side="right") - np.searchsorted(ends, start, side="right")
    waited = served.waited > 0
    # The first and last of the window ran beside others that are not in it: the common case counts, not the mean.
    return max(1, round(float(np.quantile(beside[waited] if waited.any() else beside, 0.9))))


def replayed(load: Workload, key: FloatArray) -> ReplayedLatencies:
    """What requests take of an engine that always starts the lowest key next; of equal ones who came first."""
    arrival, decode, prefill = load.arrival.tolist(), load.decode.tolist(), load.prefill.tolist()
    n, slots = len(arrival), load.slots
    who_at = np.argsort(key, kind="stable")
    place = np.empty(n, dtype=np.int64)
    place[who_at] = np.arange(n)
    request, places = who_at.tolist(), place.tolist()
    first, end = [0.0] * n, [0.0] * n
    waiting: list[int] = []
    running: list[tuple[float, int]] = []
    now = clock = 0.0  # the clock runs while tokens are made
    come = 0
    while True:
        if not running and not waiting:
            if come == n:
                break
            now = max(now, arrival[come])
        while come < n and arrival[come] <= now:
            heappush(waiting, places[come])
            come += 1
        if waiting and len(running) < slots:
            who = request[heappop(waiting)]
            now += prefill[who]
            first[who] = now
            heappush(running, (clock + decode[who], who))
            continue
        ends = now + running[0][0] - clock
        if len(running) < slots and come < n and arrival[come] < ends:
            clock += arrival[come] - now
            now = arrival[come]
            continue
        now, clock = ends, running[0][0]
        while running and running[0][0] <= clock:
            end[heappop(running)[1]] = now
    return ReplayedLatencies(np.array(end) - load.arrival, np.array(first) - load.arrival)
