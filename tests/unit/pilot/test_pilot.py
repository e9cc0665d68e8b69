"""One pilot from plan to report, fed with requests whose latencies are known."""

import itertools
import math

import numpy as np
import pytest
from rankd_client.ordering import Policy

from rankd.pilot import Arm, LatencyMetric, PilotState, Schedule, Switchback, SwitchbackPlan

keys = itertools.count(1)
SPREAD = 0x9E3779B97F4A7C15


def key():
    """Keys spread over all 64 bits, as hashes are."""
    return next(keys) * SPREAD % 2**64


def planned(blocks=12, **fields):
    return SwitchbackPlan(Schedule(3, 1000.0, 100.0, 20.0, blocks), Policy.FCFS, Policy.DUE, **fields)


def play(pilot, rng, ratio, *, slots=None, requests=60, busy=0.3, until=None):
    """Live a pilot through: latencies of some seconds, ``ratio`` times as long in treatment slots."""
    schedule = pilot.plan.schedule
    level = 0.0
    for slot in range(schedule.slots if slots is None else slots):
        level = 0.7 * level + rng.normal(0, busy)
        if not pilot.active:
            return
        for place in np.sort(rng.random(requests)):
            arrival = schedule.begins(slot) + place * schedule.slot
            pilot.advance(arrival)
            ticket = pilot.ticket_at(arrival)
            latency = 2.0 * math.exp(level + rng.normal(0, 0.5))
            latency *= ratio if schedule.arm(slot) is Arm.TREATMENT else 1.0
            name = key()
            pilot.arrived(name, ticket, arrival)
            pilot.ended(name, ticket, arrival, latency, served=True)
    pilot.advance(schedule.ends(slot) + (schedule.slot if until is None else until))


def effect(report, metric=LatencyMetric.P99):
    return next(e for e in report.effects if e.metric is metric)


def test_a_pilot_lives_from_plan_to_report():
    """Planned, running, finished; it orders in its slots only, and reports every block."""
    pilot = Switchback(planned())
    assert (pilot.state, pilot.policy_at(999.0)) == (PilotState.PLANNED, None)
    assert pilot.report(999.0).effects == ()
    pilot.advance(1000.0)
    assert pilot.state is PilotState.RUNNING
    policies = [pilot.policy_at(1000.0 + 100 * s + 1) for s in range(24)]
    assert policies.count(Policy.FCFS) == policies.count(Policy.DUE) == 12
    assert pilot.policy_at(3400.0) is None
    play(pilot, np.random.default_rng(1), 0.7)
    report = pilot.report(3600.0)
    assert (report.state, report.blocks, report.counts.slots) == (PilotState.FINISHED, 12, 24)
    assert report.reason
    assert pilot.policy_at(1500.0) is None
    assert pilot.ticket_at(1550.0) == 0
    assert 40 * 24 < report.counts.requests < 56 * 24


def test_it_finds_the_effect_that_is_there():
    """Latencies of .7 times as long are .7 in every metric, inside of both intervals, the fixed one narrower."""
    pilot = Switchback(planned(blocks=30))
    play(pilot, np.random.default_rng(2), 0.7)
    for e in pilot.report(9e9).effects:
        assert e.sequence_low < e.low < 0.7 < e.high < e.sequence_high
        assert e.ratio == pytest.approx(e.treatment / e.control)
        assert e.ratio == pytest.approx(0.7, rel=0.25)
    assert effect(pilot.report(9e9), LatencyMetric.MEAN).high < 1


def test_it_stops_by_itself_on_harm():
    """Twice as long: it stops well before its end, says why, and orders nothing any more."""
    pilot = Switchback(planned(blocks=60))
    play(pilot, np.random.default_rng(3), 2.0)
    report = pilot.report(9e9)
    assert (report.state, report.arm) == (PilotState.STOPPED, None)
    assert "p99" in report.reason
    assert 7 <= report.blocks < 20
    assert effect(report).sequence_low > 1.0
    pilot.cancel()
    assert pilot.state is PilotState.STOPPED


@pytest.mark.parametrize(("metric", "tolerance"), [(LatencyMetric.P99, 1.2), (LatencyMetric.MEAN, 1.2)])
def test_harm_within_tolerance_does_not_stop_it(metric, tolerance):
    """The same harm, tolerated."""
    pilot = Switchback(planned(blocks=20, metric=metric, harm_tolerance=tolerance))
    play(pilot, np.random.default_rng(3), 2.0)
    assert pilot.state is PilotState.FINISHED


