"""The light generator, against gRPC's own server: a wrong answer, a failed call and a late one do not count."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import pytest

from rankd.bench.light_client import LightClient, closed_loop, open_loop
from rankd.errors import RankdError

METHOD = "/rankd.test.T/Call"


@contextmanager
def serving(answer, **options):
    """A server with one method."""
    server = grpc.server(ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0), *options.items()])
    handler = grpc.unary_unary_rpc_method_handler(answer)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("rankd.test.T", {"Call": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(0).wait()


def ended(client, count):
    """The outcomes of so many calls, by number."""
    found = []
    while len(found) < count:
        found += client.wait(30.0)
    return sorted(found, key=lambda outcome: outcome.number)


@pytest.mark.parametrize("size", [0, 1, 16_383, 60_000])
def test_answers_come_back_whole_and_in_place(size):
    """Also those of many frames, however many at once; more than a window holds waits."""
    with serving(lambda request, _: request * 3) as target:
        client = LightClient(target, METHOD)
        messages = [bytes([n]) * size for n in range(40)]
        begun, found = 0, []
        while len(found) < len(messages):
            begun += client.begin(messages[begun : begun + 8])
            found += client.wait(30.0)
        assert [(o.status, o.body) for o in sorted(found, key=lambda o: o.number)] == [(0, m * 3) for m in messages]
        client.close()


@pytest.mark.parametrize("code", [grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNAVAILABLE])
def test_statuses_are_read(code):
    """Of calls that fail, with a message; the same twice and another beside it."""

    def answer(request, context):
        if request == b"bad":
            context.abort(code, "no: this one is wrong")
        return b"fine"

    with serving(answer) as target:
        client = LightClient(target, METHOD)
        client.begin([b"bad", b"good", b"bad"])
        assert [o.status for o in ended(client, 3)] == [code.value[0], 0, code.value[0]]
        client.close()


def test_an_unknown_method_is_a_failure():
    """Not an empty answer."""
    with serving(lambda request, _: request) as target:
        client = LightClient(target, "/rankd.test.T/Other")
        client.begin([b"x"])
        assert [o.status for o in ended(client, 1)] == [grpc.StatusCode.UNIMPLEMENTED.value[0]]
        client.close()


def test_a_late_call_has_no_status_and_is_taken_back():
    """By this side's clock; what comes after it does not wait."""
    cancelled = []

    def answer(request, context):
        context.add_callback(lambda: cancelled.append(request))
        if request == b"slow":
            while context.is_active():
                time.sleep(0.01)
        return b"fine"

    with serving(answer) as target:
        client = LightClient(target, METHOD, timeout=0.5)
        client.begin([b"slow"])
        (late,) = ended(client, 1)
        assert late.status is None
        assert late.seconds >= 0.5
        assert client.open_calls == 0
        client.begin([b"quick"])
        assert [o.number for o in ended(client, 1)] == [1]
        client.close()
    assert b"slow" in cancelled


def test_a_loop_keeps_so_many_under_way_and_another_its_times():
    """Every call that is begun ends, once."""
    with serving(lambda request, _: request) as target:
        client = LightClient(target, METHOD)
        closed = list(closed_loop(client, [b"a", b"b"], 4, 0.2))
        assert sorted(o.number for o in closed) == list(range(client.begun))
        assert {(o.status, o.body) for o in closed} <= {(0, b"a"), (0, b"b")}
        client.close()
        client, lags = LightClient(target, METHOD, timeout=30.0), []
        now = time.perf_counter()
        opened = list(open_loop(client, iter([b"c"] * 50), iter([now + n / 1000 for n in range(50)]), lags.append))
        assert [o.body for o in opened] == [b"c"] * 50
        assert len(lags) == 50
        assert min(lags) >= 0
        client.close()


def test_a_server_that_goes_is_an_error():
    """A measurement does not go on without it."""
    with serving(lambda request, _: request) as target:
        client = LightClient(target, METHOD)
        client.begin([b"x"])
        ended(client, 1)
    with pytest.raises((RankdError, OSError)):
        ended(client, 1)
