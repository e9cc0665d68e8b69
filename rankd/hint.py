"""What to type next, for whoever started the daemon on a terminal."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

_WILDCARDS = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104 - nothing is bound here
_DEFAULT_TARGET = "127.0.0.1:50051"


def what_next(listen: str, http_port: int | None) -> str:
    """The next steps, as commands that work in the directory and with the program that this process was started with.

    Args:
        listen: HOST:PORT of the gRPC services; where it is every address, this machine's own is told.
        http_port: of the page with metrics and health; None where it is off.
    """
    host, _, port = listen.rpartition(":")
    target = f"{_WILDCARDS.get(host, host)}:{port}"
    flag = "" if target == _DEFAULT_TARGET else f" --target {target}"
    lines = [
        (f"{command()} rank prompts.txt{flag}", "order a file of prompts, one per line"),
        (f"{command()} status --watch{flag}", "follow ranker, guard and quality"),
    ]
    if http_port is not None:
        lines.append((f"http://127.0.0.1:{http_port}/", "metrics and health"))
    width = max(len(what) for what, _ in lines)
    steps = "".join(f"  {what:{width}}   {why}\n" for what, why in lines)
    return f"\nrankd is ready. In a second terminal:\n{steps}Ctrl-C stops it.\n\n"


def command() -> str:
    """How this program was called, such that a shell in this directory calls it again."""
    script = Path(sys.argv[0])
    return f"{_typed(sys.executable)} -m rankd" if script.name == "__main__.py" else _typed(sys.argv[0])


def _typed(program: str) -> str:
    """The shortest name of a program: by the PATH, from this directory, or in full."""
    path = Path(os.path.abspath(program))  # noqa: PTH100 - a virtual environment's python is a link, not to be resolved
    found = shutil.which(path.name)
    if found is not None and os.path.abspath(found) == str(path):  # noqa: PTH100
        return shlex.quote(path.name)
    if path.is_relative_to(Path.cwd()):
        near = str(path.relative_to(Path.cwd()))
        return shlex.quote(near if os.sep in near else f".{os.sep}{near}")
    return shlex.quote(str(path))
