"""A release: everything is checked and built, then pushed; without ``--push`` it says what it would push.

    python -m tools.release 0.2.0 --registry registry.example.com/team [--push]

Wheels and source archives of all packages, the chart as an OCI artifact, the images where docker is. What was built
lies in ``out/release/VERSION`` with its SHA-256 sums. Nothing is published unless all of it was built.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from tools.chart.helm import helm
from tools.generated import ROOT

PACKAGES = ("clients/python", "clients/vllm", "clients/transformers", ".")
"""Directories of pyproject.toml, what others need first."""
_CHART = "charts/rankd"
_TARGET = re.compile(r"^FROM base AS (\S+)$", re.MULTILINE)


class ReleaseError(Exception):
    """What is in the way, and what to do."""


@dataclass(frozen=True)
class Release:
    """What is to be published, and where."""

    version: str
    registry: str
    """Of images and chart: ``host/path``."""
    root: Path = ROOT

    @property
    def out(self) -> Path:
        """Where what is built goes."""
        return self.root / "out" / "release" / self.version

    def images(self) -> dict[str, str]:
        """The Dockerfile's targets, and what their images are called."""
        targets = _TARGET.findall((self.root / "Dockerfile").read_text(encoding="utf-8"))
        return {target: f"{self.registry}/rankd:{self.version}-{target}" for target in targets}


def stated_versions(root: Path) -> dict[str, str]:
    """Every place that states the version, and which one."""
    found = {}
    for package in PACKAGES:
        path = root / package / "pyproject.toml"
        stated = tomllib.loads(path.read_text(encoding="utf-8"))["project"]["version"]
        found[str(path.relative_to(root))] = str(stated)
    for name, pattern in (
        (f"{_CHART}/Chart.yaml", r"^version: (\S+)$"),
        (f"{_CHART}/Chart.yaml, appVersion", r"^appVersion: (\S+)$"),
        (f"{_CHART}/templates/_sidecar.tpl", r'"AppVersion" "([^"]+)"'),
        ("Dockerfile", r"^ARG VERSION=(\S+)$"),
    ):
        text = (root / name.partition(",")[0]).read_text(encoding="utf-8")
        match = re.search(pattern, text, re.MULTILINE)
        found[name] = match.group(1).strip('"') if match else "none"
    return found


def problems(release: Release, *, dirty: bool) -> Iterator[str]:
    """What is in the way of a release."""
    if not re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", release.version):
        yield f"{release.version} is no version: 1.2.3, or 1.2.3rc1"
    for place, stated in stated_versions(release.root).items():
        if stated != release.version:
            yield f"{place} says {stated}, not {release.version}"
    changes = (release.root / "CHANGELOG.md").read_text(encoding="utf-8")
    if f"\n## [{release.version}]" not in changes:
        yield f"CHANGELOG.md has no section [{release.version}]: give [Unreleased] that name, and a date"
    if dirty:
        yield "the working tree has changes: commit them, so that the release is one commit"


def build_packages(release: Release) -> list[Path]:
    """Wheels and source archives of all packages.

    Raises:
        ReleaseError: one could not be built, or is not of this version.
    """
    dist = release.out / "dist"
    dist.mkdir(parents=True)
    for package in PACKAGES:
        _run([sys.executable, "-m", "hatchling", "build", "-d", str(dist)], cwd=release.root / package)
    built = sorted(dist.iterdir())
    for wheel in dist.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            (name,) = [n for n in archive.namelist() if n.endswith(".dist-info/METADATA")]
            if f"\nVersion: {release.version}\n" not in archive.read(name).decode():
                raise ReleaseError(f"{wheel.name} is not of version {release.version}")
    if len(built) != 2 * len(PACKAGES):
        raise ReleaseError(f"{len(built)} files were built, not a wheel and an archive of {len(PACKAGES)} packages")
    return built


def build_chart(release: Release) -> Path:
    """The chart's archive.

    Raises:
        ReleaseError: helm refuses it.
    """
    out = release.out / "chart"
    done = helm("package", release.root / _CHART, "--destination", out)
    if done.returncode != 0:
        raise ReleaseError(f"helm package: {done.stderr.strip()}")
    return out / f"rankd-{release.version}.tgz"


