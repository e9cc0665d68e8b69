"""One variant in a process of its own: ``python -m benchmarks.gpu.variant`` reads a job and tells rows."""

from __future__ import annotations

import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gpu.child import tell
from benchmarks.gpu.placement import where_nodes_ran
from benchmarks.gpu.prompts import batches, fixed_rows
from benchmarks.gpu.results import Row
from benchmarks.gpu.session import Session, SessionPlan
from benchmarks.gpu.timing import milliseconds, repeat
from rankd.quality.statistics.kendall import tau_b
from rankd.scoring.onnx_model import Ids, pad

Run = Callable[[Ids, Ids], Any]
_CHECK_BUDGET, _MOST_ROWS = 4096, 512


def main() -> None:
    """Read a job from stdin, and tell its rows."""
    job = json.load(sys.stdin)
    rows = read_rows(Path(job["rows"]))
    runs = _torch_runs(job) if job["kind"] == "torch" else _onnx_runs(job)
    tell({"what": "agreement", **agreement(runs[0], rows["check"], job)})
    for batch, width in job["shapes"]:
        ids = fixed_rows(rows["mixed"], width, batch * len(runs))
        parts = [(ids[i * batch : (i + 1) * batch], np.ones((batch, width), dtype=np.int64)) for i in range(len(runs))]
        tell({"what": "shape", "batch": batch, "tokens": width, **_shape(runs, parts, job["seconds"])})
    for mix in job["mixes"]:
        tell({"what": "mix", **mix, **_mix(runs, rows[mix["workload"]], mix)})


def read_rows(path: Path) -> dict[str, list[Ids]]:
    """Token ids by workload, as ``raw`` keeps them: all in one array, and lengths."""
    kept = np.load(path)
    names = {name.split("|")[0] for name in kept.files}
    return {n: np.split(kept[f"{n}|ids"], np.cumsum(kept[f"{n}|lengths"])[:-1]) for n in names}


def write_rows(path: Path, rows: dict[str, list[Ids]]) -> None:
    """Write what ``read_rows`` reads."""
    arrays: dict[str, Any] = {}
    for name, ids in rows.items():
        arrays[f"{name}|ids"] = np.concatenate(ids)
        arrays[f"{name}|lengths"] = np.array([len(row) for row in ids])
    np.savez(path, **arrays)


def agreement(run: Run, rows: list[Ids], job: dict[str, Any]) -> Row:
    """How the scores of some prompts agree with those of reference graphs on the CPU, and with themselves alone."""
    scores = np.empty(len(rows))
    for batch in batches(rows, _CHECK_BUDGET, job.get("multiple", 1), _MOST_ROWS):
        scores[batch] = np.asarray(run(*pad([rows[i] for i in batch], job.get("multiple", 1))), dtype=np.float64)
    alone = np.array([float(run(*pad([row], job.get("multiple", 1)))[0]) for row in rows[:8]])
    found: Row = {
        "finite": bool(np.isfinite(scores).all()),
        "alone_difference": float(np.abs(alone - scores[:8]).max()),
    }
    for name, reference in job["references"].items():
        expected = np.array(reference)
        found[f"tau_{name}"] = tau_b(scores, expected) if found["finite"] else None
        found[f"difference_{name}"] = float(np.abs(scores - expected).max())
    return found


def _shape(runs: list[Run], parts: list[tuple[Ids, Ids]], seconds: float) -> Row:
    """One shape again and again; with several runners each in a thread of its own."""
    if len(runs) == 1:
        return repeat(lambda: runs[0](*parts[0]), len(parts[0][0]), seconds)
    found: list[Row] = [{} for _ in runs]

    def work(i: int) -> None:
        found[i] = repeat(lambda: runs[i](*parts[i]), len(parts[i][0]), seconds)

    _together([lambda i=i: work(i) for i in range(len(runs))])  # type: ignore[misc]
    return {**found[0], "prompts_per_second": sum(row.get("prompts_per_second", 0.0) for row in found)}


def _mix(runs: list[Run], rows: list[Ids], mix: Row) -> Row:
    """All prompts of a workload once, as a queue of them is read: sorted by length and cut into batches."""
    cut = batches(rows, mix["budget"], mix["multiple"], mix["most"])
    padded = [pad([rows[i] for i in batch], mix["multiple"]) for batch in cut]
    for run in runs:
        for ids, mask in padded:  # every shape once, so that none is met for the first time
            run(ids, mask)
    times: list[float] = []
    turns = iter(padded * mix["rounds"])
    lock = threading.Lock()

    def work(run: Run) -> None:
        while True:
            with lock:
                batch = next(turns, None)
            if batch is None:
                return
            began = time.perf_counter()
            run(*batch)
            times.append(time.perf_counter() - began)

    began = time.perf_counter()
    _together([lambda run=run: work(run) for run in runs])  # type: ignore[misc]
    took = time.perf_counter() - began
    real, whole = sum(len(row) for row in rows), sum(ids.size for ids, _ in padded)
    return {
        "prompts_per_second": len(rows) * mix["rounds"] / took,
        "padding_share": 1 - real / whole,
        "shapes": len({ids.shape for ids, _ in padded}),
        "batches": len(padded),
        **milliseconds(times),
    }


def _together(works: list[Callable[[], None]]) -> None:
    if len(works) == 1:
        works[0]()
        return
    with ThreadPoolExecutor(len(works)) as pool:
        for done in [pool.submit(work) for work in works]:
            done.result()


def _onnx_runs(job: dict[str, Any]) -> list[Run]:
    plan = SessionPlan(job["graph"], job["provider"], job["feed"], job["options"])
    began = time.perf_counter()
    first = Session(plan)
    tell({"what": "session", "providers": first.providers, "load_seconds": time.perf_counter() - began})
    if job["profile"]:
        _tell_placement(plan)
    extra = job["lanes"] - 1
    if job["share"]:  # one session that several threads call; buffers are those of a batch, so only without kept ones
        return [first.run] * job["lanes"]
    return [first.run, *(Session(plan).run for _ in range(extra))]


def _tell_placement(plan: SessionPlan) -> None:
    """Where the nodes of a batch run, in a session of its own: profiling costs."""
    with tempfile.TemporaryDirectory() as folder:
        profiled = Session(SessionPlan(plan.graph, plan.provider, "fresh", plan.options, f"{folder}/profile"))
        ids = np.full((8, 64), 5, dtype=np.int64)
        for _ in range(3):
            profiled.run(ids, np.ones_like(ids))
        tell({"what": "placement", **where_nodes_ran(profiled.end_profile())})


def _torch_runs(job: dict[str, Any]) -> list[Run]:
    from benchmarks.gpu.torch_ranker import TorchRanker

    ranker = TorchRanker(job["graph"], device="cpu" if job["provider"] == "cpu" else "cuda", precision=job["feed"])
    tell({"what": "session", "providers": [f"torch {ranker.version} on {ranker.device}"]})
    return [ranker.run]


if __name__ == "__main__":
    main()
