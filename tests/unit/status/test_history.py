"""What the page keeps over time: bounded, and without what was never known."""

import math
import threading

import pytest

from rankd.errors import ConfigError
from rankd.settings import PageSection, load_settings
from rankd.status.history import TRAFFIC, WINDOW, HistorySpan, RowRing, StatusHistory
from rankd.telemetry.stages import StageTimes

UNKNOWN = (math.nan,) * (len(WINDOW) - 1)


def counters(**counts):
    return tuple(float(counts.get(name, 0)) for name in TRAFFIC[1:])


def test_a_ring_keeps_the_last_rows():
    """More rows than its size push out the oldest; a row is 8 bytes a value and 33 of Python's own."""
    ring = RowRing(("at", "x"), 3)
    for i in range(10):
        ring.add((i, -i))
    assert ring.columns() == {"at": [7, 8, 9], "x": [-7, -8, -9]}
    assert ring._rows[0].__sizeof__() == 2 * 8 + 33


def test_traffic_is_told_per_second_and_as_shares():
    """Counters become rates between two rows; a share of nothing is None, not 0."""
    span = HistorySpan(5.0, 10)
    span.add(100.0, counters(), {})
    span.add(
        105.0,
        counters(
            answers=50, not_ranked=10, items=500, unscored=5, completions=20, progress_reports=5, queued_prompts=7
        ),
        {},
    )
    span.add(110.0, counters(answers=50, not_ranked=10, items=500, unscored=5, completions=30, progress_reports=5), {})
    assert span.traffic() == {
        "at": [105.0, 110.0],
        "answers_per_second": [10.0, 0.0],
        "items_per_second": [100.0, 0.0],
        "completions_per_second": [4.0, 2.0],
        "progress_reports_per_second": [1.0, 0.0],
        "not_ranked_share": [0.2, None],
        "unscored_share": [0.01, None],
        "queued_prompts": [7, 0],
    }


def test_a_window_that_is_gone_is_forgotten_and_what_was_unknown_is_none():
    """Memory follows the windows that there are; a new one of the same name begins anew."""
    span = HistorySpan(5.0, 3)
    old, new = ("m", "r@1"), ("m", "r@2")
    span.add(1.0, counters(), {old: UNKNOWN})
    span.add(6.0, counters(), {old: (0.5, 0.41, 0.59, *UNKNOWN[3:])})
    assert span.window(old)["tau"] == [None, 0.5]
    assert span.window(old)["at"] == [1.0, 6.0]
    for i in range(5):
        span.add(11.0 + i, counters(), {new: UNKNOWN})
    assert span.window(old)["at"] == []
    assert len(span.window(new)["at"]) == 3
    assert len(span._windows) == 1


def test_spans_take_a_row_when_it_is_time_and_also_after_the_clock_was_set_back():
    """The short span every 5 s, the long one every 3 minutes; a clock that jumps back by an hour stops neither."""
    history = StatusHistory(PageSection())
    taken = dict.fromkeys(history.spans, 0)
    for now in [float(t) for t in range(10_000, 10_600)] + [float(t) for t in range(6_400, 6_500)]:
        for name, span in history.spans.items():
            if span in list(history.due(now)):
                span.add(now, counters(), {})
                taken[name] += 1
    assert taken == {"short": 120 + 20, "long": 4 + 1}


def test_spans_are_settings_with_a_reason_where_they_are_wrong():
    """A long span that is finer than the short one is refused by name."""
    with pytest.raises(ConfigError, match=r"page.*long_every 10 must be at least every 60"):
        load_settings(page={"every": 60, "long_every": 10})


def test_stages_tell_quantiles_of_the_last_times():
    """Of the last 2,048, whatever was before; None where there was nothing."""
    stages = StageTimes()
    for i in range(5_000):
        stages.add("infer", i / 1000)
    infer, order = stages.quantiles(["infer", "order"])
    assert infer == {"stage": "infer", "recent": 2048, "p50": 3.975, "p90": 4.794, "p99": 4.978}
    assert order == {"stage": "order", "recent": 0, "p50": None, "p90": None, "p99": None}


def test_readers_and_writers_of_a_ring_do_not_meet():
    """What is read while rows are written is whole rows in order: columns are of one length and do not mix."""
    ring, stop = RowRing(("a", "b"), 100), threading.Event()

    def write():
        i = 0
        while not stop.is_set():
            ring.add((i, -i))
            i += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(300):
            columns = ring.columns()
            assert columns["a"] == [-b for b in columns["b"]]
            assert columns["a"] == sorted(columns["a"])
    finally:
        stop.set()
        writer.join()
