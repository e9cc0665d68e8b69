"""What a request asks for beside its answer, and who asks: class, tenant, step, deadline, objective. No I/O.

Nothing of it is believed unless the operator names where it stands, but for what only sets the one who asks back, and
the step of a workflow, which says no more than a prompt could: whoever reaches the engine can write any header. What
cannot be read counts as not said, and never costs a request.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from rankd_client.integration.openai_requests import OpenAIRequest
from rankd_client.integration.request_shape import MOST_STEP_BYTES, short_text
from rankd_client.ordering import Objective

MOST_CLASS = 127
"""Classes go from minus this to this: strict ones are 2**46 apart, and up to here JSON's numbers are exact (2**53)."""
MOST_TENANT_BYTES = 256
_MOST_SECONDS = 1e7
_CLASS = re.compile(r"[+-]?[0-9]{1,9}")
_SECONDS = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,9})?")
_OBJECTIVES = {o.value: o for o in (Objective.TAIL, Objective.BALANCED, Objective.MEAN, Objective.SLO)}
"""Those whose keys are times, so that requests of different ones can wait in one queue."""
Fields = Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class TermSources:
    """Where terms stand. Names of headers in lower case; empty where that is not read.

    ``service_tiers``: classes by values of the body's ``service_tier``. ``deadline_header`` has the seconds from
    arrival, or milliseconds where its name ends in ``-ms``. ``tenant_field`` is a member of the body, one in another
    after a dot. ``tenant_key`` makes a tenant of the client's credential, where neither header nor member names one.
    ``step_header`` and ``step_field`` name the step of a workflow, of whose answers' length the daemon learns.
    """

    service_tiers: tuple[tuple[str, int], ...] = (("flex", 1),)
    class_header: bytes = b""
    tenant_header: bytes = b""
    tenant_field: str = ""
    tenant_key: bytes = field(default=b"", repr=False)
    deadline_header: bytes = b""
    objective_header: bytes = b""
    step_header: bytes = b"x-rankd-step"
    step_field: str = ""

    def read(self, fields: Fields, request: OpenAIRequest | None, arrival: float) -> RequestTerms:
        """The terms of a request.

        Args:
            fields: its header.
            request: its body; None where that is not read.
            arrival: seconds since the epoch.
        """
        return RequestTerms(
            priority_class=self._class(fields, request),
            tenant=self._tenant(fields, request),
            deadline=self._deadline(fields, arrival),
            objective=_OBJECTIVES.get(_only(fields, self.objective_header).lower()),
            step=self._step(fields, request),
        )

    def _class(self, fields: Fields, request: OpenAIRequest | None) -> int:
        said = _only(fields, self.class_header)
        if _CLASS.fullmatch(said):
            return max(-MOST_CLASS, min(int(said), MOST_CLASS))
        tier = request.service_tier if request is not None else ""
        return next((number for name, number in self.service_tiers if name == tier), 0) if tier else 0

    def _tenant(self, fields: Fields, request: OpenAIRequest | None) -> str:
        named = _name(_only(fields, self.tenant_header)) or _name(request.tenant if request is not None else "")
        return named or (_of_credential(fields, self.tenant_key) if self.tenant_key else "")

    def _step(self, fields: Fields, request: OpenAIRequest | None) -> str:
        said = _only(fields, self.step_header) or (request.step if request is not None else "")
        return short_text(said, MOST_STEP_BYTES) if said else ""

    def _deadline(self, fields: Fields, arrival: float) -> float | None:
        said = _only(fields, self.deadline_header)
        if not _SECONDS.fullmatch(said):
            return None
        seconds = float(said) / (1000 if self.deadline_header.endswith(b"-ms") else 1)
        return arrival + seconds if 0 < seconds <= _MOST_SECONDS else None


@dataclass(frozen=True, slots=True)
class RequestTerms:
    """As of :class:`rankd_client.Item`, and what to order for; None and empty where nothing is said."""

    priority_class: int = 0
    tenant: str = ""
    deadline: float | None = None
    objective: Objective | None = None
    step: str = ""


NO_TERMS = RequestTerms()


def _only(fields: Fields, name: bytes) -> str:
    """A header's value where it comes once: of several nobody knows which one a gateway wrote. Empty without a name."""
    if not name:
        return ""
    values = [value for key, value in fields if key.lower() == name]
    return values[0].decode("utf-8", "replace").strip() if len(values) == 1 else ""


def _name(said: str) -> str:
    """A tenant's name; empty for what is none, or too long for one."""
    try:
        return said if said.isprintable() and len(said.encode()) <= MOST_TENANT_BYTES else ""
    except UnicodeEncodeError:
        return ""


def _of_credential(fields: Fields, key: bytes) -> str:
    """A name for the credential that a client shows, which tells nothing of it to who does not have the key."""
    shown = _only(fields, b"authorization") or _only(fields, b"x-api-key")
    kind, _, rest = shown.partition(" ")
    if kind.lower() == "bearer":
        shown = rest.strip()
    if not shown:
        return ""
    return "key-" + hmac.digest(key, shown.encode("utf-8", "replace"), hashlib.sha256).hex()[:16]
