"""What one served model's traffic teaches, and whether it is to be ordered by it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from rankd.adaptation.completion import LearnedCompletion
from rankd.adaptation.evidence import Evidence, Finding
from rankd.adaptation.head import TextHead
from rankd.adaptation.learner import HeadLearner, Learned
from rankd.adaptation.proof import AdaptationState, Proof
from rankd.adaptation.snapshot import restore_learned, restore_proof, save_learned, save_proof
from rankd.adaptation.tenants import contradicting, weights
from rankd.quality.serialise import Saved
from rankd.quality.statistics.interval import Interval

Floats = NDArray[np.float64]

LOOK = 32
"""Completions after which experts are compared, what is due is solved, and the proof is looked at."""
_CALM = 512
"""Compared ones from which on that is done after twice as many, unless what was learned did worse of late."""
_FORGET_EVERY = 60.0
"""Seconds between two looks for what is too old, or a tenth of ``adapt.forget_after`` where that is less."""
_MOST_WAITING = 512
"""Completions that wait for the worker thread; further ones are left out, which takes a thousand of them a second."""


@dataclass(frozen=True, slots=True)
class AdaptationStatus:
    """What there is to show."""

    state: AdaptationState
    completions: int
    """Learned from, as far as they are kept, or were so before a restart."""
    compared: int
    """Recent ones behind the figures below."""
    base_tau: Interval | None
    learned_tau: Interval | None
    difference: Interval | None
    since: float | None
    """By the daemon's clock; None: since the start."""
    switches: int
    left_out: int


@dataclass(frozen=True, slots=True)
class Update:
    """What the worker thread found."""

    learned: Learned
    finding: Finding
    left_out: int
    contradicting: frozenset[int]
    """Sources that are not learned from, as their reports contradict what the others teach."""
    generation: int
    """How often all was forgotten before the work began."""


