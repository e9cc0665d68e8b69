"""What is true of a day: who served, what was reported, and what arrival order would have made of it."""

from collections import Counter
from dataclasses import dataclass, field, replace

import numpy as np

from soak.scripted_day.served import Sent, ServedHour

MEASURES = ("end_to_end", "first_token", "per_token")
QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}


def statistic(name: str, values: np.ndarray) -> float:
    """The mean, or a quantile."""
    return float(values.mean()) if name == "mean" else float(np.quantile(values, QUANTILES[name]))


@dataclass(frozen=True)
class Compared:
    """Requests that figures rest on, by arrival, with their latencies as they were and in arrival order, [n]."""

    rows: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.rows["arrival"])

    def of(self, chosen: np.ndarray) -> "Compared":
        """Some of them."""
        return Compared({name: column[chosen] for name, column in self.rows.items()})

    def first(self, count: int) -> "Compared":
        """So many."""
        return self.of(np.arange(min(count, len(self))))

    def latencies(self, measure: str) -> tuple[np.ndarray, np.ndarray]:
        """As they were, and in arrival order."""
        rows = self.rows
        ends = ("first_token", "other_first_token") if measure == "first_token" else ("end", "other_end")
        pair = [rows[end] - rows["arrival"] for end in ends]
        if measure == "per_token":
            pair = [one / rows["output"] for one in pair]
        return pair[0], pair[1]

    def saved(self, measure: str, name: str) -> float:
        """Seconds."""
        observed, other = self.latencies(measure)
        return statistic(name, other) - statistic(name, observed)

    def observed(self, measure: str, name: str) -> float:
        """Seconds."""
        return statistic(name, self.latencies(measure)[0])

    @property
    def waited(self) -> np.ndarray:
        """Seconds, [n]."""
        return self.rows["start"] - self.rows["arrival"]


@dataclass
class Truth:
    """Kept by the script as it goes."""

    ranker: str = "ngram@1.0.0"
    sent: Sent = field(default_factory=Sent)
    """Since the daemon's process began."""
    hours: list[ServedHour] = field(default_factory=list)
    """Reported since then."""
    before: list[ServedHour] = field(default_factory=list)
    """Reported to processes before."""
    last_end: float | None = None
    """When the last request ended that was reported since then."""
    events: list[tuple[str, float]] = field(default_factory=list)
    """Kinds and times of what should be told, since the process began, or of the registry's history."""
    steps: list[tuple[str, str, str]] = field(default_factory=list)
    """Kind, version and the one before, of the registry's history."""
    pilot: bool = False
    """One is under way."""

    @property
    def mode(self) -> str:
        """How the last queue was ordered."""
        return "in arrival order" if self.sent.policy == "fcfs" else "ranked"

    def took(self, hour: ServedHour) -> None:
        """Note an hour's requests."""
        self.hours.append(hour)
        self.last_end = float(hour.end[hour.reported].max())

    def restart(self) -> None:
        """The process is another one: what counts since its start begins anew."""
        self.sent, self.before, self.hours = Sent(), [*self.before, *self.hours], []
        self.events = [e for e in self.events if e[0] in ("promoted", "rolled_back")]

    def compared(self, saved: dict, now: float) -> Compared:
        """The requests that figures of ``/status.json`` rest on: the first so many, by arrival, since their begin.

        Of these that had ended when the figures were made, some time after the end of the last of them: the latest
        such time at which the mean is the one that is told.
        """
        rows = _rows(self.hours)
        rows = rows.of((rows.rows["arrival"] >= saved["from_time"] - 1e-3) & (rows.rows["end"] <= now))
        told, count = saved["latencies"][0]["observed_seconds"], saved["completions"]
        ends = rows.rows["end"]
        for until in (now, *sorted(ends[ends >= saved["to_time"] - 1e-3], reverse=True)):
            found = rows.of(ends <= until).first(count)
            if len(found) == count and abs(found.observed("end_to_end", "mean") - told) < 1e-3:
                return found
        return rows.first(count)

    def total(self, saved: dict) -> float:
        """Seconds that all of a running total of ``/status.json`` were saved, whatever process they were in."""
        rows = _rows([*self.before, *self.hours])
        rows = rows.of(rows.rows["arrival"] >= saved["total_since"] - 1e-3).first(saved["total_completions"])
        return float((rows.rows["other_end"] - rows.rows["end"]).sum())

    def lately(self) -> str:
        """Mean end-to-end seconds that the last hour's requests were saved."""
        if not self.hours:
            return "-"
        return f"{float((self.hours[-1].other_end - self.hours[-1].end).mean()):.2f}"

    def now(self) -> "Truth":
        """A copy of what is true now; what of an hour under way has ended is added to both when it is over."""
        copied = replace(self.sent, versions=self.sent.versions.copy())
        return replace(self, sent=copied, events=[*self.events], steps=[*self.steps])


def _rows(hours: list[ServedHour]) -> Compared:
    """All that was reported of some hours, by arrival."""
    names = [name for name in ServedHour.__dataclass_fields__ if name != "reported"]
    rows = {
        name: np.concatenate([getattr(hour, name)[hour.reported] for hour in hours] or [np.zeros(0)]) for name in names
    }
    return Compared(rows).of(np.argsort(rows["arrival"], kind="stable"))


@dataclass
class Coverage:
    """How many intervals of saved seconds held the truth."""

    held: Counter = field(default_factory=Counter)
    told: Counter = field(default_factory=Counter)
    missed: list[str] = field(default_factory=list)

    def add(self, figure: str, truth: float, estimate: dict, where: str) -> None:
        """Take one; an interval without a width is of what was served in arrival order."""
        within = estimate["low"] - 1e-4 <= truth <= estimate["high"] + 1e-4
        self.told[figure] += 1
        self.held[figure] += within
        if not within:
            low, value, high = (estimate[name] for name in ("low", "value", "high"))
            self.missed.append(f"{where}: {figure} {value:.3f} ({low:.3f} to {high:.3f}), true {truth:.3f}")

    def and_also(self, other: "Coverage") -> None:
        """Take those of another day."""
        self.held.update(other.held)
        self.told.update(other.told)
        self.missed.extend(other.missed)

    def lines(self) -> list[str]:
        """A table, all together last."""
        rows = [f"| {name} | {self.held[name] / n:.1%} of {n} |" for name, n in sorted(self.told.items())]
        told, held = self.told.total(), self.held.total()
        rows.append(f"| all | {held / max(told, 1):.1%} of {told} |")
        return ["| figure | intervals that held the truth |", "|---|---|", *rows]
