"""``rankd evaluate`` as a user runs it: a process, files, streams and exit status."""

import csv
import gzip
import json
import subprocess
import sys

import numpy as np
import pytest
from scipy.stats import kendalltau
from support.command_line import run
from support.tiny_ranker import make_artifact

SECRET = "zebrafish"


@pytest.fixture(scope="module")
def ranker(tmp_path_factory):
    """A tiny ranker with whole-number scores."""
    return make_artifact(tmp_path_factory.mktemp("rankers") / "tiny", scale=100.0)


def raw_rows(count, **more):
    """Rows as a user logs them, with the score that the tiny ranker gives each."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(count):
        longer, shorter = rng.integers(0, 5, 2).tolist()
        words = ["long"] * longer + ["short"] * shorter + [SECRET, f"w{i % 50}"]
        tokens = int(50 * np.exp(0.4 * (longer - shorter) + 0.8 * rng.standard_normal())) + 1
        rows.append({"prompt": " ".join(words), "output_token_count": tokens, **more})
    return rows


def scores_of(rows):
    """The tiny ranker's scores, from its definition: see ``make_artifact``."""
    words = [r["prompt"].split() for r in rows]
    return [100.0 * (w.count("long") - w.count("short")) + len(w) + 2 for w in words]


def write(path, rows):
    """Write JSONL, gzipped by its name."""
    text = "".join(json.dumps(r) + "\n" for r in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def test_json_is_all_of_stdout_and_its_figures_are_right(ranker, tmp_path):
    """With --json stdout parses as one object, tau equals scipy's, no prompt and no file of ours is left behind."""
    rows = raw_rows(300, model="m")
    data = write(tmp_path / "log.jsonl.gz", rows)
    done = run("evaluate", "--ranker", ranker, "--data", data, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    verdict = json.loads(done.stdout)
    expected = kendalltau(scores_of(rows), [r["output_token_count"] for r in rows]).statistic
    assert verdict["kendall_tau"] == pytest.approx(expected, abs=1e-4)
    assert verdict["kendall_tau_low"] < verdict["kendall_tau"] < verdict["kendall_tau_high"]
    assert verdict["rows"] == 300
    assert verdict["prompts_per_second"] > 0
    assert 0 < verdict["latency_ms"]["p50"] <= verdict["latency_ms"]["p99"]
    assert verdict["threads"] == 1
    assert SECRET not in done.stdout + done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["log.jsonl.gz"]


def test_people_get_a_table_and_a_page(ranker, tmp_path):
    """Without --json the verdict is a table, the page goes where documented, and stderr says where."""
    data = write(tmp_path / "log.jsonl", [*raw_rows(100, model="a"), *raw_rows(80, model="b")])
    done = run("evaluate", "--ranker", ranker, "--data", data, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "realised gain" in done.stdout
    assert "prompts/s" in done.stdout
    assert "log__b" in done.stdout
    assert "out/evaluate.html" in done.stderr
    page = (tmp_path / "out" / "evaluate.html").read_text()
    assert SECRET not in done.stdout + done.stderr + page
    run("evaluate", "--ranker", ranker, "--data", data, "--no-html", cwd=tmp_path / "out")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["evaluate.html"]


def test_several_formats_rows_that_are_cut_and_rows_that_are_broken(call, ranker, tmp_path):
    """CSV and JSONL are read together; what is broken is skipped and counted; what was cut is said to be."""
    rows = raw_rows(120)
    with (tmp_path / "a.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["prompt", "output_token_count"])
        writer.writeheader()
        writer.writerows(rows)
    cut = [{**r, "output_token_count": min(60, r["output_token_count"])} for r in rows]
    cut = [{**r, "finish_reason": "length" if r["output_token_count"] == 60 else "stop"} for r in cut]
    path = write(tmp_path / "b.jsonl", cut)
    path.write_text(path.read_text() + '{"prompt": 5}\nnot json\n')
    done = call("evaluate", "--ranker", ranker, "--data", tmp_path / "a.csv", path, "--json")
    assert done.returncode == 0, done.stderr
    verdict = json.loads(done.stdout)
    assert verdict["rows"] == 240
    assert verdict["censored_rows"] == sum(r["finish_reason"] == "length" for r in cut) > 0
    assert "order is known" in verdict["estimator"]
    assert sum(verdict["data"]["skipped"].values()) == 2
    assert "2 skipped" in done.stderr
    assert {s["name"] for s in verdict["sources"]} == {"a", "b"}


def test_model_rows_and_seed_choose_what_is_judged(call, ranker, tmp_path):
    """--model takes one model's rows, --rows draws that many, and the same seed draws the same."""
    data = write(tmp_path / "log.jsonl", [*raw_rows(100, model="a"), *raw_rows(80, model="b")])
    one = json.loads(call("evaluate", "--ranker", ranker, "--data", data, "--json", "--model", "b").stdout)
    assert (one["rows"], [m["name"] for m in one["models"]]) == (80, ["b"])
    drawn = [
        json.loads(call("evaluate", "--ranker", ranker, "--data", data, "--json", "--rows", 50, "--seed", s).stdout)
        for s in (1, 1, 2)
    ]
    first, again, other = (verdict["kendall_tau"] for verdict in drawn)
    assert first == again != other


def bad(tmp_path, kind):
    """A file that cannot be judged by."""
    path = tmp_path / f"{kind}.jsonl"
    if kind == "empty":
        path.write_text("")
    elif kind == "one length":
        write(path, [{**r, "output_token_count": 7} for r in raw_rows(30)])
    elif kind == "few":
        write(path, raw_rows(3))
    elif kind == "no lengths":
        write(path, [{"prompt": r["prompt"]} for r in raw_rows(30)])
    return path


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("missing", "no such file"),
        ("empty", "no rows"),
        ("one length", "length"),
        ("few", "too few"),
        ("no lengths", "output_token"),
    ],
)
def test_data_that_cannot_be_judged_by_is_an_error_with_a_remedy(call, ranker, tmp_path, kind, says):
    """Exit status 2, a line on stderr that names the fault, nothing on stdout, no trace, no prompt."""
    done = call("evaluate", "--ranker", ranker, "--data", bad(tmp_path, kind), "--json")
    assert done.returncode == 2
    assert done.stdout == ""
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert SECRET not in done.stderr


def test_a_ranker_that_cannot_be_served_is_an_error(call, tmp_path, ranker):
    """A missing directory, a damaged model and one that scores all alike: refused as the daemon refuses them."""
    data = write(tmp_path / "log.jsonl", raw_rows(30))
    damaged = make_artifact(tmp_path / "damaged")
    (damaged / "model.onnx").write_bytes(b"x" * 100)
    constant = make_artifact(tmp_path / "constant", constant=True)
    for path, says in ((tmp_path / "none", "no such directory"), (damaged, "sha256"), (constant, "same score")):
        done = call("evaluate", "--ranker", path, "--data", data, "--json")
        assert (done.returncode, done.stdout) == (2, "")
        assert says in done.stderr
    done = call("evaluate", "--ranker", ranker, "--data", data, "--rows", "0")
    assert done.returncode == 2
    assert "--rows" in done.stderr


def test_judging_loads_no_training_library(ranker, tmp_path):
    """The base install judges: neither torch nor transformers nor pyarrow is imported on the way."""
    data = write(tmp_path / "log.jsonl", raw_rows(30))
    program = (
        "import sys; from rankd.cli import main; "
        f"status = main(['evaluate', '--ranker', {str(ranker)!r}, '--data', {str(data)!r}, '--json']); "
        "heavy = {'torch', 'transformers', 'onnx', 'pyarrow', 'sklearn'} & set(sys.modules); "
        "print(status, sorted(heavy), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert done.stderr.splitlines()[-1] == "0 []"


def test_adapt_takes_the_first_rows_in_order_and_says_what_learning_brings(ranker, tmp_path):
    """Table and sentence for people, the list for programs; few rows are told, and no error; no prompt leaks."""
    rows = raw_rows(420, model="m", max_tokens=4096, tenant="t", prompt_tokens=9, messages=[{"role": "user"}])
    data = write(tmp_path / "log.jsonl", rows)
    flags = ("evaluate", "--ranker", ranker, "--data", data, "--adapt")
    done = run(*flags, "--rows", "300", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "the first 300 taken" in done.stderr
    assert "with learning" in done.stdout
    assert "m: learned from 300 completions" in done.stdout
    page = (tmp_path / "out" / "evaluate.html").read_text()
    assert "Learning the traffic" in page
    told = json.loads(run(*flags, "--json", cwd=tmp_path).stdout)
    assert [(p["completions"], p["rows"]) for p in told["adapt"]] == [(200, 220)]
    expected = kendalltau(scores_of(rows)[200:], [r["output_token_count"] for r in rows[200:]]).statistic
    assert told["adapt"][0]["base_tau"] == pytest.approx(expected, abs=1e-3)
    few = run(*flags, "--rows", "60", "--no-html", cwd=tmp_path)
    assert few.returncode == 0
    assert "Too few rows to tell" in few.stdout
    assert SECRET not in done.stdout + done.stderr + page + few.stdout
