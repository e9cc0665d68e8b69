"""What a queue's message becomes."""

from rankd_client.v1 import rank_pb2

from rankd.ranking.stream import StreamQueue
from rankd.settings import LimitsSection
from rankd.transport.convert.request import Violations, tenant_service_of


def test_a_weight_can_be_taken_back():
    """What is said of a tenant replaces what was said before, a weight left out included."""

    def said(*weights):
        messages, bad = [rank_pb2.TenantService(tenant="a", weight=w) for w in weights], Violations()
        service = tenant_service_of(messages, LimitsSection(), bad)
        bad.check()
        return service

    assert said(5, 0).weights == {"a": 1.0}
    queue = StreamQueue()
    queue.update_tenant_service(said(5))
    queue.update_tenant_service(said(0))
    assert queue.tenant_service.weights == {"a": 1.0}
