"""What is compared where requests wait, and end in the order of the very score that is to prove itself."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.adaptation_coverage import Law, Stream, draw
from benchmarks.queued_streams import Queue, QueuedStream
from rankd.adaptation.evidence import RECENT, Evidence
from rankd.adaptation.proof import Proof
from rankd.adaptation.tenants import contradicting

LOOK = 32


def switches(stream: Stream, queue: Queue, *, in_use: bool = False) -> list[int]:
    queued = QueuedStream(stream.base, stream.learned, stream.tokens, stream.complete)
    queued.proof.follow(in_use, 0.0)
    return queued.switches(queue, np.random.default_rng(1), LOOK)


def rows(arrival: list[float], source: list[int] | None = None, size: int = 8192) -> Evidence:
    """Evidence of requests that arrived at these times, in the order in which they ended."""
    proof = Proof(size=size)
    for number, (at, whose) in enumerate(zip(arrival, source or [0] * len(arrival), strict=True)):
        proof.add(float(number), -float(number), 1 + number, True, whose, arrival=at)
    return proof.evidence()


@pytest.mark.parametrize("queue", [Queue(burst=320), Queue(burst=320, servers=1), Queue(load=1.05), Queue(load=0.5)])
def test_a_gain_stays_in_use_however_long_requests_wait(queue: Queue) -> None:
    assert switches(draw(np.random.default_rng([7, 0, 2500]), 2500, Law("", 0.1)), queue, in_use=True) == []


def test_a_gain_stays_in_use_where_thousands_wait() -> None:
    assert switches(draw(np.random.default_rng(2), 4000, Law("", 0.1)), Queue(burst=2000), in_use=True) == []


@pytest.mark.parametrize("seed", [0, 1])
def test_equally_good_scores_do_not_come_into_use_where_the_other_one_orders_thousands(seed: int) -> None:
    assert switches(draw(np.random.default_rng([7, seed, 5000]), 4000, Law("", 0.0)), Queue(burst=2000)) == []


@pytest.mark.parametrize(("queue", "most"), [(Queue(load=0.5), 200), (Queue(burst=320), 320 + 200)])
def test_a_loss_is_left_within_200_completions_once_the_queue_has_passed(queue: Queue, most: int) -> None:
    rng = np.random.default_rng(3)
    stream = draw(rng, 1280, Law("", 0.15)).joined(draw(rng, 960, Law("", -0.15)))
    found = switches(stream, queue, in_use=True)
    assert len(found) == 1
    assert 1280 < found[0] <= 1280 + most


def test_where_nobody_waits_all_that_ended_count_in_their_order() -> None:
    assert rows([float(at) for at in range(300)]).settled().tolist() == list(range(300))


def test_of_a_queue_that_has_not_passed_hardly_anything_counts_and_of_one_that_has_all() -> None:
    before, queue, later = [float(at) for at in range(200)], [300.0] * 320, [400.0 + at for at in range(64)]
    found = rows(before + queue).settled()
    assert len(found) > 100
    assert found.max() < 200
    found = rows(before + queue + later).settled()
    assert sorted(found.tolist()) == list(range(584))
    queued = found[200:520]
    assert abs(float(queued[-RECENT:].mean()) - float(queued.mean())) < 25, "what came at once is in no order"


def test_of_a_queue_that_is_longer_than_what_is_remembered_nothing_counts() -> None:
    before, queue, later = [float(at) for at in range(100)], [300.0] * 600, [400.0 + at for at in range(200)]
    found = rows(before + queue + later, size=512)
    assert found.settled().tolist() == list(range(312, 512))


def test_what_a_source_holds_back_puts_off_no_more_than_the_others_have_it() -> None:
    arrival, source = [], []
    for at in range(2000):
        held = at % 4 == 0
        arrival.append(float(at - 1500 if held and at > 1500 else at))
        source.append(7 if held else 1 + at % 3)
    held_by_one = rows(arrival, source).settled()
    # Nobody's reports in particular can be anybody's: then the queue is as long as it looks.
    held_by_all = rows(arrival).settled()
    assert max(arrival[row] for row in held_by_one) > 1650
    assert max(arrival[row] for row in held_by_all) < 800


def test_requests_that_waited_when_it_stepped_back_do_not_count_after_it() -> None:
    proof = Proof()
    proof.follow(True, 0.0)
    stream = draw(np.random.default_rng(4), 800, Law("", -0.2))
    columns = stream.base, stream.learned, stream.tokens, stream.complete
    completions = list(zip(*(column.tolist() for column in columns), strict=True))
    for at, row in enumerate(completions):
        proof.add(*row, arrival=float(at))
        if proof.seen % LOOK == 0:
            proof.decide(proof.evidence().evaluate(), float(at))
        if not proof.in_use:
            break
    assert not proof.in_use
    for number, row in enumerate(completions[:100]):
        proof.add(*row, arrival=float(number))
    assert proof.evidence().evaluate().compared == 0
    for number, row in enumerate(completions[:500]):
        proof.add(*row, arrival=1000.0 + number)
    assert proof.evidence().evaluate().compared == 500


def test_an_honest_tenant_is_not_left_out_because_it_was_served_in_the_learned_order() -> None:
    rng = np.random.default_rng(5)
    proof = Proof()
    for burst in range(6):
        stream = draw(rng, 320, Law("", 0.15))
        for row in np.argsort(stream.learned).tolist():
            scores = float(stream.base[row]), float(stream.learned[row])
            source = 7 if row % 3 == 0 else 8
            proof.add(*scores, int(stream.tokens[row]), True, source, arrival=100.0 * burst)
            if proof.seen % 64 == 0:
                assert contradicting(proof.evidence()) == frozenset()


def test_a_restart_within_a_queue_goes_on_where_it_was() -> None:
    rng, proof = np.random.default_rng(6), Proof()
    for burst in range(4):
        stream = draw(rng, 320, Law("", 0.15))
        for row in np.argsort(stream.learned).tolist()[: 150 if burst == 3 else 320]:
            scores = float(stream.base[row]), float(stream.learned[row])
            proof.add(*scores, int(stream.tokens[row]), True, arrival=100.0 * burst)
    found, restarted = proof.evidence().evaluate(), Proof()
    restarted.restore(proof.save())
    again = restarted.evidence().evaluate()
    assert found.compared > 500
    assert again.compared == found.compared
    assert again.difference is not None
    assert found.difference is not None
    assert again.difference.value == pytest.approx(found.difference.value)
