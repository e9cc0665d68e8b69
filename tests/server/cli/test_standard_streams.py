"""The command line with text that others wrote, and with streams that are closed, gone or poor in characters."""

import json
import os
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from rankd_client import Completed, RankClient
from rankd_client.v1.prediction_pb2 import Prediction

RANKD = shlex.join([sys.executable, "-m", "rankd"])


def shell(command, *, timeout=60, **environment):
    """Run a line of bash; gives the first failing status of a pipe, stdout and stderr."""
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, check=False,
        env=os.environ | {"COLUMNS": "160"} | environment,
    )  # fmt: skip
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.fixture
def prompts(tmp_path):
    """A file of prompts that mean something to a terminal or to rich, and one that is not ASCII."""
    file = tmp_path / "prompts.txt"
    file.write_text("[/b] hello\n\x1b[2J\x1b]0;mine\x07 clear\n[bold]loud[/bold] :smile:\nhéllo\n", encoding="utf-8")
    return file


def test_prompts_are_shown_as_they_are(daemon, prompts):
    """Brackets are no markup, words between colons no emoji, and no control character reaches the terminal."""
    code, out, err = shell(f"{RANKD} rank {prompts} --target {daemon.target}")
    assert (code, err) == (0, "")
    for words in ("[/b] hello", r"\x1b[2J\x1b]0;mine\x07 clear", "[bold]loud[/bold] :smile:", "héllo"):
        assert words in out
    assert "\x1b" not in out


def test_model_names_are_shown_as_they_are(start_daemon):
    """A name is its caller's: the table of `rankd status` neither obeys it nor breaks on it."""
    daemon = start_daemon()
    names = ["[/x]", "[bold]x[/bold]", "\x1b[2Jx", "line\nbreak"]
    for name in names:
        done = Completed("id", Prediction(score=1.0, ranker_version="tiny@1.0.0"), 10)
        with RankClient(daemon.target, model=name) as client:
            assert client.report([done], timeout=10).accepted == 1
    code, out, err = shell(f"{RANKD} status --target {daemon.target}")
    assert (code, err) == (0, "")
    for name in names:
        assert "guard " + name.replace("\x1b", r"\x1b").replace("\n", r"\n") in out
    assert "\x1b" not in out


def test_what_a_server_says_is_escaped(prompts):
    """The text of a refusal comes from outside too."""
    code, out, err = shell(f"{RANKD} rank {prompts} --target $'no\\x1b[2Jhost:1'")
    assert (code, out) == (1, "")
    assert "does not answer" in err
    assert "\x1b" not in err


def test_names_in_data_are_shown_as_they_are(tiny, tmp_path):
    """So are the models of a log that `rankd evaluate` breaks its verdict down by."""
    names = ["[/x]", "[bold]x[/bold]", "\x1b[2Jx", "é"]
    rows = [
        {
            "prompt": f"{'long ' * (n % 5)}w{n}",
            "model": name,
            "output_tokens": 10 * (n % 5) + n,
            "finish_reason": "stop",
        }
        for name in names
        for n in range(40)
    ]
    file = tmp_path / "log.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = f"{RANKD} evaluate --ranker {tiny} --data {file}"
    code, out, err = shell(f"{command} --no-html")
    assert code == 0, err
    for name in names:
        assert name.replace("\x1b", r"\x1b") in out
    assert "\x1b" not in out + err
    code, out, err = shell(f"{command} --json", PYTHONIOENCODING="ascii")
    assert code == 0, err
    assert {"[/x]", "é"} <= {model["name"] for model in json.loads(out)["models"]}


@pytest.mark.parametrize(
    ("request_id", "words"),
    [("x" * 300, "line 2: request_id has 300 bytes, at most 256"), ("\ud800", "line 2: request_id must be Unicode")],
)
def test_ids_that_cannot_be_sent_name_their_line(daemon, tmp_path, request_id, words):
    """The line at fault and what is wrong with it; no traceback."""
    file = tmp_path / "prompts.jsonl"
    file.write_text('{"prompt": "one"}\n' + json.dumps({"prompt": "x", "request_id": request_id}) + "\n")
    code, out, err = shell(f"{RANKD} rank {file} --target {daemon.target}")
    assert (code, out) == (2, "")
    assert words in err
    assert "Traceback" not in err


