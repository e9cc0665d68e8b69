"""From completions to what orders: what was learned comes into use and leaves it, and nothing of before is evidence."""

import asyncio
import json
import time
from dataclasses import replace

import numpy as np
import pytest
from rankd_client.calibration import Calibration, Knot
from rankd_client.ordering import Policy
from support.learned_traffic import LearnedTraffic

from rankd.monitor.monitor import Monitor
from rankd.monitor.snapshot_window import restore_window, save_window
from rankd.monitor.tracker_settings import feature_key_id
from rankd.monitor.window import Window
from rankd.pilot import Schedule, SwitchbackPlan
from rankd.pilot.live import LivePilots
from rankd.quality import Cohort, Guard, GuardReason, GuardStanding, QualityTracker, ReportVerdict
from rankd.quality.serialise import Saved
from rankd.settings import Settings, load_settings
from rankd.telemetry.telemetry import Telemetry
from rankd.types import Completion, GuardMode

VERSION = "r@1"
PRIOR = Calibration((Knot(-3.0, 20.0), Knot(3.0, 900.0)), 200.0)


class Served:
    """A monitor and the completions of one model that come in."""

    def __init__(self, seed: int = 1, **settings) -> None:
        self.settings: Settings = load_settings(**settings)
        self.telemetry = Telemetry("test")
        self.monitor = Monitor(self.settings, self.telemetry)
        self.monitor.register(VERSION, measured=True, calibration=PRIOR)
        self.traffic, self.inverted = LearnedTraffic(seed), LearnedTraffic(seed, text=-0.8)
        self.reported = 0

    @property
    def window(self) -> Window:
        return self.monitor.own_or_base("llm", VERSION)

    async def report(self, count: int, *, inverted: bool = False, features: bool = True, tenant: str = "") -> None:
        """So many completions, each final at its first report; ``inverted``: what was long by its text is short."""
        for one in (self.inverted if inverted else self.traffic).completions(count):
            self.reported += 1
            completion = Completion(
                f"r{self.reported}",
                "llm",
                VERSION,
                one.score,
                one.tokens,
                final=True,
                complete=True,
                arrival=time.time(),
                reporter=tenant,
                features=one.features if features else b"",
            )
            assert self.monitor.report(completion, time.time()) is ReportVerdict.ACCEPTED
            if self.reported % 8 == 0:
                await self.idle()

    async def idle(self) -> None:
        """Until the worker thread has nothing to do for the window."""
        jobs = self.monitor.jobs
        kinds = (jobs.evaluations, jobs.refits, jobs.adaptations, jobs.switches, jobs.estimates)
        while flights := [f for kind in kinds if (f := kind.flight(self.window)) is not None]:
            await asyncio.wait(flights)
            await asyncio.sleep(0)

    async def until(self, learned: bool, most: int, **how) -> int:
        """Report until learned scores are in use, or are not; say how many reports it took."""
        for n in range(0, most, 8):
            if self.window.learned_in_use is learned:
                return n
            await self.report(8, **how)
        return most


def in_loop(scenario):
    """Run a test's coroutine."""
    asyncio.run(asyncio.wait_for(scenario, 120))


def test_what_is_proven_orders_and_steps_back_when_lengths_are_inverted() -> None:
    """Within some hundred reports each way; calibration, guard's evidence and estimate are of the scores in use."""

    async def scenario() -> None:
        served = Served()
        before = served.monitor.trust("llm", VERSION)
        assert (before.learned_in_use, before.base_calibration) == (False, None)
        woken = asyncio.ensure_future(served.monitor.changed(60))
        await asyncio.sleep(0)
        assert await served.until(True, 800) < 800
        await served.idle()
        window = served.window
        assert await woken
        trust = served.monitor.trust("llm", VERSION)
        assert trust.learned_in_use
        assert trust.adaptation is window.adaptation is served.monitor.adaptation("llm", VERSION)
        assert trust.calibration is window.learned_calibration is not None
        assert trust.base_calibration is window.base_calibration is not None
        # A learned score is a logarithm of a length.
        few, many = trust.calibration.expected(np.log([110.0, 220.0]))
        assert 40 < few < many < 600
        assert window.evidence.learned
        assert window.estimate.learned
        served.monitor.tick(time.time())
        await served.report(200)
        learned = window.guard.tau_low
        window.tracker.use_learned(False)
        assert learned > window.tracker.guard_snapshot(time.time()).evaluate().tau.tau.value
        window.tracker.use_learned(True)
        assert await served.until(False, 600, inverted=True) < 400
        await served.idle()
        assert not served.monitor.trust("llm", VERSION).learned_in_use
        assert not window.evidence.learned
        assert window.calibration is window.base_calibration
        served.monitor.close()

    in_loop(scenario())


