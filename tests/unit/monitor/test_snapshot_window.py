"""What a file of windows holds of what was learned, and what it may hold."""

import json
import math
import time

import numpy as np
import pytest
from support.served_model import VERSION, Served, in_loop

from rankd.monitor.snapshot import Snapshots
from rankd.monitor.snapshot_file import read
from rankd.monitor.snapshot_window import restore_window, save_window, writable
from rankd.monitor.tracker_settings import feature_key_id
from rankd.quality.serialise import Saved
from rankd.settings import load_settings


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
        assert sum(column.nbytes for name, column in saved.columns.items() if name.startswith("learned/")) < 2_000_000
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
            column = saved.columns[name]
            for wrong in (np.full(column.shape, np.inf), column[:-1], np.array(["x"]), np.zeros((2, 2))):
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


@pytest.mark.parametrize(("name", "value"), [("steps_back", 10**9), ("buckets", 1e300)])
def test_of_what_was_learned_an_implausible_number_costs_only_that(name, value) -> None:
    """The ranker's own scores come back; what stood where it did by the others is judged anew."""

    async def scenario() -> None:
        served, restarted = Served(), Served()
        saved = await saved_after(served)
        if name == "buckets":
            saved.columns["learned/buckets"][0] = value
        else:
            saved.scalars["learned"]["head"]["proof"][name] = value
        window = restore_window(restarted.monitor, restarted.settings, saved, 0.0)
        assert window.tracker.completions == served.window.tracker.completions
        assert window.calibration == served.window.base_calibration
        assert window.adaptation.status.completions == 0
        assert not window.adaptation.in_use
        assert len(window.tracker.lengths(learned=True).score) == 0
        served.monitor.close()
        restarted.monitor.close()

    in_loop(scenario())


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_number_in_an_array_that_cannot_be_costs_its_own_model_alone_and_is_told_once(
    tmp_path, capsys, value
) -> None:
    """No model's name is told. Scores that were never learned may be NaN."""

    async def scenario() -> None:
        file = tmp_path / "windows.npz"
        served = Served(quality={"snapshot": str(file)})
        await served.until(True, 800)
        other = served.monitor.open_window("other", VERSION, time.time())
        assert other is not None
        other.adaptation.restore(served.window.adaptation.save(), time.time())
        other.adaptation._learned.head.dense[0] = value
        assert not writable(save_window(other))
        assert writable(save_window(served.window))
        snapshots = Snapshots(served.settings, served.monitor, served.telemetry)
        await snapshots.start()
        await snapshots._write(file)
        await snapshots.close()
        header, _ = read(file)
        assert [view["model"] for view in header["views"]] == ["llm"]
        served.monitor.close()

    in_loop(scenario())
    told = [line for line in capsys.readouterr().out.splitlines() if "snapshot_window_left_out" in line]
    assert len(told) == 1
    assert "other" not in told[0]


def readable(served: Served, saved: Saved) -> bool:
    """Whether a window can be restored; False for an error that makes a file a damaged one."""
    try:
        restore_window(served.monitor, served.settings, saved, 0.0)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, IndexError):
        return False
    return True


def test_a_value_that_no_file_holds_costs_its_own_model_alone(tmp_path) -> None:
    """A file is written all the same, of all other models, and again later."""

    async def scenario() -> None:
        file = tmp_path / "windows.npz"
        served = Served(quality={"snapshot": str(file)})
        await served.report(16)
        other = served.monitor.open_window("other", VERSION, time.time())
        assert other is not None
        other.load.mean_prompt = math.nan
        snapshots = Snapshots(served.settings, served.monitor, served.telemetry)
        await snapshots.start()
        await snapshots.close()
        header, _ = read(file)
        assert [view["model"] for view in header["views"]] == ["llm"]
        served.monitor.close()

    in_loop(scenario())


def test_what_is_forgotten_judges_nothing_that_is_learned_later() -> None:
    """Neither scores of the head that was forgotten nor their map to lengths are left."""

    async def scenario() -> None:
        served = Served()
        await served.until(True, 800)
        served.monitor.forget_learned(served.window)
        assert not served.window.learned_in_use
        assert served.window.learned_calibration is None
        assert len(served.window.tracker.lengths(learned=True).score) == 0
        assert len(served.window.tracker.lengths().score) == served.reported
        assert await served.until(True, 1200) < 1200
        served.monitor.close()

    in_loop(scenario())
