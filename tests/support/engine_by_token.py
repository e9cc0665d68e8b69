"""The same engine token by token, without a shortcut: what the event-driven one must equal. And small random traces."""

import numpy as np
from hypothesis import strategies as st

from rankd.replay.engine.cost import TICKS, EngineCost
from support.traces import trace_of


class Reference:
    """Every iteration is carried out, every block counted, request by request."""

    def __init__(self, trace, order, cost):
        self.trace, self.order, self.cost = trace, order, cost
        self.iterations = 0
        self.got = [0] * len(trace)
        self.unread = {}  # running: tokens of the prompt still to be read; -1: it decodes
        self.held = {}  # running: tokens in the KV memory, or about to be
        self.swapped = {}  # what was left to be read of who was swapped out
        self.most = 0
        order.attach(self)

    def running(self):
        return list(self.unread)

    def generated(self, request):
        return self.got[request]

    def blocks(self, tokens):
        return -(-tokens // self.cost.block)

    def used(self):
        return sum(self.blocks(h) for h in self.held.values())

    def preempt(self, request, now):
        del self.unread[request], self.held[request]
        self.preempted[request] += 1
        self.order.add(request, now / TICKS, self.got[request])

    def run(self):  # noqa: C901 - one story
        trace, cost, order = self.trace, self.cost, self.order
        n, limit = len(trace), cost.blocks or 10**9
        base, each, read_cost = (round(c * TICKS) for c in (cost.base, cost.per_sequence, cost.per_prompt_token))
        arrival = [round(t * TICKS) for t in trace.arrival.tolist()]
        start, first, finish = [None] * n, [None] * n, [None] * n
        self.preempted = [0] * n
        now, coming = 0, 0

        while None in finish:
            while coming < n and arrival[coming] <= now:
                order.add(coming, now / TICKS, 0)
                coming += 1
            if not self.made_room(now, limit):
                self.admit(now, limit, start)
            if not self.held:
                now = arrival[coming]
                continue
            decoding = [r for r in self.held if self.unread[r] < 0]
            for r in decoding:
                self.held[r] += 1
            assert self.used() <= limit
            self.most = max(self.most, self.used())
            budget = (cost.chunk or 10**9) - len(decoding)
            read, ready = 0, []
            for r in [r for r in self.held if self.unread[r] >= 0]:
                part = min(self.unread[r], budget - read)
                read += part
                self.unread[r] -= part
                if self.unread[r]:
                    break
                ready.append(r)
            now += base + each * (len(decoding) + len(ready)) + read_cost * read
            self.iterations += 1
            for r in decoding + ready:
                self.unread[r] = -1
                self.got[r] += 1
                first[r] = now if first[r] is None else first[r]
                if self.got[r] == trace.output[r]:
                    finish[r] = now
            for r in [r for r in self.held if finish[r] is not None]:
                del self.unread[r], self.held[r]
                order.finished(r, now / TICKS)
        return [np.array(times) / TICKS for times in (start, first, finish)]

    def made_room(self, now, limit):
        short = False
        while sum(self.blocks(h + (self.unread[r] < 0)) for r, h in self.held.items()) > limit:
            short = True
            self.preempt(self.order.victim(now / TICKS), now)
        return short

    def admit(self, now, limit, start):
        order, cost = self.order, self.cost
        reading = {r: u for r, u in self.unread.items() if u >= 0}
        budget = (cost.chunk or 10**9) - (len(self.held) - len(reading)) - sum(reading.values())
        while len(order) and budget > 0:
            request = order.peek(now / TICKS)
            context = int(self.trace.prompt[request]) + self.got[request]
            grown = sum(self.blocks(h + (self.unread[r] < 0)) for r, h in self.held.items())
            if len(self.held) >= cost.slots or grown + self.blocks(context) > limit:
                if not order.preemptive or not self.held:
                    return
                victim = order.victim(now / TICKS)
                if not order.beats(request, victim, now / TICKS):
                    return
                self.swapped[victim] = max(self.unread[victim], 0)
                self.preempt(victim, now)
                continue
            order.pop(now / TICKS)
            if start[request] is None:
                start[request] = now
            self.held[request] = context
            cached = 0 if self.trace.cached is None else int(self.trace.cached[request])
            self.unread[request] = self.swapped.pop(request, context - cached)
            budget -= self.unread[request]


@st.composite
def traces(draw, most=14):
    """A small trace, often with many arrivals at once, often with prompts that are cached in part or as a whole."""
    n = draw(st.integers(1, most))
    arrival = draw(st.lists(st.sampled_from([0.0, 0.5, 1.0, 3.25, 7.0, 20.0, 21.5]), min_size=n, max_size=n))
    prompt = draw(st.lists(st.integers(0, 12), min_size=n, max_size=n))
    output = draw(st.lists(st.integers(1, 14), min_size=n, max_size=n))
    shares = draw(st.none() | st.lists(st.sampled_from([0.0, 0.3, 1.0]), min_size=n, max_size=n))
    cached = None if shares is None else [int(p * s) for p, s in zip(prompt, shares, strict=True)]
    return trace_of(arrival, prompt, output, cached)


@st.composite
def engines(draw):
    """Small engines: with and without limits on memory and prompts, steps and real costs."""
    slots = draw(st.integers(1, 4))
    each, read = draw(st.sampled_from([(0.0, 0.0), (0.125, 0.0), (0.25, 0.0625)]))
    chunk = draw(st.sampled_from([0, 4, 7, 20]))
    kv_tokens = draw(st.sampled_from([0, 28, 32, 60]))
    return EngineCost(slots, 1.0, each, read, chunk, kv_tokens, draw(st.sampled_from([1, 2, 4])))


def random_trace(seed, n=600, prompt=40, gap=3.0):
    """Poisson arrivals with lognormal lengths."""
    rng = np.random.default_rng(seed)
    output = np.clip(np.rint(rng.lognormal(np.log(40), 1.0, n)), 1, 800).astype(np.int64)
    return trace_of(np.cumsum(rng.exponential(gap, n)), rng.integers(0, prompt, n), output)