def test_where_nothing_is_to_be_learned_nothing_is() -> None:
    """No room, no scores, the same trust as ever."""

    async def scenario() -> None:
        served = Served(adapt={"enabled": False})
        await served.report(400)
        assert served.monitor.adaptation("llm", VERSION) is None
        assert served.window.learned_calibration is None
        assert len(served.window.tracker.lengths(learned=True).score) == 0
        assert not served.monitor.trust("llm", VERSION).learned_in_use
        served.monitor.close()

    in_loop(scenario())


def test_each_is_predicted_before_it_is_learned_from_and_keeps_that_score() -> None:
    """The score at the first report is that of the request: progress and its end change nothing of it."""

    async def scenario() -> None:
        served = Served()
        await served.report(300)
        one = served.traffic.completion()
        first = Completion("p", "llm", VERSION, one.score, 0, False, False, time.time(), features=one.features)
        served.monitor.report(first, time.time())
        predicted = served.window.adaptation.scores(np.array([one.score]), [one.features])[0]
        await served.report(100)
        later = served.window.adaptation.scores(np.array([one.score]), [one.features])[0]
        assert later != predicted
        served.monitor.report(replace(first, tokens=one.tokens, final=True, complete=True), time.time())
        assert served.window.tracker.lengths(learned=True).score[-101] == predicted
        served.monitor.close()

    in_loop(scenario())


def test_requests_without_features_that_can_be_are_learned_from_by_their_score() -> None:
    """Who echoes no features, or invents some, costs nothing, and has no learned score."""

    async def scenario() -> None:
        served = Served()
        await served.report(300)
        known = len(served.window.tracker.lengths(learned=True).score)
        await served.report(50, features=False)
        window = served.window
        assert len(window.tracker.lengths(learned=True).score) == known
        assert window.tracker.completions == 350
        junk = Completion("j", "llm", VERSION, 0.5, 9, True, True, time.time(), features=b"\x01" * 700)
        assert served.monitor.report(junk, time.time()) is ReportVerdict.ACCEPTED
        await served.idle()
        served.monitor.close()

    in_loop(scenario())


def test_evidence_that_was_in_flight_at_a_switch_is_dropped() -> None:
    """It was of scores that order no more: the guard waits for what is computed of the ones that do."""

    async def scenario() -> None:
        served = Served(adapt={"min_completions": 4096})
        await served.report(300)
        window, jobs = served.window, served.monitor.jobs
        await served.idle()
        await served.report(1)
        jobs.evaluate_guard(window, time.time())
        jobs.estimate(window, time.time() + 5)
        flights = jobs.evaluations.flight(window), jobs.estimates.flight(window)
        window.learned_calibration = PRIOR
        served.monitor._use_learned(window, True)
        assert window.evidence is None
        results = await asyncio.gather(*(f for f in flights if f is not None))
        assert [r.learned for r in results] == [False] * len(results)
        await asyncio.sleep(0)
        await served.idle()
        assert window.evidence.learned
        served.monitor.tick(time.time() + 10)
        await served.idle()
        served.monitor.close()

    in_loop(scenario())


def test_where_the_rankers_scores_fell_back_a_proven_head_still_comes_into_use_and_recovers() -> None:
    """The guard then judges what was learned."""

    async def scenario() -> None:
        served = Served(guard={"dwell": 0.0, "floor": 0.35, "margin": 0.0}, adapt={"min_completions": 400})
        served.traffic = LearnedTraffic(5, score=0.0, text=1.2)
        guard = served.window.guard
        await served.until(True, 1600)
        assert served.window.learned_in_use
        await served.report(400)
        guard = served.window.guard
        reasons = [change.reason for change in served.window.changes]
        assert GuardReason.QUALITY in reasons
        assert reasons[-1] is GuardReason.RECOVERED
        assert guard.mode is GuardMode.RANKED
        served.monitor.close()

    in_loop(scenario())


