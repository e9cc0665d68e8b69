"""rankd beside its peers: what needs none of them, and a run with rankd alone."""

import asyncio
import json

import numpy as np
import pytest
from rankd_client.v1 import rank_pb2

from benchmarks.peers.__main__ import main, parse
from benchmarks.peers.child import Child
from benchmarks.peers.loads import LOADS, Row, Sample, percentile
from benchmarks.peers.peer import check_scores, check_vectors
from benchmarks.peers.tables import tables
from rankd.errors import RankdError


def answer(scores, unscored=0):
    """An answer with such scores; None is an item without one."""
    response = rank_pb2.RankResponse(unscored_count=unscored)
    for score in scores:
        item = response.items.add()
        if score is not None:
            item.prediction.score = score
    return response


def test_the_command_line():
    """`--quick` shortens; numbers must make sense."""
    quick = parse(["--quick", "--rounds", "9"])
    assert (quick.rounds, quick.seconds) == (1, 1.0)
    assert parse([]).rounds > 1
    assert parse(["--quick", "--seconds", "0.2"]).seconds == 0.2
    for wrong in (["--rounds", "0"], ["--seconds", "0"], ["--only", "somebody"]):
        with pytest.raises(SystemExit) as ended:
            parse(wrong)
        assert ended.value.code == 2


def test_percentiles_are_values_that_occurred():
    """The smallest that the share does not exceed; of few values the largest."""
    hundred = list(range(1, 101))
    assert [percentile(hundred, share) for share in (0.01, 0.5, 0.99, 1.0)] == [1, 50, 99, 100]
    assert percentile([7.0], 0.5) == percentile([7.0], 0.99) == 7.0
    assert percentile([1.0, 2.0], 0.99) == 2.0


def test_figures_of_rounds():
    """Rates by round, times of all requests together, processor time as cores."""
    row = Row(
        [Sample(2.0, 64, [10.0, 30.0], 3.0, 0.5), Sample(1.0, 64, [20.0], 1.0, 0.25), Sample(4.0, 64, [5.0], 8, 1)]
    )
    figures = row.figures()
    assert figures["prompts_per_second"] == {"median": 32.0, "min": 16.0, "max": 64.0}
    assert figures["request_ms"] == {"p50": 10.0, "p99": 30.0}
    assert (figures["requests"], figures["rounds"]) == (4, 3)
    assert (figures["cores_of_server"], figures["cores_of_generator"]) == (1.5, 0.25)


def test_the_tables_say_who_was_not_measured():
    """A load that a peer has not is a dash; a failure is told with its reason."""
    row = Row([Sample(1.0, 1234, [10.0], 1.5, 0.25)])
    results = {
        "figures": {"a": {"one": row.figures()}},
        "settings": {"a": "as it comes"},
        "agreement": {"b": 0.98765},
        "reference": "a",
        "failures": {"c": "it ended"},
    }
    text = tables(results, ["one", "two"])
    assert "| a | 1,234 (1,234\N{EN DASH}1,234) | \N{EN DASH} |" in text
    assert "| a | 10 / 10 | \N{EN DASH} |" in text
    assert "| a | 1.50 + 0.25 | \N{EN DASH} |" in text
    assert "- a: as it comes" in text
    assert "b 0.9877" in text
    assert "**c was not measured:** it ended" in text


def test_answers_are_looked_at():
    """A benchmark that counted answers without scores would measure nothing."""
    check_scores(answer([1.0, -2.0]), 2)
    for wrong in (answer([1.0]), answer([1.0, None]), answer([1.0, float("nan")]), answer([1.0, 2.0], unscored=1)):
        with pytest.raises(RankdError):
            check_scores(wrong, 2)
    good = np.ones((2, 3), np.float32)
    check_vectors(good, 2, 3)
    for wrong in (good[:1], good[:, :2], good * np.float32("nan")):
        with pytest.raises(RankdError):
            check_vectors(wrong, 2, 3)


def test_a_process_that_does_not_come_up_is_told_with_its_last_words():
    """Not waited for."""

    async def run():
        child = await Child.start(["sh", "-c", "echo no such model >&2; exit 3"], {})
        try:
            await child.said("listen")
        finally:
            await child.stop()

    with pytest.raises(RankdError, match="no such model"):
        asyncio.run(run())


def test_without_the_environment_it_says_what_makes_it(tmp_path, capsys):
    """And what can be done without."""
    assert main(["--environment", str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert "make peers" in err
    assert "--only rankd" in err


def test_rankd_alone(tiny, tmp_path, capsys):
    """A real daemon under all loads, for moments; the figures themselves are not judged here."""
    file = tmp_path / "out" / "peers.json"
    flags = ["--only", "rankd", "--rounds", "2", "--seconds", "0.01", "--ranker", str(tiny), "--json", str(file)]
    assert main(flags) == 0
    results = json.loads(file.read_text())
    by_load = results["figures"]["rankd"]
    assert list(by_load) == [load.name for load in LOADS]
    for load in LOADS:
        figures = by_load[load.name]
        assert figures["rounds"] == 2
        assert figures["requests"] >= 2
        assert 0 < figures["request_ms"]["p50"] <= figures["request_ms"]["p99"]
        assert figures["prompts_per_second"]["min"] > 0 < figures["cores_of_generator"]
    assert "worker" in results["settings"]["rankd"]
    assert not results["failures"]
    assert "| rankd |" in capsys.readouterr().out
