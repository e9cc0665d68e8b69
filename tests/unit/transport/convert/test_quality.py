"""What a window becomes as a message."""

from support.served_model import Served, in_loop

from rankd.transport.convert.quality import quality_of


def test_what_was_learned_goes_with_its_windows_quality():
    """And whether the figures are of it; where nothing is learned, the message has no such part."""

    async def scenario():
        served = Served()
        await served.report(40)
        out = quality_of(served.window, enabled=True)
        assert (out.HasField("adaptation"), out.learned_in_use) == (True, False)
        assert out.adaptation.completion_count == served.window.adaptation.status.completions > 0
        assert await served.until(True, 800) < 800
        await served.idle()
        out = quality_of(served.window, enabled=True)
        assert out.learned_in_use
        assert out.adaptation.difference.value == served.window.adaptation.status.difference.value > 0
        served.monitor.close()
        without = Served(adapt={"enabled": False})
        await without.report(40)
        out = quality_of(without.window, enabled=True)
        assert (out.HasField("adaptation"), out.learned_in_use) == (False, False)
        without.monitor.close()

    in_loop(scenario())
