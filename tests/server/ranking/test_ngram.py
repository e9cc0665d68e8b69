"""The n-gram tier from rows to an order: trained, exported and served by a real daemon."""

import random
from dataclasses import replace

from rankd_client import RankClient

from rankd.scoring.tokeniser import Truncation
from rankd.training.bases.load import load_base
from rankd.training.data.dataset import Row
from rankd.training.export.export import ExportPlan, export
from rankd.training.fit.fit import fit
from rankd.training.fit.options import FitOptions

LONG, SHORT = ("write an essay about", "explain in detail"), ("answer yes or no:", "translate the word")
THINGS = ["rivers", "the moon", "bread", "old maps", "chess", "whales", "paper", "a lighthouse", "snow", "violins"]


def make_rows(count=200):
    """Half asks for much, half for little; what it is about tells nothing."""
    random_ = random.Random(0)
    rows = []
    for i in range(count):
        ask, tokens = (LONG, 400) if i % 2 else (SHORT, 10)
        prompt = f"{random_.choice(ask)} {random_.choice(THINGS)} and {random_.choice(THINGS)} {i}"
        rows.append(Row(prompt, tokens + random_.randint(0, 9), complete=True, source="made", model="up"))
    return rows


def test_trained_and_served(tmp_path, start_daemon):
    """A ranker trained on 200 prompts is served, and puts what asks for little before what asks for much."""
    rows = make_rows()
    base = load_base("ngram", Truncation(64, 32, 32))
    fitted = fit(base, rows[:160], rows[160:], FitOptions(recipe=replace(base.recipe, loss="joint")))
    plan = ExportPlan(
        name="small", version="1", precision="fp32", calibration_rows=rows[160:], data="made up", licence="Apache-2.0"
    )
    export(fitted, tmp_path, plan)
    daemon = start_daemon(ranker=tmp_path)
    much = ["write an essay about tea", "explain in detail what tea is"]
    little = ["answer yes or no: is tea hot", "translate the word tea"]
    other = ["写一篇关于茶的文章", ""]
    with RankClient(daemon.target, timeout=10) as client:
        queue = client.rank([*much, *other, *little])
    assert not queue.failed, queue.reason
    assert queue.ranker_version == "small@1"
    assert None not in {r.score for r in queue}
    scores = {r.index: r.score for r in queue}
    assert max(scores[4], scores[5]) < min(scores[0], scores[1])
