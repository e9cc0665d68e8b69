"""``rankd`` as a shell calls it, as a process, or in this one, which saves a second where a process shows no more."""

import io
import os
import subprocess
import sys
from unittest import mock

from rankd.cli import main


def run(*arguments, stdin=None, cwd=None, timeout=120):
    """A process; exit status, stdout and stderr as text."""
    return subprocess.run(
        [sys.executable, "-m", "rankd", *map(str, arguments)],
        input=stdin, capture_output=True, text=True, timeout=timeout, cwd=cwd, check=False,
        env=os.environ | {"NO_COLOR": "1", "COLUMNS": "160"},
    )  # fmt: skip


class InProcess:
    """The same call and the same result, in this process."""

    def __init__(self, monkeypatch, capsys):
        """For one test, whose streams it takes."""
        self._monkeypatch, self._capsys = monkeypatch, capsys
        monkeypatch.setenv("NO_COLOR", "1")
        monkeypatch.setenv("COLUMNS", "160")

    def __call__(self, *arguments, stdin=""):
        """Call it; exit status, stdout and stderr as text."""
        self._monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin.encode()), encoding="utf-8"))
        self._capsys.readouterr()
        with mock.patch.dict(os.environ):  # a verb may set variables for what it starts
            try:
                status = main([str(argument) for argument in arguments])
            except SystemExit as ended:
                status = ended.code
        said = self._capsys.readouterr()
        return subprocess.CompletedProcess(arguments, status, said.out, said.err)
