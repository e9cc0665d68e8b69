"""What was learned of a served model's traffic, so far that it orders: taught by as much traffic as that takes."""

import asyncio

from rankd_client import AdminClient, PilotPlan

from rankd.clock import CLOCK
from rankd.monitor.window import Window
from rankd.quality.serialise import Saved
from support.daemon import Daemon
from support.learned_traffic import LearnedTraffic
from support.served_model import Served, in_loop

_SEED = 1


def taught() -> Saved:
    """What a daemon that learned until it orders by that would write into its snapshot."""
    kept = []

    async def scenario() -> None:
        served = Served(_SEED)
        assert await served.until(True, 800) < 800
        await served.idle()
        kept.append(served.window.adaptation.save())
        served.monitor.close()

    in_loop(scenario())
    return kept[0]


def teach(daemon: Daemon, model: str, saved: Saved) -> Window:
    """Let a daemon go on with what was learned, as after a restart, and compare it on more of the same traffic.

    Gives its window, once learned scores order it and there are figures.
    """
    traffic = LearnedTraffic(_SEED)

    async def adopt() -> Window:
        monitor, now = daemon.app.monitor, CLOCK.now()
        (window,) = (w for w in monitor.reported_windows() if w.model == model)
        window.adaptation.restore(saved, now)
        monitor.tick(now)
        told = 0
        while told < 96 or window.adaptation.status.difference is None or not window.learned_in_use:
            told += 1
            completion = traffic.completion(CLOCK.now())
            monitor.learn_from_peer(window.model, window.ranker_version, completion, CLOCK.now())
            await asyncio.sleep(0.01)
        if (flight := monitor.jobs.adaptations.flight(window)) is not None:
            await asyncio.wait([flight])
        return window

    return daemon.run(adopt())


def hold_back(daemon: Daemon, window: Window) -> None:
    """Let a pilot be under way that began before learned scores came into use."""
    with AdminClient(daemon.admin_target) as admin:
        admin.start_pilot(PilotPlan(slot=60, blocks=6, model=window.model))
    daemon.call(window.use_learned, False)
