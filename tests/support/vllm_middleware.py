"""rankd-vllm's middleware before an engine, with a store of its own."""

import contextlib

from rankd_client.integration.prediction_store import PredictionStore
from rankd_vllm import IntegrationSettings, RankMiddleware


@contextlib.asynccontextmanager
async def middleware(engine, target, **options):
    """The middleware before an engine, with a memory of its own."""
    made = RankMiddleware(engine, IntegrationSettings(target=target, **({"timeout": 5.0} | options)), PredictionStore())
    try:
        yield made
    finally:
        await made._breaker.close()
