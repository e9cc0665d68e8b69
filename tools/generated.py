"""Files that are made from code: every generator names its own, and they are written or compared here."""

from __future__ import annotations

import argparse
import os
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
"""The repository."""
REFERENCE = ROOT / "docs" / "reference"
"""Where pages of reference go."""
Files = Mapping[Path, str]
"""Paths, and the text that belongs there."""


def paragraph(text: str, indent: str = "") -> str:
    """A paragraph of a page, in lines of at most 120 characters; those after the first are indented."""
    filled = textwrap.fill(
        text, 120, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False, initial_indent=""
    )
    return filled + "\n"


def stale(files: Files) -> list[str]:
    """Paths, relative to the repository, whose text is not the one that belongs there; missing ones included."""
    return [
        os.path.relpath(path, ROOT)
        for path, text in files.items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]


def write(files: Files) -> None:
    """Put every text into its place."""
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def main(description: str, *generators: Callable[[], Files], arguments: Sequence[str] | None = None) -> int:
    """The command of generators: write their files, or with ``--check`` only name those that are out of date.

    Each generator's files are written before the next one is called, which may read them.

    Returns:
        The exit status: 1 where ``--check`` found something.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--check", action="store_true", help="write nothing, and fail where a file is out of date")
    check = parser.parse_args(arguments).check
    different, count = [], 0
    for generator in generators:
        files = generator()
        count += len(files)
        different += stale(files)
        if not check:
            write(files)
    if check:
        for path in different:
            print(f"{path} is out of date: run `make generate`", file=sys.stderr)
        return 1 if different else 0
    print(f"{count} files, {len(different)} of them changed" + "".join(f"\n  {path}" for path in different))
    return 0
