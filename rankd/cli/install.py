"""A ranker's way into a daemon's registry: copied beside its place, then put there by one rename."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from rankd.errors import ArtifactError, ConfigError
from rankd.registry.artifact import Artifact, load_artifact
from rankd.registry.artifact_files import ALL_FILES

_COPIED = (*ALL_FILES, "README.md")


def install(artifact: Artifact, registry: str) -> str:
    """Make sure that a ranker is below a registry.

    Args:
        artifact: the ranker, checked.
        registry: the daemon's registry as the daemon names it; empty where it has none.

    Returns:
        Its directory relative to the registry.

    Raises:
        ConfigError: with what to do instead.
        ArtifactError: VERSION_TAKEN, where another ranker of that version is there.
    """
    if not registry:
        raise ConfigError("the daemon has no registry: start it with RANKD_REGISTRY=DIR, then promote again")
    root = Path(registry)
    if artifact.path.is_relative_to(root.resolve()) and artifact.path != root.resolve():
        inside = artifact.path.relative_to(root.resolve())
        if not any(part.startswith(".") for part in inside.parts):  # else it is under way, and not to stay there
            return str(inside)
    place = root / artifact.ranker_version
    by_hand = f"copy {artifact.path} to {place} on the daemon's machine, and promote it there"
    if not root.is_dir() and not root.parent.is_dir():
        raise ConfigError(f"the daemon's registry {registry} is not on this machine: {by_hand}")
    try:
        root.mkdir(exist_ok=True)
        if not place.exists():
            _copy(artifact, place)
    except OSError as error:
        raise ConfigError(f"the registry {registry} cannot be written: {error.strerror}; {by_hand}") from None
    _check_same(artifact, place)
    return artifact.ranker_version


def _copy(artifact: Artifact, place: Path) -> None:
    """Copy beside the place and rename: whoever looks there sees all of it or nothing."""
    beside = Path(tempfile.mkdtemp(prefix=f".{place.name}.", dir=place.parent))
    try:
        for name in _COPIED:
            if (artifact.path / name).is_file():
                shutil.copy2(artifact.path / name, beside / name)
                with (beside / name).open("rb") as file:
                    os.fsync(file.fileno())
        beside.chmod(0o755)  # the daemon may be another user
        try:
            beside.rename(place)
        except OSError:
            if not place.is_dir():  # else somebody else was faster; what is there is compared
                raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _check_same(artifact: Artifact, place: Path) -> None:
    if load_artifact(place).manifest != artifact.manifest:
        raise ArtifactError(
            "VERSION_TAKEN",
            f"another {artifact.ranker_version} is in the registry already ({place}): give this one another version",
        )
