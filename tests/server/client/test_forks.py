"""Clients, streams and reporters in a forked child, as of `gunicorn --preload` and of multiprocessing."""

import json
import os
import subprocess
import sys

import pytest

PARENT = """
import asyncio, json, os, signal, sys, time
from rankd_client import AdminClient, AsyncRankClient, Completed, Item, Prediction, RankClient
from rankd_client.integration import IntegrationSettings, MemoryTally, PredictionStore, Reporter, connect
target, admin_target, before = sys.argv[1:]
client, asyncio_client = RankClient(target, timeout=30), AsyncRankClient(target, timeout=30)
admin, stream, tally = AdminClient(admin_target), client.stream(), MemoryTally()
reporter = Reporter(PredictionStore(), lambda: connect(IntegrationSettings(target=target)), tally)

def use(name):
    seen = {}
    queue = client.rank(["long", "short"])
    seen["rank"] = queue.reason
    order = stream.step([Item(name, request_id=name)], max_wait=10, timeout=30)
    seen["stream"], seen["queue"] = stream.reason, len(order)
    seen["report"] = client.report([Completed(name, Prediction(), 1)]).error
    seen["asyncio"] = asyncio.run(asyncio_client.rank(["long", "short"])).reason
    reporter.put(Completed(name + "-put", Prediction(), 1))
    reporter.close(10)
    seen["reporter"] = sum(tally.counts().values())
    for kind, ask in (("quality", client.quality), ("admin", admin.rankers)):
        try:
            ask()
            seen[kind] = ""
        except Exception as error:
            seen[kind] = f"{type(error).__name__}: {error}"
    seen["last_error"] = client.stats.last_error
    return seen

if before == "used":
    client.rank(["long", "short"])
    stream.step([Item("parent", request_id="parent")], max_wait=10, timeout=30)
    asyncio.run(asyncio_client.rank(["a"]))
child = os.fork()
if child == 0:
    signal.alarm(60)  # a child that hangs is ended
    print(json.dumps(use("child")), flush=True)
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0, "the child did not end by itself"
print(json.dumps(use("parent-after")), flush=True)
"""

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")


def run(daemon, before, **environment):
    """What a child, and then its parent, had of each call."""
    command = [sys.executable, "-W", "ignore", "-c", PARENT, daemon.target, daemon.admin_target, before]
    done = subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("before", "environment"),
    [("made", {}), ("made", {"GRPC_ENABLE_FORK_SUPPORT": "1"}), ("used", {"GRPC_ENABLE_FORK_SUPPORT": "true"})],
    ids=["made before", "made before, with gRPC's support", "used before, with gRPC's support"],
)
def test_a_child_has_connections_of_its_own(reported_daemon, before, environment):
    """All works on both sides: clients of either kind, streams, reporters, the admin's client."""
    for seen in run(reported_daemon, before, **environment):
        assert seen.pop("queue") >= 1
        assert seen.pop("reporter") == 1
        assert set(seen.values()) == {""}, seen


def test_where_grpc_was_used_before_the_child_says_why_it_does_not_rank(reported_daemon):
    """GRPC would hang for ever there. Nothing waits, everything names the cause and the remedy; the parent goes on."""
    child, parent = run(reported_daemon, "used", GRPC_ENABLE_FORK_SUPPORT="0")
    assert child["rank"] == child["stream"] == child["asyncio"] == "error:FORKED"
    assert child["queue"] == 2, "the stream's queue is whole"
    for kind in ("report", "quality", "admin", "last_error"):
        assert "GRPC_ENABLE_FORK_SUPPORT=1" in child[kind]
    assert [parent[kind] for kind in ("rank", "stream", "report", "asyncio", "quality", "admin")] == [""] * 6
