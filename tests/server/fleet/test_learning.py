"""Real daemons that learn from each other's completions, over real ports."""

import random

import grpc
import pytest
from rankd_client import Completed, Item, RankClient
from rankd_client.v1 import quality_pb2, quality_pb2_grpc
from support.credentials import TOKENS, token_entry, write
from support.fleet_calls import OWN_CHANNEL, traffic
from support.ports import free_ports

from rankd.clock import CLOCK
from rankd.fleet.learned_rows import LearnedCursor

EVERY = 0.5
SHORT = ["amber", "bottle", "copper", "desert", "ember", "forest"]
LONG = ["harbour", "island", "jacket", "kettle", "lantern", "marble"]


@pytest.fixture
def start_replica(start_daemon):
    """Starts daemons of one fleet of three addresses, by their numbers."""
    ports = free_ports(3)
    peers = ",".join(f"127.0.0.1:{p}" for p in ports)

    def start(number, *, fleet=None, **settings):
        fleet = {"peers": peers, "every": EVERY, "forget_after": 10 * EVERY} | (fleet or {})
        return start_daemon(listen=f"127.0.0.1:{ports[number]}", fleet=fleet, **settings)

    return start


def report(daemon, numbers):
    """Finished requests of the model ``m``."""
    with RankClient(daemon.target, model="m", timeout=10) as client:
        for some in batched(numbers, 50):
            assert traffic(client, some).accepted == len(some)


def batched(numbers, size):
    """Some at a time: on a busy machine, that many are taken in time."""
    return [numbers[start : start + size] for start in range(0, len(numbers), size)]


def length(prompt, draw):
    """Output tokens of an answer."""
    return int(40 * 1.6 ** sum(word in LONG for word in prompt.split()) * draw.uniform(0.8, 1.25))


def windows_in_use(*daemons):
    """Whether what was learned orders at all of them."""
    windows = [daemon.app.monitor.reported_windows() for daemon in daemons]
    return all(found and all(w.learned_in_use for w in found) for found in windows)


def learned(daemon):
    """How many completions a daemon learned from, its own and those of peers."""
    return len(daemon.app.follower.learning.rows)


def ask(daemon, token=None, **question):
    """What a daemon tells a peer."""
    metadata = [] if token is None else [("authorization", f"Bearer {token}")]
    with grpc.insecure_channel(daemon.target, options=OWN_CHANNEL) as channel:
        stub = quality_pb2_grpc.QualityServiceStub(channel)
        return stub.GetFleetShare(quality_pb2.GetFleetShareRequest(**question), timeout=30, metadata=metadata)


def test_reports_to_one_teach_all_and_who_restarts_has_everything_again(start_replica, wait_until):
    """Each completion is learned from once by each of three, whichever took it; also by one that was restarted."""
    fleet = [start_replica(number) for number in range(3)]
    report(fleet[0], range(40))
    report(fleet[1], range(100, 130))
    wait_until(lambda: [learned(d) for d in fleet] == [70] * 3, what="70 completions everywhere")
    report(fleet[2], range(200, 210))
    wait_until(lambda: [learned(d) for d in fleet] == [80] * 3, what="80 completions everywhere")
    fleet[0].stop()
    fleet[0] = start_replica(0)
    # Also those that it took itself before: who is up for longest keeps them, too.
    wait_until(lambda: learned(fleet[0]) == 80, what="all completions at the one that was restarted")
    report(fleet[0], range(300, 305))
    wait_until(lambda: [learned(d) for d in fleet] == [85] * 3, what="85 completions everywhere")


def test_what_one_was_told_of_orders_at_the_other(start_replica, wait_until):
    """With the bundled words' ranker: one takes all reports, the other learns the words that make answers long.

    Both order by it, as the one that leads found it to be better; what was learned orders prompts that neither saw.
    """
    # Not whether the guard trusts scores is asked here, but which there are.
    one, other = (start_replica(number, ranker="ngram", guard={"enabled": False}) for number in range(2))
    draw = random.Random(5)
    numbers = iter(range(10**6))

    def more():
        """Forty answers that are long where the prompt has certain words, whatever the ranker thinks."""
        prompts = [" ".join(draw.choices(SHORT + LONG, k=6)) for _ in range(40)]
        with RankClient(one.target, model="m", timeout=10) as client:
            queue = client.rank([Item(prompt, f"r{next(numbers)}") for prompt in prompts])
            done = [Completed(r.request_id, r.prediction, length(prompts[r.index], draw)) for r in queue]
            assert client.report(done).accepted == 40
        return windows_in_use(one, other)

    wait_until(more, what="what was learned in use at both")
    rows = [daemon.app.follower.learning.rows for daemon in (one, other)]
    wait_until(lambda: len(rows[1]) == len(rows[0]) >= 100, what="all that one took, at the other")
    prompts = [" ".join(LONG[:3]) + " please", " ".join(SHORT[:3]) + " please"]
    with RankClient(other.target, model="m", timeout=10) as client:
        # It has the rows, and learns from the latest of them when its thread gets to it.
        wait_until(lambda: [r.index for r in client.rank(prompts)] == [1, 0], what="the words that make answers long")
        order = client.rank(prompts)
    assert order[0].prediction.learned_score < order[1].prediction.learned_score
    told = ask(one, learned={"instance": "", "sequence": 0})
    assert all(len(row.features) > 100 and b"harbour" not in row.features for row in told.learned)
    # Restarted without a volume it learns it again from the one that is left, and orders by it where that one does.
    other.stop()
    other = start_replica(1, ranker="ngram")
    wait_until(lambda: windows_in_use(one, other), what="what was learned in use at the one that was restarted")