def test_a_shadow_orders_nothing():
    """Slots, counts and figures as ever; no policy at any time."""
    pilot = Switchback(planned(shadow=True))
    pilot.advance(1000.0)
    assert pilot.report(1001.0).arm in set(Arm)
    assert {pilot.policy_at(1000.0 + s) for s in range(0, 2400, 50)} == {None}
    play(pilot, np.random.default_rng(4), 1.0)
    report = pilot.report(9e9)
    assert (report.state, report.blocks, report.counts.answers) == (PilotState.FINISHED, 12, 0)
    assert effect(report).low < 1 < effect(report).high


def test_an_administrator_ends_it():
    """Cancelled at any time; what was known stays, and nothing more is taken."""
    pilot = Switchback(planned())
    play(pilot, np.random.default_rng(5), 1.0, slots=6)
    pilot.cancel()
    pilot.ended(key(), pilot.plan.schedule.ticket(6), 1650.0, 1.0, served=True)
    pilot.advance(9e9)
    report = pilot.report(9e9)
    assert (report.state, report.blocks, report.counts.late) == (PilotState.CANCELLED, 3, 0)


def test_a_slot_waits_for_its_requests():
    """With open ones it is looked at a slot's length after its end; they count as at least so long."""
    pilot = Switchback(planned(metric=LatencyMetric.MEAN))
    ticket = pilot.plan.schedule.ticket(0)
    pilot.advance(1050.0)
    names = [key() for _ in range(40)]
    for name in names:
        pilot.arrived(name, ticket, 1050.0)
    for name in names[:30]:
        pilot.ended(name, ticket, 1050.0, 5.0, served=True)
    pilot.advance(1199.0)
    assert pilot.report(1199.0).counts.slots == 0
    pilot.advance(1200.0)
    counts = pilot.report(1200.0).counts
    assert (counts.slots, counts.requests, counts.unfinished, counts.crossed) == (1, 40, 10, 10)
    [control_or_treatment] = [f for f in pilot._pending.values() if f is not None]
    assert control_or_treatment.tolist() == pytest.approx([0.75 * 5 + 0.25 * 100, 5, 100, 100])
    pilot.ended(names[35], ticket, 1050.0, 155.0, served=True)
    assert pilot.report(1201.0).counts.late == 1


def test_a_slot_whose_requests_ended_is_looked_at_early():
    """No waiting for what has come."""
    pilot = Switchback(planned())
    pilot.advance(1050.0)
    ticket = pilot.ticket_at(1050.0)
    pilot.ended(key(), ticket, 1050.0, 1.0, served=True)
    pilot.advance(1119.0)
    assert pilot.report(1119.0).counts.slots == 0
    pilot.advance(1120.0)
    assert pilot.report(1120.0).counts.slots == 1


def test_slots_with_few_requests_are_left_out():
    """Blocks without traffic are skipped; the pilot ends all the same, and says that it measured nothing."""
    pilot = Switchback(planned())
    play(pilot, np.random.default_rng(6), 1.0, requests=10)
    report = pilot.report(9e9)
    assert (report.state, report.blocks, report.counts.skipped) == (PilotState.UNMEASURED, 0, 12)
    assert "no block had 20 requests" in report.reason
    silent = Switchback(planned())
    silent.advance(9e9)
    assert (silent.state, silent.report(9e9).counts.skipped) == (PilotState.NO_TRAFFIC, 12)


def test_reports_that_cannot_count_are_counted_as_such():
    """Without a latency; of another pilot; in no slot."""
    pilot = Switchback(planned())
    pilot.advance(1050.0)
    pilot.ended(key(), pilot.ticket_at(1050.0), 1050.0, None, served=True)
    other = Schedule(4, 1000.0, 100.0, 20.0, 12)
    pilot.ended(key(), other.ticket(0), 1050.0, 1.0, served=True)
    pilot.ended(key(), 0, 1050.0, 1.0, served=True)
    counts = pilot.report(1051.0).counts
    assert (counts.unknown, counts.late, counts.requests) == (1, 1, 0)


def test_an_end_counts_once():
    """However often it is told, and whether its arrival was told or not."""
    pilot = Switchback(planned())
    pilot.advance(1050.0)
    name, ticket = key(), pilot.ticket_at(1050.0)
    for latency in (3.0, 9.0):
        pilot.arrived(name, ticket, 1050.0)
        pilot.ended(name, ticket, 1050.0, latency, served=True)
    sample = pilot._samples[0]
    assert (len(sample), sample.open) == (1, 0)
    assert sample.columns(1060.0)[1].tolist() == [3.0]


