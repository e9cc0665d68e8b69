"""Chinese characters that an English vocabulary lacks: they take unused places, are learned, and are served."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs rankd[train]")

from rankd.quality.statistics.kendall import tau_b  # noqa: E402
from rankd.registry.artifact import load_artifact  # noqa: E402
from rankd.training.bases.chinese_characters import FEWEST_PROMPTS, learnable  # noqa: E402
from rankd.training.bases.load import load_base  # noqa: E402
from rankd.training.data.dataset import Row  # noqa: E402
from rankd.training.evaluation.offline_ranker import OfflineRanker  # noqa: E402
from rankd.training.export.export import ExportPlan, export  # noqa: E402
from rankd.training.fit.fit import FitOptions, fit  # noqa: E402

LONG, SHORT = "\u9f98\u9f9c\u9f95", "\u9f4a\u9f4b\u9f4c"  # too rare for the vocabulary: all [UNK]


@pytest.fixture(scope="module")
def minilm():
    return load_base("minilm")


def chinese_rows(n, seed=0):
    """Prompts whose length hangs on characters that MiniLM's tokenizer does not know."""
    random = np.random.default_rng(seed)
    rows = []
    for _ in range(n):
        longs = int(random.integers(0, 7))
        text = "".join(random.permutation([*random.choice(list(LONG), longs), *random.choice(list(SHORT), 6 - longs)]))
        rows.append(Row(text, int(100 + 60 * longs + random.integers(0, 10)), complete=True))
    return rows


def unknown_share(tokenizer, text):
    tokens = tokenizer.encode(text, add_special_tokens=False).tokens
    return tokens.count("[UNK]") / len(tokens)


def test_frequent_characters_get_a_token_and_rare_ones_do_not(minilm):
    """A character that enough prompts have is a token of its own afterwards; every other id stays what it was."""
    prompts = [f"{LONG[0]} hello" for _ in range(FEWEST_PROMPTS)] + [LONG[1]] * (FEWEST_PROMPTS - 1)
    found = learnable(minilm.tokenizer, prompts)
    assert unknown_share(minilm.tokenizer, LONG[:2]) == 1
    assert unknown_share(found.tokenizer, LONG[0]) == 0
    assert unknown_share(found.tokenizer, LONG[1]) == 1
    assert found.new == {LONG[0]: found.tokenizer.token_to_id(LONG[0])}
    assert minilm.tokenizer.id_to_token(found.new[LONG[0]]).startswith("[unused")
    english = "Write a poem about the sea \u4e00."
    assert found.tokenizer.encode(english).ids == minilm.tokenizer.encode(english).ids
    assert found.tokenizer.get_vocab_size() == minilm.tokenizer.get_vocab_size()


def test_english_logs_change_nothing(minilm):
    """Where prompts have no such characters, or the base is no BERT, the tokenizer is the base's own."""
    assert learnable(minilm.tokenizer, ["Write a poem", "\u00bfqu\u00e9?", "\u4e00\u4e8c"] * 9) is None
    assert minilm.for_prompts(["hello"] * 9) is minilm


def test_what_hangs_on_new_characters_is_learned_and_served(minilm, tmp_path):
    """The exported ranker orders prompts made of nothing but unknown characters; without them it is blind to those."""
    rows, unseen = chinese_rows(192), chinese_rows(60, seed=1)
    recipe = replace(minilm.recipe, loss="pairwise", epochs=2, dropout=0.0, list_size=16, average=0.0)
    fitted = fit(minilm, rows[:160], rows[160:], FitOptions(recipe=recipe))
    plan = ExportPlan(
        name="zh", version="1", precision="fp32", calibration_rows=rows[160:], data="made", licence="none"
    )
    export(fitted, tmp_path, plan)
    prompts, lengths = [r.prompt for r in unseen], np.array([float(r.tokens) for r in unseen])
    assert tau_b(OfflineRanker(load_artifact(tmp_path)).scores(prompts), lengths) > 0.6
    assert len({tuple(minilm.tokenizer.encode(p).ids) for p in prompts}) == 1


@pytest.mark.parametrize("glosses", [True, False])
def test_rows_without_the_new_characters_are_untouched(minilm, glosses):
    """Learning new rows moves no other word vector: the table is the base's own but for the places taken."""
    base = load_base("minilm", glosses=glosses).for_prompts([LONG] * 9)
    assert (base.fingerprint == minilm.fingerprint) == glosses
    module = base.module(0)
    before = minilm.module(0).token_embeddings().weight
    with torch.no_grad():
        module.token_embeddings().added[1:] += 1
    base.finish(module)
    after = module.token_embeddings().weight
    moved = (after != before).any(dim=1).nonzero().squeeze(1).tolist()
    assert set(moved) == set(base.learns.learned(glosses=glosses).values())
    assert (len(moved) > len(LONG)) == glosses
