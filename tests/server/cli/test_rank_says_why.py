"""What `rankd rank` says where nothing, or not all, was ranked: the cause, and not another one."""

import json
import socket

import pytest


@pytest.fixture
def prompts(tmp_path):
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"prompt": "short", "prompt_tokens": 100}\n{"prompt": "long long"}\n', encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("http://127.0.0.1:50051", "--target http://127.0.0.1:50051: give HOST:PORT without http://, such as 127.0"),
        ("https://host:443/x", "without https://, such as host:443; --tls-ca FILE speaks TLS"),
        ("localhost", "--target localhost: is not HOST:PORT"),
        ("::1", "is not HOST:PORT, such as 127.0.0.1:50051 or [::1]:50051"),
    ],
)
def test_a_target_that_is_none_is_named(call, prompts, target, words):
    """Otherwise gRPC looks such a name up, and blames the network."""
    done = call("rank", prompts, "--target", target)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr


def test_names_that_grpc_knows_are_let_through(call, prompts, daemon):
    """Several addresses, and a name to look up."""
    assert call("rank", prompts, "--target", f"ipv4:{daemon.target}").returncode == 0
    assert call("rank", prompts, "--target", f"dns:///localhost:{daemon.target.rpartition(':')[2]}").returncode == 0


def test_nobody_listens(call, prompts):
    """It is the connection that fails, however short the deadline of the call."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        target = f"127.0.0.1:{free.getsockname()[1]}"
        done = call("rank", prompts, "--target", target, "--timeout", 0.001)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"{target} does not answer" in done.stderr
    assert "Is the daemon running?" in done.stderr


def test_too_short_a_deadline_is_told_from_no_daemon(call, tmp_path, daemon):
    """The daemon was reached, and the remedy is more time: nobody reads 5,000 prompts in a millisecond."""
    path = tmp_path / "many.txt"
    path.write_text("".join(f"prompt {n}\n" for n in range(5000)))
    done = call("rank", path, "--target", daemon.target, "--timeout", 0.001)
    assert "Is the daemon running" not in done.stderr
    assert "--timeout 0.001 s" in done.stderr
    assert "more time" in done.stderr


def test_json_has_expected_tokens_and_work(call, prompts, daemon):
    """Work is the tokens of the answer, and those of the prompt at what each costs: none here was measured to cost."""
    done = call("rank", prompts, "--json", "--target", daemon.target)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == 2
    for row in rows:
        assert row["expected_tokens"] is None or row["expected_work"] >= row["expected_tokens"] > 0


@pytest.mark.parametrize("tokens", ['"many"', "-1", "1.5", "true", "4294967296"])
def test_prompt_tokens_that_are_none(call, tmp_path, tokens):
    """The line, the field and what it may be."""
    path = tmp_path / "p.jsonl"
    path.write_text(f'{{"prompt": "x", "prompt_tokens": {tokens}}}\n', encoding="utf-8")
    done = call("rank", path)
    assert done.returncode == 2
    assert "line 1: prompt_tokens must be a whole number" in done.stderr
