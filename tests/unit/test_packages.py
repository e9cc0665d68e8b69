"""The packages as they are built: what a user of a wheel or an sdist gets."""

import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from support.repository import ROOT

CLIENTS = ROOT / "clients"
DAEMON, CLIENT, VLLM, TRANSFORMERS = ROOT, CLIENTS / "python", CLIENTS / "vllm", CLIENTS / "transformers"
PACKAGES = {DAEMON: "rankd", CLIENT: "rankd_client", VLLM: "rankd_vllm", TRANSFORMERS: "rankd_transformers"}
LARGEST_WHEEL = 90_000_000
"""Bytes: it holds the bundled rankers, so that it works offline."""


@pytest.fixture(scope="module", params=list(PACKAGES), ids=list(PACKAGES.values()))
def built(request, tmp_path_factory):
    """The project's directory, and the names in its wheel and its sdist without the leading name of the release."""
    out = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", str(out)], cwd=request.param, check=True, capture_output=True
    )
    (wheel,), (sdist,) = out.glob("*.whl"), out.glob("*.tar.gz")
    assert wheel.stat().st_size <= LARGEST_WHEEL
    with zipfile.ZipFile(wheel) as archive:
        in_wheel = set(archive.namelist())
    with tarfile.open(sdist) as archive:
        in_sdist = {name.partition("/")[2] for name in archive.getnames()}
    return request.param, in_wheel, in_sdist


def test_types_and_licence_are_in_every_package(built):
    """Type checkers see the types, and the licence's text comes along, as it asks for."""
    project, wheel, sdist = built
    package = PACKAGES[project]
    assert f"{package}/py.typed" in wheel
    assert any(re.fullmatch(r"[^/]+\.dist-info/licenses/LICENSE", name) for name in wheel)
    assert {"LICENSE", "README.md", "pyproject.toml", f"{package}/__init__.py"} <= sdist
    assert (project / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


def test_nothing_else_is_in_them(built):
    """The daemon's sdist has the daemon and its protocol, not other READMEs and licences of the repository."""
    project, wheel, sdist = built
    if project == DAEMON:
        assert {f"rankd/rankers/minilm-l6/{name}" for name in ("model.onnx", "model.cuda.onnx")} <= wheel
        assert "protos/rankd/v1/rank.proto" in sdist
    assert {name.partition("/")[0] for name in sdist} <= {
        "rankd", "protos", "rankd_client", "rankd_vllm", "rankd_transformers", "README.md",
        "LICENSE", "CHANGELOG.md", "pyproject.toml", "PKG-INFO",
        ".gitignore",
    }  # fmt: skip
    assert {name.partition("/")[0] for name in wheel if ".dist-info/" not in name} == {PACKAGES[project]}
    assert not [name for name in wheel | sdist if "__pycache__" in name or name.endswith(".pyc")]


def test_vllm_finds_the_stat_logger():
    """The wheel names it among vLLM's plug-ins, in a module that is there."""
    points = tomllib.loads((VLLM / "pyproject.toml").read_text())["project"]["entry-points"]
    module, _, name = points["vllm.stat_logger_plugins"]["rankd"].partition(":")
    source = VLLM / Path(*module.split(".")).with_suffix(".py")
    assert f"class {name}(" in source.read_text()


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A directory with the clients' packages out of their wheels."""
    wheels, site = tmp_path_factory.mktemp("wheels"), tmp_path_factory.mktemp("site")
    for project in (CLIENT, VLLM, TRANSFORMERS):
        command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(wheels)]
        subprocess.run(command, cwd=project, check=True, capture_output=True)
    for wheel in wheels.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site)
    return site


@pytest.mark.parametrize(
    ("package", "use"),
    [
        ("rankd_client", "all_of_it = [getattr(rankd_client, name) for name in rankd_client.__all__]"),
        ("rankd_client", "rankd_client.RankClient('127.0.0.1:9').rank(['a', 'b']).order == [0, 1] or exit(1)"),
        ("rankd_client", "import rankd_client.calibration, rankd_client.integration, rankd_client.ordering"),
        ("rankd_vllm", "rankd_vllm.RankMiddleware(print)"),
        ("rankd_transformers", "rankd_transformers.register"),
    ],
)
def test_a_client_works_without_the_checkout(installed, tmp_path, package, use):
    """What its wheel holds is all that it needs of this repository."""
    if package == "rankd_transformers":
        pytest.importorskip("transformers")
    here = f"assert {package}.__file__.startswith({str(installed)!r}), {package}.__file__"
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    command = [sys.executable, "-P", "-c", f"import {package}; {here}; {use}"]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True)
