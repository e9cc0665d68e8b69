"""Makes the Python client with threads out of the asyncio one; ``python -m tools.sync_clients`` writes it.

``rankd_client/_async`` is written by hand and ``rankd_client/_sync`` made from it, token by token, by unasync, as
httpcore and the Elasticsearch client do it. What differs in more than ``async`` and ``await`` is in ``_async_io`` and
``_sync_io``, which have the same names (docs/adr/0015-sync-clients.md).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import unasync

from tools.generated import ROOT, main

PACKAGE = ROOT / "clients" / "python" / "rankd_client"
SOURCE, TARGET = PACKAGE / "_async", PACKAGE / "_sync"
NAMES = {
    "AsyncConnections": "Connections",
    "AsyncDuplex": "Duplex",
    "AsyncRankClient": "RankClient",
    "AsyncRankStream": "RankStream",
    "AsyncTurns": "Turns",
    "_async": "_sync",
    "_async_io": "_sync_io",
}
HEADER = "# Made from rankd_client/_async/{name} by `make generate`: change that one.\n"
INIT = '"""The client with threads; made from ``_async`` by ``make generate``."""\n'


def files() -> dict[Path, str]:
    """All modules of ``_sync``, in the shape that ruff gives code here."""
    sources = sorted(path for path in SOURCE.glob("*.py") if path.name != "__init__.py")
    with tempfile.TemporaryDirectory() as directory:
        # In a package of the same name, so that imports are sorted as they will be.
        made = Path(directory) / PACKAGE.name / TARGET.name
        rule = unasync.Rule(f"{SOURCE}/", f"{made}/", additional_replacements=NAMES)
        unasync.unasync_files([str(path) for path in sources], [rule])
        for command in (["check", "--fix-only", "--select", "I"], ["format"]):
            ruff = [sys.executable, "-m", "ruff", *command, "--quiet", "--config", str(ROOT / "pyproject.toml")]
            subprocess.run([*ruff, str(made)], check=True)  # noqa: S603 - nothing in it comes from outside
        modules = {path.name: HEADER.format(name=path.name) + (made / path.name).read_text() for path in sources}
    return {TARGET / name: text for name, text in {"__init__.py": INIT, **modules}.items()}


if __name__ == "__main__":
    sys.exit(main("Make the Python client with threads out of the asyncio one.", files))
