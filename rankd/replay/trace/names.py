"""Names of columns: what a row may hold, by all names that it goes by, and which column was taken for what."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rankd.datafiles import shown
from rankd.datafiles.shapes import SHAPE_FIELDS
from rankd.errors import ConfigError

FIELDS: dict[str, tuple[str, ...]] = {
    "arrival": (
        "arrival", "t_s", "arrival_s", "arrival_time", "arrived_at", "start_time", "start_times", "started_at",
        "timestamp", "time", "created", "created_at",
    ),
    "input tokens": (
        "input_tokens", "prompt_tokens", "context_tokens", "contexttokens", "input_length", "request_tokens",
        "prompt_token_count", "input_lens", "input_usage", "usage.prompt_tokens", "usage.input_tokens",
        "usage_details.prompt_tokens", "usage_details.input_tokens",
    ),
    "cached tokens": (
        "cached_tokens", "cached_input_tokens", "cached_prompt_tokens", "cached_prompt_token_count",
        "num_cached_tokens", "prompt_tokens_details.cached_tokens", "input_tokens_details.cached_tokens",
        "usage.cached_tokens", "usage.prompt_tokens_details.cached_tokens", "usage.input_tokens_details.cached_tokens",
        "usage.prompt_cache_hit_tokens", "prompt_cache_hit_tokens", "usage_details.cached_tokens",
    ),
    "cache read tokens": (
        "cache_read_input_tokens", "usage.cache_read_input_tokens", "usage_details.cache_read_input_tokens",
    ),
    "cache creation tokens": (
        "cache_creation_input_tokens", "usage.cache_creation_input_tokens", "usage_details.cache_creation_input_tokens",
    ),
    "output tokens": (
        "output_tokens", "output_token_count", "completion_tokens", "generated_tokens", "generatedtokens",
        "output_length", "response_tokens", "output_lens", "output_usage", "usage.completion_tokens",
        "usage.output_tokens", "usage_details.completion_tokens", "usage_details.output_tokens",
    ),
    "score": ("score",),
    "prompt": ("prompt",),
    "tenant": ("tenant",),
    "class": ("class", "priority_class"),
    "model": ("model", "provided_model_name"),
    "max tokens": ("max_tokens", "max_completion_tokens", "max_output_tokens"),
    **{name: (name,) for name in SHAPE_FIELDS},
}  # fmt: skip
"""What a row may hold, by the names it may go by: the first that is there counts. Case does not matter, nor blanks."""
TENANT_LIKE = ("user", "user_id", "end_user", "team_id", "team", "organization_id", "customer", "customer_id")
"""Names of columns that may well tell tenants, and are not taken for that unasked: one tenant a user is a tenant a
request or two, and what is fair among thousands of these is nearly arrival order."""
SUMS = ("num_model_requests", "api_requests", "successful_requests")
"""Columns of reports whose rows are sums over many requests, as of OpenAI's usage API and LiteLLM's daily spend."""
BENCHMARK_SUMMARY = frozenset({"total_output_tokens", "request_throughput"})
"""What a result of vLLM's benchmark has in it, beside its requests or without them."""
CHOSEN = ("tenant", "class", "model")
"""Fields whose column a user may choose."""
_MOST_NAMED = 4


def canonical(name: str) -> str:
    """A column's name as it is compared: `startTime`, `Start Time` and `start-time` are `start_time`."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.strip())
    return spaced.lower().replace(" ", "_").replace("-", "_")


def columns_of(names: Sequence[str], chosen: Mapping[str, str] | None = None) -> dict[str, str]:
    """Which column holds which of ``FIELDS``.

    Args:
        names: the columns.
        chosen: by field of ``CHOSEN`` the column that its user names; an empty name for none.

    Raises:
        ConfigError: the rows are sums over many requests.
    """
    there: dict[str, str] = {}
    for name in names:
        there.setdefault(canonical(name), name)
    if (sums := next((there[s] for s in SUMS if s in there), None)) is not None:
        raise ConfigError(
            f"--trace: a column {shown(sums)}: rows are sums over many requests; a trace has a row for each request"
        )
    aliases = FIELDS | {name: (canonical(column),) for name, column in (chosen or {}).items()}
    found = {name: next((there[a] for a in known if a in there), None) for name, known in aliases.items()}
    return {name: column for name, column in found.items() if column is not None}


@dataclass
class NamedColumns:
    """Which columns were taken for what, over all files of a trace."""

    used: dict[str, list[str]] = field(default_factory=dict)
    """By field, the columns as their files call them, a few of each."""
    like_tenants: list[str] = field(default_factory=list)
    """Columns that may tell tenants, and were not taken for that."""
    _last: Mapping[str, str] | None = None

    def note(self, columns: Mapping[str, str], names: Sequence[str]) -> None:
        """Note what a file or a row has; rows like the one before cost nothing."""
        if columns is self._last:
            return
        self._last = columns
        for name, column in columns.items():
            _add_to(self.used.setdefault(name, []), column)
        for column in names:
            if canonical(column) in TENANT_LIKE and column != columns.get("tenant"):
                _add_to(self.like_tenants, column)

    def in_words(self) -> str:
        """One line: what was read as what."""
        parts = [f"{name} {' or '.join(map(shown, columns))}" for name, columns in self.used.items()]
        return "columns: " + ", ".join(parts)


def _add_to(columns: list[str], column: str) -> None:
    if column not in columns and len(columns) < _MOST_NAMED:
        columns.append(column)
