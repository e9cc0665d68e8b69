"""``rankd replay`` as a user runs it: a process, files, streams and exit status."""

import gzip
import json

import numpy as np
import pytest
from support.command_line import run
from support.row_files import write
from support.tiny_ranker import make_artifact

SECRET = "zebrafish"


def rows_of(count, gap=1.0, **more):
    rng = np.random.default_rng(0)
    output = np.clip(np.rint(rng.lognormal(np.log(60), 1.0, count)), 1, 900).astype(int)
    arrival = np.cumsum(rng.exponential(gap, count))
    return [
        {"t_s": float(t), "input_tokens": 20, "output_tokens": int(n), **more}
        for t, n in zip(arrival, output, strict=True)
    ]


@pytest.fixture(scope="module")
def trace(tmp_path_factory):
    return write(tmp_path_factory.mktemp("traces") / "busy.csv.gz", rows_of(800))


def test_json_is_all_of_stdout(trace, tmp_path):
    """With --json stdout parses as one object, and no file is left behind."""
    done = run("replay", "--trace", trace, "--load", 1.0, "--slots", 8, "--tau", 0.6, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["trace"]["requests"] == 800
    assert found["trace"]["offered_load"] == pytest.approx(1.0)
    assert found["scores"]["kind"] == "synthetic"
    assert found["scores"]["tau"] == pytest.approx(0.6, abs=0.011)
    assert found["policy"] == "boost"
    objectives = {"tail", "balanced", "mean"}
    assert set(found["policies"]) == {"fcfs", "oracle", "boost", "paper", "uniboost"} | objectives
    assert {p["policy"] for p in found["front"]} == set(found["policies"]) - {"boost"}
    assert found["policies"]["boost"] == found["policies"][found["objective"]]
    assert found["recommendation"]["objective"] in objectives
    assert found["policies"]["oracle"]["latency"]["mean"] < found["policies"]["fcfs"]["latency"]["mean"]
    assert found["tau_sweep"] is found["load_sweep"] is None
    assert not list(tmp_path.iterdir())


def test_people_get_the_verdict_first_and_a_page(trace, tmp_path):
    """Without --json a recommendation comes in words, then tables; the page goes where documented, with its sweeps."""
    done = run("replay", "--trace", trace, "--burst", "--slots", 8, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Use `")
    words = " ".join(done.stdout.split())
    assert "If only the end of the whole batch counts, `makespan` has it done in" in words
    assert "Nobody's quarter is slower" in words or "No quarter of the requests" in words
    for name in ("oracle", "first", "uniboost", "mean by length of the answer", "of arrival order's"):
        assert name in done.stdout
    assert "out/replay.html" in done.stderr
    page = (tmp_path / "out/replay.html").read_text()
    assert "What a better ranker would buy" in page
    assert "From which load on it pays" not in page  # a burst has no speed to change


def test_it_says_so_when_nothing_queues(trace, tmp_path):
    """At a low load the verdict is that there is nothing to gain, and from which load there is."""
    quiet = ("--load", 0.1, "--slots", 8, "--policies", "fcfs", "--sweeps", "--no-html")
    done = run("replay", "--trace", trace, *quiet, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Nothing queues, and there is nothing to gain")
    assert "starts to pay" in done.stdout.replace("\n", " ")
    assert not list(tmp_path.iterdir())


def test_scores_of_the_trace_and_of_prompts(call, tmp_path):
    """Scores in rows are taken; else prompts are scored by the ranker that is named; no prompt shows anywhere."""
    rows = rows_of(400, gap=0.2)
    scored = write(tmp_path / "scored.jsonl", [r | {"score": float(np.log(r["output_tokens"]))} for r in rows])
    done = call("replay", "--trace", scored, "--json", "--slots", 4)
    assert json.loads(done.stdout)["scores"] == {"kind": "trace", "name": "", "tau": pytest.approx(1.0)}
    ranker = make_artifact(tmp_path / "tiny")
    words = [" ".join(["long"] * (r["output_tokens"] // 20) + [SECRET]) for r in rows]
    prompts = [
        {k: v for k, v in r.items() if k != "input_tokens"} | {"prompt": w} for r, w in zip(rows, words, strict=True)
    ]
    done = call("replay", "--trace", write(tmp_path / "p.jsonl", prompts), "--json", "--slots", 4, "--ranker", ranker)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["scores"]["kind"] == "ranker"
    assert found["scores"]["name"] == "tiny"
    assert found["scores"]["tau"] > 0.8
    assert any("quarter of their prompt" in note for note in found["notes"])
    assert SECRET not in done.stdout + done.stderr


def test_the_daemons_settings_are_judged(call, trace, tmp_path):
    """--config takes the file that the daemon takes, and its policy is the one in question."""
    config = tmp_path / "rankd.toml"
    config.write_text('[order]\npolicy = "aged"\nage_exponent = 2.0\n')
    done = call(
        "replay", "--trace", trace, "--load", 0.95, "--slots", 8, "--policies", "fcfs", "--json", "--config", config
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["policy"] == "aged"


def test_steps_and_memory(call, trace):
    """--steps counts iterations; a short memory takes slots away and is never an error unless it holds no request."""
    engine = ("--steps", "--slots", 32, "--kv-tokens", 4096)
    done = call("replay", "--trace", trace, "--load", 1.0, *engine, "--policies", "fcfs", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["engine"]["steps"] is True
    assert found["policies"]["fcfs"]["preempted"] > 0
    done = call("replay", "--trace", trace, "--kv-tokens", 64, "--policies", "fcfs", "--json")
    assert done.returncode == 2
    assert "--kv-tokens: the KV memory holds 64 tokens and one request needs" in done.stderr


def test_the_objective_is_a_flag_and_a_setting(call, trace, monkeypatch):
    """What is configured is judged as the daemon's own policy, under its name as ever; the others beside it."""
    replay = ("replay", "--trace", trace, "--load", 1.0, "--slots", 8, "--json", "--requests", 300)
    by_flag = json.loads(call(*replay, "--objective", "mean").stdout)
    monkeypatch.setenv("RANKD_ORDER__OBJECTIVE", "mean")
    by_setting = json.loads(call(*replay).stdout)
    for found in (by_flag, by_setting):
        assert (found["policy"], found["objective"]) == ("boost", "mean")
        assert found["policies"]["boost"] == found["policies"]["mean"]
        assert "balanced" in found["policies"]
    assert by_flag["front"] == by_setting["front"]
    assert json.loads(call(*replay, "--objective", "tail").stdout)["objective"] == "tail"


def test_a_target_is_kept_or_missed_in_words(call, trace):
    """--slo alone compares who keeps it; a target that is none, or an objective without one, says how one looks."""
    replay = ("replay", "--trace", trace, "--load", 1.0, "--slots", 8, "--requests", 300)
    done = call(*replay, "--slo", "90 % within 30 s", "--no-html")
    assert done.returncode == 0, done.stderr
    assert "The target, 90 % within 30 s, is kept by" in " ".join(done.stdout.split())
    found = json.loads(call(*replay, "--slo", "90 % within 30 s", "--json").stdout)
    assert found["objective"] == "balanced"
    assert set(found["recommendation"]["slo"]["shares"]) == {"fcfs", "tail", "balanced", "mean", "slo"}
    for flags in (("--slo", "soon"), ("--objective", "slo")):
        done = call(*replay, *flags, "--json")
        assert done.returncode == 2
        assert "order.slo" in done.stderr
        assert "99 % within 30 s" in " ".join(done.stderr.split())


def test_policies_can_be_listed(call, trace):
    """Names with what they mean."""
    done = call("replay", "--trace", trace, "--policies", "list")
    assert done.returncode == 0
    assert "first come, first served" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--policies", "best"), "is no policy"),
        (("--load", 0), "is not a number from"),
        (("--load", "nan"), "is not a number from"),
        (("--load", 1, "--burst"), "not allowed with"),
        (("--tau", 2), "is not a number from"),
        (("--slots", 0), "is not a whole number from"),
        (("--slots", 4000, "--chunk", 100), "prompts would never be read"),
        (("--ranker", "ngram"), "--ranker needs prompts"),
        (("--requests", 1), "is not a whole number from"),
        (("--config", "none.toml"), "no such file"),
        (("--objective", "fast"), "invalid choice"),
        (("--policies", "slo"), "needs a target"),
        (("--html", "/proc/none/page.html", "--policies", "fcfs"), "cannot be written"),
    ],
)
def test_wrong_usage_says_what_to_do(call, trace, arguments, message):
    """Status 2, one message, no traceback, nothing on stdout."""
    done = call("replay", "--trace", trace, "--no-sweeps", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no rows in"),
        (b"\x00\x01\x02", "no column with arrival"),
        (b"t_s,input_tokens,output_tokens\n1,2,3\n", "one request is no queue"),
        (b"t_s,input_tokens,output_tokens\nx,2,3\n1,2,-3\n", "no usable row among 2"),
        (gzip.compress(b"x", mtime=0), "is gzip"),
    ],
)
def test_hostile_files_say_what_to_do(call, tmp_path, content, message):
    """Empty, binary, single, unusable and misnamed files: status 2 and a message that names the file."""
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    done = call("replay", "--trace", path)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_skipped_rows_are_told(call, tmp_path):
    """How many, why, and where the first stood: on stderr and in the JSON."""
    rows = rows_of(50)
    rows[9]["output_tokens"] = -1
    done = call("replay", "--trace", write(tmp_path / "t.csv", rows), "--json", "--policies", "fcfs")
    assert done.returncode == 0, done.stderr
    assert "1 rows skipped" in done.stderr or "1 row skipped" in done.stderr
    assert "t.csv line 11" in done.stderr.replace("\n", "")
    assert json.loads(done.stdout)["skipped"] == {"`output_tokens` is below 1": 1}


def test_columns_are_named_before_they_are_used(tmp_path):
    """What was read as what goes to stderr and into JSON; `user` is pointed at and left alone; a burst has no times."""
    rows = [{"usage": {"prompt_tokens": 5, "completion_tokens": 3 + i % 5}, "user": f"u{i % 9}"} for i in range(60)]
    path = write(tmp_path / "t.jsonl", rows)
    arguments = ("--trace", path, "--burst", "--slots", 4, "--policies", "fcfs", "--json")
    done = run("replay", *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "columns: input tokens `usage.prompt_tokens`, output tokens `usage.completion_tokens`" in done.stderr
    found = json.loads(done.stdout)
    assert found["columns"] == {"input tokens": ["usage.prompt_tokens"], "output tokens": ["usage.completion_tokens"]}
    assert found["notes"][0] == "`user` was not taken for tenants (--tenant-column 'user' does)"
    asked = json.loads(run("replay", *arguments, "--tenant-column", "user", cwd=tmp_path).stdout)
    assert asked["columns"]["tenant"] == ["user"]
    assert "tells 9 tenants, which bear on the order" in asked["notes"][0]
    assert len(asked["policies"]["fcfs"]["by_tenants"]) == 9
