"""An engine that batches continuously, simulated from event to event.

Each iteration gives every running request one token, as vLLM does it: what fits into the slots, the chunk of prompt
tokens and the KV memory runs; a waiting request comes in at the start of an iteration; the iteration that ends a prompt
also makes the first token; where memory is short the last in the order goes back to the queue and is read anew. Prompt
tokens that the prefix cache holds are never read, but take memory: nobody shares a block.
An order that takes slots away swaps out what the request holds, a prompt that is read in part included, and in again,
at no cost: in favour of such orders.
Between two events the batch does not change, so that any number of iterations is one multiplication.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from rankd.replay.engine.cost import TICKS, EngineCost
from rankd.replay.engine.kv_memory import KvMemory
from rankd.replay.trace.trace import Floats, Ints, Trace

_NEVER = 2**62


class RunningBatch(Protocol):
    """What an order may see of the engine."""

    iterations: int
    """Done so far."""

    def running(self) -> list[int]:
        """Requests that run."""

    def generated(self, request: int) -> int:
        """Tokens that a request got so far."""


class ServingOrder(Protocol):
    """Who goes next. Times are seconds, requests are places in the trace."""

    preemptive: bool
    """Whether a waiting request may take the slot of a running one."""

    def attach(self, batch: RunningBatch) -> None:
        """Learn about the engine, once, before all else."""

    def __len__(self) -> int:
        """How many wait."""

    def add(self, request: int, now: float, generated: int) -> None:
        """Let a request wait: it arrived, or was taken off its slot."""

    def peek(self, now: float) -> int:
        """Who goes next; somebody waits."""

    def pop(self, now: float) -> int:
        """Start who goes next."""

    def victim(self, now: float) -> int:
        """Which of the running ones goes first where memory or slots are short."""

    def beats(self, waiting: int, running: int, now: float) -> bool:
        """Whether a waiting request should have a running one's slot; called for preemptive orders only."""

    def wake(self) -> int:
        """Iterations after which it wants ``peek`` to be called again whatever happens, at least 1."""

    def finished(self, request: int, now: float) -> None:
        """Learn that a request is done."""


@dataclass(frozen=True, slots=True)
class SimulationResult:
    """What became of every request of a trace, seconds by its clock, [n]."""

    arrival: Floats
    start: Floats
    """When it first got a slot."""
    first_token: Floats
    finish: Floats
    preempted: Ints
    """How often it lost its slot."""
    iterations: int
    busy: float
    """Seconds in which anything ran."""
    most_blocks: int
    """Most KV blocks in use at once."""


