"""Nobody poisons quality alone: shares of what is learned, and a guard that no single tenant sways."""

import asyncio

import numpy as np
import pytest

from rankd.monitor.monitor import Monitor
from rankd.quality import ReportVerdict, TenantShares
from rankd.settings import load_settings
from rankd.telemetry.telemetry import Telemetry
from rankd.types import Completion, GuardMode

VERSION = "r@1"
T0 = 1_700_000_000.0


def admitted(shares, tenant, count, now=T0):
    return sum(shares.admit(tenant, now) for _ in range(count))


def test_a_tenant_fills_its_share_and_no_more():
    """However much it sends, it brings its share of any run of requests, once others report too; they go on freely."""
    shares = TenantShares(0.5, 600.0, 100.0, 320)
    assert admitted(shares, "honest", 320) == 320
    assert admitted(shares, "flood", 100_000) == 161
    for _ in range(500):
        assert admitted(shares, "honest", 1) == 1
        admitted(shares, "flood", 100)
    assert 159 <= shares._of["flood"] <= 161
    fifth = TenantShares(0.2, 600.0, 1.0, 100)
    assert admitted(fifth, "", 900) == 900
    assert admitted(fifth, "flood", 1000) == 21
    assert len(fifth._last) == fifth._of.total() == 100


def test_who_is_alone_is_not_held_back():
    """One tenant with nobody, or hardly anybody, beside it is all that there is to learn from."""
    shares = TenantShares(0.5, 600.0, 100.0)
    assert admitted(shares, "only", 5000) == 5000
    assert admitted(shares, "small", 99) == 99
    assert admitted(shares, "only", 5000) == 5000
    assert admitted(shares, "small", 1) == 1
    assert admitted(shares, "only", 5000) == 0
    assert admitted(shares, "", 5000) == 5000, "who has no tenant is not told apart"
    assert admitted(TenantShares(1.0), "one", 5000) == 5000


def test_two_that_share_evenly_do_not_hold_each_other_back_for_good():
    """Whatever the order of their reports, most are learned from, of both alike, and at any time of one at least."""
    shares = TenantShares(0.5, 600.0, 100.0)
    chance = np.random.default_rng(3)
    taken = [who for who in ("ab"[i] for i in chance.integers(2, size=5000)) if shares.admit(who, T0)]
    assert len(taken) > 3000
    assert abs(taken.count("a") - taken.count("b")) < 30
    assert any(shares._of[who] <= 160 for who in "ab")


def test_shares_follow_the_times():
    """What was long ago counts no more: others that left hold nobody back."""
    shares = TenantShares(0.5, 600.0, 10.0)
    admitted(shares, "stays", 300)
    admitted(shares, "left", 100, T0 + 1)
    assert admitted(shares, "stays", 500, T0 + 299) == 0
    assert admitted(shares, "stays", 500, T0 + 301) == 0
    assert admitted(shares, "stays", 500, T0 + 650) == 500
    assert admitted(shares, "stays", 500, T0 - 1000) == 500, "a clock that goes back does no harm"


class Traffic:
    """Reports of several tenants about one ranker, into a monitor whose guard looks at all of them."""

    def __init__(self, spread, **quality):
        settings = load_settings(guard={"dwell": 0.0}, quality=quality)
        self.monitor = Monitor(settings, Telemetry("test"))
        self.monitor.register(VERSION, measured=True, calibration=None)
        self.random = np.random.default_rng(7)
        self.spread = spread
        self.number = 0
        self.now = T0
        self.verdicts = {}
        self.modes = []
        self.levels = []

    def report(self, reporter, lie=None):
        """One completion: what came of it, or what a tenant makes of it."""
        self.number += 1
        score = float(self.random.normal())
        tokens = np.exp(5 + score + self.spread * self.random.normal()) if lie is None else np.exp(5 + lie * 3 * score)
        done = Completion(
            f"r{self.number}", "m", VERSION, score, int(min(tokens, 1e6)), final=True, complete=True,
            arrival=self.now - 1, tenant=reporter, reporter=reporter,
        )  # fmt: skip
        verdict = self.monitor.report(done, self.now)
        self.verdicts.setdefault(reporter, []).append(verdict)

    async def run(self, rounds, honest, *, lie=None, liar="liar", flood=10):
        """So many rounds: each honest tenant reports once, the liar many times."""
        for _ in range(rounds):
            self.now += 0.1
            for tenant in honest:
                self.report(tenant)
            for _ in range(flood if lie is not None else 0):
                self.report(liar, lie)
            (window,) = self.monitor.reported_windows()
            while (flight := self.monitor.jobs.evaluations.flight(window)) is not None:
                await asyncio.wait([flight])
            self.modes.append(window.guard.mode)
            self.levels.append(self.monitor.trust("m", VERSION).level)


