"""Exports of what people run, read without renaming: LiteLLM, Langfuse, OpenAI's API, vLLM's benchmark."""

import csv
import gzip
import json

import pytest
from support.row_files import write

from rankd.errors import ConfigError
from rankd.replay.trace.files import TraceSelection, read_trace
from rankd.replay.trace.names import canonical

TOKENS = {"prompt_tokens": 40, "completion_tokens": 7, "total_tokens": 47}
SPENT = {
    "request_id": "r",
    "call_type": "acompletion",
    "api_key": "hash",
    "spend": 0.1,
    "total_tokens": 47,
    "prompt_tokens": 40,
    "completion_tokens": 7,
    "startTime": "2025-05-01T10:00:00.250Z",
    "endTime": "2025-05-01T10:00:02Z",
    "completionStartTime": "2025-05-01T10:00:01Z",
    "model": "gpt-4o",
    "user": "u1",
    "metadata": {"usage_object": {**TOKENS, "prompt_tokens_details": {"cached_tokens": 32}}},
    "team_id": None,
    "end_user": "e1",
}
OBSERVED = {
    "id": "o",
    "trace_id": "t",
    "type": "GENERATION",
    "start_time": "2025-05-01 10:00:00.250000",
    "end_time": "2025-05-01 10:00:02.000000",
    "input": "[]",
    "output": "text",
    "provided_model_name": "gpt-4o",
    "usage_details": {"input": 8, "output": 5, "total": 47, "input_cached_tokens": 32, "output_reasoning_tokens": 2},
    "created_at": "2025-05-01 10:00:09.000000",
    "user_id": "u1",
}
OBSERVED_BY_API = {
    "id": "o",
    "traceId": "t",
    "type": "GENERATION",
    "startTime": "2025-05-01T10:00:00.250Z",
    "model": "gpt-4o",
    "usage": {"input": 40, "output": 7, "total": 47, "unit": "TOKENS", "inputCost": 0.1},
    "promptTokens": 40,
    "completionTokens": 7,
}
ANSWER = {"id": "c", "object": "chat.completion", "created": 1746093600, "model": "gpt-4o", "usage": TOKENS}
RESPONSE = {
    "id": "c",
    "object": "response",
    "created_at": 1746093600.0,
    "model": "gpt-4o",
    "usage": {"input_tokens": 40, "output_tokens": 7, "input_tokens_details": {"cached_tokens": 32}},
}
OF_A_BATCH = {"id": "b", "custom_id": "1", "response": {"status_code": 200, "body": ANSWER}, "error": None}
BENCHMARK = {
    "date": "20250501-100000",
    "backend": "vllm",
    "model_id": "m",
    "num_prompts": 3,
    "request_throughput": 1.0,
    "total_output_tokens": 16,
    "input_lens": [40, 40, 40],
    "output_lens": [7, 9, 0],
    "start_times": [5021.25, 5022.75, 5023.0],
    "ttfts": [0.1, 0.2, 0.0],
    "itls": [[0.1], [0.1, 0.2], []],
    "generated_texts": ["a", "b", ""],
    "errors": ["", "", "refused"],
}


def later(row, at):
    """The same, when the clock says something else."""
    text = json.dumps(row)
    for old in ("10:00:00.250", "1746093600"):
        text = text.replace(old, at[old])
    return json.loads(text)


TWO = {"10:00:00.250": "10:00:01.750", "1746093600": "1746093602"}


@pytest.mark.parametrize(
    ("row", "arrival", "cached"),
    [
        (SPENT, "startTime", 32),
        (OBSERVED, "start_time", 32),
        (OBSERVED_BY_API, "startTime", 0),
        (ANSWER, "created", 0),
        (RESPONSE, "created_at", 32),
        (OF_A_BATCH, "created", 0),
    ],
    ids=["litellm", "langfuse-blob", "langfuse-api", "openai-chat", "openai-responses", "openai-batch"],
)
@pytest.mark.parametrize("name", ["t.jsonl", "t.json", "t.json.gz"])
def test_exports_need_no_renaming(tmp_path, row, arrival, cached, name):
    """When they came, prompt, cached part and answer; as JSON lines, and as the array that an API gives."""
    rows = [row, later(row, TWO)]
    path = tmp_path / name
    if name.endswith(".json.gz"):
        path.write_bytes(gzip.compress(json.dumps({"data": rows, "meta": {"page": 1}}).encode()))
    elif name.endswith(".json"):
        path.write_text(json.dumps(rows, indent=1))
    else:
        write(path, rows)
    read = read_trace(TraceSelection([path]))
    assert not read.skipped
    assert read.trace.prompt.tolist() == [40, 40]
    assert read.trace.output.tolist() == [7, 7]
    assert read.trace.arrival[1] == pytest.approx(2.0 if arrival.startswith("created") else 1.5)
    assert (read.trace.cached is None and cached == 0) or read.trace.cached.tolist() == [cached] * 2
    assert read.columns.used["arrival"] == [arrival]
    assert read.models == {"gpt-4o": 2}
    assert read.trace.tenant is None


