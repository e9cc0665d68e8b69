"""Files of rows as streams of raw rows, and what a value in a row means: JSON lines, CSV and Parquet."""

from rankd.datafiles.files import (
    DOCUMENTS,
    SUFFIXES,
    Check,
    place_of,
    raw_rows,
    stem_of,
    suffix_of,
)
from rankd.datafiles.values import (
    LONGEST_PROMPT,
    Raw,
    Seconds,
    Unreadable,
    UnusableRowError,
    cut_prompt,
    flattened,
    is_absent,
    name_of,
    number_of,
    shown,
    text_of,
    whole_of,
)

__all__ = [
    "DOCUMENTS",
    "LONGEST_PROMPT",
    "SUFFIXES",
    "Check",
    "Raw",
    "Seconds",
    "Unreadable",
    "UnusableRowError",
    "cut_prompt",
    "flattened",
    "is_absent",
    "name_of",
    "number_of",
    "place_of",
    "raw_rows",
    "shown",
    "stem_of",
    "suffix_of",
    "text_of",
    "whole_of",
]
