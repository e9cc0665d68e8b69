"""Makes the Python client with threads out of the asyncio one: ``python -m tools.sync_clients``.

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
    "AsyncRankClient": "RankClient",
    "AsyncRankStream": "RankStream",
    "_async": "_sync",
    "_async_io": "_sync_io",
}
HEADER = "# Made from rankd_client/_async/{name} by `make sync`: change that one.\n"
INIT = '"""The client with threads; made from ``_async`` by ``make sync``."""\n'


def files() -> dict[Path, str]:
    """All modules of ``_sync``, in the shape that ruff gives code here."""
    # Beside the package, so that imports are sorted as they are there.
    with tempfile.TemporaryDirectory(dir=PACKAGE.parent, prefix=".sync-") as directory:
        made = Path(directory)
        rule = unasync.Rule(f"{SOURCE}/", f"{made}/", additional_replacements=NAMES)
        sources = sorted(path for path in SOURCE.glob("*.py") if path.name != "__init__.py")
        unasync.unasync_files([str(path) for path in sources], [rule])
        for source in sources:
            path = made / source.name
            path.write_text(HEADER.format(name=source.name) + path.read_text(encoding="utf-8"), encoding="utf-8")
        (made / "__init__.py").write_text(INIT, encoding="utf-8")
        for command in (["check", "--quiet", "--fix-only", "--select", "I"], ["format", "--quiet"]):
            ruff = [sys.executable, "-m", "ruff", *command, "--config", str(ROOT / "pyproject.toml"), str(made)]
            subprocess.run(ruff, check=True)  # noqa: S603 - nothing in it comes from outside
        return {TARGET / path.name: path.read_text(encoding="utf-8") for path in sorted(made.glob("*.py"))}


if __name__ == "__main__":
    sys.exit(main("Make the Python client with threads out of the asyncio one.", files))
