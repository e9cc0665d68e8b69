"""Who makes a call."""

from __future__ import annotations

from dataclasses import dataclass

from rankd.auth.credentials import Credential, Quota


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a call, as far as is known.

    ``key`` differs between callers, for what is counted per caller. ``tenant`` is that of the credential: empty for
    nobody in particular, and for a credential that may act for any tenant.
    """

    key: str
    tenant: str = ""
    credential: Credential | None = None
    tenant_quota: Quota | None = None
    """What all credentials of the tenant share."""

    def may_act_for(self, tenant: str) -> bool:
        """Whether a request may be this tenant's; the empty one is filled in."""
        return not self.tenant or tenant in ("", self.tenant)


ANYBODY = Caller("")
"""Where nothing is known of the caller."""
