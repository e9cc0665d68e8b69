"""Prompts with the lengths of their answers: made up, or real ones where the data lies beside the repository."""

import gzip
import json
import random
from pathlib import Path

DATA = Path(__file__).parents[4] / "shared" / "data" / "lengths" / "alpaca20k-seqsched__vicuna-7b.jsonl.gz"
_SHORT = ["What is the capital of {}?", "Is {} a fruit? Answer yes or no.", "Translate '{}' into French.",
          "Give one synonym of '{}'.", "How many letters has the word {}?"]  # fmt: skip
_LONG = ["Write a detailed essay on the history of {}.", "Write a long story in which {} plays a part.",
         "Explain step by step, with examples, how {} works.", "Draft a full business plan for {}."]  # fmt: skip
_THINGS = ["Portugal", "the steam engine", "a lemon", "bridges", "the moon", "glass", "a lighthouse", "rice", "clocks",
           "volcanoes", "a bakery", "chess", "salt", "the printing press", "bees", "a violin", "maps", "rivers"]  # fmt: skip


def made_up(count, seed):
    """Rows of prompt and output tokens: half ask for something short, half for something long."""
    random_ = random.Random(seed)
    rows = []
    for number in range(count):
        templates, median = random_.choice([(_SHORT, 12), (_LONG, 200)])
        length = max(1, min(600, round(random_.lognormvariate(0, 0.6) * median)))
        prompt = random_.choice(templates).format(random_.choice(_THINGS))
        rows.append({"prompt": f"{prompt} ({number})", "output_tokens": length})
    return rows


def workload(count, seed, *, longest=900):
    """Rows that no bundled ranker saw where there is real data, else made-up ones; and which of both."""
    if not DATA.exists():
        return made_up(count, seed), "made up"
    with gzip.open(DATA, "rt") as lines:
        rows = [json.loads(line) for line in lines]
    random_ = random.Random(seed)
    held_out = [r for r in rows if _output(r) and len(r["prompt"]) < 2000 and r.get("split", "test") == "test"]
    return [
        {"prompt": r["prompt"], "output_tokens": min(_output(r), longest)} for r in random_.sample(held_out, count)
    ], DATA.name


def _output(row):
    return row.get("output_token_count") or row.get("output_tokens") or 0
