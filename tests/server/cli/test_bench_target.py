"""``rankd bench --target``: load on a daemon that runs, at a rate of arrivals."""

import asyncio
import json
import socket

import pytest
from rankd_client import AsyncRankClient

from rankd.bench.prompts import PromptSupply
from rankd.bench.run_target import caveats
from rankd.bench.target import TargetLoad, send_load


def test_load_on_a_daemon_that_runs(call, daemon, tmp_path):
    """What is sent is said before; counts add up; every call was scored, and took time from when it was due."""
    path = tmp_path / "out" / "figures.json"
    arguments = ("--target", daemon.target, "--rate", 60, "--seconds", 1, "--timeout", 20, "--json", path)
    done = call("bench", *arguments)
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stderr.split())
    assert f"{daemon.target} gets 60 calls a second for 1 s, about 60, at Poisson times: one new prompt each" in said
    assert "for the served model 'rankd-bench'. At most 1,000 are under way at once. No completions" in said
    results = json.loads(path.read_text())
    figures = results["figures"]["target"]
    assert results["settings"]["target"] == daemon.target
    assert figures["calls"] == sum(figures["outcomes"].values()) > 20
    assert figures["calls_not_sent"] == 0
    assert figures["answered_share"] == figures["scored_share"] == 1.0
    assert figures["ranked_share"] == figures["outcomes"].get("ranked", 0) / figures["calls"]
    assert 0 < figures["call_ms"]["median"] <= figures["call_ms"]["p99"] <= figures["call_ms"]["max"]
    assert "scored_share" in done.stdout


def test_a_target_that_never_answers_is_not_spared_in_silence(free_of_answers):
    """Open loop: calls go on coming. Those that are over the bound are not sent, and count as not answered."""

    async def measured():
        load = TargetLoad(rate=400, seconds=0.5, deadline=0.2, most_open=2)
        async with AsyncRankClient(free_of_answers) as client:
            return load, await send_load(client, load, PromptSupply(None), lambda _: None)

    load, figures = asyncio.run(measured())
    assert figures["calls_not_sent"] > 0
    assert figures["answered_share"] == figures["ranked_share"] == 0.0
    assert set(figures["outcomes"]) <= {"failed_timeout", "failed_unavailable"}
    assert "call_ms" not in figures
    assert any("were not sent, as 2 were under way" in caveat for caveat in caveats(figures, load))


@pytest.fixture
def free_of_answers():
    """Listens, and says nothing."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(16)
        yield f"127.0.0.1:{silent.getsockname()[1]}"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--target", "127.0.0.1:1"), "--target needs --rate"),
        (("--rate", "5"), "--rate is of load on a daemon that runs: name it by --target"),
        (("--in-flight", "5"), "--in-flight is of load on a daemon that runs"),
        (("latency", "--target", "127.0.0.1:1", "--rate", "5"), "'latency' is measured on a daemon of its own"),
        (("--target", "127.0.0.1:1", "--rate", "5", "--ranker", "ngram"), "--ranker is of a daemon of its own"),
        (("--target", "http://127.0.0.1:1", "--rate", "5"), "give HOST:PORT without http://"),
    ],
)
def test_what_does_not_go_together_is_refused(call, arguments, words):
    """With the flag at fault, and the remedy."""
    done = call("bench", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr


def test_nobody_there(call):
    """Nothing was measured, and nothing is shown."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        done = call("bench", "--target", f"127.0.0.1:{free.getsockname()[1]}", "--rate", 5, "--seconds", 1)
    assert (done.returncode, done.stdout) == (1, "")
    assert "does not answer" in done.stderr
