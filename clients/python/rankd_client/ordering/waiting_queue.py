"""A queue that is served one by one, for engines: what ``order_queue`` says, without sorting anew at every step."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from rankd_client.ordering.columns import OrderColumns, time_of
from rankd_client.ordering.fair_shares import NO_TENANTS, costs_of, counter_of, weight_of
from rankd_client.ordering.order import hopeless, order_queue
from rankd_client.ordering.overtaking import lowest
from rankd_client.ordering.rules import FloatArray, IntArray, Policy, Rules
from rankd_client.ordering.serving_keys import filled, keys_of, lengths_of, policy_in_force, strict_classes
from rankd_client.ordering.waiting_line import WaitingLine
from rankd_client.ordering.waiting_table import WaitingTable

_MANY = 4
"""Times those that are new are all there is: keys are made anew for all, or for the new ones alone."""


class WaitingQueue:
    """Requests that wait, in the order of ``order_queue``, popped one at a time.

    Where ``rules.prior_expected`` is None, the median of those waiting *now* stands for a length that is not known, and
    for the average of BOOST; otherwise popping all at one time gives exactly ``order_queue``'s order. Serving charges
    the request's tenant with its expected cost and counts the requests it overtakes. Not safe across threads.
    """

    def __init__(
        self, rules: Rules, *, served: Mapping[str, float] = NO_TENANTS, weights: Mapping[str, float] = NO_TENANTS
    ) -> None:
        """Start empty.

        Args:
            rules: the policy in force; may be replaced at any time.
            served: what tenants were served so far, in output tokens; asked again when a tenant that had nothing
                waiting comes back (``TenantCounters.served``).
            weights: of tenants; default 1.
        """
        self._rules = rules
        self._weights = weights
        self._served = served
        self._table = WaitingTable()
        self._row: dict[str, int] = {}
        self._line = WaitingLine(self._table, self._row.get)
        self._codes: dict[str, int] = {}
        self._counters = np.empty(0)
        self._waiting: list[int] = []
        self._unknown = 0
        self._stale = True
        """Whether every key is to be made anew, and not only those of ``_new``."""
        self._new: set[str] = set()
        """Who came, or was given a prediction, since keys were made."""
        self._policy = Policy.FCFS
        self._any_class = self._any_deadline = False

    def __len__(self) -> int:
        return len(self._table.ids)

    def __contains__(self, request_id: object) -> bool:
        return request_id in self._row

    @property
    def rules(self) -> Rules:
        """The policy in force."""
        return self._rules

    @rules.setter
    def rules(self, rules: Rules) -> None:
        if rules != self._rules:
            self._rules, self._stale = rules, True

    def add(
        self,
        request_id: str,
        arrival: float,
        *,
        score: float = math.nan,
        expected: float = math.nan,
        p90: float = math.nan,
        generated: float = 0.0,
        max_tokens: float = 0.0,
        deadline: float = math.inf,
        overtaken: int = 0,
        priority_class: int = 0,
        tenant: str = "",
        prompt_tokens: float = 0.0,
        cached_prompt_tokens: float = 0.0,
        learned: float = math.nan,
    ) -> None:
        """Let a request wait; one with an id that waits already replaces it. Arguments as in ``OrderColumns``."""
        if request_id in self._row:
            self.remove(request_id)
        table, row = self._table, len(self._table.ids)
        table.grow()
        table.ids.append(request_id)
        table.tenants.append(tenant)
        self._row[request_id] = row
        arrival = 0.0 if math.isnan(arrival) else time_of(arrival)
        # In the order of FLOATS; a length of 0 until it is measured, which is not an unknown one.
        prompt, lengths = (prompt_tokens, cached_prompt_tokens), (expected, p90, generated, max_tokens)
        table.real[:, row] = (arrival, score, *lengths, deadline, *prompt, learned, 0)
        table.whole[:, row] = (overtaken, priority_class, 0, self._code(tenant))
        self._any_class |= priority_class != 0
        self._any_deadline |= math.isfinite(deadline)
        self._new.add(request_id)

    def predict(
        self,
        request_id: str,
        *,
        score: float = math.nan,
        expected: float = math.nan,
        p90: float = math.nan,
        learned: float = math.nan,
    ) -> None:
        """Give a request that waits already its prediction, as ``add`` would have had it; a microsecond each.

        Raises:
            KeyError: it does not wait.
        """
        row = self._row[request_id]
        floats = self._table.floats
        floats["score"][row], floats["expected"][row], floats["p90"][row] = score, expected, p90
        floats["learned"][row] = learned
        self._new.add(request_id)

    def cache(self, request_id: str, cached_prompt_tokens: float) -> None:
        """Say anew what of the prompt of a request that waits is cached: that changes while it waits.

        Raises:
            KeyError: it does not wait.
        """
        row, cached = self._row[request_id], self._table.floats["cached"]
        if cached[row] != cached_prompt_tokens:
            cached[row] = cached_prompt_tokens
            self._new.add(request_id)

    def remove(self, request_id: str) -> None:
        """Take a request out that is not served from here.

        Raises:
            KeyError: it does not wait.
        """
        self._take(self._row[request_id])

    def first(self, now: float, most: int) -> list[str]:
        """The ids of who would be popped one after the other at one time, at most so many; nobody is served.

        As ``order_queue`` has it: exact in the first 256 places, and where ``rules.prior_expected`` is given.
        """
        if most <= 1 or len(self) <= 1:
            return [self.peek(now)] if len(self) and most > 0 else []
        ids = self._table.ids
        served = {
            tenant: self._counters[code] * weight_of(tenant, self._weights) for tenant, code in self._codes.items()
        }
        order = order_queue(self._columns(), self._rules, now=now, served=served, weights=self._weights).order
        return [ids[row] for row in order[:most].tolist()]

    def serve(self, request_id: str) -> None:
        """Serve a request, whoever would go next: what ``pop`` notes is noted.

        Raises:
            KeyError: it does not wait.
        """
        row = self._row[request_id]
        if len(self._codes) > 1:
            self.lengths()  # what it costs its tenant
        self._charge(row)
        self._take(row)

    def peek(self, now: float) -> str:
        """The id of who goes next.

        Raises:
            IndexError: nobody waits.
        """
        return self._table.ids[self._first(now)]

    def pop(self, now: float) -> str:
        """Serve who goes next; gives the id.

        Raises:
            IndexError: nobody waits.
        """
        row = self._first(now)
        self._charge(row)
        return self._take(row)

    def lengths(self) -> FloatArray:
        """Expected lengths in tokens of those who wait, in no order, [n]; 0 where nothing is known of anybody."""
        if self._stale or self._new:
            self._measure()
        lengths = self._table.length[: len(self)]
        if not len(self) or np.isnan(lengths).all():
            return np.zeros(len(self))
        return filled(lengths, self._columns(), self._rules.prior_expected)

    # -- inside --------------------------------------------------------------------------------------------------------

    def _columns(self) -> OrderColumns:
        return self._table.columns(slice(0, len(self._table.ids)))

    def _code(self, tenant: str) -> int:
        code = self._codes.get(tenant)
        known = code is not None
        if code is None:
            code = self._codes[tenant] = len(self._codes)
            self._counters = np.append(self._counters, 0.0)
            self._waiting.append(0)
        if not self._waiting[code]:
            # Who had nothing waiting may have been served elsewhere, and being away saves up nothing.
            served = counter_of(tenant, self._served, self._weights)
            others = [c for c, n in zip(self._counters.tolist(), self._waiting, strict=True) if n] if known else []
            self._counters[code] = max(self._counters[code], served, min(others, default=0.0))
        self._waiting[code] += 1
        return code

    @property
    def _alone(self) -> bool:
        """Whether a key depends on its own request only."""
        rules = self._rules
        if rules.prior_expected is None and (rules.ignore_lengths or rules.mean_work is None):
            boosts = rules.policy is Policy.BOOST or any(own.policy is Policy.BOOST for own in rules.class_policies)
            if boosts or rules.ignore_lengths:
                return False  # the average is that of those who wait
        if rules.ignore_lengths:
            return self._policy is rules.policy  # prompts are known: whoever comes has a key by its own
        return rules.policy is Policy.FCFS or not self._unknown

    def _keys(self, queue: OrderColumns, lengths: FloatArray, now: float) -> IntArray:
        return keys_of(self._policy, queue, lengths, queue.arrival, self._rules, now, comparable=True)

    def _refresh(self, now: float) -> None:
        """Bring all keys up to date."""
        if self._policy is not Policy.AGED and not self._stale and (not self._new or self._place_new()):
            return
        queue = self._columns()
        if self._stale or self._new:
            lengths = self._measure()
            self._policy = policy_in_force(self._rules, queue, lengths, comparable=True)
        self._table.key[: len(self)] = self._keys(queue, self._table.length[: len(self)], now)
        self._stale = not self._alone
        self._new.clear()
        self._line.forget()

    def _place_new(self) -> bool:
        """Give new rows their keys; False where it takes all rows to say what they are, or is no less work."""
        if _MANY * len(self._new) > len(self):
            return False
        table = self._table
        rows = np.array([self._row[request_id] for request_id in self._new], dtype=np.intp)
        mine = table.columns(rows)
        lengths = lengths_of(mine, self._rules.risk, ignored=self._rules.ignore_lengths)
        self._unknown += int(np.isnan(lengths).sum()) - int(np.isnan(table.length[rows]).sum())
        table.length[rows] = lengths
        if not self._alone:
            return False
        table.key[rows] = self._keys(mine, lengths, 0.0)
        for row in rows.tolist():
            self._line.join(row)
        self._new.clear()
        return True

    def _measure(self) -> FloatArray:
        """Bring all lengths up to date; gives them."""
        lengths = lengths_of(self._columns(), self._rules.risk, ignored=self._rules.ignore_lengths)
        self._table.length[: len(self)] = lengths
        self._unknown = int(np.isnan(lengths).sum())
        return lengths

    def _first(self, now: float) -> int:
        """The row that goes next: the levels of ``order_queue``, one after the other."""
        n, now = len(self), time_of(now)
        if not n:
            raise IndexError("nobody waits")
        self._refresh(now)
        if self._plain:
            return self._line.first()
        rules, table = self._rules, self._table
        arrival = table.floats["arrival"][:n]
        if rules.wait_cap < math.inf and now - arrival.min() > rules.wait_cap:
            return self._least(np.flatnonzero(arrival == arrival.min()))
        rows: NDArray[np.intp] | None = None
        if rules.overtake_cap > 0:
            blocked = table.ints["overtaken"][:n] >= rules.overtake_cap
            if blocked.any():
                rows = np.flatnonzero(arrival <= arrival[blocked].min())
        if self._any_class and (classes := strict_classes(self._columns(), rules, self._policy)) is not None:
            rows = lowest(classes, rows)
        if rules.fair_tenants and len(self._codes) > 1:
            rows = lowest(self._counters[table.code[:n]], rows)
        if self._any_deadline and self._policy is not Policy.FCFS:
            late = hopeless(self._columns(), table.length[:n], rules, now)
            rows = lowest(late, rows)
        rows = lowest(table.key[:n], rows)
        return int(rows[0]) if len(rows) == 1 else self._least(lowest(arrival, rows))

    @property
    def _plain(self) -> bool:
        """Whether keys say it all, and stay as they are while nobody comes."""
        rules = self._rules
        return (
            not self._stale
            and self._policy is not Policy.AGED
            and rules.wait_cap == math.inf
            and rules.overtake_cap <= 0
            and not (self._any_class and rules.class_step is not None)
            and not (self._any_deadline and self._policy is not Policy.FCFS)
            and not (rules.fair_tenants and len(self._codes) > 1)
        )

    def _least(self, rows: NDArray[np.intp]) -> int:
        """Of rows that are equal otherwise, the one with the least id."""
        if len(rows) == 1:
            return int(rows[0])
        ids = self._table.ids
        return min(map(int, rows), key=lambda row: ids[row])

    def _charge(self, row: int) -> None:
        """Note what serving a row means for the others."""
        table, n = self._table, len(self)
        if self._rules.overtake_cap > 0:
            arrival = table.floats["arrival"][:n]
            table.ints["overtaken"][:n] += arrival < arrival[row]
        if self._rules.fair_tenants:
            mine = table.columns(slice(row, row + 1))
            length = self.lengths()[row : row + 1] if self._unknown else table.length[row : row + 1]
            if self._unknown and np.isnan(table.length[:n]).all():
                length = table.length[row : row + 1]
            cost = costs_of(mine, length, self._rules)[0]
            self._counters[table.code[row]] += cost / weight_of(table.tenants[row], self._weights)

    def _take(self, row: int) -> str:
        table = self._table
        request_id = table.ids[row]
        self._waiting[table.code[row]] -= 1
        self._unknown -= int(np.isnan(table.length[row]))
        del self._row[request_id]
        self._new.discard(request_id)
        table.drop(row)
        if row < len(table.ids):
            self._row[table.ids[row]] = row
        self._stale |= not self._alone
        return request_id
