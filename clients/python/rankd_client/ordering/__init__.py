"""From scores to a serving order: pure code that the daemon and plug-ins inside engines share. No clock and no I/O."""

from rankd_client.ordering.columns import OrderColumns
from rankd_client.ordering.fair_shares import TenantCounters
from rankd_client.ordering.order import Ordering, order_queue
from rankd_client.ordering.patience import AdaptiveRules, ServiceRate, trust_of
from rankd_client.ordering.patience_tuning import CompletionHistory, ServedRequests, tuned_patience
from rankd_client.ordering.rules import Policy, Rules
from rankd_client.ordering.waiting_queue import WaitingQueue

__all__ = [
    "AdaptiveRules",
    "CompletionHistory",
    "OrderColumns",
    "Ordering",
    "Policy",
    "Rules",
    "ServedRequests",
    "ServiceRate",
    "TenantCounters",
    "WaitingQueue",
    "order_queue",
    "trust_of",
    "tuned_patience",
]
