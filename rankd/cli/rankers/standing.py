"""How the ranker in service came there, in a line of ``rankd status``."""

from __future__ import annotations

from rankd_client import ServiceStatus


def standing(service: ServiceStatus) -> str:
    """What is worth saying of it; empty where it was promoted last, or nothing was.

    A replica may also be behind for seconds, while the replicas of a fleet are promoted one after the other.
    """
    if service.promoted == service.ranker_version:
        return ""
    if service.ranker_choice == "fallen_back" and service.unusable_rankers:
        return f"{', '.join(service.unusable_rankers)} was promoted and cannot be loaded any more (the log says why)"
    if not service.promoted:
        return ""
    if service.ranker_choice == "setting":
        return f"{service.promoted} was promoted last in the registry; the setting `ranker` goes before it"
    return f"{service.promoted} was promoted last in the registry, and is not in service here"
