"""Which tokenisers the daemon reads in its own process: small ones, of steps that a text's length bounds."""

import json

import pytest
from support.hostile_rankers import growing_tokenizer, plain_tokenizer, repeating_tokenizer
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

from rankd.registry.artifact_files import TOKENIZER
from rankd.registry.bundled import default_ranker_path
from rankd.scoring.tokeniser_safety import LARGEST, belongs_apart


def of(model=None, *, normalizer=None, pre_tokenizer=None, post_processor=None):
    tokenizer = Tokenizer(model or models.BPE({"a": 0}, [], unk_token="a"))
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    if pre_tokenizer is not None:
        tokenizer.pre_tokenizer = pre_tokenizer
    if post_processor is not None:
        tokenizer.post_processor = post_processor
    return tokenizer.to_str()


WORD_PIECE = {"a": 0, "[UNK]": 1}
HOME = {
    "plain": plain_tokenizer().to_str(),
    "BERT": of(
        models.WordPiece(WORD_PIECE, unk_token="[UNK]"),
        normalizer=normalizers.BertNormalizer(),
        pre_tokenizer=pre_tokenizers.BertPreTokenizer(),
        post_processor=processors.BertProcessing(("a", 0), ("a", 0)),
    ),
    "GPT-2": of(
        pre_tokenizer=pre_tokenizers.ByteLevel(),
        post_processor=processors.Sequence([processors.RobertaProcessing(("a", 0), ("a", 0))]),
    ),
    "unigram": of(
        models.Unigram([("a", -1.0)], 0),
        normalizer=normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()]),
        pre_tokenizer=pre_tokenizers.Metaspace(),
    ),
}
APART = {
    "replaces": growing_tokenizer("a").to_str(),
    "replaces a character by a text": of(normalizer=normalizers.Replace("a", "b" * 10)),
    "prepends a text": of(normalizer=normalizers.Prepend("x" * 100_000)),
    "searches": of(pre_tokenizer=pre_tokenizers.Split(Regex("(a+)+$"), "isolated")),
    "searches within a sequence": of(
        pre_tokenizer=pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(), pre_tokenizers.Split(Regex("(a|a)*b"), "removed")]
        )
    ),
    "repeats": repeating_tokenizer(9),
    "has words without end": of(models.WordPiece(WORD_PIECE, unk_token="[UNK]", max_input_chars_per_word=10**9)),
    "has a long prefix": of(models.WordPiece(WORD_PIECE, unk_token="[UNK]", continuing_subword_prefix="#" * 10**5)),
    "is large": plain_tokenizer([f"v{i}" for i in range(LARGEST // 12)]).to_str(),
    "is of a kind that is not known": json.dumps(json.loads(of()) | {"normalizer": {"type": "Doubling"}}),
}  # fmt: skip


@pytest.mark.parametrize("name", HOME)
def test_at_home(name):
    """What encoders are trained with is read without a process more."""
    assert not belongs_apart(HOME[name].encode())


@pytest.mark.parametrize("name", APART)
def test_apart(name):
    """Each for another reason."""
    assert belongs_apart(APART[name].encode())


@pytest.mark.parametrize("name", ["minilm-l6", "ngram"])
def test_the_bundled_ones_are_at_home(name):
    """And so are rankers that were trained from them."""
    assert not belongs_apart((default_ranker_path().with_name(name) / TOKENIZER).read_bytes())
