"""Each replica learns from the completions of all: what to ask peers for, and what to make of their answers.

In touch, a replica asks each peer for its own completions since the last round. Who just started first asks one peer,
the one that has been up for longest, for all that this one still holds of everybody's, so that a rolling restart loses
little. Every completion is learned from once: by the number that the replica gave it that took its report.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from dataclasses import dataclass, field

from rankd.adaptation import LearnedCompletion, unpack
from rankd.fleet.learned_rows import MOST_ROWS, LearnedAnswer, LearnedCursor, LearnedRow, LearnedRows
from rankd.fleet.membership import FleetMembership
from rankd.monitor.monitor import Monitor
from rankd.monitor.window import Window
from rankd.settings import Settings
from rankd.telemetry.telemetry import Telemetry

PAGES_IN_ROUND = 4
"""Answers that who just started may ask one peer for at once."""
_MOST_IN_ROUND = PAGES_IN_ROUND * MOST_ROWS
"""Completions that are learned from in one round, of all peers together: some 0.1 s of work, in time slices."""
_BATCH = 256
"""That go to the worker thread at once."""
_MOST_PAGES = 256
"""Answers until whoever just started asks like everybody else, whatever there is still to come."""


@dataclass(frozen=True, slots=True)
class LearnedQuestion:
    """What a peer is asked for."""

    cursor: LearnedCursor
    everything: bool = False
    """All that it learned from, not just what it took itself."""


@dataclass(slots=True)
class FleetLearning:
    """This replica's part in what the fleet learns. Nothing is kept or asked where it is off."""

    fleet: FleetMembership
    monitor: Monitor
    settings: Settings
    telemetry: Telemetry
    rows: LearnedRows = field(init=False)
    enabled: bool = field(init=False)
    key_id: bytes = field(init=False)
    """Whose hashes own rows have; empty where none are told."""
    _taken: dict[str, int] = field(default_factory=dict)
    """By replica, the number of the last completion of its own that came from anybody; who came last is last."""
    _answers: list[list[LearnedRow]] = field(default_factory=list)
    """Of this round."""
    _source: LearnedCursor | None = None
    """Who is asked for everything, and the place in that."""
    _pages: int = 0
    _caught_up: bool = False
    _other_key: bool = False

    def __post_init__(self) -> None:
        """Get own completions, where there are peers that may learn from them."""
        settings = self.settings
        most = settings.fleet.learned_completions
        self.rows = LearnedRows(self.fleet.instance, most, settings.adapt.forget_after)
        self.enabled = bool(settings.fleet.peers) and settings.adapt.enabled and most > 0
        self.key_id = self.monitor.learning.sources.key_id if self.enabled else b""
        if self.enabled:
            self.monitor.learning.tell = self._tell
            self.monitor.learning.tell_forgotten = lambda window: self.rows.forget(window.model, window.ranker_version)

    def _tell(self, window: Window, completion: LearnedCompletion) -> None:
        self.rows.add_own(window.model, window.ranker_version, completion)

    # -- what others ask -----------------------------------------------------------------------------------------------

    def answer(self, question: LearnedQuestion, now: float) -> LearnedAnswer | None:
        """What a peer is told; None where none are told."""
        if not self.enabled:
            return None
        after = self.rows.all_after if question.everything else self.rows.own_after
        return after(question.cursor, now)

    # -- what others are asked -----------------------------------------------------------------------------------------

    def question(self, instance: str | None) -> LearnedQuestion | None:
        """What to ask a replica for in this round; ``instance`` is what it called itself last, None before that."""
        if not self.enabled or instance is None:
            return None
        if self._caught_up:
            return LearnedQuestion(LearnedCursor(instance, self._taken.get(instance, 0)))
        if self._source is not None and instance == self._source.instance:
            return LearnedQuestion(self._source, everything=True)
        return None  # its completions come with the source's

    def receive(self, instance: str, key_id: bytes, question: LearnedQuestion | None, answer: LearnedAnswer) -> bool:
        """Take what a peer told; it is learned from at the end of the round. Whether to ask it again at once."""
        if key_id != self.key_id:
            if key_id and self.enabled and not self._other_key:
                self._other_key = True
                self.telemetry.peer_has_other_key()
            return False
        if question is None:
            return False
        if answer.until.instance != instance:
            self._caught_up = self._caught_up or question.everything  # it tells nothing after all
            return False
        known = [self._new(row, instance, everything=question.everything) for row in answer.rows]
        rows = [row for row, new in zip(answer.rows, known, strict=True) if new]
        self._answers.append(rows)
        if question.everything:
            self._source = answer.until
            self._pages += 1
            self._caught_up = self._caught_up or not answer.more or self._pages >= _MOST_PAGES
            return not self._caught_up
        # Those that it keeps no more, or that were left out, do not come again.
        self._note(instance, answer.until.sequence)
        return False

    def _new(self, row: LearnedRow, teller: str, *, everything: bool) -> bool:
        """Whether a completion was not heard before, from whomever; it has been then."""
        if row.instance == self.fleet.instance or not (everything or row.instance == teller):
            return False
        if row.sequence <= self._taken.get(row.instance, 0):
            return False
        self._note(row.instance, row.sequence)
        return True

    def _note(self, instance: str, sequence: int) -> None:
        self._taken[instance] = max(sequence, self._taken.pop(instance, 0))
        while len(self._taken) > 4 * self.settings.fleet.max_peers:
            del self._taken[next(iter(self._taken))]

    def round_done(self, monotonic: float) -> None:
        """All peers were asked: who is asked for everything in the next round, if anybody is to be."""
        if self._caught_up or not self.enabled:
            return
        peers = [s for s in self.fleet.live_states(monotonic) if s.learned_key_id == self.key_id]
        if self._source is None or self._source.instance not in {s.instance for s in peers}:
            first = min(peers, key=lambda s: (s.senior_since, s.instance), default=None)
            self._source = None if first is None else LearnedCursor(first.instance, 0)

    def batches(self) -> list[list[LearnedRow]]:
        """What the round brought, to be learned from one batch after the other: ``learn``, then ``settled``."""
        answers, self._answers = [rows for rows in self._answers if rows], []
        share = max(1, _MOST_IN_ROUND // max(1, len(answers)))
        return [batch for rows in answers for batch in _pieces(rows[-share:])]

    def learn(self, batch: list[LearnedRow], now: float) -> Generator[None, None, None]:
        """Learn from a batch; others may come between."""
        for row in batch:
            self._learn(row, now)
            yield

    async def settled(self) -> None:
        """Wait until the worker thread has what it was given: it takes no more than so many at a time."""
        windows = self.monitor.reported_windows()
        flights = [f for w in windows if (f := self.monitor.jobs.adaptations.flight(w)) is not None]
        if flights:
            await asyncio.wait(flights)

    def _learn(self, row: LearnedRow, now: float) -> None:
        completion = row.completion
        if now - completion.at > self.settings.adapt.forget_after:
            return
        if completion.features and unpack(completion.features) is None:
            return
        window = self.monitor.learn_from_peer(row.model, row.ranker_version, completion, now)
        if window is not None:
            # The names of the window: those of each message are strings of their own.
            self.rows.add_heard(LearnedRow(window.model, window.ranker_version, completion, row.instance, row.sequence))


def _pieces(rows: list[LearnedRow]) -> list[list[LearnedRow]]:
    return [rows[start : start + _BATCH] for start in range(0, len(rows), _BATCH)]
