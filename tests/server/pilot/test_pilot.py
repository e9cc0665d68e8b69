"""A pilot on a real daemon: slots decide the order, predictions carry them, completions are counted by them."""

import itertools
import json
import threading
import time
from collections import Counter

import grpc
import pytest
from rankd_client import AdminClient, Completed, Item, PilotPlan, RankClient, RankdRefusedError
from rankd_client.ordering import Policy
from rankd_client.v1 import admin_pb2, prediction_pb2, rank_pb2
from support.wire import T0, admin_stub, details, ids, item, rank_stub, request

from rankd.cli import main

SHORT, LONG = "short", "long " * 5
SLOT = 0.4
serial = itertools.count()
PLAN = PilotPlan(slot=SLOT, blocks=8, model="llm", treatment=Policy.SCORE)


@pytest.fixture
def daemon(start_daemon):
    """A daemon whose guard does not interfere; a pilot leaves traces, so each test has its own."""
    return start_daemon(guard={"enabled": False}, order={"policy": "due"})


@pytest.fixture
def admin(daemon):
    with AdminClient(daemon.admin_target) as client:
        yield client


class Engine:
    """Sends queues of new requests in a thread and reports them at once; what they took depends on their order."""

    def __init__(self, daemon, took, *, model="llm"):
        self._client = RankClient(daemon.target, model=model, timeout=30)
        self._took = took
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.policies, self.by_slot = [], {}
        """The policy of each answer as they came, and how many answers of a slot were by which; 0: of none."""

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join(10)
        self._client.close()

    def _run(self):
        while not self._stop.is_set():
            queue = self._client.rank([Item(LONG if n % 2 else SHORT, request_id=f"{next(serial)}") for n in range(10)])
            self.policies.append(queue.policy)
            for slot in {r.prediction.pilot_slot for r in queue if r.prediction is not None}:
                self.by_slot.setdefault(slot, Counter())[queue.policy] += 1
            took = self._took[queue.policy]
            self._client.report(
                [Completed(r.request_id, r.prediction, 20, total_seconds=took * (1 + r.index / 10)) for r in queue],
                timeout=30,
            )
            time.sleep(0.015)


def followed(admin, model="llm", seconds=120.0):
    """A pilot's status once it has ended."""
    end = time.monotonic() + seconds
    while (status := admin.pilot(model)).active:
        assert time.monotonic() < end, "the pilot did not end"
        time.sleep(0.05)
    return status


def test_a_pilot_runs_to_its_end_and_finds_the_effect(daemon, admin, wait_until):
    """Orders alternate by slot; what was reported is found again: half as long under the treatment."""
    with Engine(daemon, {Policy.FCFS: 0.1, Policy.SCORE: 0.05, Policy.DUE: 9.0}) as engine:
        begun = admin.start_pilot(PLAN)
        assert (begun.control, begun.treatment, begun.state) == (Policy.FCFS, Policy.SCORE, "running")
        assert begun.washout == pytest.approx(SLOT / 5)
        status = followed(admin)
        wait_until(lambda: engine.policies[-1] is Policy.DUE)
    assert (status.state, status.slots_done, status.policy) == ("finished", 16, None)
    assert status.blocks_measured >= 6
    assert [e.metric for e in status.effects] == ["mean", "p50", "p90", "p99"]
    for effect in status.effects:
        assert effect.ratio == pytest.approx(0.5, rel=0.2)
        assert effect.low <= effect.ratio <= effect.high
    assert status.effects[0].control == pytest.approx(0.145, rel=0.1)
    assert status.overridden <= 0.05 * status.answers
    assert status.unmeasured == 0
    assert Policy.DUE in engine.by_slot.pop(0)
    assert 10 <= len(engine.by_slot) <= 16
    most = [answers.most_common(1)[0] for answers in engine.by_slot.values()]
    assert {policy for policy, _ in most} == {Policy.FCFS, Policy.SCORE}
    # The others arrived in one slot and were answered in the next.
    assert sum(count for _, count in most) >= 0.8 * sum(a.total() for a in engine.by_slot.values())


def test_a_pilot_stops_by_itself_on_harm(daemon, admin, wait_until):
    """Four times as long under the treatment: it ends before its time, and the daemon's own policy is back."""
    with Engine(daemon, {Policy.FCFS: 0.05, Policy.SCORE: 0.2, Policy.DUE: 0.05}) as engine:
        admin.start_pilot(PilotPlan(slot=0.3, blocks=60, model="llm", treatment=Policy.SCORE, metric="mean"))
        status = followed(admin)
        wait_until(lambda: engine.policies[-1] is Policy.DUE)
    assert status.state == "stopped"
    assert status.blocks_measured < 30
    assert "mean is worse" in status.reason
    assert status.effects[0].sequence_low > 1.1


def test_a_shadow_changes_nothing(daemon, admin):
    """Slots are counted, and every answer is by the daemon's policy."""
    with Engine(daemon, {Policy.DUE: 0.05}) as engine:
        admin.start_pilot(PilotPlan(slot=0.2, blocks=6, model="llm", treatment=Policy.SCORE, shadow=True))
        status = followed(admin)
    assert set(engine.policies) == {Policy.DUE}
    assert (status.state, status.shadow, status.answers) == ("finished", True, 0)
    assert status.requests > 100
    assert status.effects[0].ratio == pytest.approx(1.0, rel=0.1)


