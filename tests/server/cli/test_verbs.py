"""The command line against a real daemon."""

import json
import re
import subprocess
import sys

import pytest
from support.command_line import run


def rankd(*arguments, stdin=None):
    """A process."""
    done = run(*arguments, stdin=stdin)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def called(call):
    """The same in this process."""

    def done(*arguments, stdin=""):
        result = call(*arguments, stdin=stdin)
        return result.returncode, result.stdout, result.stderr

    return done


def test_rank_prints_json_lines_and_nothing_else(daemon, tmp_path):
    """JSON lines in, JSON lines out; the keys are those that were promised; blank lines are no prompts."""
    file = tmp_path / "prompts.txt"
    file.write_text(
        '\n{"prompt": "long long"}\n\n {"prompt": "short", "request_id": "mine"}\n{"prompt": "w1"}\n', encoding="utf-8"
    )
    code, out, err = rankd("rank", str(file), "--json", "--target", daemon.target)
    assert (code, err.count("Traceback")) == (0, 0)
    rows = [json.loads(line) for line in out.splitlines()]
    assert [r["request_id"] for r in rows] == ["mine", "3", "1"]
    keys = {"position", "request_id", "score", "expected_tokens", "expected_work", "policy", "reason", "ranker_version"}
    assert [set(r) for r in rows] == [keys] * 3
    assert [r["position"] for r in rows] == [1, 2, 3]
    assert {r["policy"] for r in rows} == {"boost"}
    assert rows[0]["score"] < rows[2]["score"]


def test_rank_prints_a_table_from_stdin(daemon):
    """For people: serving order, score and policy in a table."""
    code, out, _ = rankd("rank", "-", "--target", daemon.target, stdin="long long\nshort\n")
    assert code == 0
    assert out.index("short") < out.index("long long")
    for word in ("score", "policy", "tiny@1.0.0", "boost"):
        assert word in out


def test_plain_lines_may_begin_with_a_brace(called, daemon, tmp_path):
    """In a file whose first line is no JSON line, prose and code are prompts as they stand, braces or not."""
    file = tmp_path / "prompts.txt"
    lines = ["{not json, a prompt", "{{ template }}", '{"a": 1} what is this?', '[{"prompt": "x"}]', "w1"]
    file.write_text("\n".join(lines), encoding="utf-8")
    code, out, err = called("rank", str(file), "--target", daemon.target)
    assert (code, err) == (0, "")
    for line in lines:
        assert line in out


_ONE = '{"prompt": "sesame one"}'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"prompt": 3', "line 1: is broken JSON, at column 13. The file is read as JSON lines, because line 1 looks"),
        (f'{_ONE}\n\n{{"prompt": "sesame', "line 3: is broken JSON, at column 12"),
        (f"{_ONE}\nsesame", "line 2: is no JSON object"),
        (f'{_ONE}\n["sesame"]', "line 2: is no JSON object. The file is read as JSON lines, because line 1 looks"),
        (f'{_ONE}\n{{"prompt": "sesame"' + "[" * 100_000, "line 2: is broken JSON, at column 20"),
        (f'{_ONE}\n{{"prompt":' + "[" * 100_000, "line 2: is no JSON object"),
        (f"sesame\n{_ONE}", "line 2: looks like a JSON line, but the first line of the file does not"),
        ('sesame\n{"request_id": "sesame', "line 2: looks like a JSON line, but the first line of the file does not"),
        (f'{_ONE}\n{{"prompt": 3}}', "line 2: a JSON line needs a string `prompt`"),
        ('{"request_id": "x"}', "line 1: a JSON line needs a string `prompt`"),
        ('{"text": "sesame"}', "line 1: a JSON line needs a string `prompt`"),
        ('{"prompt": "a", "request_id": "x"}\n{"prompt": "b", "request_id": "x"}', "line 2: request_id stands twice"),
        ('{"prompt": "a", "request_id": ["x"]}', "line 1: request_id must be a string"),
    ],
)
def test_wrong_lines_are_named(called, daemon, text, words):
    """The line at fault and the remedy, but none of its text; exit status 2, no traceback."""
    code, out, err = called("rank", "-", "--json", "--target", daemon.target, stdin=text)
    assert (code, out) == (2, "")
    assert f"stdin, {words}" in err
    assert "Traceback" not in err
    assert "sesame" not in err
    if "JSON" in words:
        assert '{"prompt": "..."}' in err


