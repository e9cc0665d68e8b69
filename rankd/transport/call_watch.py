"""Calls that wait for their caller: for a request that does not come, for an answer to be read.

What a caller has begun to send is in gRPC's buffers, and so is what nobody reads; neither ends by itself. A few times a
second, while there are such calls, this looks at all of them.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Protocol

import structlog

from rankd.errors import QuotaError, RankdError
from rankd.settings import LimitsSection
from rankd.settings.memory_limit import give_back_memory
from rankd.telemetry.redaction import describe_error
from rankd.transport.connections import TcpConnections
from rankd.transport.memory_budget import MemoryBudget, Reservation

_log = structlog.get_logger("rankd")
_EVERY = 0.1
_MOST_TAKEN_BACK = 1000
"""Calls of a connection that may be cancelled before they have a request, whatever else it does."""
KEPT_SECONDS = 1.0
"""How long a call that its caller took back within this time keeps its place on its connection."""
_FORGET_EVERY = 100
"""Looks after which connections that are no more are looked for."""
_GIVE_BACK_EVERY = 3.0
"""Seconds. What is given back and wanted again costs a long queue some percent of its time."""
_FRAME_BYTES = 512
"""What a call sends beside its messages, upwards: headers, frames, windows."""
_NOTHING = 2**18
"""Bytes in gRPC's buffers that need no account: calls hold something for them."""


class WaitingCall(Protocol):
    """What a call shows of itself here."""

    @property
    def peer(self) -> str:
        """The connection, as ``peer_name`` has it."""

    @property
    def caller(self) -> str:
        """Who is charged."""

    def end(self, error: RankdError) -> None:
        """End with this error instead of going on to wait for the caller."""


@dataclass
class _ReceivingConnection:
    """What is known of a connection on which calls wait for requests."""

    hold: Reservation
    read: int = 0
    """Bytes of requests that were taken out of gRPC, and of their frames."""
    base: tuple[int, int] = (0, 0)
    """Bytes received, and ``read``, when nothing was known to be in gRPC's buffers."""
    last: tuple[int, int] = (0, 0)
    """The same, at the last look."""
    begun: int = 0
    """Requests that were waited for."""
    taken_back: int = 0
    """Calls that were cancelled instead."""
    calls: dict[WaitingCall, float] = field(default_factory=dict)
    """Since when they wait, on the loop's clock; who waits longest first."""


