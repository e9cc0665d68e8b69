"""A registry as a directory: where its rankers lie, under which names, and how many are kept."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rankd.errors import ArtifactError, ConfigError, NotFoundError
from rankd.registry.artifact_files import MANIFEST
from rankd.registry.bundled import default_ranker_path
from rankd.registry.history import SERVING, Place, point
from rankd.registry.manifest import NAME

BUNDLED = "bundled:"
"""How a place names a ranker that comes with rankd, wherever that is installed."""
_MOST_MANIFEST = 4 << 20
_MOST_ENTRIES = 10_000
"""Of a registry, those that are looked at."""
_YOUNG = 3600.0
"""Seconds for which a ranker is left alone: somebody has just put it there, to judge it."""
_REMOVED = ".removed."


@dataclass(frozen=True, slots=True)
class ShelvedRanker:
    """A ranker's directory in a registry, by its manifest. Its files are not checked."""

    ranker_version: str
    path: str
    """Relative to the registry."""
    made_at: float
    """When its manifest was written, seconds since the epoch."""
    put_at: float
    """When it came into the registry, as far as the file system knows."""
    manifest: dict[str, Any]


class Shelf:
    """The rankers directly below a registry, and the links that name them."""

    def __init__(self, registry: Path) -> None:
        """Nothing is read yet."""
        self.root = registry

    def rankers(self) -> list[ShelvedRanker]:
        """All that have a manifest that can be read, by version.

        Raises:
            ConfigError: the registry is no directory, or cannot be read.
        """
        found = [r for entry in self._entries() if not entry.is_symlink() and (r := self._shelved(entry))]
        return sorted(found, key=lambda r: (r.ranker_version, r.path))

    def aliases(self) -> dict[str, str]:
        """What each link, ``serving`` too, leads to: a path relative to the registry, or as the link has it.

        Raises:
            ConfigError: as above.
        """
        links = [e for e in self._entries() if e.is_symlink() and not e.name.startswith(".")]
        out = {}
        for link in sorted(links):
            with suppress(OSError):
                out[link.name] = str(link.readlink())
        return out

    def named(self, name: str) -> Path:
        """The directory of a version (``name@version``), of an alias, or of that name below the registry.

        Raises:
            NotFoundError: there is none; the message says what there is.
        """
        direct = self.root / name
        if Path(name).name == name and not name.startswith(".") and (direct / MANIFEST).is_file():
            shelved = self._shelved(direct)
            # A directory may be called like another one's version.
            if "@" not in name or shelved is None or shelved.ranker_version == name:
                return direct
        for ranker in self.rankers():
            if ranker.ranker_version == name:
                return self.root / ranker.path
        there = ", ".join(r.ranker_version for r in self.rankers()) or "none"
        raise NotFoundError(f"no ranker {name} is in the registry {self.root}; there: {there}")

    def alias(self, name: str, ranker: str) -> str:
        """Let a name lead to a ranker; gives the ranker's directory, relative to the registry.

        Raises:
            ConfigError: no such name can be, or it cannot be written.
            NotFoundError: there is no such ranker.
        """
        link = self._link(name)
        target = self.named(ranker)
        if target.is_symlink():  # an alias of an alias would follow it wherever it goes
            target = target.resolve()
        root = self.root.resolve()
        place = str(target.resolve().relative_to(root)) if target.resolve().is_relative_to(root) else str(target)
        try:
            point(link, place)
        except OSError as error:
            raise ConfigError(f"{link} cannot be written: {error.strerror}") from None
        return place

    def remove_alias(self, name: str) -> None:
        """Take a name away; what it led to stays.

        Raises:
            NotFoundError: there is no such alias.
            ConfigError: it is none of an alias, or it cannot be removed.
        """
        link = self._link(name)
        if not link.is_symlink():
            raise NotFoundError(f"no alias {name} is in the registry {self.root}")
        try:
            link.unlink()
        except OSError as error:
            raise ConfigError(f"{link} cannot be removed: {error.strerror}") from None

    def _link(self, name: str) -> Path:
        if NAME.fullmatch(name) is None or "@" in name:
            raise ConfigError(f"an alias has letters, digits and . _ + - only, 100 at most: {name!r} is none")
        if name == SERVING:
            raise ConfigError(f"the alias {SERVING} is rankd's own: `rankd promote` and `rankd rollback` move it")
        link = self.root / name
        if not link.is_symlink() and link.exists():
            raise ConfigError(f"{link} is there and is no alias: choose another name")
        return link

    # -- places ------------------------------------------------------------------------------------------------------

    def keep(self, most: int, kept: Iterable[str], now: float) -> list[str]:
        """Remove the oldest rankers where there are more than ``most``; gives the versions that went.

        Only what rankd can put back no more is at stake, so little is removed: directories directly below the registry
        with a manifest, in the registry for an hour, to which no link leads, and which are not ``kept``.

        Args:
            most: how many may stay; 0 keeps all.
            kept: paths relative to the registry that stay in any case.
            now: seconds since the epoch.
        """
        if most <= 0:
            return []
        rankers = sorted(self.rankers(), key=lambda r: r.put_at, reverse=True)
        held = {str(Path(k)) for k in kept} | {str(Path(target)) for target in self.aliases().values()}
        root = str(self.root.resolve())
        held |= {str(Path(h).relative_to(root)) for h in list(held) if h.startswith(root + "/")}
        gone = []
        for ranker in rankers[most:]:
            if ranker.path not in held and now - ranker.put_at > _YOUNG:
                self._remove(ranker.path)
                gone.append(ranker.ranker_version)
        return gone

    def _remove(self, path: str) -> None:
        """By one rename first: whoever looks there sees all of it or nothing."""
        aside = self.root / f"{_REMOVED}{path}"
        shutil.rmtree(aside, ignore_errors=True)
        with suppress(OSError):
            (self.root / path).rename(aside)
        shutil.rmtree(aside, ignore_errors=True)

    def _entries(self) -> list[Path]:
        try:
            return sorted(self.root.iterdir())[:_MOST_ENTRIES]
        except OSError as error:
            raise ConfigError(f"the registry {self.root} cannot be read: {error.strerror}") from None

    def _shelved(self, directory: Path) -> ShelvedRanker | None:
        if directory.name.startswith("."):
            return None
        manifest = read_manifest(directory)
        if manifest is None:
            return None
        try:
            made_at, put_at = (directory / MANIFEST).stat().st_mtime, directory.stat().st_mtime
        except OSError:
            return None
        return ShelvedRanker(
            f"{manifest['name']}@{manifest['version']}", directory.name, made_at, max(made_at, put_at), manifest
        )