def test_other_models_and_named_policies_are_left_alone(daemon, admin):
    """A pilot orders its own model's queues, and those only that name no policy; these are counted."""
    admin.start_pilot(PilotPlan(slot=60, blocks=6, model="llm", control=Policy.FCFS, treatment=Policy.AGED))
    rows = item("long", LONG, at=T0), item("short", SHORT, at=T0 + 1)
    with daemon.channel() as channel:
        other = rank_stub(channel).Rank(request(*rows, model="other"), timeout=30)
        named = rank_stub(channel).Rank(request(*rows, model="llm", policy=prediction_pb2.POLICY_SCORE), timeout=30)
        own = rank_stub(channel).Rank(request(*rows, model="llm"), timeout=30)
    assert other.policy == prediction_pb2.POLICY_DUE
    assert named.policy == prediction_pb2.POLICY_SCORE
    assert own.policy in {prediction_pb2.POLICY_FCFS, prediction_pb2.POLICY_AGED}
    assert {i.prediction.pilot_slot for r in (other, own) for i in r.items} == {0}  # arrived long before
    status = admin.pilot("llm")
    assert (status.answers, status.overridden) == (2, 1)


def test_a_stream_follows_the_slot_though_nothing_changes(daemon, admin, wait_until):
    """Its order is told last no longer than its slot: the same queue, both orders."""
    admin.start_pilot(PilotPlan(slot=0.3, blocks=20, model="llm", treatment=Policy.SCORE))
    orders, stop = [], threading.Event()

    def messages():
        now = {"seconds": T0 + 10}
        arrived = [item("long", LONG, at=T0), item("short", SHORT, at=T0 + 1)]
        options = rank_pb2.RankStreamOptions(model="llm")
        yield rank_pb2.RankStreamRequest(options=options, now=now, arrived=arrived, max_wait={"seconds": 10})
        while not stop.is_set():
            yield rank_pb2.RankStreamRequest(now=now)
            time.sleep(0.01)

    def read():
        with daemon.channel() as channel:
            orders.extend(tuple(a.request_ids) for a in rank_stub(channel).RankStream(messages(), timeout=60))

    reader = threading.Thread(target=read)
    reader.start()
    wait_until(lambda: len(set(orders)) == 2 or not admin.pilot("llm").active, what="both orders")
    stop.set()
    reader.join(60)
    assert set(orders) == {("long", "short"), ("short", "long")}


def test_what_is_published_follows_the_slot(daemon, admin, wait_until):
    """A plug-in that orders by what the daemon publishes takes part: policy and rules are the slot's."""
    admin.start_pilot(PilotPlan(slot=0.3, blocks=20, treatment=Policy.SCORE))
    seen = set()

    def both():
        with RankClient(daemon.target, timeout=30) as client:
            policy = client.quality().policies[0]
        seen.add((policy.policy, policy.adaptive_rules.rules.policy))
        return len(seen) == 2

    wait_until(both, what="both policies")
    assert seen == {(Policy.FCFS, Policy.FCFS), (Policy.SCORE, Policy.SCORE)}


def test_one_pilot_per_model(daemon, admin):
    """A second one is refused while the first is under way; after its end it may begin."""
    admin.start_pilot(PilotPlan(slot=60, blocks=6, model="llm", treatment=Policy.DUE))
    admin.start_pilot(PilotPlan(slot=60, blocks=6, model="other", treatment=Policy.DUE))
    with pytest.raises(RankdRefusedError, match="under way"):
        admin.start_pilot(PLAN)
    with daemon.channel(daemon.admin_target) as channel, pytest.raises(grpc.RpcError) as error:
        admin_stub(channel).StartPilot(
            admin_pb2.StartPilotRequest(model="llm", slot={"seconds": 9}, block_count=6), timeout=30
        )
    assert error.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert details(error.value)["ErrorInfo"].reason == "PILOT_UNDER_WAY"
    assert admin.stop_pilot("llm").state == "cancelled"
    assert admin.stop_pilot("llm").state == "cancelled"
    assert admin.start_pilot(PLAN).state == "running"
    for number in range(14):
        admin.start_pilot(PilotPlan(slot=60, blocks=6, model=f"m{number}", treatment=Policy.DUE))
    with pytest.raises(RankdRefusedError, match="16 models"):
        admin.start_pilot(PilotPlan(slot=60, blocks=6, model="one more", treatment=Policy.DUE))
    admin.stop_pilot("other")
    admin.start_pilot(PilotPlan(slot=60, blocks=6, model="one more", treatment=Policy.DUE))
    with pytest.raises(RankdRefusedError, match="no pilot"):
        admin.pilot("other")


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"slot": {"nanos": 1000}}, "slot"),
        ({"slot": {"seconds": 90_000}}, "slot"),
        ({"washout": {"seconds": 60}}, "washout"),
        ({"washout": {"seconds": -1}}, "washout"),
        ({"block_count": 5}, "block_count"),
        ({"block_count": 1001}, "block_count"),
        ({"harm_tolerance": -0.1}, "harm_tolerance"),
        ({"harm_tolerance": float("nan")}, "harm_tolerance"),
        ({"control": 99}, "control"),
        ({"treatment": prediction_pb2.POLICY_FCFS}, "treatment"),
        ({"metric": 77}, "metric"),
        ({"start_time": {"seconds": 1}}, "start_time"),
        ({"start_time": {"seconds": 5, "nanos": -1}}, "start_time"),
        ({"model": "m" * 300}, "model"),
    ],
)
def test_wrong_plans_are_refused(daemon, wrong, field):
    """What cannot be is refused with the field's name, and no pilot begins."""
    plan = {"model": "llm", "slot": {"seconds": 60}, "block_count": 8} | wrong
    with daemon.channel(daemon.admin_target) as channel:
        with pytest.raises(grpc.RpcError) as error:
            admin_stub(channel).StartPilot(admin_pb2.StartPilotRequest(**plan), timeout=30)
        assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert {v.field for v in details(error.value)["BadRequest"].field_violations} == {field}
        with pytest.raises(grpc.RpcError) as error:
            admin_stub(channel).GetPilot(admin_pb2.GetPilotRequest(model="llm"), timeout=30)
    assert error.value.code() is grpc.StatusCode.NOT_FOUND


