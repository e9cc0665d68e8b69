"""Results, written to a file after each of them: a run that is cut short loses nothing."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

Row = dict[str, Any]
"""One result; names say the unit, and ``error`` says why there is none."""


class Results:
    """The results of one run, by part."""

    def __init__(self, path: Path, settings: Row) -> None:
        """Start with what an earlier run left in ``path``: parts that run again replace what it had of them."""
        self._path = path
        self._began = time.monotonic()
        self.parts: dict[str, Any] = _earlier(path)
        self._settings = settings

    def start(self, part: str, found: Any) -> None:
        """Begin a part anew, with an empty list or object that is written as it grows."""
        self.parts[part] = {
            "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "settings": self._settings, "found": found,
        }  # fmt: skip
        self.write()

    def say(self, part: str, text: str) -> None:
        """Show progress, on stderr."""
        print(f"{time.monotonic() - self._began:6.1f} s  {part}: {text}", file=sys.stderr, flush=True)

    def found(self, part: str) -> Any:
        """What a part found; None where it never ran."""
        return self.parts.get(part, {}).get("found")

    def write(self) -> None:
        """Write all of it, so that the file is whole at any time."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._path.with_suffix(".new")
        temporary.write_text(json.dumps({"parts": self.parts}, indent=1) + "\n", encoding="utf-8")
        temporary.replace(self._path)


def _earlier(path: Path) -> dict[str, Any]:
    try:
        parts = json.loads(path.read_text(encoding="utf-8"))["parts"]
    except (OSError, ValueError, KeyError):
        return {}
    return parts if isinstance(parts, dict) else {}
