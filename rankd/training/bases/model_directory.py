"""Whether a Hugging Face directory holds what a ranker can grow from; what is wrong is found before anything is read.

Only small files are read here, and names. How many tokens a model really takes says ``rehearsal``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from rankd.errors import ConfigError
from rankd.training.bases.base import _line

_SAVE = "AutoTokenizer.from_pretrained(...).save_pretrained(DIR)"
_SLOW = ("vocab.txt", "vocab.json", "merges.txt", "spiece.model", "sentencepiece.bpe.model", "tokenizer.model")
_OTHER_WEIGHTS = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.h5", "*.msgpack", "*.gguf", "*.onnx")
_OTHER_SENSES = (
    "vision_config",
    "audio_config",
    "speech_config",
    "image_size",
    "num_mel_bins",
    "num_conv_pos_embeddings",
)
"""What configurations of models have that read pictures or sound."""


def read_tokenizer(name: str, path: Path) -> Tokenizer:
    """The tokenizer, which neither cuts nor pads.

    Raises:
        ConfigError: there is none that is served as it is, or it cannot be read.
    """
    if not (path / "tokenizer.json").is_file():
        slow = [file for file in _SLOW if (path / file).is_file()]
        has = f"; there is a slow one ({', '.join(slow)}), which cannot be served" if slow else ""
        raise ConfigError(
            f"--base {name}: {path / 'tokenizer.json'} is missing{has}; save the fast one there with {_SAVE}, or give "
            "a base that has one"
        )
    try:
        tokenizer = Tokenizer.from_file(str(path / "tokenizer.json"))
    except Exception as error:  # noqa: BLE001 - tokenizers raises no narrower one
        raise ConfigError(f"--base {name}: tokenizer.json cannot be read: {_line(error)}") from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def read_config(name: str, path: Path) -> Any:
    """The configuration of a model that reads text and gives a state for each token.

    Raises:
        ConfigError: naming what kind of base it is and what to give instead.
    """
    from transformers import AutoConfig

    raw = _raw_config(name, path)
    if (path / "adapter_config.json").is_file():
        raise ConfigError(
            f"--base {name} holds an adapter, not a whole model: give its base, or merge them and save that"
        )
    quantised = raw.get("quantization_config")
    if quantised:
        method = quantised.get("quant_method", "quantised") if isinstance(quantised, dict) else "quantised"
        raise ConfigError(
            f"--base {name}: its weights are quantised ({str(method)[:20]}), which cannot be trained: give the model "
            "that it was made of"
        )
    try:
        config = AutoConfig.from_pretrained(path, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # noqa: BLE001 - configurations check themselves, by errors of any kind
        if raw.get("auto_map"):
            raise ConfigError(
                f"--base {name}: model type {_kind(raw)} needs Python code that comes with it (auto_map), which is not "
                "run: give a base that transformers knows by itself"
            ) from None
        raise ConfigError(f"--base {name}: config.json is of no known model: {_line(error)}") from None
    _check_kind(name, config, raw)
    return config


def _raw_config(name: str, path: Path) -> dict[str, Any]:
    file = path / "config.json"
    if not file.is_file():
        inner = next((p.parent for p in sorted(path.glob("*/config.json")) if _raw_config(name, p.parent)), None)
        what = f"give {inner}" if inner else "give a Hugging Face model directory"
        if (path / "adapter_config.json").is_file():
            what = "it holds an adapter: merge it into its base and save that"
        raise ConfigError(f"--base {name}: {file} is missing; {what}")
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"--base {name}: config.json cannot be read: {_line(error)}") from None
    if not isinstance(raw, dict):
        raise ConfigError(f"--base {name}: config.json is no JSON object; give a Hugging Face model directory")
    return raw


def _kind(raw: dict[str, Any]) -> str:
    return str(raw.get("model_type", "unknown"))[:40]


def _check_kind(name: str, config: Any, raw: dict[str, Any]) -> None:
    from transformers.models.auto import modeling_auto as known

    kind = config.model_type
    if config.is_encoder_decoder or kind in known.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES:
        raise ConfigError(
            f"--base {name}: {kind} is an encoder-decoder, or one half of one, which cannot be pooled; give an encoder "
            "such as BERT, or a decoder such as OPT"
        )
    senses = [s for s in _OTHER_SENSES if s in raw]
    if senses or not isinstance(getattr(config, "vocab_size", None), int):
        why = f" ({', '.join(senses)})" if senses else ""
        raise ConfigError(f"--base {name}: {kind} does not read text alone{why}: give an encoder or decoder of text")


def check_ids(name: str, tokenizer: Tokenizer, config: Any) -> None:
    """Make sure that every token has a vector; ids may have gaps, and added tokens lie behind the vocabulary.

    Raises:
        ConfigError: with both figures.
    """
    most = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1) + 1
    if most > config.vocab_size:
        raise ConfigError(
            f"--base {name}: tokenizer.json has ids for {most} tokens, the model vectors for {config.vocab_size}: they "
            "do not belong together; save both from the same model"
        )


def weight_files(name: str, path: Path) -> list[Path]:
    """The files of the weights.

    Raises:
        ConfigError: there are none that are read, or a part is missing.
    """
    weights = sorted(p for p in path.iterdir() if p.suffix == ".safetensors")
    index = path / "model.safetensors.index.json"
    if index.is_file():
        missing = sorted(_parts(name, index) - {p.name for p in weights})
        if missing:
            raise ConfigError(
                f"--base {name}: {len(missing)} files of its weights are missing, as {missing[0]}: get all"
            )
    if not weights:
        found = sorted({p.name for pattern in _OTHER_WEIGHTS for p in path.glob(pattern)})
        has = f" ({', '.join(found[:3])} is not read: pickles run code, and others are no PyTorch)" if found else ""
        raise ConfigError(
            f"--base {name}: no *.safetensors in {path}{has}; save the model there with "
            "AutoModel.from_pretrained(...).save_pretrained(DIR)"
        )
    return weights


def _parts(name: str, index: Path) -> set[str]:
    try:
        return {str(file) for file in json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()}
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        raise ConfigError(f"--base {name}: {index.name} cannot be read: get it anew") from None
