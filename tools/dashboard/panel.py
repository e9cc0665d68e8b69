"""What a panel of the Grafana dashboard is."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Panel:
    """One panel; ``queries`` are (PromQL, legend). ``unit`` is Grafana's name for it, ``width`` in 24ths."""

    title: str
    description: str
    queries: list[tuple[str, str]]
    kind: str = "timeseries"
    unit: str = "short"
    width: int = 8
    height: int = 8
    low: float | None = None
    high: float | None = None
    decimals: int | None = None
    stack: bool = False
    steps: list[tuple[float | None, str]] = field(default_factory=list)
    """Thresholds: from which value on which colour."""
    value_names: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Values that have a name, and its colour."""
    dashed: str = ""
    """Legends, as a regular expression, that are drawn as dashed lines: bounds and thresholds."""
