"""The rankers that come with the package, and their names."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

from rankd.registry.manifest import NAME

DEFAULT_RANKER = "minilm-l6"


def default_ranker_path() -> Path:
    """The directory of the one that is served where none is named."""
    return Path(str(files("rankd") / "rankers" / DEFAULT_RANKER))


def ranker_path(text: str) -> Path:
    """The directory that a user means: a path, or a bundled ranker's name where nothing is called so.

    ``./ngram`` is a path, ``ngram`` a name unless the working directory has something of that name.
    """
    if NAME.fullmatch(text) is None or os.path.lexists(text):
        return Path(text)
    bundled = default_ranker_path().with_name(text)
    return bundled if bundled.is_dir() else Path(text)


def wanted_ranker(setting: str | Path | None) -> Path:
    """The directory that the setting ``ranker`` means.

    The default only where nothing is set: an empty text, such as a variable that came out empty, is a mistake, and not
    to be answered by serving another ranker. A ``Path`` is a directory, never a bundled ranker's name.
    """
    if setting is None:
        return default_ranker_path()
    return ranker_path(setting) if isinstance(setting, str) else setting
