"""The pilot's slots: fair, the same for all who were given the same plan, and a function of time alone."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankd.pilot import Arm, Schedule

schedules = st.builds(
    lambda seed, start, slot, share, blocks: Schedule(seed, start, slot, share * slot, blocks),
    st.integers(0, 2**64 - 1),
    st.floats(0, 2e9),
    st.floats(0.1, 86400),
    st.floats(0, 0.9),
    st.integers(1, 60),
)


@given(schedules)
def test_every_block_holds_each_arm_once(schedule):
    """Pairs of neighbouring slots are balanced, whatever the seed."""
    for block in range(schedule.blocks):
        assert {schedule.arm(2 * block), schedule.arm(2 * block + 1)} == set(Arm)


@given(schedules, st.floats(-1, 130))
def test_times_and_slots_belong_together(schedule, place):
    """A time is in the slot that begins before and ends after it; outside of all there is none."""
    time = schedule.start + place * schedule.slot
    slot = schedule.slot_at(time)
    if slot is None:
        assert time < schedule.start + 1e-6 or time >= schedule.end - 1e-6 * schedule.slot - 1e-6
    else:
        assert schedule.begins(slot) - 1e-6 <= time <= schedule.ends(slot) + 1e-6


@given(schedules, st.floats(0, 1, exclude_max=True), st.integers(0, 119))
def test_who_arrives_in_washout_is_not_counted(schedule, place, slot):
    """After the washout a request counts in the slot where it arrived, and only there."""
    slot %= schedule.slots
    time = schedule.begins(slot) + place * schedule.slot
    counted = schedule.counted_slot(time)
    if abs(time - schedule.begins(slot) - schedule.washout) > 1e-5 * schedule.slot + 1e-5:
        into = time - schedule.begins(schedule.slot_at(time)) if schedule.slot_at(time) is not None else 0
        assert counted == (schedule.slot_at(time) if into >= schedule.washout else None)


@given(schedules)
def test_replicas_agree_without_talking(schedule):
    """Two that were given the same plan are in the same slot with the same arm and name it alike."""
    other = Schedule(schedule.seed, schedule.start, schedule.slot, schedule.washout, schedule.blocks)
    for slot in range(schedule.slots):
        assert (schedule.arm(slot), schedule.ticket(slot)) == (other.arm(slot), other.ticket(slot))


@given(schedules, st.integers(0, 119))
def test_names_of_slots_are_their_own(schedule, slot):
    """A slot is found by its name; another pilot's slots have other names, 0 is none's, and all fit the wire."""
    slot %= schedule.slots
    ticket = schedule.ticket(slot)
    assert 0 < ticket < 2**64
    assert schedule.slot_of(ticket) == slot
    later = Schedule(schedule.seed, schedule.start + 1000, schedule.slot, schedule.washout, schedule.blocks)
    assert later.slot_of(ticket) is None
    assert schedule.slot_of(0) is None
    assert schedule.slot_of(ticket - slot - 1) is None
    assert schedule.slot_of(schedule.ticket(schedule.slots - 1) + 1) is None


def test_the_order_in_blocks_is_as_good_as_random():
    """Treatment comes first in half of the blocks, and independently of the block before."""
    schedule = Schedule(5, 0.0, 1.0, 0.0, 1000)
    first = [schedule.arm(2 * b) is Arm.TREATMENT for b in range(1000)]
    changes = sum(a != b for a, b in itertools.pairwise(first))
    for count in (sum(first), changes):
        assert abs(count - 500) < 4 * math.sqrt(250)
    assert first != [Schedule(6, 0.0, 1.0, 0.0, 1000).arm(2 * b) is Arm.TREATMENT for b in range(1000)]


@pytest.mark.parametrize(
    "wrong",
    [{"seed": -1}, {"seed": 2**64}, {"start": math.nan}, {"slot": 0}, {"slot": math.inf}, {"washout": -1},
     {"washout": 10}, {"blocks": 0}, {"blocks": 1001}],
)  # fmt: skip
def test_what_is_no_schedule_is_refused(wrong):
    """Naming what is wrong."""
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Schedule(**({"seed": 1, "start": 0.0, "slot": 10.0, "washout": 2.0, "blocks": 8} | wrong))