def test_memory_is_bounded_and_the_sample_fair():
    """Of 20,000 requests a thousand at most are kept, and their latencies are those of all; open ones included."""
    pilot = Switchback(planned(most_kept=1000))
    pilot.advance(1050.0)
    ticket = pilot.ticket_at(1050.0)
    rng = np.random.default_rng(7)
    for latency in rng.exponential(5.0, 20_000).tolist():
        name = int(rng.integers(0, 2**64, dtype=np.uint64))
        pilot.arrived(name, ticket, 1050.0)
        if latency < 20:
            pilot.ended(name, ticket, 1050.0, latency, served=True)
    sample = pilot._samples[0]
    assert 450 < len(sample) <= 1000
    _, latency, served = sample.columns(1090.0)
    assert sample.open == np.count_nonzero(~served)
    assert np.mean(~served) == pytest.approx(math.exp(-4), abs=0.02)
    assert np.median(latency) == pytest.approx(5 * math.log(2), rel=0.15)
    for slot in range(100):
        pilot.ended(key(), pilot.plan.schedule.ticket(slot % 24), 1050.0, 1.0, served=True)
    assert len(pilot._samples) <= 4


def test_answers_that_do_not_follow_are_counted():
    """Where the guard falls back in a treatment slot, the report says so."""
    pilot = Switchback(planned())
    pilot.advance(1000.0)
    for slot in range(4):
        pilot.ordered(1050.0 + 100 * slot, Policy.FCFS)
    pilot.ordered(999.0, Policy.FCFS)
    counts = pilot.report(1400.0).counts
    assert (counts.answers, counts.overridden) == (4, 2)


def test_a_day_without_a_tick_is_caught_up():
    """Time that jumps ends all slots that are over."""
    pilot = Switchback(planned())
    play(pilot, np.random.default_rng(8), 1.0, slots=4, until=0.0)
    pilot.advance(9e9)
    report = pilot.report(9e9)
    assert report.state is PilotState.FINISHED
    assert report.blocks + report.counts.skipped == 12


@pytest.mark.parametrize(
    "wrong", [{"harm_tolerance": -0.1}, {"harm_tolerance": math.nan}, {"least_requests": 0}, {"most_kept": 5}]
)
def test_what_is_no_plan_is_refused(wrong):
    """Naming what is wrong."""
    with pytest.raises(ValueError, match=next(iter(wrong))):
        planned(**wrong)


def test_a_pilot_without_traffic_ends_itself():
    """A minute after its beginning, not after its plan; one request is traffic; 0 waits for ever."""
    pilot = Switchback(planned(idle_after=60.0))
    pilot.advance(900.0, "there were of 'other'")
    assert pilot.state is PilotState.PLANNED
    pilot.advance(1000.0)
    pilot.advance(1059.0)
    assert pilot.state is PilotState.RUNNING
    pilot.advance(1060.0, "there were of 'other'")
    report = pilot.report(1060.0)
    assert report.state is PilotState.NO_TRAFFIC
    assert report.reason == "no request of this model came in 60 s; there were of 'other'"
    assert pilot.policy_at(1061.0) is None
    busy, patient = Switchback(planned(idle_after=60.0)), Switchback(planned())
    busy.advance(1000.0)
    busy.ordered(1000.0, Policy.FCFS)
    for each in (busy, patient):
        each.advance(1090.0)
        assert each.state is PilotState.RUNNING
    patient.advance(1e6)
    assert patient.state is PilotState.NO_TRAFFIC  # all slots are over, and there was none in any


def test_a_pilot_ends_where_completions_have_no_duration():
    """Twenty reports without one and none with one: it would go on for hours, and show nothing."""
    pilot = Switchback(planned())
    pilot.advance(1000.0)
    for n in range(20):
        assert pilot.state is PilotState.RUNNING
        pilot.ended(key(), pilot.ticket_at(1030.0 + n), 1030.0 + n, None, served=True)
    assert pilot.state is PilotState.UNMEASURED
    assert pilot.report(1051.0).reason.startswith("20 completions were reported, and none with total_duration")
    mixed = Switchback(planned())
    mixed.advance(1000.0)
    mixed.ended(key(), mixed.ticket_at(1030.0), 1030.0, 2.0, served=True)
    for n in range(60):
        mixed.ended(key(), mixed.ticket_at(1030.0 + n), 1030.0 + n, None, served=True)
    assert mixed.state is PilotState.RUNNING


def test_a_pilot_ends_where_nothing_is_reported():
    """Requests come, and no end of any is known by the end of the first block."""
    pilot = Switchback(planned())
    for slot in range(3):
        for n in range(30):
            arrival = 1025.0 + 100 * slot + n
            pilot.advance(arrival)
            if ticket := pilot.ticket_at(arrival):
                pilot.arrived(key(), ticket, arrival)
    pilot.advance(1300.0)
    assert pilot.state is PilotState.UNMEASURED
    assert "none was reported to have ended within a slot's length" in pilot.report(1300.0).reason
