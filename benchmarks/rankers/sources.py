"""The sources of prompts and lengths: which may train weights that are shipped, and which only judge them.

The files are not in the repository. They are published data sets, brought into the form that
``docs/reference/data-formats.md`` describes, under the names that stand below.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rankd.training.data.dataset import Row, read_dataset

DATA_HELP = "folder with the files that benchmarks/rankers/sources.py names"
EVERYBODY = "everybody"
"""The answering model of a consensus row."""


@dataclass(frozen=True, slots=True)
class Source:
    """One set of prompts and who answered them."""

    name: str
    files: tuple[str, ...]
    """Relative to the data directory."""
    licence: str
    cap: int | None = None
    """Tokens at which answers were cut, where it is known."""
    most: int = 2500
    """Prompts taken of it, so that no source drowns the others."""


SHIPPABLE = (
    Source("arena_hard_1k", ("wide/arena_hard_1k__wide.jsonl.gz",), "Apache-2.0", 1024),
    Source("arena_bench_v1", ("wide/arena_bench_v1__wide.jsonl.gz",), "Apache-2.0", 1024),
    Source("arena_hard_v01", ("wide/arena_hard_v01__wide.jsonl.gz",), "Apache-2.0"),
    Source("oasst_eval", ("wide/oasst_eval__wide.jsonl.gz",), "Apache-2.0", 512),
    Source("mmlu_pro_cot", ("wide/mmlu_pro_cot__wide.jsonl.gz",), "Apache-2.0", 2048, 1500),
    Source("skythought_math", ("wide/skythought_math__wide.jsonl.gz",), "Apache-2.0"),
    Source("complexbench_zh", ("wide/complexbench_zh__wide.jsonl.gz",), "MIT"),
    Source("halluqa_zh", ("wide/halluqa_zh__wide.jsonl.gz",), "Apache-2.0"),
    Source("gpteacher_codegen", ("gpteacher_codegen__gpt-4.jsonl.gz",), "MIT"),
    Source("gpteacher_roleplay", ("gpteacher_roleplay__gpt-4.jsonl.gz",), "MIT"),
    Source("hh_rlhf_harmless_test", ("hh_rlhf_harmless_test__anthropic-52b-rlhf.jsonl.gz",), "MIT", None, 1500),
    Source("taubench_airline", ("taubench_airline__gpt-4o.jsonl.gz",), "MIT", None, 500),
)
"""Sources whose weights may be shipped, by their licences."""

GROUPS = {
    "arena": ("arena_hard_1k", "arena_bench_v1", "arena_hard_v01"),
    "assistants": ("oasst_eval", "hh_rlhf_harmless_test", "taubench_airline"),
    "reasoning": ("mmlu_pro_cot", "skythought_math"),
    "gpteacher and zh": ("gpteacher_codegen", "gpteacher_roleplay", "complexbench_zh", "halluqa_zh"),
}
"""What is left out in turn, to see what a ranker is worth on sources of another kind."""

BENCHMARK_ONLY = (
    Source("alpaca20k-seqsched", ("alpaca20k-seqsched__vicuna-7b.jsonl.gz",), "CC BY-NC 4.0", 512),
    Source("alpaca52k", ("alpaca52k__text-davinci-003.jsonl.gz",), "CC BY-NC 4.0"),
    Source("halueval_general", ("halueval_general__chatgpt-gpt-3.5-turbo.jsonl.gz",), "MIT repository", 256),
    Source("flask", ("wide/flask__wide.jsonl.gz",), "none stated", 1024),
    Source("halueval2", ("wide/halueval2__wide.jsonl.gz",), "none stated", 512),
    Source("instructwild_v2", ("instructwild_v2__Llama-3.2-3B-Instruct.jsonl.gz",), "none stated"),
    Source("so_chatgpt", ("so_chatgpt__gpt-3.5-turbo.jsonl.gz",), "none stated"),
    Source("cello_zh", ("wide/cello_zh__wide.jsonl.gz",), "none stated"),
    Source("logickor_ko", ("wide/logickor_ko__wide.jsonl.gz",), "none stated"),
)
"""Sources that may judge a ranker and must not train one that is shipped."""


def read_source(source: Source, data: Path, *, most: int = 300_000, seed: int = 0) -> list[Row]:
    """Every answer of a source as a row of its own."""
    caps = {} if source.cap is None else {source.name: source.cap}
    return read_dataset([data / f for f in source.files], most=most, seed=seed, caps=caps).rows


def drawn(rows: Sequence[Row], most: int, seed: int = 0) -> list[Row]:
    """Every answer to at most ``most`` prompts, a seeded draw of them."""
    prompts = sorted({r.prompt for r in rows})
    chosen = {prompts[i] for i in np.random.default_rng(seed).permutation(len(prompts))[:most].tolist()}
    return [r for r in rows if r.prompt in chosen]


def consensus(rows: Sequence[Row]) -> list[Row]:
    """One row per prompt: how long everybody's answers are, each model measured against its own mean.

    The log length of an answer is taken relative to the model's mean over all prompts, and averaged over those who
    answered this one: a talkative model does not make the prompts that it happened to get look long. What is left is
    the part of length that the prompt decides, with the noise of single answers averaged out. A row counts as cut off
    where half of its answers were.

    Args:
        rows: of one source; of one model too, which gives them back as they are.
    """
    if len({r.model for r in rows}) < 2:
        return list(rows)
    logs = np.log([max(1, r.tokens) for r in rows])
    by_model: dict[str, list[float]] = defaultdict(list)
    by_prompt: dict[str, list[int]] = defaultdict(list)
    for i, row in enumerate(rows):
        by_model[row.model].append(float(logs[i]))
        by_prompt[row.prompt].append(i)
    means = {model: float(np.mean(values)) for model, values in by_model.items()}
    level = float(np.mean(list(means.values())))
    out = []
    for prompt, places in by_prompt.items():
        apart = np.mean([logs[i] - means[rows[i].model] for i in places])
        ended = np.mean([rows[i].complete for i in places])
        tokens = max(1, round(float(np.exp(level + apart))))
        out.append(Row(prompt, tokens, bool(ended > 0.5), rows[places[0]].source, EVERYBODY))
    return out


def training_rows(data: Path, *, without: Sequence[str] = (), seed: int = 0) -> list[Row]:
    """Rows to train a shipped ranker on: the shippable sources' consensus, each source up to its limit."""
    out: list[Row] = []
    for source in SHIPPABLE:
        if source.name in without:
            continue
        rows = consensus(read_source(source, data, seed=seed))
        order = np.random.default_rng(seed).permutation(len(rows))[: source.most]
        out += [rows[i] for i in sorted(order.tolist())]
    return out
