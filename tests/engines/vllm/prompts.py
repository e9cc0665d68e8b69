"""Prompts with the lengths of their answers: made up, or real ones of the folder that DATA names."""

import gzip
import hashlib
import json
import os
import random
from pathlib import Path

_FOLDER = os.environ.get("DATA")
DATA = Path(_FOLDER) / "alpaca20k-seqsched__vicuna-7b.jsonl.gz" if _FOLDER else None
"""Prompts that the bundled rankers were not trained on, with the lengths of two samples of their answers."""
SHARE_SERVED = 0.15
"""Of the rows, that runs draw from; rankers are fitted to the others (``unserved_rows.py``)."""
_SHORT = ["What is the capital of {}?", "Is {} a fruit? Answer yes or no.", "Translate '{}' into French.",
          "Give one synonym of '{}'.", "How many letters has the word {}?"]  # fmt: skip
_LONG = ["Write a detailed essay on the history of {}.", "Write a long story in which {} plays a part.",
         "Explain step by step, with examples, how {} works.", "Draft a full business plan for {}."]  # fmt: skip
_THINGS = ["Portugal", "the steam engine", "a lemon", "bridges", "the moon", "glass", "a lighthouse", "rice", "clocks",
           "volcanoes", "a bakery", "chess", "salt", "the printing press", "bees", "maps", "rivers"]  # fmt: skip


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


def rows_of(path):
    """The rows of a file."""
    with gzip.open(path, "rt") as lines:
        return [json.loads(line) for line in lines]


def served(row):
    """Whether a row is one that runs draw from: by its prompt, so that no other choice changes it."""
    digest = hashlib.sha256(row["prompt"].encode()).digest()
    return int.from_bytes(digest[:4], "big") < SHARE_SERVED * 2**32


def workload(count, seed):
    """Rows of prompt, output tokens and, where known, those of another sample; and where they are from.

    A ``count`` of None is all that there are.
    """
    if DATA is None or not DATA.exists():
        return made_up(count or 1000, seed), "made up"
    rows = [r for r in rows_of(DATA) if r["output_tokens"] and len(r["prompt"]) < 2000 and served(r)]
    chosen = random.Random(seed).sample(rows, len(rows) if count is None else count)
    return [
        {
            "prompt": r["prompt"],
            "output_tokens": r["output_tokens"],
            "other_sample": (r.get("samples") or {}).get("t0.7"),
        }
        for r in chosen
    ], DATA.name.removesuffix(".jsonl.gz")
