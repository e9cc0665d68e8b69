"""What tests of several daemons ask them."""

import urllib.request

import grpc
from rankd_client import Completed, Item
from rankd_client.v1 import admin_pb2_grpc, quality_pb2, quality_pb2_grpc

OWN_CHANNEL = [("grpc.use_local_subchannel_pool", 1)]


def quality(daemon):
    """A daemon's first window, as QualityService tells it."""
    with grpc.insecure_channel(daemon.target, options=OWN_CHANNEL) as channel:
        stub = quality_pb2_grpc.QualityServiceStub(channel)
        return stub.GetQuality(quality_pb2.GetQualityRequest(), timeout=30).qualities[0]


def administer(daemon, method, request):
    """Call a method of AdminService."""
    with grpc.insecure_channel(daemon.admin_target, options=OWN_CHANNEL) as channel:
        return getattr(admin_pb2_grpc.AdminServiceStub(channel), method)(request, timeout=30)


def counted(daemon, timeout=30.0):
    """The counters of a daemon's windows, by name and the label that is not the model or ranker."""
    text = urllib.request.urlopen(f"{daemon.http.rstrip('/')}/metrics", timeout=timeout).read().decode()
    out = {}
    for line in text.splitlines():
        name, _, rest = line.partition("{")
        if name.startswith("rankd_quality_") and name.endswith("_total"):
            labels = dict(pair.split("=", 1) for pair in rest.rpartition("}")[0].split(","))
            kind = (labels.get("kind") or labels.get("of") or "").strip('"')
            out[name, kind] = float(line.rsplit(" ", 1)[1])
    return out


def traffic(client, numbers, length=lambda n: 50 * (n % 9 + 1) + (n * 31) % 170):
    """Rank requests, the higher n modulo 9 the longer by their score, and report that they finished."""
    numbers = list(numbers)
    queue = client.rank([Item("long " * (n % 9 + 1), f"secret-id-{n}") for n in numbers])
    assert not queue.failed, queue.reason
    return client.report(Completed(r.request_id, r.prediction, length(numbers[r.index])) for r in queue)
