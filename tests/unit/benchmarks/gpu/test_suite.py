"""The parts of `make gpu` by themselves, on the CPU."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import onnx
import pytest
from support.repository import TESTS
from support.subprocesses import environment

from benchmarks.gpu.bars import bars_of
from benchmarks.gpu.child import rows_of
from benchmarks.gpu.daemons import write_ranker
from benchmarks.gpu.encoder import stand_in
from benchmarks.gpu.graphs import GraphKind, write_graph
from benchmarks.gpu.load import Generators, LoopProbe
from benchmarks.gpu.placement import where_nodes_ran
from benchmarks.gpu.prompts import batches, encode, fixed_rows, texts, tokeniser_of
from benchmarks.gpu.results import Results
from benchmarks.gpu.served import ServedDaemon, between
from benchmarks.gpu.variant import read_rows, write_rows
from rankd.registry.artifact import load_artifact
from rankd.registry.bundled import default_ranker_path
from rankd.training.evaluation.offline_ranker import OfflineRanker

ROOT = TESTS.parent


@pytest.fixture
def from_the_root(monkeypatch):
    """Children import what stands at the root."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"] + ":" + str(ROOT))


@pytest.fixture
def job(tmp_path):
    """A job on a small encoder."""
    graph = tmp_path / "graph.onnx"
    onnx.save(write_graph(stand_in(layers=1, words=50), GraphKind("mask", "fp32")), str(graph))
    rows = [np.arange(1, 2 + n % 5, dtype=np.int64) for n in range(12)]
    write_rows(tmp_path / "rows.npz", {"mixed": rows, "tokens64": rows, "check": rows})
    return {
        "kind": "onnx", "graph": str(graph), "provider": "cpu", "feed": "bound", "options": {}, "lanes": 1,
        "share": False, "profile": True, "rows": str(tmp_path / "rows.npz"),
        "references": {"itself": list(range(len(rows)))}, "shapes": [[2, 4]], "seconds": 0.01,
        "mixes": [{"workload": "mixed", "budget": 16, "multiple": 4, "most": 512, "rounds": 1}],
    }  # fmt: skip


@pytest.mark.parametrize(("lanes", "share"), [(1, False), (2, False), (2, True)])
@pytest.mark.usefixtures("from_the_root")
def test_a_variant_tells_session_placement_agreement_shapes_and_mixes(job, lanes, share):
    changed = {"lanes": lanes, "share": share, "feed": "fresh" if share else "bound"}
    rows = list(rows_of("benchmarks.gpu.variant", job | changed, 60))

    assert [row.get("what") for row in rows] == ["session", "placement", "agreement", "shape", "mix"], rows
    _, placement, agreement, shape, mix = rows
    assert placement["nodes"].keys() == {"CPUExecutionProvider"}
    assert placement["device_share"] < 0.9
    assert placement["products_on_cpu_count"] >= 5
    assert agreement["finite"]
    assert agreement["alone_difference"] < 1e-5
    assert shape["prompts_per_second"] > 0
    assert (mix["padding_share"], mix["batches"]) == (pytest.approx(1 - 33 / 56), 4)


@pytest.mark.usefixtures("from_the_root")
def test_what_fails_or_runs_too_long_is_told_and_what_came_before_is_kept(job):
    failed = list(rows_of("benchmarks.gpu.variant", job | {"graph": "nowhere.onnx"}, 60))
    assert "nowhere.onnx" in failed[-1]["error"]

    cut = list(rows_of("benchmarks.gpu.variant", job | {"seconds": 1e9}, 1))
    assert cut[-1]["error"].startswith("cut after 1 s")


def test_a_python_without_the_packages_is_told_which_to_install():
    done = subprocess.run(
        [sys.executable, "-S", "-m", "benchmarks.gpu"],
        check=False, cwd=ROOT, env={}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip

    assert done.returncode == 2
    assert "lacks: numpy, onnx, onnxruntime-gpu, tokenizers" in done.stderr
    assert "grpcio-health-checking" in done.stderr
    assert "PYTHON=" in done.stderr


@pytest.mark.usefixtures("from_the_root")
def test_it_can_be_cut_by_hand(tmp_path):
    """It says where the results are, and its child is gone."""
    # What a shell starts in the background ignores the signal, and so do its children.
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "from benchmarks.gpu.__main__ import main; sys.exit(main(sys.argv[1:]))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, "--provider", "cpu", "--quick", "--only", "raw",
         "--json", str(tmp_path / "gpu.json")],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    with process:
        assert any("writing graphs" in line for line in process.stdout)
        os.kill(process.pid, signal.SIGINT)
        said = process.stdout.read()
    assert process.returncode == 130
    assert "Traceback" not in said
    assert f"is in {tmp_path / 'gpu.json'}" in said
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


