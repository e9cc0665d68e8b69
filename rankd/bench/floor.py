"""The two floors: what the model alone takes, and what gRPC alone takes."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import grpc
import numpy as np

from rankd.registry.artifact import Artifact
from rankd.registry.preparation import WARM_UP_PROMPTS
from rankd.scoring.batch_sizes import DEFAULT_BATCH_TOKENS
from rankd.scoring.gpu import Provider, choose_provider
from rankd.scoring.onnx_model import Ids, OnnxModel, pad, warm_up
from rankd.scoring.placed_model import load_placed
from rankd.scoring.session import ModelSpec, SessionOptions
from rankd.scoring.tokeniser import Tokeniser, Truncation

EMPTY_METHOD = "/floor.Floor/Empty"
FLOORS = ("aio", "uvloop", "threads")
"""Servers with an empty method: grpc.aio on asyncio's loop, on uvloop's, and grpc's server with four threads."""
_OPTIONS = [("grpc.so_reuseport", 0)]
BUDGETS = {"cpu": (64, 128, 256, 512, 1024), "cuda": (4096, 8192, 16384, 32768)}


class OfflineLoop:
    """Tokenise and ``session.run`` in a loop: no daemon can be faster with this model and these threads."""

    def __init__(self, artifact: Artifact, options: SessionOptions) -> None:
        """Load what the daemon loads."""
        manifest = artifact.manifest
        cut = manifest.truncation
        self._tokeniser = Tokeniser(
            artifact.tokenizer_path,
            Truncation(cut.max_tokens, cut.head_tokens, cut.tail_tokens),
            artifact.tokenizer.read(),
        )
        self._model = self._load(artifact, options)
        self.provider = self._model.provider
        self.processor_ms = 0.0
        """Processor time for each prompt of the last ``rate``, of all threads."""

    def _load(self, artifact: Artifact, options: SessionOptions) -> OnnxModel:
        """The model where the daemon would run it."""
        manifest, cuda = artifact.manifest, choose_provider(options.provider) == "cuda"

        def load(provider: Provider) -> OnnxModel:
            graph = artifact.graph(choose_provider(provider))
            spec = ModelSpec(
                str(graph.path), tuple(manifest.inputs), manifest.output, self._tokeniser.max_tokens, graph.content
            )
            return OnnxModel(spec, replace(options, provider=provider, profile=cuda and provider != "cpu"))

        def warm(model: OnnxModel) -> None:
            if cuda:
                warm_up(model, self._encode(WARM_UP_PROMPTS), max_batch_tokens=DEFAULT_BATCH_TOKENS[model.provider])

        return load_placed(options.provider, str(artifact.path), load, warm).model

    def one(self, prompt: str) -> float:
        """Seconds for one prompt alone."""
        began = time.perf_counter()
        self._model.run(*pad(self._encode([prompt])))
        return time.perf_counter() - began

    def rate(self, prompts: Sequence[str], budget: int, workers: int = 1) -> float:
        """Prompts per second over all prompts, sorted by length and cut into batches of ``budget`` padded tokens.

        ``workers`` threads tokenise a part each, and then take batch after batch; all run the one session.
        """
        with ThreadPoolExecutor(workers) as pool:
            began, used = time.perf_counter(), time.process_time()
            parts = pool.map(self._encode, [prompts[n::workers] for n in range(workers)])
            rows = sorted((row for part in parts for row in part), key=len)
            start = 0
            runs = []
            while start < len(rows):
                end = start + 1
                while end < len(rows) and len(rows[end]) * (end + 1 - start) <= budget:
                    end += 1
                runs.append(pool.submit(self._read, rows[start:end]))
                start = end
            for run in runs:
                run.result()
            self.processor_ms = (time.process_time() - used) / len(rows) * 1000
            return len(rows) / (time.perf_counter() - began)

    def _read(self, rows: list[Ids]) -> None:
        self._model.run(*pad(rows))

    def best_rate(self, prompts: Sequence[str], workers: int = 1) -> tuple[float, int]:
        """The best rate over token budgets, and its budget; ``processor_ms`` is that rate's."""
        rates = {budget: (self.rate(prompts, budget, workers), self.processor_ms) for budget in BUDGETS[self.provider]}
        best = max(rates, key=lambda b: rates[b])
        self.processor_ms = rates[best][1]
        return rates[best][0], best

    def mean_tokens(self, prompts: Sequence[str]) -> float:
        """Mean tokens of a prompt, as the model reads it."""
        return float(np.mean([len(r) for r in self._encode(prompts)]))

    def _encode(self, prompts: Sequence[str]) -> list[Ids]:
        return self._tokeniser.encode([self._tokeniser.cut(p) for p in prompts])


async def _serve_empty() -> None:
    """Serve a method that does nothing, as plainly as grpc.aio can."""

    async def empty(_: bytes, __: grpc.aio.ServicerContext) -> bytes:
        return b""

    server = grpc.aio.server(options=_OPTIONS)
    port = _listen(server, empty)
    await server.start()
    _tell(port)
    await server.wait_for_termination()


def _serve_empty_in_threads(threads: int) -> None:
    """The same with grpc's other server, which has no event loop and hands each call to a thread."""

    def empty(_: bytes, __: grpc.ServicerContext) -> bytes:
        return b""

    server = grpc.server(ThreadPoolExecutor(threads), options=_OPTIONS)
    port = _listen(server, empty)
    server.start()
    _tell(port)
    server.wait_for_termination()


def _listen(server: Any, empty: Callable[..., Any]) -> int:
    handlers = {"Empty": grpc.unary_unary_rpc_method_handler(empty)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("floor.Floor", handlers),))
    port: int = server.add_insecure_port("127.0.0.1:0")
    return port


def _tell(port: int) -> None:
    print(json.dumps({"listen": f"127.0.0.1:{port}"}), file=sys.stderr, flush=True)


def main(kind: str) -> None:
    """Serve as one of ``FLOORS``."""
    if kind == "threads":
        _serve_empty_in_threads(4)
    elif kind == "uvloop":
        import uvloop

        uvloop.run(_serve_empty())
    else:
        asyncio.run(_serve_empty())


if __name__ == "__main__":
    main(*sys.argv[1:] or FLOORS[:1])
