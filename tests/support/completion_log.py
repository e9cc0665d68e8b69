"""Daemons with a completion log, and what tests ask of them."""

import json
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
from rankd_client.v1 import completion_pb2

from support.wire import completion, completion_stub, item, rank_stub, request

VERSION = "tiny@1.0.0"
SECRET = "sesame"


def environment(directory, **settings):
    """Settings of a log that is flushed at once, as variables."""
    named = {"directory": directory, "flush_seconds": 0.1, "retry_seconds": 0.1} | settings
    return {f"RANKD_COMPLETION_LOG__{name.upper()}": str(value) for name, value in named.items()}


def log_settings(directory, **settings):
    return {"directory": str(directory), "flush_seconds": 0.1, "retry_seconds": 0.1} | settings


def prompt_of(request_id):
    return f"{SECRET} {request_id} " + "long " * (hash(request_id) % 5)


def rank(target, request_ids, model="llm"):
    """Rank prompts; gives their scores."""
    with grpc.insecure_channel(target) as channel:
        items = [item(r, prompt_of(r)) for r in request_ids]
        answer = rank_stub(channel).Rank(request(*items, model=model), timeout=30)
        assert answer.unscored_count == 0
        return {i.request_id: i.prediction.score for i in answer.items}


def report(target, scores, tokens, model="llm", **fields):
    """Report requests as finished."""
    with grpc.insecure_channel(target) as channel:
        out = completion_pb2.ReportCompletionsRequest(
            model=model, completions=[completion(r, s, tokens[r], VERSION, **fields) for r, s in scores.items()]
        )
        answer = completion_stub(channel).ReportCompletions(out, timeout=30)
        assert answer.accepted_count == len(scores)


def metric(http, name, **labels):
    """The sum of a metric over all series with these labels."""
    text = urllib.request.urlopen(f"{http.rstrip('/')}/metrics", timeout=30).read().decode()
    series = [line for line in text.splitlines() if line.startswith(name)]
    wanted = [f'{key}="{value}"' for key, value in labels.items()]
    return sum(float(line.rsplit(" ", 1)[1]) for line in series if all(w in line for w in wanted))


def rows(http, outcome="written"):
    return metric(http, "rankd_completion_log_rows_total", outcome=outcome)


def events(process, name):
    return [e for e in map(json.loads, filter(None, map(str.strip, process.lines))) if e["event"] == name]


def files(directory):
    return sorted(p for p in Path(directory).iterdir())


def segment_name(kind, age_days, number):
    at = datetime.now(UTC) - timedelta(days=age_days)
    return f"{kind}-{at:%Y%m%dT%H%M%S%f}Z-0123456789ab-{number:06d}.parquet"