def test_results_are_whole_after_each_step_and_other_parts_are_kept(tmp_path):
    path = tmp_path / "gpu.json"
    first = Results(path, {})
    first.start("raw", found := {"variants": {}})
    found["variants"]["one"] = [{"what": "shape"}]
    first.write()

    second = Results(path, {})
    second.start("daemon", {"throughput": []})

    parts = json.loads(path.read_text())["parts"]
    assert parts["raw"]["found"] == {"variants": {"one": [{"what": "shape"}]}}
    assert parts["daemon"]["found"] == {"throughput": []}


def test_aims_are_met_missed_or_not_run(tmp_path):
    results = Results(tmp_path / "gpu.json", {})
    assert {bar.verdict for bar in bars_of(results, "cuda")} == {"not run"}

    mix = {"what": "mix", "workload": "tokens64", "prompts_per_second": 60_000.0}
    right, wrong = ({"what": "agreement", "finite": True, "tau_int8": tau} for tau in (0.999, 0.2))
    results.start("raw", {"variants": {"served graph": [right, mix], "fast": [wrong]}})
    throughput = [{"workload": "tokens64", "servers": n, "prompts_per_second": 27e3 * n} for n in (1, 2)]
    half = [{"items_per_call": 32, "ms_p99": 7.0, "asked_prompts_per_second": 27e3, "prompts_per_second": 27e3}]
    results.start("daemon", {"throughput": throughput, "half_load": half})

    bars = bars_of(results, "cuda")

    assert [bar.verdict for bar in bars] == ["met", "met", "MISSED", "not run", "MISSED"]
    assert (bars[0].value, bars[0].note, bars[4].note) == (0.9, "2 daemons", "fast")
    assert {bar.verdict for bar in bars_of(results, "cpu")} == {"not run"}


def test_a_profile_says_which_products_ran_on_the_cpu(tmp_path):
    def event(name, operator, provider, micros):
        arguments = {"op_name": operator, "provider": provider}
        return {"cat": "Node", "name": f"{name}_kernel_time", "tid": 1, "ts": 0, "dur": micros, "args": arguments}

    cuda, cpu = "CUDAExecutionProvider", "CPUExecutionProvider"
    events = [event("a", "MatMul", cuda, 30), event("b", "MatMulIntegerToFloat", cpu, 60), event("c", "Shape", cpu, 10)]

    whole = {"cat": "Session", "name": "model_run", "tid": 1, "ts": 0, "dur": 100}
    (tmp_path / "profile").write_text(json.dumps([*events, whole]), encoding="utf-8")

    placed = where_nodes_ran(tmp_path / "profile")

    assert placed["nodes"] == {cuda: 1, cpu: 2}
    assert placed["device_share"] == pytest.approx(0.3)
    assert (placed["products_on_cpu"], placed["products_on_cpu_count"]) == (["MatMulIntegerToFloat"], 1)


def test_prompts_have_the_tokens_that_are_asked_for(tmp_path):
    tokeniser = tokeniser_of(load_artifact(default_ranker_path()))
    prompts = texts("tokens64", 40, tokeniser)
    rows = encode(tokeniser, texts("mixed", 40, tokeniser))

    assert {len(row) for row in encode(tokeniser, prompts)} == {64}
    assert len(set(prompts)) == 40
    assert fixed_rows(rows, 16, 5).shape == (5, 16)
    assert sorted(i for batch in batches(rows, 256, 16, 8) for i in batch) == list(range(40))
    write_rows(tmp_path / "rows.npz", {"mixed": rows})
    assert [list(row) for row in read_rows(tmp_path / "rows.npz")["mixed"]] == [list(row) for row in rows]


def test_a_ranker_without_a_graph_for_cuda_is_served_with_the_one_that_is_measured(tmp_path):
    bundled = load_artifact(default_ranker_path())
    graph = tmp_path / "graph.onnx"
    onnx.save(write_graph(stand_in(layers=1), GraphKind("mask", "fp16")), str(graph))

    served = OfflineRanker(load_artifact(write_ranker(tmp_path / "served", bundled, str(graph), "at random")))

    served.warm_up()
    assert served.provider == "cpu"


@pytest.mark.usefixtures("from_the_root")
def test_generators_load_a_daemon_and_its_use_is_told(tiny):
    with (
        Generators(tiny, "mixed", items=4, payloads=3, processes=2) as load,
        ServedDaemon(tiny, "cpu", {}) as daemon,
    ):
        before = daemon.usage()
        probe = LoopProbe(daemon.http)
        closed = load.closed([daemon.target], in_flight=2, warm=0, seconds=0.5)
        opened = load.open([daemon.target], rate=200, warm=0, seconds=0.5)
        after, probed = daemon.usage(), probe.end()

    for row in (closed, opened):
        assert (row["failed"], row["unscored"], row["reasons"]) == (0, 0, [])
    assert closed["prompts"] == 4 * closed["calls"] > 0
    assert after.prompts - before.prompts >= closed["prompts"] + opened["prompts"]
    assert probed["probes"] > 0
    used = between(before, after, 1.0)
    assert used["prompts_per_batch"] >= 1
    assert used["loop_us_per_prompt"] > 0
    assert used["infer_us_per_prompt"] > 0
