"""Domain errors, each naming its reason. Only ``transport/`` knows gRPC status codes.

No message ever carries a prompt, token ids or a request id.
"""

from __future__ import annotations

from dataclasses import dataclass


class RankdError(Exception):
    """Base of every error that rankd raises on purpose."""


class ConfigError(RankdError):
    """A setting is wrong; the message names the setting and the remedy."""


class ArtifactError(RankdError):
    """A ranker directory cannot be served; ``reason`` is machine-readable, the message names the remedy."""

    def __init__(self, reason: str, message: str) -> None:
        """Keep ``reason`` (an UPPER_SNAKE_CASE word) beside the message."""
        super().__init__(message)
        self.reason = reason


class ProviderError(RankdError):
    """The execution provider that was asked for is not there."""


class InferenceError(RankdError):
    """A batch failed in the model; carries no input."""


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One wrong field: its path (``items[3].arrival_time``) and what to do about it."""

    field: str
    description: str


class InvalidRequestError(RankdError):
    """The caller must change the request; lists the fields at fault."""

    def __init__(self, violations: list[FieldViolation]) -> None:
        """Build the message from the first violations."""
        shown = "; ".join(f"{v.field}: {v.description}" for v in violations[:3])
        more = f" (+{len(violations) - 3} more)" if len(violations) > 3 else ""
        super().__init__(shown + more)
        self.violations = violations


class PilotError(RankdError):
    """A pilot cannot begin while another one is under way."""


class NotFoundError(RankdError):
    """A ranker or model was asked for by name and is not here."""


class UnauthenticatedError(RankdError):
    """It is not known who calls; ``reason`` is machine-readable. The message holds nothing that the caller sent."""

    def __init__(self, reason: str, message: str) -> None:
        """Keep ``reason``: CREDENTIAL_MISSING, CREDENTIAL_UNKNOWN or CREDENTIAL_EXPIRED."""
        super().__init__(message)
        self.reason = reason


class ForbiddenError(RankdError):
    """The caller is known and may not do this; ``reason`` is machine-readable."""

    def __init__(self, reason: str, message: str) -> None:
        """Keep ``reason``: ROLE_MISSING or WRONG_TENANT."""
        super().__init__(message)
        self.reason = reason


class QuotaError(RankdError):
    """The caller is beyond its rate; ``retry_after`` in seconds."""

    def __init__(self, message: str, retry_after: float) -> None:
        """Keep the time after which a retry can succeed."""
        super().__init__(message)
        self.retry_after = retry_after


class UnavailableError(RankdError):
    """Starting or draining; ``retry_after`` in seconds."""

    def __init__(self, message: str, retry_after: float) -> None:
        """Keep the time after which a retry can succeed."""
        super().__init__(message)
        self.retry_after = retry_after
