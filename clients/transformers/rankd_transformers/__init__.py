"""rankd inside transformers' continuous batching: shortest expected answer first, arrival order without rankd.

``register(tokenizer)`` once per process, then ``ContinuousBatchingConfig(scheduler_type="ranked")``.
"""

from __future__ import annotations

from rankd_client.integration import IntegrationSettings

from rankd_transformers.registered import Registration
from rankd_transformers.registration import register

__all__ = ["IntegrationSettings", "Registration", "register"]
