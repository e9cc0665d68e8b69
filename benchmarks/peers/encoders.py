"""The peers: infinity with its engines, and a plain loop of transformers, each in the environment of ``make peers``."""

from __future__ import annotations

import asyncio
import base64
import os
import socket
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np

from benchmarks.peers.child import HERE, START, Child
from benchmarks.peers.peer import ANSWER, Ask, Peer, Vectors, check_vectors
from rankd.errors import ConfigError, RankdError

HIDDEN = 384
"""Numbers in a vector of all-MiniLM-L6-v2."""
_QUIET = {"HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1", "TRANSFORMERS_VERBOSITY": "error"}


class Environment:
    """The virtual environment with the peers."""

    def __init__(self, folder: Path) -> None:
        """Look at it.

        Raises:
            ConfigError: nothing is there.
        """
        self.folder = folder.absolute()
        self.python = self.folder / "bin" / "python"
        self.infinity = self.folder / "bin" / "infinity_emb"
        if not self.infinity.exists():
            raise ConfigError(
                f"{folder} has no infinity_emb: `make peers` installs it, which needs PyPI; --only rankd does without"
            )

    async def graphs(self) -> Path:
        """The folder of ONNX graphs, exported once."""
        out = self.folder / "onnx"
        if not out.exists():
            child = await Child.start([str(self.python), "-m", "benchmarks.peers.export_onnx", str(out)], _QUIET)
            await child.wait()
            if not out.exists():
                raise RankdError(f"the export failed: {child.last_words}")
        return out

    async def run(self, code: str) -> str:
        """What a few lines of Python print there."""
        child = await Child.start([str(self.python), "-c", code], _QUIET)
        return str((await child.line())["out"])


