"""From scores to a serving order: pure code that the daemon and plug-ins inside engines share. No clock and no I/O."""

from rankd_client.ordering.columns import OrderColumns
from rankd_client.ordering.fair_shares import TenantCounters
from rankd_client.ordering.objectives import LatencyTarget, parse_target, policy_for
from rankd_client.ordering.order import Ordering, order_queue
from rankd_client.ordering.patience import AdaptiveRules, LearnedCosts, ServiceRate, trust_of
from rankd_client.ordering.patience_tuning import ObjectiveOutcome, tune
from rankd_client.ordering.rules import ClassPolicy, Objective, Policy, Rules
from rankd_client.ordering.served import CompletionHistory, ServedRequest, ServedRequests
from rankd_client.ordering.service_costs import CostEstimate, ServiceCosts, fit_costs
from rankd_client.ordering.single import order_single
from rankd_client.ordering.waiting_queue import WaitingQueue

__all__ = [
    "AdaptiveRules",
    "ClassPolicy",
    "CompletionHistory",
    "CostEstimate",
    "LatencyTarget",
    "LearnedCosts",
    "Objective",
    "ObjectiveOutcome",
    "OrderColumns",
    "Ordering",
    "Policy",
    "Rules",
    "ServedRequest",
    "ServedRequests",
    "ServiceCosts",
    "ServiceRate",
    "TenantCounters",
    "WaitingQueue",
    "fit_costs",
    "order_queue",
    "order_single",
    "parse_target",
    "policy_for",
    "trust_of",
    "tune",
]
