"""What was learned as a message, and as the client reads that."""

import pytest
from rankd_client import Estimate
from rankd_client._quality import learned_quality_of

from rankd.adaptation import AdaptationState, AdaptationStatus
from rankd.clock import CLOCK
from rankd.quality import Interval
from rankd.transport.convert.adaptation import STATE_TO_PROTO, adaptation_of


@pytest.mark.parametrize("state", AdaptationState)
def test_every_state_arrives_under_its_name(state):
    """With counts, and no figures where there are none."""
    read = learned_quality_of(adaptation_of(AdaptationStatus(state, 7, 5, None, None, None, None, 3, 2)))
    assert read.state == state.value
    assert (read.completions, read.compared, read.switches, read.left_out) == (7, 5, 3, 2)
    assert read.base_tau is read.learned_tau is read.difference is read.since is None
    assert set(STATE_TO_PROTO) == set(AdaptationState)


def test_figures_arrive_each_in_its_place_and_times_by_the_machines_clock():
    """A difference of 0 is one, and not none."""
    intervals = Interval(0.3, 0.2, 0.4), Interval(0.5, 0.4, 0.6), Interval(0.0, -0.1, 0.1)
    now = CLOCK.now()
    read = learned_quality_of(adaptation_of(AdaptationStatus(AdaptationState.IN_USE, 9, 8, *intervals, now, 1, 0)))
    assert read.base_tau == Estimate(0.3, 0.2, 0.4)
    assert read.learned_tau == Estimate(0.5, 0.4, 0.6)
    assert read.difference == Estimate(0.0, -0.1, 0.1)
    assert read.since == pytest.approx(CLOCK.to_wall(now), abs=0.01)
