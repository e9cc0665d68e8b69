"""What integrations into engines share: asking within a deadline, scores in the background, reports, OpenAI's requests.

Nothing here needs an engine; ``rankd_vllm``, ``rankd_transformers`` and ``rankd proxy`` are thin layers over it.
"""

from rankd_client.integration.background_scores import Scores
from rankd_client.integration.circuit_breaker import Asker
from rankd_client.integration.prediction_store import Memory, Remembered
from rankd_client.integration.reporter import Finished, Reporter, connected
from rankd_client.integration.settings import Settings

__all__ = ["Asker", "Finished", "Memory", "Remembered", "Reporter", "Scores", "Settings", "connected"]
