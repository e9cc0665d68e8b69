"""What the figures are measured against: met, missed, or not run."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.gpu.raw import SERVED
from benchmarks.gpu.results import Results, Row

LEAST_SHARE, LEAST_RATE, MOST_MS, LEAST_TAU = 0.8, 50_000.0, 5.0, 0.99


@dataclass(frozen=True, slots=True)
class Bar:
    """One aim."""

    aim: str
    value: float | None
    met: bool
    note: str = ""

    @property
    def verdict(self) -> str:
        """In one or two words."""
        return "not run" if self.value is None else "met" if self.met else "MISSED"


def bars_of(results: Results, provider: str) -> list[Bar]:
    """The aims; figures of a CPU are no answer to any of them."""
    raw, daemon = results.found("raw") or {}, results.found("daemon") or {}
    if provider != "cuda":
        raw, daemon = {}, {}
    floor = _floor(raw.get("variants", {}).get(SERVED, []))
    rows = [r for r in daemon.get("throughput", []) if r.get("workload") == "tokens64" and "prompts_per_second" in r]
    best: Row = max(rows, key=lambda r: float(r["prompts_per_second"]), default={})
    rate = best.get("prompts_per_second")
    share = rate / floor if rate and floor else None
    servers = f"{best['servers']} daemons" if best else ""
    latencies = [r for r in daemon.get("half_load", []) if "ms_p99" in r and not r.get("failed")]
    p99 = min((float(r["ms_p99"]) for r in latencies), default=None)
    shown: Row = min(latencies, key=lambda r: float(r["ms_p99"]), default={})
    note = f"calls of {shown['items_per_call']} prompts" if shown else ""
    if shown and shown["asked_prompts_per_second"] > 1.1 * shown["prompts_per_second"]:
        note += ", below half load: the generators sent no more"
    share_on_device = _device_share(results.found("environment") or {})
    return [
        Bar(f"at least {LEAST_SHARE:.0%} of the raw loop, 64 tokens", share, (share or 0) >= LEAST_SHARE, servers),
        Bar(f"at least {LEAST_RATE:,.0f} prompts/s from one host, 64 tokens", rate, (rate or 0) >= LEAST_RATE, servers),
        Bar(f"p99 at most {MOST_MS:g} ms at half load", p99, p99 is not None and p99 <= MOST_MS, note),
        Bar("no matrix product on the CPU (how many there are)", share_on_device, share_on_device == 0),
        _right(raw),
    ]


def _floor(rows: list[Row]) -> float | None:
    rates = [r["prompts_per_second"] for r in rows if r.get("what") == "mix" and r.get("workload") == "tokens64"]
    return max(rates, default=None)


def _device_share(environment: Row) -> float | None:
    if not environment.get("onnxruntime", {}).get("cuda_device_present"):
        return None
    rows = [row for row in environment.get("served_graph", []) if row.get("what") == "placement"]
    return float(rows[0]["products_on_cpu_count"]) if rows else None


def _right(raw: Row) -> Bar:
    """The smallest tau of any variant with the CPU's scores of the same weights: a fast wrong answer must not win.

    What int8 itself costs in tau is another question; each row tells both.
    """
    taus = {
        name: row.get("tau_fp32", row.get("tau_int8")) or 0.0
        for name, rows in raw.get("variants", {}).items()
        for row in rows
        if row.get("what") == "agreement"
    }
    worst = min(taus, key=lambda name: taus[name], default=None)
    value = None if worst is None else taus[worst]
    met = value is not None and value >= LEAST_TAU
    return Bar(f"every variant's tau with the CPU's scores at least {LEAST_TAU:g}", value, met, worst or "")
