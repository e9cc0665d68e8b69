"""How long requests are expected to wait, and how long they may be held up for their scores by that."""

import asyncio
import random
import statistics

import pytest
from rankd_client.integration import Begun, EngineLoad, ExpectedWait, IntegrationSettings, LateScores, order_in_time
from rankd_client.integration.hold_up import UNKNOWN_WAIT
from rankd_client.integration.tally import MemoryTally


def learned(waits, how=Begun.ENGINE, times=8):
    """What is known after so many requests each, by how many were beside them."""
    wait = ExpectedWait()
    for beside, seconds in waits.items():
        for _ in range(times):
            wait.learn(beside, seconds, how)
    return wait


def test_nothing_is_known_at_first_but_that_nobody_waits_alone():
    wait = ExpectedWait()
    assert wait.seconds(0) == 0.0
    assert wait.seconds(5) is None


def test_a_few_requests_say_nothing():
    wait = learned({8: 3.0}, times=3)
    assert wait.seconds(8) is None


def test_between_and_beyond_what_is_known():
    """Between numbers it lies between them; beyond it grows as they do; of fewer than ever seen nothing is known."""
    wait = learned({4: 0.0, 16: 2.0})
    assert wait.seconds(4) == 0.0
    assert wait.seconds(16) == 2.0
    assert 0.0 < wait.seconds(8) < 2.0
    assert wait.seconds(64) == pytest.approx(8.0)
    assert wait.seconds(2) == 0.0, "with more beside it nobody waits"
    assert learned({16: 2.0}).seconds(2) is None


def test_an_engine_that_never_let_anybody_wait_may_do_so_with_many_more():
    wait = learned({32: 0.0})
    assert wait.seconds(48) == 0.0
    assert wait.seconds(500) is None


def test_reading_a_prompt_is_no_waiting():
    """Streams begin after their prompts were read: what that takes is what the quickest took."""
    wait = learned({0: 0.4, 1: 0.4, 4: 0.4, 16: 2.4}, Begun.STREAM)
    assert wait.seconds(4) == 0.0
    assert wait.seconds(16) == pytest.approx(2.0)


def test_of_a_burst_those_that_begin_at_once_tell_what_reading_takes():
    wait = ExpectedWait()
    for seconds in [0.1] * 8 + [0.5 + 0.05 * at for at in range(50)]:
        wait.learn(64, seconds, Begun.STREAM)
    assert wait.seconds(64) == pytest.approx(1.4, abs=0.3)


def test_answers_in_one_piece_are_compared_with_those_that_had_fewer_beside_them():
    """The time to make them is no waiting; where none had fewer beside it, nothing is known."""
    assert learned({16: 9.0}, Begun.WHOLE).seconds(16) is None
    assert learned({0: 5.0, 16: 9.0}, Begun.WHOLE).seconds(16) == pytest.approx(4.0)


def test_what_the_engine_says_itself_counts_before_all_else():
    wait = learned({16: 0.25})
    for _ in range(30):
        wait.learn(16, 7.0, Begun.STREAM)
    assert wait.seconds(16) == 0.25


def test_what_was_is_forgotten():
    """An engine with more places comes in its place: after some requests it is the one that is known."""
    wait = learned({16: 5.0}, times=64)
    for _ in range(40):
        wait.learn(16, 0.0, Begun.ENGINE)
    assert wait.seconds(16) == 0.0


@pytest.mark.parametrize("places", [1, 8, 64])
def test_the_median_wait_of_a_simulated_engine_is_found(places):
    """Against a reference: a queue in arrival order, with as many places, whose waits are known."""
    rng = random.Random(places)
    arrivals, free, at = [], [0.0] * places, 0.0
    for _ in range(6000):
        at += rng.expovariate(0.98 * places)
        free.sort()
        begin = max(at, free[0])
        free[0] = begin + rng.expovariate(1.0)
        arrivals.append((at, begin, free[0]))
    wait, true = ExpectedWait(), {}
    ends = []
    for came, begin, end in arrivals:
        ends = [e for e in ends if e > came]
        wait.learn(len(ends), begin - came, Begun.ENGINE)
        true.setdefault(len(ends), []).append(begin - came)
        ends.append(end)
    beside, waits = max(true.items(), key=lambda item: (item[0] >= 1.3 * places) * len(item[1]))
    assert wait.seconds(beside) == pytest.approx(statistics.median(waits), rel=0.5, abs=0.15)


def test_a_score_takes_its_share_of_the_wait_and_no_more_than_its_most():
    load = EngineLoad(IntegrationSettings(hold_idle=0.05, hold_share=0.5, hold_most=2.0), learned({4: 0.0, 16: 2.0}))
    alone = load.arrive()
    assert load.hold_up() == 0.05
    for _ in range(16):
        load.arrive()
    assert load.hold_up() == 1.0
    for _ in range(200):
        load.arrive()
    assert load.hold_up() == 2.0
    alone.left()
    alone.left()
    assert load.in_flight == 216