class SimulatedEngine:
    """One run over a trace."""

    def __init__(self, trace: Trace, order: ServingOrder, cost: EngineCost) -> None:
        """Get ready.

        Raises:
            ValueError: the KV memory cannot hold the largest request.
        """
        n = len(trace)
        self._order = order
        self._slots = cost.slots
        self._chunk = cost.chunk or _NEVER
        self._base, self._per_sequence, self._per_prompt = (
            round(seconds * TICKS) for seconds in (cost.base, cost.per_sequence, cost.per_prompt_token)
        )
        self._arrival: list[int] = np.rint(trace.arrival * TICKS).astype(np.int64).tolist()
        self._prompt: list[int] = trace.prompt.tolist()
        self._cached: list[int] = (trace.prompt - trace.uncached).tolist()
        self._output: list[int] = trace.output.tolist()
        self._trace = trace
        self._memory = KvMemory(cost.blocks, cost.block)
        largest = int((trace.prompt + trace.output - 1).max()) if n else 0
        if cost.kv_tokens and self._memory.blocks_of(largest) > cost.blocks:
            raise ValueError(
                f"the KV memory holds {cost.blocks * cost.block:,} tokens and one request needs {largest:,}"
            )
        self._now = self._busy = self.iterations = 0
        # A running request has as many tokens as it had when its decoding began, and one for every iteration since.
        self._tokens = [0] * n
        self._since: dict[int, int] = {}
        self._ends: list[tuple[int, int]] = []
        self._prefilling: dict[int, int] = {}
        self._swapped: dict[int, int] = {}
        self._start, self._first, self._finish = [-1] * n, [-1] * n, [-1] * n
        self._preempted = [0] * n
        self._next = self._done = 0
        order.attach(self)

    # -- what an order sees --------------------------------------------------------------------------------------------

    def running(self) -> list[int]:
        """Requests that run, those whose prompt is being read last."""
        return [*self._since, *self._prefilling]

    def generated(self, request: int) -> int:
        """Tokens that a request got so far."""
        since = self._since.get(request)
        return self._tokens[request] + (0 if since is None else self.iterations - since)

    # -- the loop ------------------------------------------------------------------------------------------------------

    def run(self, on_progress: Callable[[int], None] | None = None) -> SimulationResult:
        """Serve all; ``on_progress`` is called with how many are done, now and then."""
        n, reported = len(self._arrival), 0
        while self._done < n:
            self._arrive()
            short = self._make_room()
            if not short:
                self._admit()
            if not self._since and not self._prefilling:
                # Nobody waits either, or the first would have come in.
                self._now = self._arrival[self._next]
                continue
            if self._prefilling:
                self._iterate()
            else:
                self._advance(1 if short else self._stretch())
            self._end()
            if on_progress is not None and self._done - reported >= 256:
                reported = self._done
                on_progress(reported)
        return self._result()

    def _arrive(self) -> None:
        arrival, now = self._arrival, self._now
        while self._next < len(arrival) and arrival[self._next] <= now:
            request = self._next
            self._next += 1
            self._order.add(request, now / TICKS, 0)

    def _make_room(self) -> bool:
        """Take memory for the next token of all that run; whether somebody had to go for it."""
        short = False
        while not self._memory.reserve():
            short = True
            self._preempt(self._order.victim(self._now / TICKS))
        return short

    def _admit(self) -> None:
        order, now = self._order, self._now / TICKS
        budget = self._chunk - len(self._since) - sum(self._prefilling.values())
        while budget > 0 and len(order):
            full = len(self._since) + len(self._prefilling) >= self._slots
            if full and not order.preemptive:
                return
            # Looking costs as much as taking: where anybody fits, take.
            request = order.peek(now) if full or self._memory.limited else order.pop(now)
            context = self._prompt[request] + self._tokens[request]
            if full or not self._memory.fits(context):
                if not self._swap(request, now):
                    return
                continue
            if self._memory.limited:
                order.pop(now)
            if self._start[request] < 0:
                self._start[request] = self._now
            self._memory.hold(context)
            unread = self._swapped.pop(request, context - self._cached[request])
            self._prefilling[request] = unread
            budget -= unread

    def _swap(self, waiting: int, now: float) -> bool:
        """Take a running request off for one that waits, where the order wants that; what it holds is swapped out."""
        if not self._order.preemptive or not (self._since or self._prefilling):
            return False
        victim = self._order.victim(now)
        if not self._order.beats(waiting, victim, now):
            return False
        self._swapped[victim] = self._prefilling.get(victim, 0)
        self._preempt(victim)
        self._memory.reserve()
        return True

    def _preempt(self, request: int) -> None:
        """Back to the queue; its tokens and what of its prompt is not cached are read anew, unless swapped out."""
        context = self._prompt[request] + self.generated(request)
        self._tokens[request] = self.generated(request)
        if self._prefilling.pop(request, None) is not None:
            self._memory.release(context)
        else:
            del self._since[request]
            self._memory.stop(context - 1)
        self._preempted[request] += 1
        self._order.add(request, self._now / TICKS, self._tokens[request])

    def _stretch(self) -> int:
        """Iterations until something changes."""
        while self._ends[0][1] not in self._since or self._ends[0][0] != self._end_of(self._ends[0][1]):
            heapq.heappop(self._ends)
        count = min(self._ends[0][0] - self.iterations, self._memory.lasts(), self._order.wake())
        if self._next < len(self._arrival) and (len(self._since) < self._slots or self._order.preemptive):
            takes = self._base + self._per_sequence * len(self._since)
            count = min(count, -(-(self._arrival[self._next] - self._now) // takes))
        return max(count, 1)

    def _end_of(self, request: int) -> int:
        return self._since[request] + self._output[request] - self._tokens[request]

    def _advance(self, count: int) -> None:
        """Iterations in which all decode and nobody reads a prompt."""
        takes = count * (self._base + self._per_sequence * len(self._since))
        self._now += takes
        self._busy += takes
        self._memory.grow(count)
        self.iterations += count

    def _iterate(self) -> None:
        """One iteration in which prompts are read."""
        budget, read, ready = self._chunk - len(self._since), 0, []
        for request, left in self._prefilling.items():
            part = min(left, budget - read)
            read += part
            if part < left:
                self._prefilling[request] = left - part
                break
            ready.append(request)
        takes = self._base + self._per_sequence * (len(self._since) + len(ready)) + self._per_prompt * read
        self._now += takes
        self._busy += takes
        self._memory.grow(1)
        self.iterations += 1
        for request in ready:
            del self._prefilling[request]
            self._decode(request)

    def _decode(self, request: int) -> None:
        """A prompt is read: that made a token, and from now on every iteration makes one."""
        context = self._prompt[request] + self._tokens[request]
        self._tokens[request] += 1
        if self._first[request] < 0:
            self._first[request] = self._now
        self._since[request] = self.iterations
        self._memory.start(context)
        heapq.heappush(self._ends, (self._end_of(request), request))

    def _end(self) -> None:
        """Let go of who is done."""
        ends = self._ends
        while ends and ends[0][0] <= self.iterations:
            end, request = heapq.heappop(ends)
            if request not in self._since or end != self._end_of(request):
                continue
            del self._since[request]
            self._memory.stop(self._prompt[request] + self._output[request] - 1)
            self._tokens[request] = self._output[request]
            self._finish[request] = self._now
            self._done += 1
            self._order.finished(request, self._now / TICKS)

    def _result(self) -> SimulationResult:
        start, first, finish = (np.array(ticks) / TICKS for ticks in (self._start, self._first, self._finish))
        return SimulationResult(
            arrival=self._trace.arrival,
            start=start,
            first_token=first,
            finish=finish,
            preempted=np.array(self._preempted, dtype=np.int64),
            iterations=self.iterations,
            busy=self._busy / TICKS,
            most_blocks=self._memory.most,
        )


def run(
    trace: Trace, order: ServingOrder, cost: EngineCost, on_progress: Callable[[int], None] | None = None
) -> SimulationResult:
    """Serve a trace in an order; see ``SimulatedEngine``."""
    return SimulatedEngine(trace, order, cost).run(on_progress)
