"""Makes the Python client with threads out of the asyncio one: ``python -m tools.sync_clients``, or ``make sync``.

``rankd_client/_async`` is written by hand and ``rankd_client/_sync`` made from it, token by token, by unasync, as
httpcore and the Elasticsearch client do it. What differs in more than ``async`` and ``await`` is in ``_async_io`` and
``_sync_io``, which have the same names (docs/adr/0015-sync-clients.md).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import unasync

ROOT = Path(__file__).parents[1]
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


def generate(target: Path) -> None:
    """Write all modules of ``_sync`` into a directory, in the shape that ruff gives code here."""
    target.mkdir(parents=True, exist_ok=True)
    rule = unasync.Rule(f"{SOURCE}/", f"{target}/", additional_replacements=NAMES)
    sources = sorted(path for path in SOURCE.glob("*.py") if path.name != "__init__.py")
    unasync.unasync_files([str(path) for path in sources], [rule])
    for source in sources:
        made = target / source.name
        made.write_text(HEADER.format(name=source.name) + made.read_text())
    (target / "__init__.py").write_text(INIT)
    for command in (["check", "--quiet", "--fix-only", "--select", "I"], ["format", "--quiet"]):
        ruff = [sys.executable, "-m", "ruff", *command, "--config", str(ROOT / "pyproject.toml"), str(target)]
        subprocess.run(ruff, check=True)  # noqa: S603 - nothing in it comes from outside


def differing() -> list[str]:
    """Names of modules in ``_sync`` that are not what ``_async`` makes."""
    # Beside the package, so that imports are sorted as they are there.
    with tempfile.TemporaryDirectory(dir=PACKAGE.parent, prefix=".sync-") as directory:
        made = Path(directory)
        generate(made)
        names = {path.name for path in (*made.glob("*.py"), *TARGET.glob("*.py"))}
        return sorted(name for name in names if _text(made / name) != _text(TARGET / name))


def _text(path: Path) -> str | None:
    return path.read_text() if path.exists() else None


def main() -> None:
    """Write the modules, or with ``--check`` compare them."""
    parser = argparse.ArgumentParser(description="Make the Python client with threads out of the asyncio one.")
    parser.add_argument("--check", action="store_true", help="compare with what is there; 1 where it differs")
    if not parser.parse_args().check:
        generate(TARGET)
        return
    if wrong := differing():
        sys.exit(f"{TARGET.relative_to(ROOT)}: {', '.join(wrong)} differ from what _async makes; run `make sync`")


if __name__ == "__main__":
    main()
