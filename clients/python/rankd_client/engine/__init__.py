"""What integrations into engines share: asking within a deadline, scores in the background, reports, OpenAI's requests.

Nothing here needs an engine; ``rankd_vllm``, ``rankd_transformers`` and ``rankd proxy`` are thin layers over it.
"""

from rankd_client.engine.asking import Asker
from rankd_client.engine.memory import Memory, Remembered
from rankd_client.engine.reporter import Finished, Reporter, connected
from rankd_client.engine.scores import Scores
from rankd_client.engine.settings import Settings

__all__ = ["Asker", "Finished", "Memory", "Remembered", "Reporter", "Scores", "Settings", "connected"]
