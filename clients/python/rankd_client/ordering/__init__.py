"""From scores to a serving order: pure code that the daemon and plug-ins inside engines share. No clock and no I/O."""

from rankd_client.ordering.columns import Columns
from rankd_client.ordering.dial import Dial, ServiceRate, trust_of
from rankd_client.ordering.queue import Ordering, order_queue
from rankd_client.ordering.rules import Policy, Rules
from rankd_client.ordering.tenants import TenantCounters
from rankd_client.ordering.tune import History, Served, tuned_patience
from rankd_client.ordering.waiting import WaitingQueue

__all__ = [
    "Columns",
    "Dial",
    "History",
    "Ordering",
    "Policy",
    "Rules",
    "Served",
    "ServiceRate",
    "TenantCounters",
    "WaitingQueue",
    "order_queue",
    "trust_of",
    "tuned_patience",
]
