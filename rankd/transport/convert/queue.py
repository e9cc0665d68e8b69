"""From a queue's message to a ``RankQueue``, in steps that others may come between. Errors name the field."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence

from rankd_client.v1 import rank_pb2

from rankd.settings import LimitsSection, OrderSection
from rankd.transport.convert.columns import RequestColumns
from rankd.transport.convert.request import (
    Violations,
    check_count,
    check_unique,
    name_of,
    now_of,
    objective_of,
    policy_of,
)
from rankd.types import RankQueue, TenantService


def queue_steps(
    request: rank_pb2.RankRequest, limits: LimitsSection, order: OrderSection
) -> Generator[None, None, RankQueue]:
    """Take a Rank request apart, a few items at a time.

    Raises:
        InvalidRequestError: naming every field at fault, up to ten.
    """
    violations = Violations()
    now = now_of(request, violations)
    model = name_of(request.model, "model", limits, violations)
    version = name_of(request.ranker_version, "ranker_version", limits, violations)
    policy = policy_of(request.policy, "policy", violations)
    objective = objective_of(request.objective, "objective", order, violations)
    check_count(request.items, "items", limits, violations)
    tenant_service = yield from tenant_service_steps(request.tenants, limits, violations)
    violations.check()
    columns = RequestColumns(limits, violations, now)
    for index, item in enumerate(request.items):
        columns.add(item, "items", index)
        if index % 32 == 31:
            yield  # others may come between
    check_unique(columns.request_ids, "items", violations)
    violations.check()
    queue = columns.queue(model, policy, version, tenant_service)
    queue.backlog, queue.objective = request.backlog_request_count, objective
    return queue


def tenant_service_steps(
    messages: Sequence[rank_pb2.TenantService], limits: LimitsSection, violations: Violations
) -> Generator[None, None, TenantService]:
    """What tenants were served, some at a time; of several messages on one tenant the last counts."""
    check_count(messages, "tenants", limits, violations)
    service = TenantService()
    for index, message in enumerate(messages[: limits.max_items]):
        tenant = name_of(message.tenant, f"tenants[{index}].tenant", limits, violations)
        if not 0 <= message.served_token_count < math.inf:
            violations.add(f"tenants[{index}].served_token_count", "must be at least 0 and finite")
        if not 0 <= message.weight < math.inf:
            violations.add(f"tenants[{index}].weight", "must be above 0 and finite, or left out for 1")
        service.served[tenant] = message.served_token_count
        service.weights[tenant] = message.weight or 1.0
        if index % 32 == 31:
            yield
    return service
