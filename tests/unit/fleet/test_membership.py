"""Who leads, on what evidence, and that all stand alike: the rules by themselves, with a clock of the test's own."""

import math

import numpy as np
import pytest

from rankd.fleet.membership import FleetMembership, ReplicaState, ReplicaWindow
from rankd.quality import Cohort, GuardReason, GuardStanding
from rankd.quality.censoring.cohort_tau import cohort_tau
from rankd.quality.prompt_judgement import PromptStanding
from rankd.quality.statistics.cohort_sums import combined
from rankd.quality.statistics.rolling_pairs import PairWindow
from rankd.settings import load_settings
from rankd.transport.convert.fleet import from_proto, to_proto
from rankd.types import GuardMode

KEY = ("m", "r@1")
SETTINGS = load_settings(fleet={"peers": "a:1", "every": 2.0, "forget_after": 15.0}).fleet
RANKED = GuardStanding(GuardMode.RANKED, 100.0, None, 60.0, -math.inf, 0, 0.3)
WARMING = GuardStanding(GuardMode.WARMING_UP, -math.inf, None, 60.0, -math.inf, 0, None)
FALLEN = GuardStanding(
    GuardMode.FALLBACK, 900.0, GuardReason.QUALITY, 240.0, 800.0, 2, 0.01, PromptStanding(True, True, 0.25)
)
BROKEN = GuardStanding(GuardMode.FALLBACK, 950.0, GuardReason.ERRORS, 60.0, -math.inf, 0, None)


