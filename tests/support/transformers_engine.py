"""For tests of rankd-transformers: words as tokens, and real engines that are stepped by hand."""

import time

import pytest

from support.tiny_ranker import WORDS

torch = pytest.importorskip("torch", reason="needs rankd[train]")
pytest.importorskip("transformers", reason="needs rankd[train]")

from rankd_client.integration import IntegrationSettings  # noqa: E402
from rankd_transformers import register  # noqa: E402
from tokenizers import Tokenizer, models, pre_tokenizers  # noqa: E402
from transformers import PreTrainedTokenizerFast  # noqa: E402

from support.stepped_transformers import EOS, Ended, Engine, double_buffered_on_a_cpu, tiny_model  # noqa: E402

__all__ = ["EOS", "Ended", "Engine", "double_buffered_on_a_cpu"]

torch.set_num_threads(1)
MODEL = tiny_model()
LONG, SHORT, OTHER = (WORDS.index(word) for word in ("long", "short", "w1"))


def make_tokenizer():
    """A tokenizer of transformers, of the words that the tiny ranker knows."""
    words = Tokenizer(models.WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=words, unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]", pad_token="[PAD]"
    )


def registered(target, **more):
    """A scheduler type of its own, of a daemon."""
    registered.number += 1
    name = f"ranked{registered.number}"
    return name, register(make_tokenizer(), settings=IntegrationSettings(target=target), name=name, **more)


registered.number = 0


def prompt(longs, number):
    """Tokens of a prompt that the tiny ranker takes for longer the more longs it has; no two are the same."""
    return [LONG] * longs + [OTHER + 1 + number % 50, OTHER + 1 + number // 50]


def scored(engine, count, seconds=10.0):
    """Let what was sent arrive, and wait for its scores and for rules."""
    engine.arrive()
    scores, end = engine.scheduler._ranking.scores, time.monotonic() + seconds
    while len(scores.new_predictions) < count or scores.rules(time.monotonic()).policy.value == "fcfs":
        assert time.monotonic() < end, "no scores came"
        time.sleep(0.01)


def tokens_of(engine):
    """What came out, by request."""
    return {name: list(output.generated_tokens) for name, output in engine.outputs.items()}


def untouched(requests, **config):
    """What transformers' own scheduler makes of requests: name, tokens, most."""
    engine = Engine(MODEL, "fifo", **config)
    for request in requests:
        engine.add(*request)
    engine.run()
    return engine
