"""What is known of requests under way, for both halves of the plug-in."""

from __future__ import annotations

from rankd_client.integration import PredictionStore

MEMORY = PredictionStore()
"""That of this process: vLLM builds middleware and stat logger apart from each other."""
