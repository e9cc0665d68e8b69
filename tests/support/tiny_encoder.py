"""Makes tiny Hugging Face directories with random weights, and rows whose lengths such a model can learn."""

import random
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, OPTConfig, OPTModel

from rankd.training.data.dataset import Row

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "long", "short", *[f"w{i}" for i in range(30)]]
WITH_ROOM = [*WORDS[:-4], "\u4e00", *[f"[unused{i}]" for i in range(3)]]
"""A vocabulary as BERT's English ones are: with a Chinese character, and places for more."""


def make_base(path: Path, *, kind="bert", positions=64, words=WORDS, layers=2) -> Path:
    """Write a model of some thousand parameters with a WordPiece tokenizer; ``relu`` is a BERT with that activation."""
    torch.manual_seed(0)
    sizes = {"vocab_size": len(WORDS), "hidden_size": 32, "num_hidden_layers": layers, "num_attention_heads": 2}
    if kind in ("bert", "relu"):
        active = "gelu" if kind == "bert" else "relu"
        config = BertConfig(intermediate_size=64, max_position_embeddings=positions, hidden_act=active, **sizes)
        model = BertModel(config)
    else:
        model = OPTModel(OPTConfig(ffn_dim=64, word_embed_proj_dim=32, max_position_embeddings=positions, **sizes))
    model.save_pretrained(path)
    tokenizer = Tokenizer(models.WordPiece({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(handle_chinese_chars=words is WITH_ROOM)
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.save(str(path / "tokenizer.json"))
    return path


def make_rows(n=200, *, seed=0, cut_at=None, source="made", model="up", factor=1):
    """Rows whose length grows with the count of `long` less that of `short`; ``cut_at`` cuts answers there."""
    random_ = random.Random(seed)
    rows = []
    for i in range(n):
        words = random_.choices(["long", "short", *WORDS[6:]], weights=[6, 6, *[1] * 30], k=random_.randint(3, 24))
        length = factor * max(1, 100 + 20 * (words.count("long") - words.count("short")) + random_.randint(0, 9))
        kept = length if cut_at is None else min(length, cut_at)
        rows.append(Row(f"{' '.join(words)} w{i % 30}", kept, kept == length, source=source, model=model))
    return rows