def test_replicas_with_the_same_plan_are_in_the_same_slot(start_daemon):
    """Two daemons, one seed and start: the same slot under the same name, whichever a request is sent to."""
    start = time.time()
    seen = []
    for _ in range(2):
        daemon = start_daemon()
        with AdminClient(daemon.admin_target) as admin:
            admin.start_pilot(PilotPlan(slot=600, blocks=6, washout=0.0, treatment=Policy.SCORE, seed=9, start=start))
        with daemon.channel() as channel:
            answer = rank_stub(channel).Rank(request(item("a", SHORT, at=None), now=int(time.time())), timeout=30)
        seen.append((answer.policy, answer.items[0].prediction.pilot_slot))
        assert ids(answer) == ["a"]
    assert seen[0] == seen[1]
    assert seen[0][1] > 0


def cli(daemon, *arguments):
    return main(["pilot", *arguments, "--admin", daemon.admin_target])


def test_the_command_follows_a_pilot_to_its_end(daemon, capsys):
    """Start follows it and prints figures and verdict; status shows it again, as JSON too; all of them say 0."""
    plan = ["--slot", "300ms", "--blocks", "8", "--treatment", "score", "--model", "llm", "--washout", "0.06"]
    with Engine(daemon, {Policy.FCFS: 0.1, Policy.SCORE: 0.05, Policy.DUE: 0.1}):
        assert cli(daemon, "start", *plan) == 0
    text = capsys.readouterr().out
    assert "score against fcfs: finished" in text
    assert "p99: faster by" in text
    assert cli(daemon, "status", "--model", "llm", "--json") == 0
    status = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (status["state"], status["treatment"], status["policy"]) == ("finished", "score", None)
    assert status["effects"][3]["ratio"] == pytest.approx(0.5, rel=0.2)


def test_the_command_says_harm(daemon, capsys):
    """A pilot that stopped because of harm is exit status 3, and says so."""
    plan = ["--slot", "300ms", "--blocks", "60", "--treatment", "score", "--metric", "mean", "--model", "llm"]
    with Engine(daemon, {Policy.FCFS: 0.05, Policy.SCORE: 0.2, Policy.DUE: 0.05}):
        assert cli(daemon, "start", *plan, "--json") == 3
    # The daemon of this test logs to the same stdout.
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["state"] == "stopped"
    assert cli(daemon, "status", "--model", "llm") == 3
    text = capsys.readouterr().out
    assert "harm" in text
    assert "mean: slower by" in text


def test_the_command_detaches_and_stops(daemon, capsys):
    """Begun and left; stopped later. Bad input is 2, and names the remedy."""
    assert cli(daemon, "start", "--slot", "1h", "--blocks", "12", "--treatment", "aged", "--detach") == 0
    assert "aged against fcfs: running" in capsys.readouterr().out
    assert cli(daemon, "start", "--slot", "1h", "--blocks", "12", "--detach") == 2
    assert "under way" in capsys.readouterr().err
    assert cli(daemon, "stop") == 0
    assert "cancelled" in capsys.readouterr().out
    assert cli(daemon, "stop", "--model", "none") == 2
    assert cli(daemon, "start", "--slot", "1h", "--blocks", "2") == 2
    assert "block_count" in capsys.readouterr().err
    for wrong in (["--slot", "soon"], ["--slot", "-1"], ["--slot", "9", "--harm-tolerance", "-1"]):
        with pytest.raises(SystemExit):
            cli(daemon, "start", "--blocks", "8", *wrong)


def test_the_command_says_where_no_daemon_is(capsys):
    """Exit status 1, with the address."""
    assert main(["pilot", "status", "--admin", "127.0.0.1:9"]) == 1
    assert "127.0.0.1:9" in capsys.readouterr().err
