"""The results as tables, for a terminal or a log."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.gpu.bars import Bar
from benchmarks.gpu.results import Results, Row


def show(results: Results, bars: list[Bar], console: Console) -> None:
    """Print what there is of each part, then the aims."""
    raw, daemon = results.found("raw"), results.found("daemon")
    if raw:
        console.print(_raw(raw["variants"]))
        console.print(_shapes(raw["variants"]))
        console.print(_padding(raw["variants"]))
    if daemon:
        console.print(_throughput(daemon["throughput"]))
        console.print(_half_load(daemon["half_load"]))
        if daemon["memory"]:
            console.print(_memory(daemon["memory"]))
    table = _table("Aims", "aim", "measured", "", "")
    for bar in bars:
        table.add_row(bar.aim, _number(bar.value), bar.verdict, bar.note)
    console.print(table)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column)
    return table


def _number(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _of(rows: list[Row], what: str) -> list[Row]:
    return [row for row in rows if row.get("what") == what]


def _raw(variants: dict[str, list[Row]]) -> Table:
    names = (
        "variant",
        "mixed, prompts/s",
        "64 tokens, prompts/s",
        "best shape",
        "tau",
        "difference",
        "products on CPU",
    )
    table = _table("Raw loop", *names, "failed")
    for name, rows in variants.items():
        mixes = {w: [r["prompts_per_second"] for r in _of(rows, "mix") if r["workload"] == w] for w in
                 ("mixed", "tokens64")}  # fmt: skip
        shape = max(_of(rows, "shape"), key=lambda r: float(r["prompts_per_second"]), default=None)
        best = f"{shape['prompts_per_second']:,.0f} at {shape['batch']} x {shape['tokens']}" if shape else "-"
        agreed = (_of(rows, "agreement") or [{}])[0]
        tau, difference = (agreed.get(f"{k}_fp32", agreed.get(f"{k}_int8")) for k in ("tau", "difference"))
        placed = (_of(rows, "placement") or [{}])[0].get("products_on_cpu_count")
        table.add_row(
            name, *(_number(max(rates, default=None)) for rates in mixes.values()), best,
            _number(tau), _number(difference), _number(placed),
            "; ".join(row["error"] for row in rows if "error" in row)[:80],
        )  # fmt: skip
    return table


def _shapes(variants: dict[str, list[Row]]) -> Table:
    shapes = sorted({(r["tokens"], r["batch"]) for rows in variants.values() for r in _of(rows, "shape")})
    kept = {name: rows for name, rows in variants.items() if len(_of(rows, "shape")) == len(shapes)}
    table = _table("Prompts/s by shape", "batch x tokens", *kept)
    for tokens, batch in shapes:
        cells = []
        for rows in kept.values():
            found = [r for r in _of(rows, "shape") if (r["tokens"], r["batch"]) == (tokens, batch)]
            cells.append(_number(found[0]["prompts_per_second"]) if found else "-")
        table.add_row(f"{batch} x {tokens}", *cells)
    return table


def _padding(variants: dict[str, list[Row]]) -> Table:
    names = ("variant", "workload", "batch tokens", "width multiple", "prompts/s", "padding", "shapes", "batch p99, ms")
    table = _table("Padding and batches", *names)
    for name, rows in variants.items():
        for row in _of(rows, "mix"):
            cells = [row[k] for k in ("budget", "multiple", "prompts_per_second", "padding_share", "shapes", "ms_p99")]
            table.add_row(name, row["workload"], *map(_number, cells))
    return table


_USED = (
    "prompts_per_batch", "model_busy_share", "loop_busy_share", "loop_us_per_prompt", "tokenise_us_per_prompt",
    "infer_us_per_prompt", "processor_us_per_prompt",
)  # fmt: skip


def _throughput(rows: list[Row]) -> Table:
    names = ("workload", "daemons", "prompts/s", "call p99, ms", "prompts a batch", "model busy", "loop busy")
    table = _table("Daemon", *names, "us a prompt: loop", "tokenise", "model", "all threads", "failed")
    for row in rows:
        cells = [row.get("prompts_per_second"), row.get("ms_p99"), *(row.get("daemon", {}).get(k) for k in _USED)]
        failed = row.get("error") or "; ".join(row.get("reasons", [])) or _number(row.get("unscored"))
        table.add_row(row["workload"], _number(row["servers"]), *map(_number, cells), failed[:120])
    return table


def _half_load(rows: list[Row]) -> Table:
    names = ("prompts a call", "daemons", "prompts/s", "p50, ms", "p99, ms", "loop p99, ms", "loop max, ms", "idle")
    table = _table("Half load", *names, "")
    for row in rows:
        loop, idle = row.get("loop", {}), row.get("loop_idle", {})
        cells = [row.get("servers"), row.get("prompts_per_second"), row.get("ms_p50"), row.get("ms_p99"),
                 loop.get("ms_p99"), loop.get("ms_max"), idle.get("ms_max")]  # fmt: skip
        table.add_row(_number(row["items_per_call"]), *map(_number, cells), row.get("error") or row.get("note", ""))
    return table


def _memory(rows: list[Row]) -> Table:
    table = _table("Memory of the device, MB", "cuda_memory_limit", "started", "after load", "prompts/s", "failed")
    for row in rows:
        grown = [row[k] - row["before"] if row.get(k) and row.get("before") is not None else None
                 for k in ("started", "loaded")]  # fmt: skip
        cells = [row["limit"] / 2**20, *(None if g is None else g / 2**20 for g in grown)]
        failed = row.get("error") or _number(row.get("unscored"))
        table.add_row(*map(_number, cells), _number(row.get("prompts_per_second")), failed[:120])
    return table
