"""When saved seconds are asked for, of which completions, and what a tenant can do to them."""

import numpy as np
import pytest
from rankd_client.ordering import ServedRequest
from support.served_both_ways import boosted, served_both_ways

from rankd.monitor.load import ModelLoad
from rankd.monitor.saving import SavingHistory
from rankd.monitor.snapshot_saving import restore_total, save_total
from rankd.settings import OrderSection

SERVED = served_both_ways(boosted, 1.1, requests=700)
ROWS = SERVED.rows[np.argsort(SERVED.ranked.finish)]
LAST = float(SERVED.ranked.finish.max())


def request(row):
    arrival, waited, ran, output, prompt = row.tolist()
    return ServedRequest(arrival, waited, ran, output, output, prompt)


def history(rows=ROWS, tenant="", most=4000, into=None):
    """What is known once all of these were reported, each when it ended."""
    found = SavingHistory(most) if into is None else into
    for row in rows:
        found.reported(float(row[:3].sum()))
        found.add(request(row), tenant)
    return found


def estimated(saving, now=LAST + 100, **options):
    saving.take(saving.job(None, now, **options)())
    return saving.estimate


def test_it_is_asked_early_then_ever_more_rarely_and_once_more_when_all_have_ended():
    """128, 256, 512 completions; and in the silence after the last one, once."""
    saving, asked = SavingHistory(), []
    for number, row in enumerate(ROWS, 1):
        now = float(row[:3].sum())
        saving.reported(now)
        saving.add(request(row), "")
        if saving.due(now):
            saving.job(None, now)
            saving._estimated_at = now + 1e9  # never for the time that passed
            asked.append(number)
    assert asked == [128, 256, 512]
    assert not saving.due(LAST)
    assert saving.due(LAST + 100)
    saving.job(None, LAST + 100)
    assert not saving.due(LAST + 1000)
    assert not SavingHistory().due(0.0)


def test_where_completions_are_rare_it_is_asked_once_a_minute():
    """Hundreds more may take a day."""
    saving = history(ROWS[:300])
    at = float(ROWS[299, :3].sum())
    saving.job(None, at)
    history(ROWS[300:301], into=saving)
    assert not saving.due(at + 1)
    assert saving.due(at + 61)


def test_the_latest_are_kept_and_when_others_ended_is_known():
    """Of those that left nothing is left but the time."""
    saving = history(most=400)
    assert len(saving) == 400
    assert saving._complete_since == pytest.approx(float(ROWS[299, :3].sum()))
    saving.add(ServedRequest(0.0, float("nan"), 1.0, 1.0), "")
    assert len(saving) == 400


def test_what_is_saved_is_found_and_added_up():
    """The total counts each request once."""
    saving = history(ROWS[:400])
    first = estimated(saving, float(ROWS[399, :3].sum()))
    history(ROWS[400:], into=saving)
    found = estimated(saving)
    assert found.mean.low <= SERVED.saved.mean() <= found.mean.high
    counted = saving.total.completions
    assert 690 <= counted <= found.completions == 700
    assert first is None or first.completions < 700
    assert saving.total.seconds.value == pytest.approx(700 * found.mean.value, rel=0.25)
    assert estimated(saving) is not None
    assert saving.total.completions == counted


def test_a_tenant_that_invents_times_moves_nothing():
    """What lasts far longer than anything of the others is left out."""
    honest = estimated(history(tenant="a")).mean
    invented = ROWS[::8].copy()
    invented[:, 0] -= 3000
    invented[:, 1] += 3000
    saving = history(tenant="a")
    history(invented, tenant="liar", into=saving)
    assert estimated(saving).mean.value == pytest.approx(honest.value, rel=0.05)


def test_the_total_survives_in_a_snapshot():
    """By the machine's clock, which may be ahead of the daemon's."""
    saving, restored = history(), SavingHistory()
    estimated(saving)
    restore_total(restored, save_total(saving, 50.0), 50.0)
    assert restored.total == saving.total
    restore_total(restored, None, 0.0)
    assert save_total(SavingHistory(), 0.0) is None


@pytest.mark.parametrize(
    "wrong",
    [{"seconds": [1.0, 2.0, 3.0]}, {"seconds": ["a", 0, 1]}, {"completions": -1}, {"since": 1e12}, {"until": 0.0}],
)
def test_a_total_that_cannot_be_is_refused(wrong):
    """A file may have been written to by others."""
    saving = history()
    estimated(saving)
    with pytest.raises(ValueError, match=r"\w"):
        restore_total(SavingHistory(), {**save_total(saving, 1e6), **wrong}, 0.0)


def test_which_orders_let_somebody_wait_for_ever():
    """Of these nothing is said while the queue lasts."""
    load = ModelLoad()
    assert load.bounds_waits(OrderSection())
    assert load.bounds_waits(OrderSection(policy="fcfs"))
    assert not load.bounds_waits(OrderSection(policy="score"))
    assert not load.bounds_waits(OrderSection(objective="first"))
    assert not load.bounds_waits(OrderSection(patience_backlog_share=32.0))