def test_a_pilot_holds_back_what_is_proven_and_not_a_step_back() -> None:
    """What is measured does not get better half way; an order that is found to do harm ends, as by a guard."""

    async def scenario() -> None:
        served = Served()
        pilots = LivePilots(served.telemetry)
        served.monitor.jobs.held = pilots.measures
        plan = SwitchbackPlan(Schedule(3, time.time(), 600.0, 60.0, 12), Policy.FCFS, Policy.BOOST)
        pilots.start("llm", plan)
        await served.report(800)
        window = served.window
        assert window.adaptation.in_use
        assert not window.learned_in_use
        served.monitor.tick(time.time())
        await served.idle()
        assert not window.learned_in_use
        pilots.stop("llm")
        served.monitor.tick(time.time())
        await served.idle()
        assert window.learned_in_use
        pilots.start("llm", plan)
        assert await served.until(False, 600, inverted=True) < 400
        served.monitor.close()

    in_loop(scenario())


def test_a_promotion_starts_without_what_was_learned_of_the_ranker_before() -> None:
    """Heads are corrections of one ranker version; its windows go, and what was learned with them."""

    async def scenario() -> None:
        served = Served()
        await served.until(True, 800)
        before = served.window.adaptation
        served.monitor.begin_anew(VERSION, trusted=True, calibrations={"llm": PRIOR})
        window = served.window
        assert window.model == "llm"
        assert window.adaptation is not before
        assert window.adaptation.status.completions == 0
        assert (window.learned_in_use, window.learned_calibration) == (False, None)
        assert window.calibration is window.base_calibration is PRIOR
        await served.report(20)
        served.monitor.close()

    in_loop(scenario())


def test_a_switch_of_a_window_that_is_gone_is_none() -> None:
    """Its work may land after a promotion: nobody is told, nothing changes."""

    async def scenario() -> None:
        served = Served()
        await served.report(96)
        old = served.window
        served.monitor.begin_anew(VERSION, trusted=True, calibrations={})
        old.learned_calibration = PRIOR
        served.monitor._use_learned(old, True)
        assert not old.learned_in_use
        served.monitor.close()

    in_loop(scenario())


def test_a_follower_with_few_lengths_of_its_own_takes_scores_for_what_they_mean() -> None:
    """A replica that has just started may have to follow its fleet before it could learn a map of its own."""

    async def scenario() -> None:
        served, fleet = Served(), Served()
        await fleet.until(True, 800)
        await served.report(10)
        head = fleet.window.adaptation.save()
        served.window.adaptation.restore(Saved(head.columns, json.loads(json.dumps(head.scalars))), time.time())
        served.monitor.tick(time.time())
        await served.idle()
        assert served.window.learned_in_use
        expected = served.window.calibration.expected(np.log([30.0, 3000.0]))
        assert expected == pytest.approx([30.0, 3000.0], rel=0.2)
        served.monitor.close()
        fleet.monitor.close()

    in_loop(scenario())


async def saved_after(served: Served) -> Saved:
    """What a file holds of a window whose learned scores are in use."""
    await served.until(True, 800)
    await served.report(64)
    found = save_window(served.window, feature_key_id(served.settings, VERSION))
    return Saved(found.columns, json.loads(json.dumps(found.scalars, allow_nan=False)))


def test_what_was_learned_survives_a_restart() -> None:
    """Weights, both columns, both calibrations, and that it is in use; not the rows that it was learned from."""

    async def scenario() -> None:
        served, restarted = Served(), Served()
        saved = await saved_after(served)
        assert not any(value == b"" for value in saved.columns.values() if isinstance(value, bytes))
        window, before = restore_window(restarted.monitor, restarted.settings, saved, 0.0), served.window
        restarted.monitor.add_restored(window, time.time())
        assert restarted.monitor.trust("llm", VERSION).learned_in_use
        assert window.calibration == before.calibration
        assert window.base_calibration == before.base_calibration
        features = [served.traffic.completion().features for _ in range(20)]
        scores = np.linspace(-1, 1, 20)
        assert window.adaptation.scores(scores, features) == pytest.approx(before.adaptation.scores(scores, features))
        at = time.time()
        old, new = (w.tracker.guard_snapshot(at).evaluate() for w in (before, window))
        assert old.learned
        assert new.learned
        assert new.tau.tau == old.tau.tau
        restarted.reported = served.reported
        assert await restarted.until(False, 600, inverted=True) < 400
        served.monitor.close()
        restarted.monitor.close()

    in_loop(scenario())