def build_images(release: Release, docker: str) -> None:
    """The images, by docker or what has its flags (podman, buildah).

    Raises:
        ReleaseError: one could not be built.
    """
    revision = _run(["git", "rev-parse", "HEAD"], cwd=release.root).strip()
    for target, name in release.images().items():
        say(f"building {name}")
        labels = ("--build-arg", f"VERSION={release.version}", "--build-arg", f"REVISION={revision}")
        _run([docker, "build", "--target", target, *labels, "-t", name, "."], cwd=release.root)


def write_sums(release: Release, built: Sequence[Path]) -> Path:
    """``SHA256SUMS`` as ``sha256sum -c`` reads it."""
    sums = release.out / "SHA256SUMS"
    lines = [f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.relative_to(release.out)}\n" for p in built]
    sums.write_text("".join(lines), encoding="utf-8")
    return sums


def pushes(release: Release, built: Sequence[Path], docker: str) -> list[list[str]]:
    """The commands that publish what was built, in this order: what others refer to first."""
    dist = [str(p) for p in built if p.parent.name == "dist"]
    charts = [str(p) for p in built if p.parent.name == "chart"]
    return [
        *([docker, "push", name] for name in release.images().values()),
        *(["helm", "push", chart, f"oci://{release.registry}/charts"] for chart in charts),
        [sys.executable, "-m", "twine", "upload", *dist],
        ["git", "tag", "--annotate", f"v{release.version}", "--message", f"rankd {release.version}"],
        ["git", "push", "origin", f"v{release.version}"],
    ]


def say(text: str) -> None:
    """Tell whoever waits."""
    print(f"release: {text}", flush=True)


def _run(command: Sequence[str], cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode != 0:
        raise ReleaseError(f"{' '.join(command)}: {(done.stderr or done.stdout).strip()[-2000:]}")
    return done.stdout


def make(release: Release, docker: str | None, *, push: bool) -> None:
    """Check, build and, if asked, publish.

    Raises:
        ReleaseError: with all that is in the way.
    """
    dirty = bool(_run(["git", "status", "--porcelain"], cwd=release.root))
    if found := list(problems(release, dirty=dirty)):
        raise ReleaseError("\n  ".join(("not ready:", *found)))
    if docker is None and push:
        raise ReleaseError("no images can be built: install docker, or name what has its flags (--docker podman)")
    if push and find_spec("twine") is None:
        raise ReleaseError("wheels are uploaded by twine: pip install twine")
    shutil.rmtree(release.out, ignore_errors=True)
    say(f"building the packages of {release.version}")
    built = [*build_packages(release), build_chart(release)]
    if docker is None:
        say("no images: there is no docker here (--docker podman names another builder)")
    else:
        build_images(release, docker)
    say(f"{len(built)} files in {release.out.relative_to(release.root)}, sums in {write_sums(release, built).name}")
    for command in pushes(release, built, docker or "docker"):
        say(("" if push else "would run: ") + " ".join(command))
        if push:
            _run(command, cwd=release.root)


def main(arguments: Sequence[str] | None = None) -> int:
    """Release; 1 with what is in the way."""
    parser = argparse.ArgumentParser(prog="python -m tools.release", description=__doc__.partition("\n")[0])
    parser.add_argument("version", help="what all packages, chart and CHANGELOG must say")
    parser.add_argument("--registry", required=True, metavar="HOST/PATH", help="where images and chart go")
    parser.add_argument("--docker", default=shutil.which("docker"), metavar="PROGRAM", help="builds and pushes images")
    parser.add_argument("--no-images", action="store_true", help="leave the images out; not with --push")
    parser.add_argument("--push", action="store_true", help="publish; without it the commands are shown")
    chosen = parser.parse_args(arguments)
    try:
        docker = None if chosen.no_images else chosen.docker
        make(Release(chosen.version, chosen.registry.rstrip("/")), docker, push=chosen.push)
    except (ReleaseError, FileNotFoundError) as error:
        print(f"release: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
