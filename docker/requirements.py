"""What an image installs: the dependencies in a wheel of rankd, with the build of onnxruntime that the image needs.

    python docker/requirements.py --onnxruntime cpu --extra log rankd-0.1.0-py3-none-any.whl > requirements.txt
    python docker/requirements.py --onnxruntime none --extra proxy rankd-0.1.0-py3-none-any.whl > requirements.txt

``pyproject.toml`` asks for onnxruntime-gpu on Linux, which runs everywhere and suits whoever installs with pip. An
image knows where it will run: on CPUs ``onnxruntime`` has the same import and is smaller by far; with CUDA the extras
of ``onnxruntime-gpu`` bring CUDA's own libraries. The proxy has no model: with ``none`` neither a runtime is installed
nor what prepares text for it. Versions stay those of the wheel.
"""

from __future__ import annotations

import argparse
import email
import sys
import zipfile
from pathlib import Path

from packaging.requirements import Requirement

_OURS = "rankd-client"
"""Installed from its own wheel."""
_RUNTIMES = ("onnxruntime", "onnxruntime-gpu")
_OF_A_MODEL = ("tokenizers",)
"""What nothing but a model needs, beside its runtime; it brings a dozen packages."""


def requirements(wheel: Path, onnxruntime: str, extras: list[str]) -> list[str]:
    """The lines of a requirements file.

    Args:
        wheel: rankd's.
        onnxruntime: ``cpu``, ``cuda`` or ``none``.
        extras: of rankd.

    Raises:
        ValueError: an extra that the wheel does not have, or no onnxruntime in it.
    """
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [n for n in archive.namelist() if n.endswith(".dist-info/METADATA")]
        metadata = email.message_from_bytes(archive.read(name))
    known = metadata.get_all("Provides-Extra") or []
    if unknown := set(extras) - set(known):
        raise ValueError(f"{wheel.name} has no extra {', '.join(sorted(unknown))}; it has {', '.join(known)}")
    wanted = [Requirement(text) for text in metadata.get_all("Requires-Dist") or []]
    lines = [_line(r) for r in wanted if r.name not in (_OURS, *_RUNTIMES) and _applies(r, extras)]
    if onnxruntime == "none":
        return sorted({line for line in lines if Requirement(line).name not in _OF_A_MODEL})
    runtimes = [r for r in wanted if r.name in _RUNTIMES and r.marker is not None and r.marker.evaluate()]
    if len(runtimes) != 1:
        raise ValueError(f"{wheel.name} asks for {len(runtimes)} builds of onnxruntime on this machine, not for one")
    package = "onnxruntime" if onnxruntime == "cpu" else "onnxruntime-gpu[cuda,cudnn]"
    return sorted({*lines, f"{package}{runtimes[0].specifier}"})


def _applies(requirement: Requirement, extras: list[str]) -> bool:
    if requirement.marker is None:
        return True
    return any(requirement.marker.evaluate({"extra": extra}) for extra in ("", *extras))


def _line(requirement: Requirement) -> str:
    return f"{requirement.name}{requirement.specifier}"


def main() -> int:
    """Print the lines."""
    parser = argparse.ArgumentParser(description="The dependencies of an image.")
    parser.add_argument("--onnxruntime", choices=["cpu", "cuda", "none"], required=True)
    parser.add_argument("--extra", action="append", default=[], dest="extras")
    parser.add_argument("wheel", type=Path)
    arguments = parser.parse_args()
    try:
        print("\n".join(requirements(arguments.wheel, arguments.onnxruntime, arguments.extras)))
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