def cohort(rng, size, slope, undecided=0.0):
    """Recent arrivals of one replica, some of them still waiting."""
    score = rng.normal(size=size)
    tokens = np.exp(5 + slope * score + rng.normal(size=size)).astype(np.int64) + 1
    complete = rng.random(size) >= undecided
    return Cohort(score, np.where(complete, tokens, tokens // 3), complete)


def sums_of(found):
    """What a replica tells of a cohort."""
    return cohort_tau(found, 16384, 1.645, 50).sums


def share(standing=RANKED, sums=None, pace=1.0, completions=500):
    return ReplicaWindow(completions, pace, sums, standing)


def fleet_of(instance, since, words=(), now=0.0):
    """A replica that heard these words."""
    fleet = FleetMembership(SETTINGS, senior_since=since, began=0.0, instance=instance)
    for word in words:
        fleet.receive(word, now)
    return fleet


@pytest.mark.parametrize("undecided", [0.0, 0.3])
def test_a_fleet_of_one_knows_exactly_what_its_replica_does(undecided):
    """Same tau, same bounds, whether all is decided or much is imputed."""
    found = cohort_tau(cohort(np.random.default_rng(1), 320, 0.6, undecided), 16384, 1.645, 50)
    alone = combined([(0.3, found.sums)])
    assert alone.tau(1.645) == pytest.approx(found.tau)
    assert (alone.known, alone.decided) == pytest.approx((found.known, found.decided_pair_share))


def test_what_several_know_together_has_the_interval_that_it_should():
    """400 fleets of three unequal replicas: 95 % of intervals hold the true tau of the traffic, by weight."""
    rng = np.random.default_rng(2)
    slopes, sizes, weights = (0.0, 0.5, 1.0), (60, 200, 320), (1.0, 2.0, 4.0)
    parts = []
    for slope in slopes:
        large = PairWindow(6000)
        sample = cohort(rng, 6000, slope)
        large.refill(sample.score, sample.tokens)
        parts.append(large.sums())
    means = [[c.astype(float).mean() / 5999 for c in (p.agreement, p.score_untied, p.length_untied)] for p in parts]
    a, b, c = np.average(means, axis=0, weights=weights)
    truth, held = a / math.sqrt(b * c), []
    for _ in range(400):
        told = [(w, sums_of(cohort(rng, n, s))) for w, n, s in zip(weights, sizes, slopes, strict=True)]
        found = combined(told).tau(1.959964)
        held.append(found.low <= truth <= found.high)
    assert 0.92 < np.mean(held) < 0.98


def test_who_takes_few_requests_at_present_weighs_little():
    """An idle replica's old cohort does not hold up the judgement on what all others serve."""
    rng = np.random.default_rng(3)
    good, bad = (sums_of(cohort(rng, 320, slope)) for slope in (1.0, 0.0))
    words = [ReplicaState(f"idle{i}", i, {KEY: share(sums=good, pace=0.01)}) for i in range(4)]
    found = fleet_of("busy", 9, words).evidence(share(sums=bad, pace=20.0), KEY, 1.0)
    assert found.replicas == 5
    assert found.sums.tau(1.645).high < 0.14
    assert found.sums.known == pytest.approx(320, rel=0.02)


def test_replicas_too_small_to_judge_by_themselves_judge_together():
    """Twenty with 30 known lengths each: none has a tau, the fleet has one of 600."""
    rng = np.random.default_rng(4)
    small = [cohort_tau(cohort(rng, 30, 0.8), 16384, 1.645, 50) for _ in range(20)]
    assert all(found.tau is None for found in small)
    words = [ReplicaState(f"r{i}", i, {KEY: share(sums=found.sums)}) for i, found in enumerate(small[1:])]
    found = fleet_of("me", 99, words).evidence(share(sums=small[0].sums), KEY, 1.0)
    assert found.sums.known == pytest.approx(600)
    assert found.sums.tau(1.645).high - found.sums.tau(1.645).low < 0.12


def test_exactly_one_leads_and_it_is_the_one_in_touch_for_longest():
    """All that hear each other name the same one; who knows nothing of a model, has not decided or
    cannot score does not lead it.
    """
    words = {
        "a": ReplicaState("a", 30, {KEY: share()}),
        "b": ReplicaState("b", 20, {KEY: share()}),
        "c": ReplicaState("c", 10, {KEY: share(BROKEN)}),
        "d": ReplicaState("d", 5, {}),
        "e": ReplicaState("e", 1, {KEY: share(WARMING)}),
    }
    for instance, word in words.items():
        fleet = fleet_of(instance, word.senior_since, [w for w in words.values() if w is not word])
        leader = fleet.leader(word.windows.get(KEY), KEY, 1.0)
        assert (leader.instance if leader else instance) == "b"


def test_a_peer_that_says_nothing_ages_out():
    """Its evidence and its lead are gone after ``forget_after``, not before."""
    fleet = fleet_of(
        "me", 50, [ReplicaState("old", 10, {KEY: share(sums=sums_of(cohort(np.random.default_rng(0), 320, 1)))})]
    )
    assert fleet.leader(share(), KEY, 14.9).instance == "old"
    assert fleet.evidence(share(), KEY, 14.9) is not None
    assert fleet.leader(share(), KEY, 15.1) is None
    assert fleet.evidence(share(), KEY, 15.1) is None


def test_who_stood_still_does_not_lead_when_it_comes_back():
    """A frozen process would otherwise impose what it stood at before; it says so before it is asked."""
    fleet = fleet_of("me", 10)
    fleet.round_done(2.0, clock=1000)
    fleet.notice_pause(4.0, clock=1002)
    assert fleet.senior_since == 10
    fleet.notice_pause(60.0, clock=1058)
    assert fleet.senior_since == 1058


def test_who_was_cut_off_does_not_lead_when_it_comes_back():
    """The others, who heard each other, know better. Who never heard anybody keeps its rank: it just started."""
    fleet = fleet_of("me", 10)
    fleet.round_done(2.0, clock=1002)
    assert fleet.senior_since == 10
    fleet.receive(ReplicaState("other", 20, {}), 4.0)
    fleet.round_done(4.0, clock=1004)
    for second in range(6, 40, 2):
        fleet.round_done(float(second), clock=1000 + second)
    assert fleet.senior_since == 1020  # once, when the other was lost: not anew at every round


def test_more_peers_than_allowed_are_not_kept():
    """Memory is bounded whatever a name resolves to."""
    settings = load_settings(fleet={"peers": "a:1", "max_peers": 3}).fleet
    fleet = FleetMembership(settings, senior_since=0, began=0.0)
    for i in range(10):
        fleet.receive(ReplicaState(f"r{i}", i, {}), 0.0)
    assert len(fleet.live_states(0.0)) == 3


@pytest.mark.parametrize("standing", [RANKED, FALLEN, BROKEN])
def test_what_is_told_arrives_whatever_the_clocks_say(standing):
    """Times are told as ages: a peer an hour behind reads them by its own clock."""
    sums = sums_of(cohort(np.random.default_rng(5), 100, 0.5, 0.2))
    sent = ReplicaState("x", 123456789, {KEY: ReplicaWindow(7, 0.25, sums, standing)})
    message = type(to_proto(sent, 1000.0)).FromString(to_proto(sent, 1000.0).SerializeToString())
    assert from_proto(message, 1000.0, 32) == sent
    late = from_proto(message, 4600.0, 32).windows[KEY].standing
    assert late.since == pytest.approx(standing.since + 3600)


def test_nonsense_from_a_peer_is_left_out():
    """Each share by itself; a word without an instance is none; no more shares than windows are read."""
    good = ReplicaWindow(7, 0.25, sums_of(cohort(np.random.default_rng(5), 100, 0.5)), RANKED)
    message = to_proto(ReplicaState("x", 1, {("m", f"r@{i}"): good for i in range(5)}), 1000.0)
    message.shares[0].sums.means.append(1.0)
    message.shares[1].completions_per_second = math.nan
    message.shares[2].standing.mode = 77
    message.shares[3].standing.stay.seconds = -5
    assert list(from_proto(message, 1000.0, 32).windows) == [("m", "r@4")]
    assert from_proto(message, 1000.0, 4).windows == {}
    message.instance = ""
    with pytest.raises(ValueError, match="instance"):
        from_proto(message, 1000.0, 32)


NONSENSE = {
    "completions that no counter reaches": lambda share: setattr(share, "completion_count", 2**64 - 1),
    "a pace of all": lambda share: setattr(share, "completions_per_second", 1e12),
    "fallback for nothing": lambda share: setattr(share.standing, "mode", 3),
    "a cause of no fallback": lambda share: setattr(share.standing, "cause", "pinned"),
    "a tau beyond 1": lambda share: setattr(share.standing, "tau_low", 1.5),
    "a tau of prompts beyond 1": lambda share: setattr(share.standing.prompts, "tau_low", -1.5),
    "prompts proven by nothing": lambda share: setattr(share.standing.prompts, "proven", True),
    "more known than there are": lambda share: setattr(share.sums, "known_count", 1e9),
    "a cohort of one": lambda share: setattr(share.sums, "size", 1),
    "a cohort of all": lambda share: setattr(share.sums, "size", 2**32 - 1),
    "no horizon": lambda share: setattr(share.sums, "horizon_token_count", 0),
    "fewer than no ties": lambda share: share.sums.means.__setitem__(1, -0.5),
    "an age of ages": lambda share: setattr(share.standing.age, "seconds", 2**62),
}


@pytest.mark.parametrize("kind", NONSENSE)
def test_no_figure_of_a_peer_is_believed_that_cannot_be(kind):
    """A peer's figures are input: a share with one that cannot be is left out, the one beside it is not."""
    good = ReplicaWindow(7, 0.25, sums_of(cohort(np.random.default_rng(5), 100, 0.5)), RANKED)
    message = to_proto(ReplicaState("x", 1, {("m", "bad"): good, ("m", "good"): good}), 1000.0)
    NONSENSE[kind](message.shares[0])
    assert list(from_proto(message, 1000.0, 32).windows) == [("m", "good")]


def test_a_peer_that_knows_no_length_adds_nothing():
    """Its guard's standing counts, its sums do not: they would only make everybody's evidence too little."""
    good = ReplicaWindow(7, 0.25, sums_of(cohort(np.random.default_rng(5), 100, 0.5)), RANKED)
    message = to_proto(ReplicaState("x", 1, {KEY: good}), 1000.0)
    message.shares[0].sums.known_count = 0.0
    read = from_proto(message, 1000.0, 32).windows[KEY]
    assert read.sums is None
    assert read.standing == RANKED
