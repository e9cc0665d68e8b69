"""Who arrived: a bounded table of requests by arrival, waiting and running ones included."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rankd.quality.statistics.cohort import Cohort
from rankd.quality.values import UNKNOWN_PROMPT, OutcomeReport

_FREE, OPEN, _COMPLETE, _CENSORED = 0, 1, 2, 3
_LONG_AGE = 60.0
"""Seconds; ages up to it are nobody's doing."""
_AGE_LEVERAGE = 16.0
"""How many times longer one source may make the age by which requests have ended."""
_LEAST_OTHERS = 50
_MIX = 0x9E3779B97F4A7C15
_MASK = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Occupancy:
    """How many requests are in the table, by what is known of them."""

    finished: int
    censored: int
    open: int
    expired: int


class ArrivalTable:
    """The last arrivals and the latest report on each, in bounded memory.

    Too many waiting requests would crowd out the finished ones, and dropping any by what became of them
    would bias the cohort. So when waiting ones fill half of the table, arrivals are *sampled by the
    hash of their key*: each doubling of the backlog keeps every second key, which says nothing about
    a request's length.
    """

    def __init__(self, capacity: int, progress_ttl: float) -> None:
        """Reserve room for ``capacity`` requests."""
        self._capacity = capacity
        self._ttl = progress_ttl
        self._slots: dict[int, int] = {}
        self._free = list(range(capacity - 1, -1, -1))
        self._key = np.zeros(capacity, dtype=np.uint64)
        self._score = np.zeros(capacity, dtype=np.float64)
        self._learned = np.full(capacity, np.nan)
        self._tokens = np.zeros(capacity, dtype=np.int64)
        self._arrival = np.full(capacity, np.inf)
        self._seen = np.zeros(capacity, dtype=np.float64)
        self._sojourn = np.zeros(capacity, dtype=np.float64)
        self._state = np.zeros(capacity, dtype=np.int8)
        self._source = np.zeros(capacity, dtype=np.uint64)
        self._prompt = np.full(capacity, UNKNOWN_PROMPT, dtype=np.int64)
        self._open = 0
        self._level = 0
        self._thinned: list[tuple[float, int]] = []
        self._progress_at = -math.inf

    def __len__(self) -> int:
        return len(self._slots)

    def __contains__(self, key: int) -> bool:
        return key & _MASK in self._slots

    def learned(self, key: int) -> float:
        """A request's learned score; NaN where there is none, or the request is not known."""
        slot = self._slots.get(key & _MASK)
        return math.nan if slot is None else float(self._learned[slot])

    @property
    def level(self) -> int:
        """Arrivals are sampled at one in 2**level."""
        return self._level

    def progress_seen(self, now: float) -> bool:
        """Whether anybody reported progress of late."""
        return now - self._progress_at <= 10 * self._ttl

    def forget_learned(self) -> None:
        """Forget all learned scores: what gave them was forgotten."""
        self._learned[:] = np.nan

    def update(self, report: OutcomeReport, now: float) -> bool:
        """Take the latest report on a request; false where it is older than what is known."""
        slot = self._slots.get(report.key & _MASK)
        if slot is None:
            slot = self._insert(report, now)
            if slot is None:
                return True
        elif self._state[slot] != OPEN or (not report.final and report.tokens < self._tokens[slot]):
            return False
        if report.final:
            self._open -= 1
            self._state[slot] = _COMPLETE if report.complete else _CENSORED
            self._sojourn[slot] = max(0.0, now - self._arrival[slot])
        else:
            self._progress_at = now
        self._tokens[slot] = report.tokens
        if report.prompt >= 0:
            self._prompt[slot] = report.prompt
        self._seen[slot] = now
        self._adapt(now)
        return True

    def _insert(self, report: OutcomeReport, now: float) -> int | None:
        """Find room for a new request, as open; None where it is not sampled or older than all the rest."""
        arrival = report.arrival if math.isfinite(report.arrival) and 0 < report.arrival <= now else now
        key = report.key & _MASK
        if not self._sampled(key, arrival):
            return None
        if not self._free:
            oldest = int(np.argmin(self._arrival))
            if arrival < self._arrival[oldest]:
                return None
            self._drop(oldest)
        slot = self._free.pop()
        self._slots[key] = slot
        self._key[slot] = key
        self._score[slot] = report.score
        self._learned[slot] = report.learned
        self._source[slot] = report.source & _MASK
        self._prompt[slot] = UNKNOWN_PROMPT
        self._arrival[slot] = arrival
        self._state[slot] = OPEN
        self._open += 1
        return slot

    def _drop(self, slot: int) -> None:
        if self._state[slot] == OPEN:
            self._open -= 1
        key = int(self._key[slot])
        self._slots.pop(key, None)
        self._state[slot] = _FREE
        self._arrival[slot] = np.inf
        self._free.append(slot)

    def _sampled(self, key: int, arrival: float) -> bool:
        level = max([self._level, *(then for until, then in self._thinned if arrival <= until)])
        # The top bits of a multiplicative hash: the caller's keys need not be well mixed.
        return level == 0 or (((key * _MIX) & _MASK) >> (64 - level)) == 0

    def _adapt(self, now: float) -> None:
        """Sample more thinly when waiting requests fill half of the table, less when they fill little."""
        if self._open > self._capacity // 2:
            self._level += 1
            self._thinned = [(until, level) for until, level in self._thinned if level > self._level]
            for key, slot in list(self._slots.items()):
                if not self._sampled(key, float(self._arrival[slot])):
                    self._drop(slot)
        elif self._level and self._open < self._capacity // 16:
            # Those that arrived before now stay thinned: the ones that still wait are a selection.
            self._thinned.append((now, self._level))
            self._level -= 1

    def occupancy(self, now: float) -> Occupancy:
        """Count the table by state."""
        waiting = self._state == OPEN
        expired = int(np.count_nonzero(waiting & (now - self._seen > self._ttl)))
        return Occupancy(
            finished=int(np.count_nonzero(self._state == _COMPLETE)),
            censored=int(np.count_nonzero(self._state == _CENSORED)),
            open=int(np.count_nonzero(waiting)) - expired,
            expired=expired,
        )

    def cohort(self, size: int, now: float, settle: float, *, learned: bool = False) -> Cohort:
        """The last ``size`` arrivals old enough for a share ``settle`` of requests to have ended by their age.

        With ``learned`` by learned scores, of those that have one, as if there had been no others.

        An open request whose progress expired stays, as the lower bound last heard: to drop it would
        select on the score, since under load it is the high scores that starve.
        """
        used = self._having(self._state != _FREE, learned)
        ended = used[self._state[used] != OPEN]
        if len(ended):
            if not self.progress_seen(now):
                # Nothing is known of those still running: wait until hardly any can be missing.
                settle = max(settle, 0.99)
            age = self._settled_age(ended, settle)
            used = used[self._arrival[used] <= now - age]
        if len(used) > size:
            used = used[np.argpartition(self._arrival[used], len(used) - size)[-size:]]
        used = used[np.argsort(self._arrival[used], kind="stable")]
        return self._cohort_of(used, learned)

    def _having(self, kept: NDArray[np.bool_], learned: bool) -> NDArray[np.intp]:
        """Slots of those ``kept`` that have a score of the column."""
        return np.flatnonzero(kept & ~np.isnan(self._learned) if learned else kept)

    def _cohort_of(self, used: NDArray[np.intp], learned: bool) -> Cohort:
        complete, score = self._state[used] == _COMPLETE, self._learned if learned else self._score
        return Cohort(score[used], self._tokens[used], complete, self._source[used], self._prompt[used])

    def _settled_age(self, ended: NDArray[np.intp], settle: float) -> float:
        """The age by which a share of requests has ended; no one source makes it much longer than the others have it.

        A source that holds its reports back would otherwise hold back the cohort, and with it the guard.
        """
        age = float(np.quantile(self._sojourn[ended], settle))
        if age <= _LONG_AGE:
            return age
        found, counts = np.unique(self._source[ended], return_counts=True)
        for source, count in zip(found, counts, strict=True):
            if source and count >= (1.0 - settle) / 2 * len(ended) and len(ended) - count >= _LEAST_OTHERS:
                others = ended[self._source[ended] != source]
                age = min(age, max(_LONG_AGE, _AGE_LEVERAGE * float(np.quantile(self._sojourn[others], settle))))
        return age

    def known(self, *, learned: bool = False) -> Cohort:
        """Every request in the table that has ended, oldest arrival first; with ``learned`` as ``cohort``."""
        used = self._having(self._state >= _COMPLETE, learned)
        used = used[np.argsort(self._arrival[used], kind="stable")]
        return self._cohort_of(used, learned)

    # -- snapshots -----------------------------------------------------------------------------------------------------

    def contents(self) -> dict[str, NDArray[Any]]:
        """Copies of the requests it knows, in columns, the oldest arrival first."""
        used = np.flatnonzero(self._state != _FREE)
        used = used[np.argsort(self._arrival[used], kind="stable")]
        return {name: column[used] for name, column in self._columns().items()}

    def sampling(self) -> dict[str, Any]:
        """How arrivals are sampled, and when progress was last heard of (None: never), as JSON."""
        progress_at = self._progress_at if math.isfinite(self._progress_at) else None
        return {"level": self._level, "thinned": self._thinned, "progress_at": progress_at}

    def refill(self, contents: dict[str, NDArray[Any]], sampling: dict[str, Any], now: float) -> None:
        """Take the latest of these requests in; the table must be empty.

        Raises:
            ValueError: they cannot be.
            KeyError: something is missing.
        """
        contents = {name: column[-self._capacity :] for name, column in contents.items()}
        keys = contents["key"].tolist()
        if len(set(keys)) != len(keys) or not np.isin(contents["state"], (OPEN, _COMPLETE, _CENSORED)).all():
            raise ValueError("arrivals: a key twice, or an unknown state")
        for name, column in self._columns().items():
            column[: len(keys)] = contents[name]
        self._arrival[: len(keys)] = np.minimum(self._arrival[: len(keys)], now)
        self._slots = {key: slot for slot, key in enumerate(keys)}
        self._free = list(range(self._capacity - 1, len(keys) - 1, -1))
        self._open = int(np.count_nonzero(contents["state"] == OPEN))
        self._level = min(max(0, int(sampling["level"])), 63)
        self._thinned = [(float(until), int(level)) for until, level in sampling["thinned"]]
        at = sampling["progress_at"]
        self._progress_at = -math.inf if at is None else min(float(at), now)

    def _columns(self) -> dict[str, NDArray[Any]]:
        return {
            "key": self._key,
            "score": self._score,
            "learned": self._learned,
            "tokens": self._tokens,
            "arrival": self._arrival,
            "seen": self._seen,
            "sojourn": self._sojourn,
            "state": self._state,
            "source": self._source,
            "prompt": self._prompt,
        }
