"""What the daemon tells somebody at a terminal to type next, and how `rankd status` tells times."""

import dataclasses
import os
import pty
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rankd_client import RankClient
from rankd_client.v1 import admin_pb2, quality_pb2
from rich.console import Console
from support.wire import admin_stub

from rankd.cli.serve import what_next
from rankd.cli.status_view import view

SERVE = ("serve", "--listen", "0.0.0.0:0", "--metrics", "127.0.0.1:0", "--admin", "", "--provider", "cpu", "--ranker")


def on_a_terminal(command, directory):
    """Start a daemon with a terminal as its stderr; gives the process and what it says until it is ready."""
    ours, theirs = pty.openpty()
    environment = os.environ | {"COLUMNS": "200", "RANKD_AUTH__ANONYMOUS": "true"}
    process = subprocess.Popen(command, stderr=theirs, cwd=directory, env=environment)
    os.close(theirs)
    said = b""
    while b"Ctrl-C stops it" not in said:
        said += os.read(ours, 4096)
    return process, said.decode().replace("\r\n", "\n"), ours


@pytest.mark.parametrize("python", ["bin/python", "{here}/bin/python"])
def test_what_to_type_next_works_as_it_stands(tiny, python):
    """The command is the one that started the daemon, from the same directory; typed there it finds the daemon."""
    directory = Path(sys.prefix).resolve()
    command = [python.format(here=directory), "-m", "rankd", *SERVE, str(tiny)]
    process, said, terminal = on_a_terminal(command, directory)
    try:
        status = re.search(r"^  (bin/python -m rankd status) --watch( --target 127\.0\.0\.1:\d+) ", said, re.MULTILINE)
        assert status, said
        done = subprocess.run(
            status[1] + status[2], shell=True, cwd=directory, capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert "tiny@1.0.0 on cpu" in done.stdout
    finally:
        process.terminate()
        process.wait(30)
        os.close(terminal)


@pytest.mark.parametrize(
    ("argv", "path", "shown"),
    [
        ("{here}/.venv/bin/rankd", "/usr/bin", ".venv/bin/rankd"),
        ("{here}/rankd", "/usr/bin", "./rankd"),
        ("{here}/elsewhere/rankd", "{here}/elsewhere", "rankd"),
        ("/opt/my tools/rankd", "/usr/bin", "'/opt/my tools/rankd'"),
    ],
)
def test_the_shortest_name_that_works(tmp_path, monkeypatch, argv, path, shown):
    """By the PATH where that finds it, else from this directory, else in full and quoted."""
    monkeypatch.chdir(tmp_path)
    program = Path(argv.format(here=tmp_path))
    if program.is_relative_to(tmp_path):
        program.parent.mkdir(parents=True, exist_ok=True)
        program.touch(0o755)
    monkeypatch.setattr(sys, "argv", [str(program), "serve"])
    monkeypatch.setenv("PATH", path.format(here=tmp_path))
    said = what_next("127.0.0.1:50051", None)
    assert f"  {shown} rank prompts.txt  " in said
    assert "--target" not in said
    assert "--target [::1]:7 " in what_next("[::]:7", None)
    assert "http://127.0.0.1:80/" in what_next("10.0.0.1:7", 80)


def test_status_tells_days_and_dates(start_daemon):
    """A daemon that is up for days says how many; a pin of a week says on which day it ends."""
    daemon = start_daemon()
    with daemon.channel(daemon.admin_target) as channel:
        pin = admin_pb2.PinGuardRequest(mode=quality_pb2.GUARD_MODE_FALLBACK, duration={"seconds": 7 * 86400})
        until = admin_stub(channel).PinGuard(pin).guard.pinned_until.ToSeconds()
    with RankClient(daemon.target) as client:
        report = client.quality(timeout=10)

    def shown(up):
        service = dataclasses.replace(report.service, started_at=time.time() - up)
        console = Console(width=200, record=True, file=open(os.devnull, "w"))  # noqa: SIM115, PTH123 - the text is recorded
        console.print(view(dataclasses.replace(report, service=service)))
        return console.export_text()

    assert f"pinned until {time.strftime('%Y-%m-%d %H:%M:%S UTC', time.gmtime(until))}" in shown(0)
    assert re.search(r"up 3 d 04:05:0[6-9]", shown(3 * 86400 + 4 * 3600 + 5 * 60 + 6))
    assert re.search(r"up 00:00:0[0-3]", shown(0))
