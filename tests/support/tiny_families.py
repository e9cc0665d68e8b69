"""Tiny Hugging Face directories of many families of models, with random weights, to see which can be bases."""

import json
from pathlib import Path

import torch
import transformers

from support.tiny_encoder import WORDS, make_base

_SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
_BEHIND_PADDING = {"pad_token_id": 1}
_MARKS = {"bos_token_id": 2, "eos_token_id": 3}
_T5 = {"d_model": 32, "num_layers": 1, "num_heads": 2, "d_ff": 64, "d_kv": 16}
_BART = {
    "d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2,
    "encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "decoder_start_token_id": 3, "forced_eos_token_id": 3,
    **_BEHIND_PADDING, **_MARKS,
}  # fmt: skip
_RELATIVE = {"relative_attention": True, "position_biased_input": False, "pos_att_type": "c2p|p2c"}
_FAMILIES = {
    "roberta": ("Roberta", "Model", {**_SIZES, **_BEHIND_PADDING}),
    "xlm-roberta": ("XLMRoberta", "Model", {**_SIZES, **_BEHIND_PADDING}),
    "camembert": ("Camembert", "Model", {**_SIZES, **_BEHIND_PADDING}),
    "mpnet": ("MPNet", "Model", {**_SIZES, **_BEHIND_PADDING}),
    "data2vec-text": ("Data2VecText", "Model", {**_SIZES, **_BEHIND_PADDING}),
    "longformer": ("Longformer", "Model", {**_SIZES, **_BEHIND_PADDING, "attention_window": 8}),
    "esm": ("Esm", "Model", {**_SIZES, **_BEHIND_PADDING, "mask_token_id": 5}),
    "albert": ("Albert", "Model", {**_SIZES, "embedding_size": 16}),
    "distilbert": ("DistilBert", "Model", {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64}),
    "deberta-v2": ("DebertaV2", "Model", {**_SIZES, **_RELATIVE, "position_buckets": 16}),
    "gpt2": ("GPT2", "Model", {"n_embd": 32, "n_layer": 2, "n_head": 2, **_MARKS}),
    "llama": ("Llama", "Model", {**_SIZES, **_MARKS}),
    "bloom": ("Bloom", "Model", {"hidden_size": 32, "n_layer": 2, "n_head": 2, **_MARKS}),
    "squeezebert": ("SqueezeBert", "Model", {**_SIZES, "embedding_size": 32}),
    "fnet": ("FNet", "Model", {"hidden_size": 32, "num_hidden_layers": 2, "intermediate_size": 64}),
    "t5": ("T5", "Model", _T5),
    "t5-encoder": ("T5", "EncoderModel", _T5),
    "bart": ("Bart", "Model", _BART),
    "bart-decoder": ("Bart", "ForCausalLM", _BART),
    "vit": ("ViT", "Model", {**_SIZES, "image_size": 8, "patch_size": 4}),
}
"""By name: the prefix of config and model, which model, and sizes."""
_WITHOUT_POSITIONS = ("t5", "t5-encoder", "vit", "bloom")


def make_family(path: Path, name: str, *, positions: int = 64) -> Path:
    """Write a model of a family, with the tokenizer of ``make_base``."""
    make_base(path)
    (path / "model.safetensors").unlink()
    prefix, what, sizes = _FAMILIES[name]
    more = {} if name in _WITHOUT_POSITIONS else {"max_position_embeddings": positions}
    words = {} if name == "vit" else {"vocab_size": len(WORDS)}
    torch.manual_seed(0)
    config = getattr(transformers, f"{prefix}Config")(**words, **sizes, **more)
    getattr(transformers, f"{prefix}{what}")(config).save_pretrained(path)
    return path


def change_config(path: Path, **fields: object) -> Path:
    """Change fields of a directory's ``config.json``; None takes one away."""
    file = path / "config.json"
    config = json.loads(file.read_text()) | fields
    file.write_text(json.dumps({k: v for k, v in config.items() if v is not None}))
    return path
