"""``/status.json`` of a real daemon: what it tells, and what it never does."""

import json
import re
import time
from urllib.request import urlopen

import pytest
from rankd_client import AdminClient, Completed, Item, PilotPlan, RankClient
from rankd_client.v1 import admin_pb2, prediction_pb2, quality_pb2
from support.repository import DOCS
from support.tiny_ranker import make_artifact
from support.wire import admin_stub, item, rank_stub, report_many, request

PAGE = DOCS / "reference" / "status-json.md"


def told(daemon, query=""):
    """The JSON now, not what was told half a second ago."""
    daemon.app.status._answers.clear()
    with urlopen(daemon.http + "/status.json" + query, timeout=10) as answer:
        return json.loads(answer.read(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def fields(value):
    """The names of all fields, however deep."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from fields(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from fields(inner)


def test_a_daemon_that_knows_nothing_says_so(start_daemon):
    """Nothing was reported: figures are null, not 0, and the one window listed stands for all models."""
    state = told(start_daemon(scoring={"workers": 2}))
    (window,) = state["windows"]
    assert (window["model"], window["completions"], window["guard"]["mode"]) == ("", 0, "warming_up")
    assert window["tau"] is window["realised_gain"] is window["decided_pair_share"] is None
    assert (state["ready"], state["reason"], state["windows_left_out"]) == (True, "serving", 0)
    assert state["rankers"][0] | {"queued_prompts": 0} == {
        "version": "tiny@1.0.0",
        "role": "in_service",
        "provider": "cpu",
        "precision": None,
        "device_share": None,
        "cpu_products": {},
        "workers": 2,
        "measured_tau": 0.5,
        "queued_prompts": 0,
        "shadow": None,
    }
    assert state["settings"]["spans"] == {"short": 1200, "long": 43200}


def test_traffic_quality_and_tenants_are_told_without_prompts_and_request_ids(start_daemon, wait_until):
    """What came in is counted, by reason, stage and tenant; nothing of a request but its model's and tenant's name."""
    daemon = start_daemon(page={"every": 1})
    wait_until(lambda: told(daemon)["history"]["traffic"]["at"])
    with RankClient(daemon.target, model="llm", timeout=30) as client:
        items = [Item(f"sesame {'long ' * i}", request_id=f"sesame-{i}", tenant="ab"[i % 2]) for i in range(10)]
        queue = client.rank(items)
        client.report([Completed(r.request_id, r.prediction, output_tokens=r.index + 5) for r in queue], timeout=30)
    with daemon.channel() as channel:
        plain = request(item("sesame-x", "sesame again"), model="llm", policy=prediction_pb2.POLICY_FCFS)
        rank_stub(channel).Rank(plain, timeout=30)
    report_many(daemon, "llm", 300)
    wait_until(lambda: told(daemon)["windows"][0]["guard"]["mode"] == "ranked" and told(daemon)["windows"][0]["tau"])
    wait_until(lambda: told(daemon)["history"]["window"]["tau"][-1] is not None)
    state = told(daemon)
    traffic, (window,) = state["traffic"], state["windows"]
    assert (traffic["answers"], traffic["items"], traffic["unscored"]) == (2, 11, 0)
    assert {(a["policy"], a["reason"]): a["answers"] for a in traffic["answers_by"]} == {
        ("boost", "none"): 1,
        ("fcfs", "requested"): 1,
    }
    assert traffic["completions"] == {"accepted": 310}
    assert window["tau"]["low"] <= window["tau"]["value"] <= window["tau"]["high"]
    assert window["guard"]["changes"][-1] | {"at": 0} == {
        "at": 0,
        "from": "warming_up",
        "to": "ranked",
        "reason": "warmed_up",
    }
    assert window["order"]["policy"] == "boost"
    assert window["order"]["trust"] == 1
    assert [(t["tenant"], t["items"], t["scored"]) for t in state["tenants"]] == [("a", 5, 5), ("b", 5, 5), ("", 1, 1)]
    assert all(
        s["p50"] <= s["p90"] <= s["p99"] for s in state["stages"] if s["stage"] in {"call", "score", "infer", "order"}
    )
    history = state["history"]["traffic"]
    assert sum(history["answers_per_second"]) > 0
    assert len({len(column) for column in history.values()}) == 1
    assert "sesame" not in json.dumps(state)


def test_every_field_is_documented(start_daemon, tmp_path):
    """docs/reference/status-json.md names each field that a daemon with everything in it tells."""
    daemon = start_daemon(completion_log={"directory": str(tmp_path / "log")})
    report_many(daemon, "llm", 300, scale=-1.0)
    candidate = make_artifact(tmp_path / "next", version="2.0.0")

    async def shadow():
        daemon.app.shadows.start(await daemon.app.registry.load(candidate))

    daemon.run(shadow())
    with AdminClient(daemon.admin_target) as admin:
        admin.start_pilot(PilotPlan(slot=60, blocks=6, model="llm"))
    state = told(daemon)
    assert state["completion_log"] == "written"
    assert [(r["role"], r["shadow"] is None) for r in state["rankers"]] == [("in_service", True), ("shadow", False)]
    (pilot,) = state["pilots"]
    assert (pilot["model"], pilot["state"], pilot["blocks"], pilot["effects"]) == ("llm", "running", 6, [])
    named = set(re.findall(r"`([a-z_0-9]+)(?:\[\])?`", PAGE.read_text()))
    # Outcomes of completions are telemetry's, and documented there.
    assert set(fields(state)) - named - set(state["traffic"]["completions"]) == set()


def test_many_models_are_listed_up_to_the_setting_and_any_of_them_can_be_chosen(start_daemon, wait_until):
    """Those with the most completions come first, others are counted; a window's history is asked for by its id."""
    daemon = start_daemon(page={"windows": 5, "every": 1})
    for i in range(12):
        report_many(daemon, f"model-{i:02}", 10 + i)
    state = told(daemon)
    assert [w["model"] for w in state["windows"]] == [f"model-{i:02}" for i in (11, 10, 9, 8, 7)]
    assert state["windows_left_out"] == 7
    assert state["history"]["window_id"] == state["windows"][0]["id"]
    third = state["windows"][2]["id"]
    assert told(daemon, f"?window={third}")["history"]["window_id"] == third
    assert told(daemon, "?window=none-of-them")["history"]["window_id"] == state["windows"][0]["id"]
    wait_until(lambda: told(daemon, f"?window={third}&span=long")["history"]["window"]["at"])
    assert told(daemon, "?span=long")["history"]["every"] == 180


def test_a_guards_changes_and_a_drain_are_told(start_daemon):
    """A pin shows with its reason and its end; a daemon that drains says so while it still answers."""
    daemon = start_daemon(drain_delay=1.0)
    with daemon.channel(daemon.admin_target) as channel:
        pin = admin_pb2.PinGuardRequest(model="llm", mode=quality_pb2.GUARD_MODE_FALLBACK, duration={"seconds": 30})
        admin_stub(channel).PinGuard(pin)
    guard = told(daemon)["windows"][0]["guard"]
    assert (guard["mode"], guard["reason"], guard["ranking"]) == ("fallback", "pinned", False)
    assert guard["pinned_until"] == pytest.approx(time.time() + 30, abs=25)
    assert guard["changes"][0]["to"] == "fallback"
    daemon.call(daemon.app.streams.drain)
    state = told(daemon)
    assert (state["ready"], state["reason"]) == (False, "draining")


def test_asking_often_costs_no_more_than_asking_twice_a_second(daemon):
    """Who asks in a loop is told the same for half a second, whatever else he asks for in the query."""
    began = time.monotonic()
    answers = [
        json.loads(urlopen(f"{daemon.http}/status.json?window={i}&x={i}", timeout=10).read())["at"] for i in range(60)
    ]
    assert len(set(answers)) <= 2 * (time.monotonic() - began) + 2
