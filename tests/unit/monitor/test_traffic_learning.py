"""From completions to what orders: what was learned comes into use and leaves it, and nothing of before is evidence."""

import asyncio
import json
import time
from dataclasses import replace

import numpy as np
import pytest
from rankd_client.ordering import Policy
from support.learned_traffic import LearnedTraffic
from support.served_model import PRIOR, VERSION, Served, in_loop

from rankd.monitor.window import Window
from rankd.pilot import Schedule, SwitchbackPlan
from rankd.pilot.live import LivePilots
from rankd.quality import Guard, GuardReason, GuardStanding, QualityTracker, ReportVerdict
from rankd.quality.serialise import Saved
from rankd.types import Completion, GuardMode


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
        first = Completion("p", "llm", VERSION, one.score, 0, False, False, served.now, features=one.features)
        served.monitor.report(first, served.now)
        predicted = served.window.adaptation.scores(np.array([one.score]), [one.features])[0]
        await served.report(100)
        later = served.window.adaptation.scores(np.array([one.score]), [one.features])[0]
        assert later != predicted
        served.monitor.report(replace(first, tokens=one.tokens, final=True, complete=True), served.now)
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
        served = Served(adapt={"min_completions": 1024})
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


def test_a_switch_keeps_the_guards_mode() -> None:
    """And its bound of tau, until there is evidence of the other scores."""
    tracker, guard = QualityTracker(), Guard(measured=True)
    guard.adopt(GuardStanding(GuardMode.RANKED, 0.0, None, 60.0, 0.0, 0, 0.6), 1.0)
    window = Window("llm", VERSION, tracker, guard, True, None, PRIOR)
    window.learned_calibration = PRIOR
    window.use_learned(True)
    assert (guard.mode, guard.tau_low) == (GuardMode.RANKED, 0.6)
    assert window.calibration is PRIOR