def test_only_who_may_read_quality_gets_completions(start_replica, wait_until, tmp_path):
    """They are as private as predictions: a token that ranks and reports does not do."""
    tokens, secret = tmp_path / "auth.toml", tmp_path / "peer"
    engine, peer = token_entry("a", roles=["rank", "report"]), token_entry("reader", roles=["quality"])
    write(tokens, engine, peer)
    secret.write_text(TOKENS["reader"])
    one, other = (start_replica(n, auth={"file": tokens}, fleet={"token_file": secret}) for n in range(2))
    with RankClient(one.target, model="m", timeout=10, token=TOKENS["a"]) as client:
        assert traffic(client, range(20)).accepted == 20
    wait_until(lambda: learned(other) == 20, what="20 completions at the other")
    with pytest.raises(grpc.RpcError) as refused:
        ask(one, token=TOKENS["a"], learned={"instance": "", "sequence": 0})
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert len(ask(one, token=TOKENS["reader"], learned={"instance": "", "sequence": 0}).learned) == 20


def test_a_rolling_restart_forgets_nothing(start_replica, wait_until):
    """One after the other is restarted, without a volume: what was known before the first is known after the last."""
    fleet = [start_replica(number) for number in range(3)]
    report(fleet[0], range(50))
    wait_until(lambda: [learned(d) for d in fleet] == [50] * 3, what="50 completions everywhere")
    for number in range(3):
        fleet[number].stop()
        fleet[number] = start_replica(number)
        wait_until(lambda n=number: learned(fleet[n]) == 50, what=f"50 completions at {number}")


def test_who_just_started_hears_all_pages(start_replica, wait_until):
    """More than fit into one answer, of two replicas, from the one that has been up for longer."""
    fleet = [start_replica(number) for number in range(2)]
    report(fleet[0], range(600))
    report(fleet[1], range(1000, 1300))
    wait_until(lambda: [learned(d) for d in fleet] == [900] * 2, what="900 completions at both")
    newcomer = start_replica(2)
    wait_until(lambda: learned(newcomer) == 900, what="900 completions at the newcomer")
    heard = newcomer.app.follower.learning.rows.all_after(LearnedCursor("", 0), CLOCK.now()).rows
    assert len({(row.instance, row.sequence) for row in heard}) == len(heard) == 512


def test_no_completion_is_told_to_who_does_not_ask_or_by_who_does_not_learn(start_replica, wait_until):
    """An older rankd asks without a cursor; with ``adapt.enabled = false`` there is nothing to ask for, or to tell."""
    on, off = start_replica(0), start_replica(1, adapt={"enabled": False})
    report(on, range(20))
    report(off, range(100, 120))
    cursor = {"instance": "", "sequence": 0}
    wait_until(lambda: on.app.follower.replicas == off.app.follower.replicas == 2, what="both in touch")
    assert len(ask(on).learned) == 0
    told = ask(on, learned=cursor)
    assert len(told.learned) == 20
    assert told.learned_until.sequence == 20
    assert [row.sequence for row in told.learned] == list(range(1, 21))
    assert all(row.model == "m" and row.instance == "" for row in told.learned)
    assert len(ask(on, learned=told.learned_until).learned) == 0
    told = ask(off, learned=cursor)
    assert len(told.learned) == 0
    assert not told.HasField("learned_until")
    assert told.learned_key_id == b""
    assert (learned(on), learned(off)) == (20, 0)


def test_rows_of_another_key_are_not_learned_from(start_replica, wait_until):
    """Hashes of different keys have nothing to do with each other: each learns from its own completions."""
    one, other = start_replica(0, adapt={"key": "one"}), start_replica(1, adapt={"key": "other"})
    report(one, range(20))
    report(other, range(100, 110))
    wait_until(lambda: one.app.follower.replicas == other.app.follower.replicas == 2, what="both in touch")
    wait_until(lambda: one.app.follower.learning._other_key, what="a word on the key")
    report(one, range(200, 205))
    assert (learned(one), learned(other)) == (25, 10)
    assert ask(one).learned_key_id != ask(other).learned_key_id