class CallWatch:
    """Ends calls whose callers take too long, or have more on the way than their share of memory."""

    def __init__(self, limits: LimitsSection, memory: MemoryBudget) -> None:
        """Nothing waits yet."""
        self._limits = limits
        self._memory = memory
        self.connections = TcpConnections()
        self._receiving: dict[str, _ReceivingConnection] = {}
        self._single: dict[WaitingCall, float] = {}
        """Calls that wait for their only request, since when; as all such, who waits longest first."""
        self._sending: dict[WaitingCall, float] = {}
        self._kept: deque[tuple[float, asyncio.Future[None]]] = deque()
        """Calls that were taken back: until when they keep their places, the first of them first."""
        self._draining = False
        self._timer: asyncio.TimerHandle | None = None
        self._looked = 0.0
        self._looks = 0
        self._gave_back = 0.0

    def receiving(self, call: WaitingCall, *, single: bool) -> None:
        """A call waits for a request; ``single`` where it is its only one, and so must come soon."""
        connection = self._receiving.get(call.peer)
        if connection is None:
            connection = self._receiving[call.peer] = _ReceivingConnection(self._memory.hold(call.caller, call.peer))
        connection.calls[call] = now = self._now()
        connection.begun += 1
        if single:
            self._single[call] = now

    def received(self, call: WaitingCall, size: int) -> None:
        """It waits no more, and got ``size`` bytes."""
        self._single.pop(call, None)
        connection = self._receiving.get(call.peer)
        if connection is not None:
            connection.calls.pop(call, None)
            connection.read += size + _FRAME_BYTES

    def taken_back(self, call: WaitingCall) -> None:
        """A call was cancelled before its request could be read, though it had time.

        One after the other, such calls cost their caller next to nothing, and everybody else their places in gRPC's
        queue. A connection that brings little else is cut.
        """
        connection = self._receiving.get(call.peer)
        if connection is None:
            return
        connection.taken_back += 1
        if connection.taken_back >= _MOST_TAKEN_BACK and connection.taken_back * 2 > connection.begun:
            connection.taken_back = 0
            if self.connections.cut({call.peer}):
                _log.warning("connection_cut", reason="most of its calls were cancelled before they had a request")

    async def keep_place(self, lasted: float) -> None:
        """Let a call that its caller took back after ``lasted`` seconds go on for a while, as far as gRPC can tell.

        gRPC refuses calls of a connection beyond ``limits.max_concurrent_streams`` by itself, for next to nothing;
        every other one waits in one line with those of everybody else. So who opens calls and takes them back at once
        gets that many a second, and not as many as there is time for.
        """
        if lasted >= KEPT_SECONDS or self._draining:
            return
        place = asyncio.get_running_loop().create_future()
        self._kept.append((self._now() + KEPT_SECONDS, place))
        await place

    def drain(self) -> None:
        """Keep no places any more: nobody is let in."""
        self._draining = True
        self._free_places(math.inf)

    def _free_places(self, now: float) -> None:
        kept = self._kept
        while kept and kept[0][0] <= now:
            place = kept.popleft()[1]
            if not place.done():
                place.set_result(None)

    def sending(self, call: WaitingCall) -> None:
        """A call waits for its caller to read an answer."""
        self._sending[call] = self._now()

    def sent(self, call: WaitingCall) -> None:
        """The answer is on its way."""
        self._sending.pop(call, None)

    def _now(self) -> float:
        loop = asyncio.get_running_loop()
        if self._timer is None:
            self._timer = loop.call_later(_EVERY, self._look)
        return loop.time()

    def _look(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        try:
            self._look_at_all(now)
        except Exception as error:  # noqa: BLE001 - who waits must be looked at again, whatever it was
            _log.error("internal_error", **describe_error(error))
        self._looked = now
        if self._sending or self._kept or self._memory.peak or any(each.calls for each in self._receiving.values()):
            self._now()

    def _look_at_all(self, now: float) -> None:
        self._free_places(now)
        self._end_slow_readers(now)
        self._end_slow_senders(now)
        self._charge_unread()
        if now - self._gave_back > _GIVE_BACK_EVERY and self._memory.freed_much():
            self._gave_back = now
            # gRPC's threads leave what they freed in heaps of their own.
            asyncio.get_running_loop().run_in_executor(None, give_back_memory)

    def _end_slow_readers(self, now: float) -> None:
        """Cut connections on which an answer is not read: gRPC would keep it as long as the connection lives."""
        limit = self._limits.answer_timeout
        late = {call.peer for call, _ in takewhile(lambda each: now - each[1] > limit, self._sending.items())}
        for _ in range(self.connections.cut(late) if late else 0):
            _log.warning("connection_cut", reason="an answer was not read within limits.answer_timeout")

    def _end_slow_senders(self, now: float) -> None:
        limit = self._limits.receive_timeout
        for call in [call for call, _ in takewhile(lambda each: now - each[1] > limit, self._single.items())]:
            del self._single[call]
            call.end(QuotaError(f"no request came within limits.receive_timeout = {limit} s", retry_after=0.0))

    def _charge_unread(self) -> None:
        """Let connections hold what came over them and is no request yet: parts of messages in gRPC's buffers."""
        active = {peer for peer, each in self._receiving.items() if each.calls or each.read != each.last[1]}
        received = self.connections.received(active)
        for peer, size in received.items():
            if size is not None:
                self._charge(self._receiving[peer], size)
            elif not self._receiving[peer].calls:
                self._receiving.pop(peer).hold.release()  # closed
        self._looks += 1
        if self._looks % _FORGET_EVERY == 0:
            self._forget_closed()

    def _charge(self, connection: _ReceivingConnection, received: int) -> None:
        now = received, connection.read
        if not connection.calls:
            connection.base = now
        elif next(iter(connection.calls.values())) > self._looked:
            connection.base = connection.last  # all that waits began after that: what is in the buffers came since then
        connection.last = now
        unread = (now[0] - connection.base[0]) - (now[1] - connection.base[1])
        if unread < 0:  # less came than was thought; what is saved up this way must not hide what comes later
            connection.base = now
        try:
            connection.hold.resize(unread if unread > _NOTHING else 0)
        except QuotaError as error:
            for call in list(connection.calls):
                call.end(QuotaError(str(error), error.retry_after))

    def _forget_closed(self) -> None:
        idle = {peer for peer, each in self._receiving.items() if not each.calls}
        for peer, size in self.connections.received(idle).items():
            if size is None:
                self._receiving.pop(peer).hold.release()
