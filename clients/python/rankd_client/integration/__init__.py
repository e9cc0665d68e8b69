"""What integrations into engines share: asking within a deadline, scores in the background, reports, OpenAI's requests.

Nothing here needs an engine; ``rankd_vllm``, ``rankd_transformers`` and ``rankd proxy`` are thin layers over it.
"""

from rankd_client._backoff import Backoff
from rankd_client.integration.background_scores import BackgroundScores
from rankd_client.integration.circuit_breaker import CircuitBreaker
from rankd_client.integration.prediction_store import PredictionStore, StoredPrediction
from rankd_client.integration.reporter import FinishedRequest, Reporter, connected
from rankd_client.integration.settings import IntegrationSettings

__all__ = [
    "BackgroundScores",
    "Backoff",
    "CircuitBreaker",
    "FinishedRequest",
    "IntegrationSettings",
    "PredictionStore",
    "Reporter",
    "StoredPrediction",
    "connected",
]
