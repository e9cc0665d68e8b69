"""The daemon on the GPU: how many processes fill it, what takes the time, latency at half load, memory."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import onnx

from benchmarks.gpu.device import used_memory
from benchmarks.gpu.encoder import Encoder
from benchmarks.gpu.load import Generators, LoopProbe
from benchmarks.gpu.raw import Files
from benchmarks.gpu.results import Results, Row
from benchmarks.gpu.scale import Scale
from benchmarks.gpu.served import ServedDaemon, between
from rankd.errors import RankdError
from rankd.registry.artifact import Artifact, write_manifest
from rankd.registry.artifact_files import MODEL, TOKENIZER

_MEMORY_LIMITS = (2**28, 2**30, 4 * 2**30, 2**40)
"""Bytes of ``scoring.cuda_memory_limit``; the last is none."""


def served_ranker(folder: Path, artifact: Artifact, encoder: Encoder, files: Files, scale: Scale) -> Path:
    """The directory to serve: the ranker's own, or on CUDA one with an fp16 graph where it has none."""
    if not scale.cuda or (artifact.path / "model.cuda.onnx").exists():
        return artifact.path
    return write_ranker(folder / "served", artifact, files.path("served"), encoder.source)


def write_ranker(out: Path, artifact: Artifact, graph: str, source: str) -> Path:
    """Write a ranker's directory that has ``graph`` in place of the artifact's, half precision as it says."""
    out.mkdir()
    shutil.copyfile(graph, out / MODEL)
    (out / TOKENIZER).write_bytes(artifact.tokenizer.read())
    outputs = {o.name for o in onnx.load(str(out / MODEL), load_external_data=False).graph.output}
    kept = artifact.manifest.model_dump(mode="json", include={"name", "version", "inputs", "output", "truncation"})
    fields: dict[str, Any] = {**kept, "precision": "fp16", "direction": "higher_is_longer", "licence": "for this run"}
    if artifact.manifest.features_output in outputs:
        fields["features_output"] = artifact.manifest.features_output
    write_manifest(out, {**fields, "data": [{"name": source, "licence": "for this run"}]})
    return out


def run_daemons(results: Results, ranker: Path, scale: Scale) -> None:
    """Throughput by number of daemons, then latency at half of the best, then memory; each written as it comes."""
    found: dict[str, list[Row]] = {"throughput": [], "half_load": [], "memory": [], "cut": []}
    results.start("daemon", found)
    plan = scale.daemons
    for workload in plan.workloads:
        with Generators(ranker, workload, items=plan.items, payloads=plan.payloads, processes=plan.generators) as load:
            for servers in plan.servers if workload == plan.workloads[0] else [_best(found["throughput"])["servers"]]:
                if scale.left() > plan.row_cap:
                    row = _guarded(lambda n=servers: _throughput(load, ranker, n, scale))
                    _keep(results, found["throughput"], {"workload": workload, "servers": servers, **row})
    best = _best([row for row in found["throughput"] if row["workload"] == plan.workloads[0]])
    for items in plan.half_load_items:
        if scale.left() > plan.row_cap and best.get("prompts_per_second"):
            row = _guarded(lambda n=items: _half_load(ranker, best, n, scale))
            _keep(results, found["half_load"], {"workload": plan.workloads[0], "items_per_call": items, **row})
    for limit in _MEMORY_LIMITS if scale.cuda else ():
        if scale.left() > plan.row_cap:
            row = _guarded(lambda n=limit: _memory(ranker, n, scale))
            _keep(results, found["memory"], {"limit": limit, **row})
    if scale.left() <= plan.row_cap:
        found["cut"].append({"error": "some rows were left out: no time left of --seconds"})
    results.write()


def _keep(results: Results, rows: list[Row], row: Row) -> None:
    rows.append(row)
    results.write()
    shown = {k: v for k, v in row.items() if k in {"workload", "servers", "prompts_per_second", "ms_p99", "error"}}
    results.say("daemon", ", ".join(f"{k} {v:,.6g}" if isinstance(v, float) else f"{k} {v}" for k, v in shown.items()))


def _guarded(measure: Any) -> Row:
    try:
        row: Row = measure()
    except (RankdError, RuntimeError, OSError) as error:
        return {"error": " ".join(str(error).split())[-500:]}
    return row


def _best(rows: list[Row]) -> Row:
    return max(rows, key=lambda row: row.get("prompts_per_second", 0.0), default={"servers": 1})


@contextmanager
def _daemons(ranker: Path, count: int, scale: Scale, **environment: str) -> Iterator[list[ServedDaemon]]:
    """So many daemons, started side by side."""
    with ExitStack() as stack, ThreadPoolExecutor(count) as pool:
        starting = [pool.submit(ServedDaemon, ranker, scale.provider, environment) for _ in range(count)]
        for future in starting:
            if future.exception() is None:
                stack.enter_context(future.result())
        yield [future.result() for future in starting]


def _throughput(load: Generators, ranker: Path, servers: int, scale: Scale) -> Row:
    """As many prompts as the daemons take, and what the first one used meanwhile."""
    plan = scale.daemons
    with _daemons(ranker, servers, scale) as daemons:
        targets = [daemon.target for daemon in daemons]
        load.closed(targets, in_flight=plan.in_flight, warm=0, seconds=plan.warm)
        before, began = daemons[0].usage(), time.perf_counter()
        row = load.closed(targets, in_flight=plan.in_flight, warm=0, seconds=plan.seconds)
        used = between(before, daemons[0].usage(), time.perf_counter() - began)
        return {**row, "daemon": used, "memory": [d.memory for d in daemons], "device_memory": used_memory()}


def _half_load(ranker: Path, best: Row, items: int, scale: Scale) -> Row:
    """Half of the best throughput at random times, with as many daemons; the loop of the first one is looked at."""
    plan = scale.daemons
    rate = best["prompts_per_second"] / 2
    most = plan.calls_per_generator * items * plan.generators
    with (
        Generators(ranker, plan.workloads[0], items=items, payloads=plan.payloads, processes=plan.generators) as load,
        _daemons(ranker, best["servers"], scale) as daemons,
    ):
        targets = [daemon.target for daemon in daemons]
        idle = LoopProbe(daemons[0].http)
        time.sleep(plan.warm)
        found: Row = {"servers": best["servers"], "loop_idle": idle.end(), "asked_prompts_per_second": rate}
        if rate > most:
            found["note"] = f"the generators send at most about {most:,.0f} prompts/s in calls of {items}"
        probe = LoopProbe(daemons[0].http)
        row = load.open(targets, rate=min(rate, most), warm=plan.warm, seconds=plan.seconds)
        return {**found, **row, "loop": probe.end()}


def _memory(ranker: Path, limit: int, scale: Scale) -> Row:
    """What the device has in use before a daemon starts, after its warm-up, and after load."""
    plan = scale.daemons
    before = used_memory()
    with (
        Generators(ranker, "mixed", items=plan.items, payloads=plan.payloads, processes=1) as load,
        _daemons(ranker, 1, scale, RANKD_SCORING__CUDA_MEMORY_LIMIT=str(limit)) as daemons,
    ):
        started = used_memory()
        row = load.closed([daemons[0].target], in_flight=plan.in_flight, warm=0, seconds=plan.warm)
        kept = {name: row[name] for name in ("prompts_per_second", "failed", "unscored")}
        return {"before": before, "started": started, "loaded": used_memory(), **kept}