def test_half_a_character_is_ranked(daemon, tmp_path):
    """JSON can hold a lone half of a character, which is shown escaped."""
    file = tmp_path / "prompts.jsonl"
    file.write_text(r'{"prompt": "\ud800 x"}')
    code, out, err = shell(f"{RANKD} rank {file} --target {daemon.target}")
    assert (code, err) == (0, "")
    assert r"\ud800 x" in out


def test_closed_streams(daemon, prompts):
    """A closed stdin is named; output that nobody wants is dropped without a traceback."""
    code, out, err = shell(f"{RANKD} rank - --target {daemon.target} <&-")
    assert (code, out) == (2, "")
    assert "stdin is closed" in err
    for verb in (f"rank {prompts}", f"rank {prompts} --json", "status", "status --json"):
        assert shell(f"{RANKD} {verb} --target {daemon.target} >&-") == (0, "", "")
        assert shell(f"{RANKD} {verb} --target {daemon.target} 2>&-")[::2] == (0, "")


@pytest.mark.parametrize("verb", ["rank FILE", "rank FILE --json", "status", "status --json"])
def test_a_reader_that_is_gone_ends_all_verbs_alike(daemon, prompts, verb):
    """`| true` and `| head -1` are no failure, for tables as for JSON."""
    command = f"{RANKD} {verb.replace('FILE', str(prompts))} --target {daemon.target}"
    # The reader ends before anything is written.
    assert shell(f"(sleep .2; exec {command}) | true") == (0, "", "")


def test_help_into_a_reader_that_is_gone():
    """What argparse prints before any verb ends as quietly."""
    assert shell(f"(sleep .2; exec {RANKD} --help) | true") == (0, "", "")


def test_output_in_ascii(daemon, prompts):
    """Characters that stdout's encoding does not have are escaped, columns stay in line, and JSON stays JSON."""
    code, out, err = shell(f"{RANKD} rank {prompts} --target {daemon.target}", PYTHONIOENCODING="ascii")
    assert (code, err) == (0, "")
    assert r"h\xe9llo" in out
    assert len({len(line) for line in out.splitlines() if line.startswith("|")}) == 1
    prompts.write_text('{"prompt": "a", "request_id": "é"}\n', encoding="utf-8")
    code, out, _ = shell(f"{RANKD} rank {prompts} --json --target {daemon.target}", PYTHONIOENCODING="ascii")
    assert json.loads(out)["request_id"] == "é"
    assert shell(f"{RANKD} status --target {daemon.target}", PYTHONIOENCODING="ascii")[0] == 0


def test_stdin_is_utf8_whatever_the_locale(daemon):
    """Prompts that are piped in are read as a file of them would be."""
    command = f"printf 'h\\xc3\\xa9llo\\n' | {RANKD} rank - --target {daemon.target}"
    code, out, _ = shell(command, PYTHONIOENCODING="ascii")
    assert code == 0
    assert r"h\xe9llo" in out
    code, _, err = shell(f"printf '\\xff\\n' | {RANKD} rank - --target {daemon.target}")
    assert code == 2
    assert "is not UTF-8" in err


def test_the_daemon_serves_with_its_standard_streams_closed(tiny, wait_until):
    """A supervisor may start it without any; the numbers of the closed ones do not become sockets or files."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        target = f"127.0.0.1:{free.getsockname()[1]}"
    command = f"exec {RANKD} serve --listen {target} --metrics '' --admin '' --provider cpu --ranker {tiny}"
    daemon = subprocess.Popen(["bash", "-c", f"{command} <&- >&- 2>&-"])
    try:
        with RankClient(target, timeout=1) as client:
            wait_until(lambda: not client.rank(["short"]).failed, seconds=60, what="ranking")
        if sys.platform == "linux":
            assert {Path(f"/proc/{daemon.pid}/fd/{n}").readlink() for n in range(3)} == {Path("/dev/null")}
    finally:
        daemon.terminate()
        status = daemon.wait(30)
    assert status == 0
