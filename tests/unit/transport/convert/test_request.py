"""What a queue's message becomes."""

import asyncio

from rankd_client.v1 import rank_pb2

from rankd.ranking.ranker import run_at_once
from rankd.ranking.stream import StreamQueue
from rankd.settings import LimitsSection, OrderSection
from rankd.transport.convert.queue import queue_steps, tenant_service_steps
from rankd.transport.convert.request import Violations


def test_a_weight_can_be_taken_back():
    """What is said of a tenant replaces what was said before, a weight left out included."""

    def said(*weights):
        messages, bad = [rank_pb2.TenantService(tenant="a", weight=w) for w in weights], Violations()
        service = asyncio.run(run_at_once(tenant_service_steps(messages, LimitsSection(), bad)))
        bad.check()
        return service

    assert said(5, 0).weights == {"a": 1.0}
    queue = StreamQueue()
    queue.update_tenant_service(said(5))
    queue.update_tenant_service(said(0))
    assert queue.tenant_service.weights == {"a": 1.0}


def test_many_tenants_are_read_in_steps_as_items_are():
    """A message may have as many of them; all at once would take the loop for longer than a slice."""
    tenants = [rank_pb2.TenantService(tenant=f"{i}") for i in range(3200)]
    request = rank_pb2.RankRequest(items=[rank_pb2.RankItem(request_id="a")], tenants=tenants)
    assert sum(1 for _ in queue_steps(request, LimitsSection(), OrderSection())) == 100