def read_manifest(directory: Path) -> dict[str, Any] | None:
    """A manifest's fields, with a name and a version that may be ones; None where there is none such."""
    try:
        with (directory / MANIFEST).open("rb") as file:
            fields = json.loads(file.read(_MOST_MANIFEST))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(fields, dict):
        return None
    names = (fields.get("name"), fields.get("version"))
    return fields if all(isinstance(n, str) and NAME.fullmatch(n) for n in names) else None


def place_of(ranker_version: str, path: Path, registry: Path | None) -> Place:
    """Where a ranker lies, so that another replica or a later rankd finds it too."""
    full = path.resolve()
    bundled = default_ranker_path().parent.resolve()
    if full.parent == bundled:
        return Place(ranker_version, BUNDLED + full.name)
    root = None if registry is None else registry.resolve()
    if root is not None and full.is_relative_to(root):
        return Place(ranker_version, str(full.relative_to(root)))
    return Place(ranker_version, str(full))


def directory_of(place: Place, registry: Path | None) -> Path:
    """The directory that a place means here.

    Raises:
        ArtifactError: BAD_PLACE, where it means none: the history was written by somebody else.
    """
    if place.path.startswith(BUNDLED):
        name = place.path.removeprefix(BUNDLED)
        if NAME.fullmatch(name):
            return default_ranker_path().with_name(name)
    elif Path(place.path).is_absolute():
        return Path(place.path)
    elif registry is not None and ".." not in Path(place.path).parts and "\0" not in place.path and place.path:
        return registry / place.path
    raise ArtifactError("BAD_PLACE", f"the registry's history names no directory for {place.ranker_version}")
