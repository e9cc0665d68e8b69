"""Where segments are kept: a local directory, or an object store through pyarrow's filesystems.

A segment is there whole or not at all: on a disk it is written under another name, synced, renamed, and the directory
synced; an object store shows an object when its upload is complete.
"""

from __future__ import annotations

import itertools
import os
import re
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from rankd.clock import CLOCK
from rankd.completion_log.records import SegmentKind
from rankd.errors import ConfigError

_NAME = re.compile(r"^(prompts|completions)-(\d{8}T\d{12})Z-[0-9a-f]{12}-\d{6}\.parquet$")
_STAMP = "%Y%m%dT%H%M%S%f"
_UNFINISHED = ".unfinished-"
_ABANDONED = 3600.0
"""Seconds after which an unfinished segment was surely left by a process that was killed."""
_ATOMIC = frozenset({"s3", "gcs", "abfs", "mock"})
"""Filesystems (pyarrow's names) on which what is being written cannot be seen."""
_S3_OPTIONS = frozenset({"region", "scheme", "endpoint_override"})
_URL = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+:/")
NEEDS_PYARROW = "the completion log needs the extra: pip install 'rankd[log]'"


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment that is complete."""

    name: str
    kind: SegmentKind
    written_at: float
    size: int


class SegmentStore(Protocol):
    """What the log needs of a place."""

    name: str

    def write(self, name: str, table: Any) -> int:
        """Keep a table under a name, durably; gives its size in bytes."""

    def segments(self) -> list[Segment]:
        """All complete segments, the oldest first."""

    def read(self, name: str, columns: list[str]) -> Any:
        """Columns of a segment, an Arrow table."""

    def delete(self, name: str) -> None:
        """Remove a segment; one that is gone already is no error."""

    def clean(self) -> None:
        """Remove what killed processes left unfinished."""


class LocalStore:
    """A directory."""

    def __init__(self, path: Path) -> None:
        """Name it; it is made when it is first written to."""
        self.path = path
        self.name = str(path)

    def write(self, name: str, table: Any) -> int:
        """Keep a table; after this a power failure does not take it away."""
        import pyarrow.parquet as pq  # noqa: PLC0415 - only where the log is on

        self.path.mkdir(mode=0o750, parents=True, exist_ok=True)
        unfinished = self.path / f"{_UNFINISHED}{name}"
        try:
            # Prompts are in it: not for everyone to read.
            with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640), "wb") as file:
                pq.write_table(table, file, compression="zstd")
                file.flush()
                os.fsync(file.fileno())
                size = file.tell()
            unfinished.rename(self.path / name)
        except BaseException:
            # On a full disk above all.
            with suppress(OSError):
                unfinished.unlink()
            raise
        self._sync()
        return size

    def _sync(self) -> None:
        directory = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def segments(self) -> list[Segment]:
        """All complete segments, the oldest first; none where the directory is not there yet."""
        found = []
        with suppress(FileNotFoundError):
            for entry in os.scandir(self.path):
                with suppress(FileNotFoundError):  # another replica deletes, too
                    if segment := _segment(entry.name, entry.stat().st_size if _NAME.match(entry.name) else 0):
                        found.append(segment)
        return sorted(found, key=lambda s: (s.written_at, s.name))

    def read(self, name: str, columns: list[str]) -> Any:
        """Columns of a segment."""
        import pyarrow.parquet as pq  # noqa: PLC0415 - only where the log is on

        with pq.ParquetFile(self.path / name) as file:
            return file.read(columns)

    def delete(self, name: str) -> None:
        """Remove a segment."""
        (self.path / name).unlink(missing_ok=True)

    def clean(self) -> None:
        """Remove what killed processes left."""
        for path in self.path.glob(f"{_UNFINISHED}*"):
            with suppress(FileNotFoundError):
                if min(time.time(), CLOCK.now()) - path.stat().st_mtime > _ABANDONED:
                    path.unlink()


class RemoteStore:
    """A place that pyarrow has a filesystem for: S3, Google Cloud Storage, Azure, HDFS."""

    def __init__(self, filesystem: Any, base: str, name: str) -> None:
        """Take the filesystem and the path within it."""
        self._filesystem = filesystem
        self._base = base.rstrip("/")
        self.name = name

    def write(self, name: str, table: Any) -> int:
        """Keep a table."""
        import pyarrow as pa  # noqa: PLC0415 - only where the log is on
        import pyarrow.parquet as pq  # noqa: PLC0415

        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd")
        data = sink.getvalue()
        atomic = self._filesystem.type_name in _ATOMIC
        path = f"{self._base}/{name}"
        target = path if atomic else f"{self._base}/{_UNFINISHED}{name}"
        if not atomic:
            self._filesystem.create_dir(self._base, recursive=True)
        with self._filesystem.open_output_stream(target) as stream:
            stream.write(data)
        if not atomic:
            self._filesystem.move(target, path)
        return int(data.size)

    def segments(self) -> list[Segment]:
        """All complete segments, the oldest first."""
        from pyarrow.fs import FileSelector  # noqa: PLC0415 - only where the log is on

        infos = self._filesystem.get_file_info(FileSelector(self._base, allow_not_found=True))
        found = (_segment(i.base_name, i.size or 0) for i in infos)
        return sorted((s for s in found if s is not None), key=lambda s: (s.written_at, s.name))

    def read(self, name: str, columns: list[str]) -> Any:
        """Columns of a segment."""
        import pyarrow.parquet as pq  # noqa: PLC0415 - only where the log is on

        with self._filesystem.open_input_file(f"{self._base}/{name}") as file:
            return pq.ParquetFile(file).read(columns)

    def delete(self, name: str) -> None:
        """Remove a segment."""
        with suppress(FileNotFoundError):
            self._filesystem.delete_file(f"{self._base}/{name}")

    def clean(self) -> None:
        """Nothing: an upload that was not completed is the store's to end."""