def drive(spread, *phases, **quality):
    """Run phases of traffic one after the other; gives the traffic."""

    async def run():
        traffic = Traffic(spread, **quality)
        for phase in phases:
            await traffic.run(**phase)
        traffic.monitor.close()
        return traffic

    return asyncio.run(run())


GOOD, USELESS = 0.8, 50.0
"""Noise in lengths: a ranker worth following, and one that says nothing."""
HONEST = ("one", "two", "three")


@pytest.mark.parametrize("honest", [HONEST, HONEST[:2], HONEST[:1]], ids=["three", "two", "one"])
def test_a_lone_liar_does_not_end_ranking(honest):
    """Beside honest tenants, even one, a flood of lengths against the scores changes neither mode nor trust."""
    traffic = drive(GOOD, {"rounds": 300, "honest": honest}, {"rounds": 500, "honest": honest, "lie": -1.0})
    assert set(traffic.modes[300:]) == {GuardMode.RANKED}
    assert min(traffic.levels[300:]) > 0.9
    learned = {who: v.count(ReportVerdict.ACCEPTED) for who, v in traffic.verdicts.items()}
    assert learned["liar"] <= sum(learned.values()) / 2 + 1
    assert traffic.verdicts["liar"].count(ReportVerdict.OVER_SHARE) > 1000
    for who in honest:
        assert traffic.verdicts[who].count(ReportVerdict.ACCEPTED) > 0.9 * len(traffic.verdicts[who])


def test_where_callers_are_not_known_the_same_flood_ends_ranking():
    """What the credentials are for: reports of nobody in particular cannot be told apart."""
    traffic = drive(
        GOOD,
        {"rounds": 300, "honest": ("",)},
        {"rounds": 100, "honest": ("",), "lie": -1.0, "liar": ""},
    )
    assert traffic.modes[299] is GuardMode.RANKED
    assert traffic.modes[-1] is GuardMode.FALLBACK


def test_a_lone_liar_does_not_keep_a_useless_ranker():
    """A flood of lengths that agree with the scores hides nothing: the others' reports end ranking."""
    traffic = drive(USELESS, {"rounds": 500, "honest": HONEST, "lie": 1.0})
    assert traffic.modes[-1] is GuardMode.FALLBACK
    assert traffic.levels[-1] == 0.0


def test_a_useless_ranker_is_found_out_by_all_together():
    """Tenants that agree are believed as ever, and so is one alone; the guard recovers for them, too."""
    for honest in (HONEST, HONEST[:2], HONEST[:1]):
        traffic = drive(USELESS, {"rounds": 900 // len(honest), "honest": honest})
        assert traffic.modes[-1] is GuardMode.FALLBACK
        assert all(set(v) == {ReportVerdict.ACCEPTED} for v in traffic.verdicts.values())


def test_one_tenant_is_served_as_one_without_a_name():
    """In a deployment of one tenant nothing is held back; guard and trust go the same way as without credentials."""
    named, nameless = (drive(GOOD, {"rounds": 600, "honest": (who,)}) for who in ("only", ""))
    assert (named.modes, named.levels) == (nameless.modes, nameless.levels)
    assert set(named.verdicts["only"]) == {ReportVerdict.ACCEPTED}


def test_a_request_that_was_followed_is_told_to_its_end():
    """The share is a matter of requests: whose progress was taken, its end is taken too, whatever came in between."""

    async def run():
        traffic = Traffic(GOOD)
        fields = {"complete": False, "arrival": T0, "tenant": "late", "reporter": "late"}
        progress = Completion("p", "m", VERSION, 0.5, 0, final=False, **fields)
        for _ in range(3):
            assert traffic.monitor.report(progress, T0) is ReportVerdict.ACCEPTED
        for _ in range(150):
            traffic.report("other")
        for _ in range(400):
            traffic.report("late")
        assert traffic.verdicts["late"][-1] is ReportVerdict.OVER_SHARE
        done = Completion("p", "m", VERSION, 0.5, 9, final=True, **(fields | {"complete": True}))
        assert traffic.monitor.report(done, T0) is ReportVerdict.ACCEPTED
        assert traffic.monitor.report(done, T0) is ReportVerdict.DUPLICATE
        traffic.monitor.close()

    asyncio.run(run())