def test_while_nothing_is_known_who_has_others_beside_him_counts_as_waiting():
    load = EngineLoad(IntegrationSettings())
    load.arrive()
    assert load.hold_up() == IntegrationSettings().hold_idle
    assert load.hold_up_of_next() == min(0.5 * UNKNOWN_WAIT, IntegrationSettings().hold_most)


def test_a_timeout_that_was_set_holds_whatever_the_queue():
    load = EngineLoad(IntegrationSettings(timeout=0.2), learned({1: 100.0}))
    for _ in range(50):
        load.arrive()
    assert load.hold_up() == 0.2
    assert load.hold_up(until_deadline=0.05) == 0.05


def test_of_the_time_to_a_deadline_asking_takes_a_tenth_at_most():
    load = EngineLoad(IntegrationSettings(), learned({1: 100.0}))
    load.arrive()
    load.arrive()
    assert load.hold_up() == 2.0
    assert load.hold_up(until_deadline=3.0) == pytest.approx(0.3)
    assert load.hold_up(until_deadline=0.2) == pytest.approx(0.02)
    assert load.hold_up(until_deadline=-1.0) <= 0.001


def test_waits_are_learned_by_how_many_the_engine_has_and_not_by_who_is_held_up():
    """Of a burst the first go straight in, however many are held up beside them."""
    load = EngineLoad(IntegrationSettings())
    visits = [load.arrive() for _ in range(40)]
    for visit in visits[:8]:
        visit.sent()
    assert [visit.beside for visit in visits[:8]] == list(range(8))
    for visit in visits:
        visit.left()
    assert (load.in_flight, load.in_engine) == (0, 0)


def test_who_came_first_in_a_burst_is_asked_about_again_when_the_others_are_there():
    """A question that the daemon turns down at once, before the others came, is put again with their time."""

    async def story():
        load, given = EngineLoad(IntegrationSettings()), []
        load.arrive()

        async def question(timeout, late):
            given.append((timeout, late))
            if len(given) > 1:
                return "queue", "ranked"
            load.arrive()
            return None, "deadline"

        assert await order_in_time(question, load) == ("queue", "ranked")
        assert given[0] == (0.05, False)
        assert given[1:] == [(2.0, False)]

    asyncio.run(story())


def test_while_it_waits_it_is_asked_about_once_and_let_go_when_the_wait_is_over():
    """The daemon does not answer: one question, and the request goes on in its time while that goes on."""

    async def story():
        load, given, silent = EngineLoad(IntegrationSettings(hold_share=0.001)), [], asyncio.Event()
        for beside in (1, 4):
            for _ in range(8):
                load.wait.learn(beside, 100.0, Begun.ENGINE)
        load.arrive()
        load.arrive()

        async def question(timeout, _late):
            given.append(timeout)
            await silent.wait()
            return None, "deadline"

        assert await order_in_time(question, load) == (None, "timeout")
        assert given == [2.0]
        silent.set()

    asyncio.run(story())


@pytest.mark.parametrize(
    ("settings", "outcome"), [({}, "deadline"), ({}, "guard"), ({"timeout": 5.0}, "deadline")],
)  # fmt: skip
def test_it_is_asked_once_where_more_time_is_no_use(settings, outcome):
    """Nobody else came; or it is no matter of time; or the time is what was set."""

    async def story():
        load, asked = EngineLoad(IntegrationSettings(**settings)), []
        load.arrive()

        async def question(timeout, _late):
            asked.append(timeout)
            if settings:
                load.arrive()
            return None, outcome

        assert await order_in_time(question, load) == (None, outcome)
        assert len(asked) == 1

    asyncio.run(story())


def test_late_scores_are_bounded_and_end_with_their_requests():
    async def story():
        tally, taken, asked = MemoryTally(), [], asyncio.Event()
        late = LateScores(tally, most=2)

        async def never(_timeout, is_late):
            assert is_late
            asked.set()
            await asyncio.Event().wait()

        async def answered(_timeout, _late):
            return "queue", "ranked"

        end = late.ask(never, taken.append)
        late.ask(never, taken.append)
        await asked.wait()
        late.ask(answered, taken.append)
        assert tally.counts() == {"not_asked": 1}
        end()
        for _ in range(5):
            await asyncio.sleep(0)
        late.ask(answered, taken.append)
        for _ in range(5):
            await asyncio.sleep(0)
        assert taken == ["queue"]
        assert tally.counts() == {"not_asked": 1, "scored": 1}
        await late.close()
        assert not late._asking

    asyncio.run(story())
