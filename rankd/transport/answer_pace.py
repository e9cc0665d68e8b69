"""How long an answer takes once the scores are there: what a deadline must leave time for."""

from __future__ import annotations

_LONG_QUEUE = 64
"""Items of which a queue is long enough to tell how long an item takes; of a shorter one the call itself is more."""
_WEIGHT = 0.2
"""Of a long queue's measurement against those before."""
_FASTEST, _SLOWEST = 5e-6, 2e-4
"""Seconds per item. What takes longer was a stall, which says nothing of the calls that follow."""
_MOST_LAG = 0.005
"""Seconds. A loop that is later than this stands still, and no margin of a call helps it."""
_FORGET_LAG = 0.02
"""Of what is less than the lag so far: some fifty calls until a stall is forgotten."""


class AnswerPace:
    """Learns the seconds per item from every call, late or in time, so that it falls as it rises.

    Beside that it learns by how much answers miss the time for which they were meant: under overload the loop comes to
    a call when it has come to those before, however short the queue.
    """

    def __init__(self) -> None:
        """Begin with what an idle machine takes."""
        self.seconds_per_item = _FASTEST
        self.lag = 0.0
        """Seconds that answers of calls which waited for all of their time were late of late, nearly the most."""

    def learn(self, items: int, seconds: float) -> None:
        """Take a measurement in: how long ordering and answering ``items`` took.

        A short queue's time per item is more than an item takes: it can only show that the pace is not as slow as
        thought, and it shows that with the weight of its items.
        """
        if items == 0:
            return
        pace = min(max(seconds / items, _FASTEST), _SLOWEST)
        if items >= _LONG_QUEUE or pace < self.seconds_per_item:
            self.seconds_per_item += (pace - self.seconds_per_item) * _WEIGHT * min(1.0, items / _LONG_QUEUE)

    def late(self, items: int, seconds: float) -> None:
        """Take in how long after the time that it was meant for an answer to ``items`` was ready.

        What its items take is theirs: else who asks for long queues would shorten the wait of all others.
        """
        seconds = min(max(seconds - self.seconds_per_item * items, 0.0), _MOST_LAG)
        self.lag = seconds if seconds > self.lag else self.lag + (seconds - self.lag) * _FORGET_LAG

    def margin(self, items: int) -> float:
        """Seconds to leave for a queue of ``items``: twice the time on this side, as the caller has to read it too."""
        return 2 * (self.seconds_per_item * items + self.lag)

    def wait(self, remaining: float, least_margin: float, items: int) -> tuple[float, bool]:
        """How long to wait for the scores of a queue: in time to order and answer, and for half of it at least.

        Args:
            remaining: seconds until the answer is due.
            least_margin: seconds to leave in any case.
            items: of the queue.

        Returns:
            Seconds, and whether that leaves all of the margin; an answer says nothing of the loop where it does not.
        """
        margin = least_margin + self.margin(items)
        return remaining - min(margin, remaining / 2), margin <= remaining / 2