@pytest.mark.parametrize("settings", [{"adapt": {"key": "another"}}, {"adapt": {"enabled": False}}])
def test_of_another_key_or_where_nothing_is_to_be_learned_only_the_rankers_own_scores_come_back(settings) -> None:
    """Words are other buckets under another key: weights, and the scores that they gave, mean nothing then."""

    async def scenario() -> None:
        served, other = Served(), Served(**settings)
        saved = await saved_after(served)
        window = restore_window(other.monitor, other.settings, saved, 0.0)
        assert not window.learned_in_use
        assert window.tracker.completions == served.window.tracker.completions
        assert window.calibration == served.window.base_calibration
        assert len(window.tracker.lengths(learned=True).score) == 0
        assert window.adaptation is None or window.adaptation.status.completions == 0
        served.monitor.close()
        other.monitor.close()

    in_loop(scenario())


def test_the_key_outlives_a_restart_because_it_comes_from_the_settings() -> None:
    """Another process with the same settings has the same; a ranker of another version has another."""
    one, same, other = (load_settings(quality={"snapshot_key": key}) for key in ("a", "a", "b"))
    assert feature_key_id(one, VERSION) == feature_key_id(same, VERSION)
    assert len({feature_key_id(one, VERSION), feature_key_id(other, VERSION), feature_key_id(one, "r@2")}) == 3


def test_a_file_of_before_anything_was_learned_is_read() -> None:
    """Columns and fields are missing: nothing has a learned score, and learning begins."""

    async def scenario() -> None:
        served, restarted = Served(), Served()
        saved = await saved_after(served)
        del saved.scalars["learned"]
        new = ("learned", "arrivals/learned")
        columns = {name: column for name, column in saved.columns.items() if not name.startswith(new)}
        window = restore_window(restarted.monitor, restarted.settings, Saved(columns, saved.scalars), 0.0)
        assert window.tracker.completions == served.window.tracker.completions
        assert window.adaptation is not None
        assert not window.learned_in_use
        assert len(window.tracker.lengths().score) == len(served.window.tracker.lengths().score)
        served.monitor.close()
        restarted.monitor.close()

    in_loop(scenario())


def test_hostile_fields_of_what_was_learned_are_refused() -> None:
    """Whatever a file says of it, it is read or the file is called damaged; nothing else is raised."""

    async def scenario() -> None:
        served, restarted = Served(), Served()
        saved = await saved_after(served)
        refused = 0
        for name in [n for n in saved.columns if n.startswith("learned/")]:
            for wrong in (saved.columns[name] * np.inf, saved.columns[name][:-1], np.array(["x"]), np.zeros((2, 2))):
                refused += not readable(restarted, Saved(saved.columns | {name: wrong}, saved.scalars))
        for key in ("key_id", "in_use", "calibration", "head"):
            for value in (7, "x", [], {"knots": [], "mean_expected": -1}, True):
                fields = saved.scalars["learned"] | {key: value}
                refused += not readable(restarted, Saved(saved.columns, saved.scalars | {"learned": fields}))
        for value in (7, "x", [1], {}, True):
            refused += not readable(restarted, Saved(saved.columns, saved.scalars | {"learned": value}))
        assert refused >= 20
        served.monitor.close()
        restarted.monitor.close()

    in_loop(scenario())


def readable(served: Served, saved: Saved) -> bool:
    """Whether a window can be restored; False for an error that makes a file a damaged one."""
    try:
        restore_window(served.monitor, served.settings, saved, 0.0)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, IndexError):
        return False
    return True


def test_a_guard_is_judged_anew_where_what_it_was_judged_on_is_not_restored() -> None:
    """Its mode stays; the bound of tau, which was of learned scores, does not hold the ranker's own near it."""
    tracker, guard = QualityTracker(), Guard(measured=True)
    guard.adopt(GuardStanding(GuardMode.RANKED, 0.0, None, 60.0, 0.0, 0, 0.6), 1.0)
    window = Window("llm", VERSION, tracker, guard, True, None, PRIOR)
    window.learned_calibration = PRIOR
    window.use_learned(True)
    assert (guard.mode, guard.tau_low) == (GuardMode.RANKED, 0.6)
    assert isinstance(window.tracker.lengths(), Cohort)
    assert window.calibration is PRIOR