def test_objects_in_cells_of_a_csv_file(tmp_path):
    """Langfuse's CSV has its usage as JSON in a cell."""
    path = tmp_path / "observations.csv"
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, list(OBSERVED))
        table.writeheader()
        for row in (OBSERVED, later(OBSERVED, TWO)):
            table.writerow(row | {"usage_details": json.dumps(row["usage_details"])})
        table.writerow(OBSERVED | {"type": "SPAN", "usage_details": "{}"})
    read = read_trace(TraceSelection([path]))
    assert read.trace.prompt.tolist() == [40, 40]
    assert read.trace.output.tolist() == [7, 7]
    assert read.trace.cached.tolist() == [32, 32]
    assert read.skipped == {"no output tokens": 1}


def test_objects_in_parquet(tmp_path):
    """A struct of a Parquet file is looked into as well."""
    read = read_trace(TraceSelection([write(tmp_path / "t.parquet", [OBSERVED, later(OBSERVED, TWO)])]))
    assert read.trace.prompt.tolist() == [40, 40]
    assert read.trace.cached.tolist() == [32, 32]


def test_results_of_vllms_benchmark(tmp_path):
    """Columns in one object are requests; several runs may stand in one file; what failed is counted."""
    path = tmp_path / "vllm.json"
    path.write_text(json.dumps(BENCHMARK) + "\n" + json.dumps(BENCHMARK | {"start_times": [5031.25, 5032.0, 5033.0]}))
    read = read_trace(TraceSelection([path]))
    assert read.trace.arrival.tolist() == [0.0, 1.5, 10.0, 10.75]
    assert read.trace.output.tolist() == [7, 9, 7, 9]
    assert read.skipped == {"`output_lens` is below 1": 2}
    brief = {k: v for k, v in BENCHMARK.items() if not isinstance(v, list)}
    path.write_text(json.dumps(brief))
    with pytest.raises(ConfigError, match="--save-detailed"):
        read_trace(TraceSelection([path]))


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"object": "page", "data": [{"start_time": 1746093600, "results": [
            {"input_tokens": 40, "output_tokens": 7, "num_model_requests": 5}]}]}),
        json.dumps([{"date": "2025-05-01", "prompt_tokens": 40, "completion_tokens": 7, "api_requests": 9}]),
    ],
)  # fmt: skip
def test_sums_over_many_requests_are_no_trace(tmp_path, text):
    """OpenAI's usage by the hour and LiteLLM's daily spend would look like a few enormous requests."""
    path = tmp_path / "usage.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match="rows are sums over many requests"):
        read_trace(TraceSelection([path]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"t_s": 1, "input_tokens": 1, "output_tokens": 1}', "its array has no end"),
        ('[{"t_s": 1, "input_', "is not JSON, or breaks off"),
        ("nonsense", "is not JSON, or breaks off"),
        ("[1, 2]", "element is not a JSON object"),
        ("", "no rows in"),
    ],
)
def test_broken_documents_say_so(tmp_path, text, message):
    """Each error names the file."""
    path = tmp_path / "t.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=f"t.json.*{message}|{message}.*t.json"):
        read_trace(TraceSelection([path]))


def test_a_column_that_may_tell_tenants_is_named_and_not_taken(tmp_path):
    """`user` became the tenant without a word once; it does where it is asked for."""
    rows = [{"t_s": i, "input_tokens": 1, "output_tokens": 2, "user": f"u{i}"} for i in range(4)]
    path = write(tmp_path / "t.csv", rows)
    read = read_trace(TraceSelection([path]))
    assert read.trace.tenant is None
    assert read.columns.like_tenants == ["user"]
    assert "tenant" not in read.columns.used
    asked = read_trace(TraceSelection([path], chosen={"tenant": "User"}))
    assert asked.trace.tenants == ("u0", "u1", "u2", "u3")
    assert (asked.columns.used["tenant"], asked.columns.like_tenants) == (["user"], [])
    with pytest.raises(ConfigError, match="has no column `team`, which --tenant-column names"):
        read_trace(TraceSelection([path], chosen={"tenant": "team"}))
    ours = write(tmp_path / "ours.jsonl", [r | {"tenant": r["user"], "class": 1} for r in rows])
    assert len(read_trace(TraceSelection([ours])).trace.tenants) == 4
    without = read_trace(TraceSelection([ours], chosen={"tenant": "", "class": ""})).trace
    assert without.tenant is without.priority_class is None


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl", "t.json"])
def test_a_burst_needs_no_times(tmp_path, name):
    """Lengths are enough where all arrive at once; a time that is one keeps its place."""
    rows = [{"input_tokens": 1, "output_tokens": n} for n in (5, 3, 4)]
    path = tmp_path / name
    path.write_text(json.dumps(rows)) if name == "t.json" else write(path, rows)
    with pytest.raises(ConfigError, match="--burst"):
        read_trace(TraceSelection([path]))
    assert read_trace(TraceSelection([path], timed=False)).trace.burst().output.tolist() == [5, 3, 4]
    timed = write(tmp_path / "timed.csv", [r | {"t_s": t} for r, t in zip(rows, (9, "soon", 1), strict=True)])
    assert read_trace(TraceSelection([timed], timed=False)).trace.output.tolist() == [4, 5, 3]


def test_names_are_compared_however_they_are_written():
    """Camel case, blanks, hyphens and capitals are the same name."""
    names = ("startTime", "Start Time", "start-time", "start_time", "StartTime")
    assert {canonical(n) for n in names} == {"start_time"}
    assert canonical("TIMESTAMP") == "timestamp"