class Infinity(Peer):
    """infinity, asked over its REST API with connections that are kept; answers in base64, its most compact form."""

    def __init__(self, environment: Environment, engine: str, precision: str, *, warm_up: bool = True) -> None:
        """Take an engine (torch or optimum) and a precision; ``warm_up``: with that of its own, up to a minute."""
        super().__init__(f"infinity, {engine}, {precision}")
        self._environment = environment
        self._engine, self._precision, self._warm_up = engine, precision, warm_up
        self._url = ""

    async def start(self, prompts: Iterable[Sequence[str]]) -> None:  # noqa: ARG002 - its defaults
        """Start it, and wait until it is healthy."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self._url = f"http://127.0.0.1:{port}"
        source, flags = await self._source()
        flags += ["--engine", self._engine, "--device", "cpu", *([] if self._warm_up else ["--no-model-warmup"])]
        self.settings = f"{' '.join(flags)}; else its defaults"
        # "." : an absolute path of a graph is refused by optimum, a relative one with a folder too.
        command = [str(self._environment.infinity), "v2", "--model-id", ".", "--served-model-name", "m", *flags]
        command += ["--host", "127.0.0.1", "--port", str(port), "--log-level", "warning"]
        home = self._environment.folder / "home" / self.name.replace(", ", "-")
        child = await Child.start(command, _QUIET | {"HF_HOME": str(home)}, source)
        self._children.append(child)
        deadline = time.monotonic() + START
        async with aiohttp.ClientSession() as session:
            while child.running and time.monotonic() < deadline:
                try:
                    async with session.get(f"{self._url}/health") as answer:
                        if answer.status == 200:
                            return
                except aiohttp.ClientError:
                    pass
                await asyncio.sleep(0.2)
        raise RankdError(child.last_words)

    async def _source(self) -> tuple[Path, list[str]]:
        """The folder to serve, and the flags that belong to it."""
        if self._engine == "optimum":
            graph = (await self._environment.graphs()) / self._precision
            return graph, ["--pooling-method", "mean", "--onnx-disable-optimize"]
        where = 'from benchmarks.peers.export_onnx import weights_folder as f; print(\'{"out": "%s"}\' % f())'
        return Path(await self._environment.run(where)), ["--dtype", self._precision]

    @asynccontextmanager
    async def connect(self, clients: int) -> AsyncIterator[Ask]:  # type: ignore[override]
        """A connection for each client."""
        async with self._session(clients) as session:

            async def ask(prompts: Sequence[str]) -> None:
                await self._embed(session, prompts)

            yield ask

    async def vectors(self, prompts: Sequence[str]) -> Vectors:
        """Of one request."""
        async with self._session(1) as session:
            return await self._embed(session, prompts)

    def _session(self, clients: int) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(limit=clients, keepalive_timeout=ANSWER)
        return aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(ANSWER))

    async def _embed(self, session: aiohttp.ClientSession, prompts: Sequence[str]) -> Vectors:
        body = {"model": "m", "input": list(prompts), "encoding_format": "base64"}
        try:
            async with session.post(f"{self._url}/embeddings", json=body) as answer:
                if answer.status != 200:
                    raise RankdError(f"HTTP {answer.status}: {(await answer.text())[:200]}")
                rows = (await answer.json())["data"]
        except (aiohttp.ClientError, TimeoutError) as error:
            raise RankdError(f"{type(error).__name__}: {error}") from None
        vectors = np.frombuffer(b"".join(base64.b64decode(row["embedding"]) for row in rows), np.float32)
        if len(vectors) != len(rows) * HIDDEN:
            raise RankdError(f"{len(vectors)} numbers in {len(rows)} vectors")
        vectors = vectors.reshape(len(rows), HIDDEN)
        check_vectors(vectors, len(prompts), HIDDEN)
        return vectors


class TransformersLoop(Peer):
    """Tokenise, forward, pool, in processes without a server; batch, threads and processes are the best found."""

    several = False

    def __init__(self, environment: Environment, precision: str, *, patience: float) -> None:
        """Take a precision, a name of torch's; ``patience``: seconds to look for the best setting, for each size."""
        super().__init__(f"transformers loop, {precision}")
        self._environment = environment
        self._precision, self._patience = precision, patience
        self._chosen: dict[int, tuple[int, int, int]] = {}
        """By prompts of a request: processes, threads of each, batch."""

    async def start(self, prompts: Iterable[Sequence[str]]) -> None:
        """Start a process for each core, and try the settings for 1, 32 and 256 prompts."""
        cores = usable_cores()
        for _ in range(cores):
            command = [str(self._environment.python), "-m", "benchmarks.peers.transformers_loop", self._precision]
            self._children.append(await Child.start(command, _QUIET))
        for child in self._children:
            await child.line()
        supply = iter(prompts)
        for size in (1, 32, 256):
            splits = [(cores, 1), (1, cores)] if size > 1 else [(1, 1), (1, cores)]
            batches = [b for b in (32, 64, 8, 128) if b <= size] or [1]
            self._chosen[size] = await self._fastest([(*s, b) for b in batches for s in splits], size, supply)
        self.settings = "; ".join(
            f"{size}: {p} process(es) of {t} thread(s), batches of {b}" for size, (p, t, b) in self._chosen.items()
        )

    async def _fastest(
        self, settings: Sequence[tuple[int, int, int]], size: int, supply: Iterator[Sequence[str]]
    ) -> tuple[int, int, int]:
        """The setting with the shortest of its trials; what was not tried in ``patience`` seconds is not chosen."""
        tried: dict[tuple[int, int, int], float] = {}
        end = time.perf_counter() + self._patience
        for _ in range(3):
            for setting in settings:
                if not tried or time.perf_counter() < end:
                    seconds = await self._timed(setting, next(supply)[:size])
                    tried[setting] = min(seconds, tried.get(setting, seconds))
        return min(tried, key=lambda setting: tried[setting])

    async def _timed(self, setting: tuple[int, int, int], prompts: Sequence[str]) -> float:
        began = time.perf_counter()
        await self._read(setting, prompts, {"quiet": True})
        return time.perf_counter() - began

    async def _read(
        self, setting: tuple[int, int, int], prompts: Sequence[str], more: dict[str, Any]
    ) -> list[dict[str, Any]]:
        """Share prompts out to the processes, evenly by length."""
        processes, threads, batch = setting
        ordered = sorted(prompts, key=len) if processes > 1 else list(prompts)
        parts = [part for n in range(processes) if (part := ordered[n::processes])]
        children = self._children[: len(parts)]
        for child, part in zip(children, parts, strict=True):
            await child.send({"prompts": part, "batch": batch, "threads": threads} | more)
        return [await child.line() for child in children]

    @asynccontextmanager
    async def connect(self, clients: int) -> AsyncIterator[Ask]:  # type: ignore[override]
        """One client: there is no server to take more."""
        assert clients == 1

        async def ask(prompts: Sequence[str]) -> None:
            known = min(self._chosen, key=lambda size: abs(size - len(prompts)))
            answers = await self._read(self._chosen[known], prompts, {"quiet": True})
            if sum(a["count"] for a in answers) != len(prompts) or not all(a["finite"] for a in answers):
                raise RankdError(f"not {len(prompts)} finite vectors")

        yield ask

    async def vectors(self, prompts: Sequence[str]) -> Vectors:
        """Of one batch, in one process."""
        (answer,) = await self._read((1, 1, 32), prompts, {})
        return np.array(answer["vectors"], np.float32)


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def default_environment() -> Path:
    """Where ``make peers`` puts the peers."""
    return HERE / ".venv-peers"
