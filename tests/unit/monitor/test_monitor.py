"""The monitor without a network: work that it hands to its thread, and where new windows begin."""

import asyncio
import threading
import time

from rankd.monitor.load import WaitingTimes
from rankd.monitor.monitor import Monitor
from rankd.quality import ReportVerdict
from rankd.settings import load_settings
from rankd.telemetry.telemetry import Telemetry
from rankd.types import Completion, GuardMode

VERSION = "r@1"


def monitor(**settings) -> Monitor:
    made = Monitor(load_settings(**settings), Telemetry("test"))
    made.register(VERSION, measured=True, calibration=None)
    return made


def final(n: int, model: str = "llm") -> Completion:
    return Completion(f"r{n}", model, VERSION, float(n % 7), n % 500, final=True, complete=True, arrival=time.time())


def test_one_refit_at_a_time_learns_from_all_reports() -> None:
    """However many reports come at once, one refit, one look and one lesson wait at most; in the end none is left."""

    async def scenario() -> None:
        m = monitor(order={"recalibrate_every": 16})
        busy = threading.Event()
        m.jobs.estimates.start("other work", lambda: lambda: busy.wait(20), lambda _: None)
        for n in range(2000):
            assert m.report(final(n), time.time()) is ReportVerdict.ACCEPTED
        assert m.jobs.estimates._executor._work_queue.qsize() <= 3
        busy.set()
        window = m.reported_windows()[0]
        end = time.monotonic() + 20
        while flights := [f for j in (m.jobs.evaluations, m.jobs.refits) if (f := j.flight(window)) is not None]:
            assert time.monotonic() < end
            await asyncio.wait(flights)
        assert window.tracker.completions - window.refit_at < 16
        assert not window.tracker.guard_due
        assert window.calibration is not None
        m.close()

    asyncio.run(scenario())


def test_a_first_report_changes_no_trust() -> None:
    """While batches fail, a model whose first report comes in is trusted no more than before it."""

    async def scenario() -> None:
        m = monitor()
        for _ in range(10):
            m.batch_done(VERSION, ok=False, seconds=0.01, now=time.time())
        before = m.trust("llm", VERSION)
        assert not before.ranks
        m.report(final(0), time.time())
        assert m.reported_windows()[0].guard.mode is GuardMode.FALLBACK
        assert m.trust("llm", VERSION) == before
        m.close()

    asyncio.run(scenario())


def test_who_makes_room_is_who_has_told_least() -> None:
    """A flood of names costs a growing model nothing: those with fewer completions make room before it."""

    async def scenario() -> None:
        m = monitor(quality={"max_windows": 2})
        m.report(final(50, "growing"), time.time())
        for n in range(49):
            m.report(final(n, "growing"), time.time())
            m.report(final(n, f"flood{n}a"), time.time())
            m.report(final(n, f"flood{n}b"), time.time())
        windows = {w.model: w.tracker.completions for w in m.reported_windows()}
        assert windows == {"growing": 50, "flood48b": 1}
        m.close()

    asyncio.run(scenario())


def test_one_absurd_wait_does_not_move_the_mean():
    """Of 256 waits the largest twentieth does not count."""
    waits = WaitingTimes()
    for _ in range(255):
        waits.add(2.0)
    waits.add(3e11)
    assert waits.mean == 2.0
    alone = WaitingTimes()
    alone.add(5.0)
    assert alone.mean == 5.0