class Adaptation:
    """Learns, proves itself, and says by what to order. ``job``'s work runs in any thread, all else in one.

    The work of one job alone touches the rows that are learned from: there is no second job while one is out.
    """

    def __init__(
        self,
        *,
        completions: int = 4096,
        min_completions: int = 100,
        forget_after: float = 604800.0,
        max_tenant_share: float = 0.5,
    ) -> None:
        """Start without anything learned; the settings ``adapt.*``, and ``quality.max_tenant_share``."""
        self._most, self._least, self._forget_after = completions, min_completions, forget_after
        self._share = max_tenant_share
        self._generation = 0
        self._start()

    def _start(self) -> None:
        self._learner = HeadLearner(self._most, self._forget_after)
        self._learned = Learned.nothing()
        self._proof = Proof(least=self._least)
        self._waiting: list[LearnedCompletion] = []
        self._left_out = 0
        self._contradicting: frozenset[int] = frozenset()
        self._running = False
        self._looks = 0
        self._followed: bool | None = None
        self._forgot_at = float("-inf")

    # -- on the loop ---------------------------------------------------------------------------------------------------

    @property
    def in_use(self) -> bool:
        """Whether the learned score orders."""
        return self._proof.in_use

    @property
    def state(self) -> AdaptationState:
        """Where what was learned stands."""
        return self._proof.state

    def scores(self, base: Floats, features: Sequence[bytes]) -> Floats:
        """Learned scores, the expected logarithm of lengths, [n]; NaN where nothing is known, or features cannot be."""
        head = self._learned.head
        return np.full(len(base), np.nan) if head is None else head.scores(base, features)

    def completed(self, completion: LearnedCompletion) -> None:
        """Take one final report, once."""
        if len(self._waiting) >= _MOST_WAITING:
            self._left_out += 1
            return
        self._proof.add(
            completion.score,
            completion.learned,
            completion.tokens,
            completion.complete,
            completion.source,
            prompt=hash(completion.features),
            arrival=completion.arrival,
        )
        self._waiting.append(completion)

    def job(self, now: float) -> Callable[[], Update] | None:
        """Work for the worker thread, where some is due; None otherwise. Its result goes to ``take``.

        Ask once in a while even where nothing completes: what is too old is forgotten here.

        Args:
            now: seconds, by the clock of ``LearnedCompletion.at``.
        """
        if self._running:
            return None
        self._forget_old(now)
        if len(self._waiting) < self._look_after:
            return None
        self._looks += 1
        waiting, self._waiting, self._running = self._waiting, [], True
        learner, evidence, generation = self._learner, self._proof.evidence(), self._generation
        share, before = self._share, self._contradicting
        # Where nobody is left out, who is to be is looked for every other time: it is a third of the work.
        suspicious = bool(before) or self._looks % 2 == 0

        def work() -> Update:
            try:
                return _work(learner, waiting, evidence, share, before, now, generation, suspicious)
            except BaseException:
                # Without a result there is no ``take``: the next job must not wait for it.
                self._running = False
                raise

        return work

    @property
    def _look_after(self) -> int:
        """Completions that have to wait until there is work."""
        found = self._proof.finding
        calm = found is not None and found.compared >= _CALM and found.recent is not None and found.recent.value >= 0
        return 2 * LOOK if calm else LOOK

    def _forget_old(self, now: float) -> None:
        """Keep no completion that is older than ``adapt.forget_after``."""
        if now - self._forgot_at < min(_FORGET_EVERY, self._forget_after / 10.0):
            return
        self._forgot_at = now
        self._waiting = [one for one in self._waiting if not one.at < now - self._forget_after]
        self._learned = self._learner.forget(now)

    def take(self, update: Update, now: float) -> bool:
        """Take what the work found; whether ``in_use`` changed."""
        if update.generation != self._generation:
            return False
        self._running = False
        self._left_out += update.left_out
        self._learned, self._contradicting = update.learned, update.contradicting
        if self._followed is not None:
            self._proof.finding = update.finding
            if self.state is AdaptationState.LEARNING and update.finding.compared >= self._least:
                # Whether it is better is the leader's to say, and it did not.
                self._proof.state = AdaptationState.NOT_BETTER
            return self.follow(self._followed, now)
        before = self.in_use
        self._proof.decide(update.finding, now)
        return self.in_use is not before

    def follow(self, in_use: bool | None, now: float) -> bool:
        """Stand where the fleet's leader does; whether ``in_use`` changed. Say it again at every round.

        Args:
            in_use: what the leader decided; None to decide by the own proof, from where it stands now. Before anything
                was learned here it cannot be in use.
            now: seconds by the daemon's clock.
        """
        self._followed = in_use
        if in_use is None or (in_use and self._learned.head is None):
            return False
        return self._proof.follow(in_use, now)

    def forget(self) -> bool:
        """Forget all that was learned, and begin anew; whether ``in_use`` changed."""
        before = self.in_use
        self._generation += 1
        self._start()
        return before

    @property
    def status(self) -> AdaptationStatus:
        """What there is to show."""
        proof, found = self._proof, self._proof.finding
        figures = (None, None, None) if found is None else (found.base, found.learned, found.difference)
        compared = 0 if found is None else found.compared
        return AdaptationStatus(
            proof.state, self._learned.completions, compared, *figures, proof.since, proof.switches, self._left_out
        )

    @property
    def nbytes(self) -> int:
        """Memory of what is kept, without that of the proof."""
        waiting = sum(len(one.features) + 200 for one in self._waiting)
        return self._learner.nbytes + waiting

    def head(self) -> TextHead | None:
        """What was learned, as a function of the score and the text alone; None where nothing was."""
        learned = self._learned
        return None if learned.head is None else TextHead.of(learned.head, learned.beside)

    # -- snapshots -----------------------------------------------------------------------------------------------------

    def save(self, ahead: float = 0.0) -> Saved:
        """What was learned, never what from; the clock of saved times is ``ahead`` seconds ahead of this one's."""
        columns, scalars = save_learned(self._learned)
        proof_columns, proof = save_proof(self._proof, ahead)
        return Saved(columns | proof_columns, {"learned": scalars, "proof": proof})

    def restore(self, saved: Saved, now: float, ahead: float = 0.0) -> None:
        """Go on where another one was saved; this one must have learned nothing yet.

        Raises:
            ValueError: what was saved cannot be; this one is as it was.
            KeyError: something is missing.
        """
        learned = restore_learned(saved.columns, saved.scalars["learned"])
        proof = restore_proof(Proof(least=self._least), saved.columns, saved.scalars["proof"], now, ahead)
        if proof.in_use and learned.head is None:
            raise ValueError("in use without anything learned")
        # Shown, but nothing is decided on it: that was done before.
        proof.finding = proof.evidence().evaluate()
        self._learned, self._proof = learned, proof
        self._learner = HeadLearner(self._most, self._forget_after, learned)


def _work(
    learner: HeadLearner,
    waiting: Sequence[LearnedCompletion],
    evidence: Evidence,
    share: float,
    before: frozenset[int],
    now: float,
    generation: int,
    suspicious: bool,
) -> Update:
    taken = learner.rows.taken
    doubted = learner.doubted
    suspected = contradicting(evidence, before - doubted) if suspicious else frozenset()
    against = learner.witness.against(learner.rows, doubted, suspected)
    left_out = (suspected - learner.witness.borne_out) | against
    learner.doubt(against)
    learned = learner.learn(waiting, now, partial(weights, left_out=left_out, share=share))
    lost = len(waiting) - (learner.rows.taken - taken) + sum(one.source in left_out for one in waiting)
    return Update(learned, evidence.evaluate(left_out), min(lost, len(waiting)), left_out, generation)