def test_a_file_named_jsonl_is_json_lines(called, daemon, tmp_path):
    """Its name says what it is, whatever its first line looks like."""
    file = tmp_path / "prompts.jsonl"
    file.write_text(f"sesame\n{_ONE}\n")
    code, out, err = called("rank", str(file), "--target", daemon.target)
    assert (code, out) == (2, "")
    assert f"{file}, line 1: is no JSON object. The file is read as JSON lines, because its name ends in .jsonl" in err
    assert "sesame" not in err.replace(str(file), "")


def test_files_that_cannot_be_read(called, daemon, tmp_path):
    """A missing file and one that is no text are told apart."""
    code, _, err = called("rank", str(tmp_path / "none"), "--target", daemon.target)
    assert code == 2
    assert "No such file" in err
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\x00\x80")
    code, _, err = called("rank", str(binary), "--target", daemon.target)
    assert code == 2
    assert "is not UTF-8" in err


def test_an_empty_file_is_an_empty_order(daemon):
    """No prompts: no lines, and no failure."""
    assert rankd("rank", "-", "--json", "--target", daemon.target, stdin="")[:2] == (0, "")


def test_no_daemon_is_said_plainly():
    """Both verbs exit 1 and say what to do."""
    for arguments in (("rank", "-"), ("status",)):
        code, out, err = rankd(*arguments, "--target", "127.0.0.1:1", stdin="a\n")
        assert (code, out) == (1, "")
        assert "rankd serve" in err


def test_status(daemon):
    """Ranker, provider, guard, tau, realised gain and traffic, for people and as JSON."""
    code, out, _ = rankd("status", "--target", daemon.target)
    assert code == 0
    for word in ("tiny@1.0.0 on cpu", "guard", "tau", "realised gain", "calls", "policy"):
        assert word in out
    code, out, _ = rankd("status", "--json", "--target", daemon.target)
    report = json.loads(out)
    assert report["service"]["provider"] == "cpu"
    assert report["qualities"][0]["guard"]["mode"] == "warming_up"


def test_status_watch_follows(daemon):
    """--watch goes on printing until interrupted."""
    process = subprocess.Popen(
        [sys.executable, "-m", "rankd", "status", "--watch", "--json", "--interval", "0.1", "--target", daemon.target],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        lines = [json.loads(process.stdout.readline()) for _ in range(3)]
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    assert len({line["service"]["started_at"] for line in lines}) == 1


def test_settings_are_listed():
    """Every setting with its default, description and variable."""
    code, out, _ = rankd("serve", "--help-settings")
    assert code == 0
    assert "scoring.max_queued_prompts = 16384" in out
    assert "[RANKD_SCORING__MAX_QUEUED_PROMPTS]" in out
    for name in ("ranker", "quality.models", "completion_log.directory", "tls.certificate"):
        assert f"\n{name} = (none)\n" in out
    assert not re.search(r" = (None|\(\)|)$", out, re.MULTILINE)


def test_bench_runs(tiny, tmp_path):
    """The benchmark measures a daemon of its own and writes its figures; the figures themselves are not judged here."""
    file = tmp_path / "bench.json"
    code, out, err = rankd("bench", "latency", "echo", "--ranker", str(tiny), "--rounds", "1", "--json", str(file))
    assert code == 0, err
    figures = json.loads(file.read_text())["figures"]
    assert figures["latency"]["calls"] == 60
    assert {"added_ms", "rank_ms"} <= figures["latency"].keys()
    assert figures["echo"]["ms_10000"]["median"] > 0 < figures["echo"]["ms_256"]["median"]
    assert "added_ms median" in out
    assert rankd("bench", "nothing")[0] == 2