def open_store(directory: str) -> SegmentStore:
    """The store that a setting or a flag names; nothing is looked up yet.

    Raises:
        ConfigError: no pyarrow, or a URL that it has no filesystem for.
    """
    try:
        from pyarrow import ArrowException  # noqa: PLC0415 - only where the log is on
        from pyarrow.fs import FileSystem  # noqa: PLC0415
    except ImportError:
        raise ConfigError(NEEDS_PYARROW) from None
    url = as_url(directory)
    if url is None:
        return LocalStore(Path(directory))
    parts = urlsplit(url)
    if parts.scheme == "file":
        return LocalStore(Path(unquote(parts.path)))
    # A URL may carry credentials: only its place is shown.
    place = f"{parts.scheme}://{parts.hostname or ''}{parts.path}"
    try:
        filesystem, base = _s3(parts) if parts.scheme == "s3" else FileSystem.from_uri(url)
    except (ArrowException, ValueError, OSError, NotImplementedError) as error:
        raise ConfigError(
            f"{place} is no place that pyarrow can open ({type(error).__name__}): give a directory, or a URL such as "
            "s3://bucket/path, gs://bucket/path, abfs://container@account.dfs.core.windows.net/path"
        ) from None
    return RemoteStore(filesystem, base, place)


def _s3(parts: SplitResult) -> tuple[Any, str]:
    """S3, or what speaks its protocol; given up sooner than by pyarrow's defaults, which try for minutes."""
    from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem  # noqa: PLC0415 - only where the log is on

    options = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
    if unknown := options.keys() - _S3_OPTIONS:
        raise ConfigError(f"an s3:// URL takes {', '.join(sorted(_S3_OPTIONS))}, not {', '.join(sorted(unknown))}")
    if parts.username:
        options |= {"access_key": unquote(parts.username), "secret_key": unquote(parts.password or "")}
    filesystem = S3FileSystem(
        connect_timeout=5, request_timeout=30, retry_strategy=AwsStandardS3RetryStrategy(max_attempts=3), **options
    )
    return filesystem, f"{parts.hostname}{unquote(parts.path)}"


def as_url(place: str) -> str | None:
    """The URL that a text is, also where ``Path`` took a slash off it; None where it is a path."""
    if not _URL.match(place):
        return None
    return place if "://" in place else place.replace(":/", "://", 1)


def segment_names() -> Callable[[SegmentKind, float], str]:
    """Names for the segments of one process: by time, and unlike those of any other process."""
    process, numbers = secrets.token_hex(6), itertools.count()

    def name(kind: SegmentKind, now: float) -> str:
        stamp = datetime.fromtimestamp(now, UTC).strftime(_STAMP)
        return f"{kind.value}-{stamp}Z-{process}-{next(numbers) % 1_000_000:06d}.parquet"

    return name


def _segment(name: str, size: int) -> Segment | None:
    match = _NAME.match(name)
    if match is None:
        return None
    try:
        at = datetime.strptime(match[2], _STAMP).replace(tzinfo=UTC)
    except ValueError:
        return None
    return Segment(name, SegmentKind(match[1]), at.timestamp(), size)


def is_segment(name: str) -> bool:
    """Whether a file's name is a segment's."""
    return _NAME.match(name) is not None
